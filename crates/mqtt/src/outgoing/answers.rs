//! What the peer answers to a message: PUBACK, PUBREC and PUBCOMP (MQTT 5.0 section 4.3).

use super::{Completion, OutgoingFlow, Phase, Refusal, packet_id, size};
use crate::reason::ReasonCode;
use crate::wire::{PUBREL, put_ack};
use crate::{Batch, Control};
use bytes::BytesMut;
use std::cmp::Ordering;
use tidegate_message::{ByteString, QoS};

/// A peer's PUBACK or PUBREC.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reason: ReasonCode,
    pub(crate) words: Option<ByteString>,
    /// A server's owner hears of refusals as of completions.
    pub(crate) is_server: bool,
}

/// How many PUBRECs for one message are answered with PUBREL on a connection. More are ignored: amqtt 0.12 answers
/// PUBREL with PUBREC on every connection after the one that had the PUBLISH, for ever.
const PUBRELS_MAX: u8 = 3;

impl OutgoingFlow {
    /// A PUBACK that says nothing but yes.
    pub(crate) fn on_plain_puback(&mut self, packet_id: u16, batch: &mut Batch) {
        match self.find(packet_id).filter(|at| self.entries[*at].phase == Phase::WaitsForPuback) {
            Some(at) => self.finish(at, ReasonCode::SUCCESS, &mut batch.completed),
            None => {
                let answer = Answer { reason: ReasonCode::SUCCESS, words: None, is_server: false };
                self.on_puback(packet_id, answer, batch);
            }
        }
    }

    pub(crate) fn on_puback(&mut self, packet_id: u16, answer: Answer, batch: &mut Batch) {
        let Some(at) = self.find(packet_id) else { return };
        match self.entries[at].phase {
            Phase::WaitsForPuback => self.settle(at, answer, batch),
            // RabbitMQ answers QoS 2 as if it were QoS 1: no PUBREC will follow.
            Phase::WaitsForPubrec => {
                if !answer.reason.is_error() {
                    batch.control.push((batch.received.len(), Control::AnsweredAsQos1));
                }
                self.settle(at, answer, batch);
            }
            _ => {}
        }
    }

    /// The peer has said what becomes of a message.
    fn settle(&mut self, at: usize, answer: Answer, batch: &mut Batch) {
        let Answer { reason, words, is_server } = answer;
        if reason.is_error() && !is_server {
            let entry = &mut self.entries[at];
            // Without a message the owner has taken it back, and does not want to hear of it.
            if let (Some(key), Some(message)) = (entry.key.take(), entry.message.take()) {
                batch.refused.push(Refusal { key, reason, words, message });
            }
        }
        self.finish(at, reason, &mut batch.completed);
    }

    pub(crate) fn on_pubrec(
        &mut self,
        packet_id: u16,
        answer: Answer,
        out: &mut BytesMut,
        v5: bool,
        batch: &mut Batch,
    ) {
        let reason = answer.reason;
        let phase = self.find(packet_id).map(|at| (at, self.entries[at].phase));
        match phase {
            Some((at, Phase::WaitsForPubrec)) if reason.is_error() => self.settle(at, answer, batch),
            Some((at, Phase::WaitsForPubrec)) => {
                let entry = &mut self.entries[at];
                self.largest_taken = self.largest_taken.max(entry.message.as_ref().map_or(0, size));
                (entry.phase, entry.message) = (Phase::WaitsForPubcomp, None);
                batch.taken_over.extend(entry.key);
                put_ack(out, PUBREL, packet_id, ReasonCode::SUCCESS, v5);
            }
            // An error here ends the exchange (MQTT 5.0 section 4.3.3); the peer has had the message.
            Some((at, Phase::WaitsForPubcomp)) if reason.is_error() => {
                self.finish(at, ReasonCode::SUCCESS, &mut batch.completed);
            }
            Some((at, Phase::WaitsForPubcomp)) => {
                let entry = &mut self.entries[at];
                entry.pubrels = entry.pubrels.saturating_add(1);
                match entry.pubrels.cmp(&PUBRELS_MAX) {
                    Ordering::Less => put_ack(out, PUBREL, packet_id, ReasonCode::SUCCESS, v5),
                    Ordering::Equal => batch.control.push((batch.received.len(), Control::PubrelUnheard)),
                    Ordering::Greater => {}
                }
            }
            // Brokers may repeat a PUBREC on a new connection before we get to repeat what it answers.
            Some((at, Phase::UnsentPubrel)) if !reason.is_error() => self.release(at, out, v5),
            Some((at, Phase::Unsent { dup: true })) if !reason.is_error() && self.is_exactly_once(at) => {
                batch.taken_over.extend(self.entries[at].key);
                self.release(at, out, v5);
            }
            _ if reason.is_error() => {}
            // Let the peer get rid of an id that we know nothing of.
            _ => put_ack(out, PUBREL, packet_id, ReasonCode::PACKET_ID_NOT_FOUND, v5),
        }
    }

    pub(crate) fn on_pubcomp(&mut self, packet_id: u16, completed: &mut Vec<Completion>) {
        if let Some(at) = self.find(packet_id).filter(|at| self.entries[*at].phase == Phase::WaitsForPubcomp) {
            // Whatever PUBCOMP says, the peer has had the message since its PUBREC.
            self.finish(at, ReasonCode::SUCCESS, completed);
        }
    }

    /// The peer has a message that was still to be sent to it again on this connection.
    fn release(&mut self, at: usize, out: &mut BytesMut, v5: bool) {
        let entry = &mut self.entries[at];
        (entry.phase, entry.message) = (Phase::WaitsForPubcomp, None);
        self.unsent -= 1;
        self.count(Phase::WaitsForPubcomp);
        put_ack(out, PUBREL, packet_id(self.base + at as u64), ReasonCode::SUCCESS, v5);
    }

    fn is_exactly_once(&self, at: usize) -> bool {
        self.entries[at].message.as_ref().is_some_and(|message| message.qos == QoS::ExactlyOnce)
    }
}
