//! Messages to the peer: packet ids, the window, and what must be sent again (MQTT 5.0 sections 2.2.1, 4.3, 4.4, 4.9).

mod again;
mod owner;

use crate::publish::{self, Hop};
use crate::reason::ReasonCode;
use crate::wire::{PUBREL, put_ack};
use crate::{Batch, Control, Version};
use ahash::RandomState;
use bytes::BytesMut;
use std::cmp::Ordering;
use std::collections::VecDeque;
use tidegate_message::{ByteString, Message, QoS, Topic};

/// Packet ids run from 1 to 65,535.
pub(crate) const PACKET_IDS: u64 = 65_535;

/// Resending stops while this much is waiting to be written, and goes on behind it.
const RESEND_BUFFER_BYTES: usize = 256 * 1024;

/// A message of ours that needs no more care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The key that `publish` was given.
    pub key: u64,
    /// [`ReasonCode::SUCCESS`], or why the peer refused it. A refused message is not sent again.
    pub reason: ReasonCode,
}

/// A message of ours that the peer refused. It is not sent again by the session.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The key that `publish` was given.
    pub key: u64,
    /// Why: 0x80 and above.
    pub reason: ReasonCode,
    /// The peer's own words, if any.
    pub words: Option<ByteString>,
    /// The message itself.
    pub message: Message,
}

/// The exchange that a peer has left unanswered for longest on the current or last connection.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered<'a> {
    /// Its number in the order of sending: the packet id is the serial modulo 65,535, plus 1.
    pub serial: u64,
    /// The key that `publish` was given; `None` if the owner took the message back.
    pub key: Option<u64>,
    /// `None` when the peer has taken it over, and PUBREL is what it has not answered.
    pub message: Option<&'a Message>,
}

/// A peer's PUBACK or PUBREC.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reason: ReasonCode,
    pub(crate) words: Option<ByteString>,
    /// A server's owner hears of refusals as of completions.
    pub(crate) is_server: bool,
}

/// So many PUBRECs for one message are answered on a connection: amqtt 0.12 answers PUBREL with PUBREC on every connection
/// after the one that had the PUBLISH, for ever.
const PUBRELS_MAX: u8 = 3;

/// What became of a message handed to `publish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// QoS 0: in the write buffer, and that is all there is to it.
    Sent,
    /// QoS 1 or 2: a [`Completion`] with the same key will follow, on this connection or a later one.
    InFlight {
        /// For QoS 2 its serial, which counts all packet ids handed out: the id is the serial modulo 65,535, plus 1.
        /// `None` for QoS 1.
        exactly_once: Option<u64>,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The window is used up, or nobody is connected: ask `has_room` first.
    #[error("the peer takes no more messages now")]
    Full,
    /// It can never be sent on this connection.
    #[error("the message makes a packet of {size} bytes, the peer takes {max}")]
    TooLarge {
        /// Of the packet, in bytes.
        size: usize,
        /// What the peer takes, in bytes.
        max: usize,
    },
}

/// What the peer said it takes.
#[derive(Debug, Clone)]
pub(crate) struct PeerLimits {
    pub(crate) receive_maximum: u16,
    /// How many of these may be of QoS 2. MQTT 3.x has no way to say so, and mosquitto 2.0 hangs up above 20.
    pub(crate) exactly_once_maximum: u16,
    pub(crate) max_packet_size: usize,
    pub(crate) max_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) topic_alias_max: u16,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            exactly_once_maximum: u16::MAX,
            max_packet_size: usize::MAX,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_max: 0,
        }
    }
}

/// Topic aliases we have given out on this connection: one topic a slot, the slot is the topic's hash.
#[derive(Debug, Default)]
pub(crate) struct AliasesOut {
    slots: Vec<Option<Topic>>,
    hasher: RandomState,
}

impl AliasesOut {
    pub(crate) fn new(count: u16) -> Self {
        Self { slots: vec![None; usize::from(count)], hasher: RandomState::new() }
    }

    /// The alias to send, and whether the peer knows it for this topic already.
    fn of(&mut self, topic: &Topic) -> (Option<u16>, bool) {
        if self.slots.is_empty() {
            return (None, false);
        }
        let at = (self.hasher.hash_one(topic.as_str()) % self.slots.len() as u64) as usize;
        let known = self.slots[at].as_ref() == Some(topic);
        if !known {
            self.slots[at] = Some(topic.detached());
        }
        (Some(at as u16 + 1), known)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Finished; waits for those before it.
    Done,
    /// To be sent on this connection, again if `dup`.
    Unsent { dup: bool },
    /// Sent at QoS 1.
    WaitsForPuback,
    /// Sent at QoS 2.
    WaitsForPubrec,
    /// Received by the peer; PUBREL to be sent on this connection.
    UnsentPubrel,
    /// PUBREL sent.
    WaitsForPubcomp,
    /// A SUBSCRIBE or UNSUBSCRIBE; they share the packet ids.
    WaitsForControl,
}

impl State {
    const fn is_exactly_once(self) -> bool {
        matches!(self, Self::WaitsForPubrec | Self::WaitsForPubcomp)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    state: State,
    /// `None` once the owner took the message back: the peer may still hold the packet id, and would take a later
    /// message with it for this one, so the exchange is brought to its end for nobody.
    key: Option<u64>,
    /// `None` once the peer took it over or the owner took it back.
    message: Option<Message>,
    subscription_ids: Box<[u32]>,
    /// How often PUBREL was answered with PUBREC.
    pubrels: u8,
}

impl Entry {
    fn new(state: State, key: Option<u64>, message: Option<Message>) -> Self {
        Self { state, key, message, subscription_ids: Box::default(), pubrels: 0 }
    }

    fn done() -> Self {
        Self::new(State::Done, None, None)
    }
}

/// The sending half of a session.
///
/// Packet ids are handed out in a ring, in the order of sending, so an id is an index and the original order is the
/// order of the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    entries: VecDeque<Entry>,
    /// The serial of `entries[0]`; the packet id is the serial modulo the number of ids.
    base: u64,
    /// Messages sent on this connection that wait for PUBACK, PUBREC or PUBCOMP.
    in_flight: usize,
    /// Those of them at QoS 2.
    exactly_once: usize,
    /// Entries in state `Unsent` or `UnsentPubrel`; all at or behind `resend_at`.
    unsent: usize,
    resend_at: usize,
    /// The largest message that the peer has taken, topic and payload, in bytes.
    largest_taken: usize,
}

/// Everything `publish` needs to know of the connection.
pub(crate) struct Wire<'a> {
    pub(crate) version: Version,
    pub(crate) limits: &'a PeerLimits,
    pub(crate) aliases: &'a mut AliasesOut,
    pub(crate) out: &'a mut BytesMut,
}

impl Wire<'_> {
    fn encode(&mut self, message: &Message, packet_id: u16, dup: bool, ids: &[u32]) -> Result<(), PublishError> {
        let (alias, topic_known) = self.aliases.of(&message.topic);
        let hop = Hop { packet_id, dup, alias, topic_known, subscription_ids: ids };
        publish::encode(self.out, self.version, message, &hop, self.limits.max_packet_size).map_err(|size| {
            // The peer will not see the alias introduced here.
            if let (Some(alias), false) = (alias, topic_known) {
                self.aliases.slots[usize::from(alias) - 1] = None;
            }
            PublishError::TooLarge { size, max: self.limits.max_packet_size }
        })
    }
}

impl Outgoing {
    /// Whether a QoS 1 or 2 message would be taken now.
    pub(crate) fn has_room(&self, limits: &PeerLimits) -> bool {
        self.unsent == 0 && self.window_has_room(limits) && (self.entries.len() as u64) < PACKET_IDS
    }

    fn window_has_room(&self, limits: &PeerLimits) -> bool {
        self.in_flight < usize::from(limits.receive_maximum)
            && self.exactly_once < usize::from(limits.exactly_once_maximum)
    }

    /// One more waits for the peer in this state.
    fn count(&mut self, state: State) {
        self.in_flight += 1;
        self.exactly_once += usize::from(state.is_exactly_once());
    }

    /// How many messages wait for the peer, sent or not.
    pub(crate) fn in_flight(&self) -> usize {
        let waits = |e: &&Entry| e.key.is_some() && !matches!(e.state, State::Done | State::WaitsForControl);
        self.entries.iter().filter(waits).count()
    }

    pub(crate) fn publish(
        &mut self,
        wire: &mut Wire<'_>,
        key: Option<u64>,
        mut message: Message,
        subscription_ids: &[u32],
    ) -> Result<Published, PublishError> {
        message.qos = message.qos.min(wire.limits.max_qos);
        message.retain &= wire.limits.retain_available;
        if message.qos == QoS::AtMostOnce {
            wire.encode(&message, 0, false, subscription_ids)?;
            return Ok(Published::Sent);
        }
        if !self.has_room(wire.limits) {
            return Err(PublishError::Full);
        }
        let serial = self.base + self.entries.len() as u64;
        wire.encode(&message, packet_id(serial), false, subscription_ids)?;
        let state = sent_state(message.qos);
        let exactly_once = (message.qos == QoS::ExactlyOnce).then_some(serial);
        let entry = Entry::new(state, key, Some(message));
        self.entries.push_back(Entry { subscription_ids: subscription_ids.into(), ..entry });
        self.count(state);
        Ok(Published::InFlight { exactly_once })
    }

    /// A packet id for a SUBSCRIBE or UNSUBSCRIBE, remembered under `key`; `None` when all ids are taken.
    pub(crate) fn control_id(&mut self, key: u64) -> Option<u16> {
        if self.entries.len() as u64 >= PACKET_IDS {
            return None;
        }
        let id = packet_id(self.base + self.entries.len() as u64);
        self.entries.push_back(Entry::new(State::WaitsForControl, Some(key), None));
        Some(id)
    }

    /// The key behind the id of a SUBACK or UNSUBACK.
    pub(crate) fn on_control(&mut self, packet_id: u16) -> Option<u64> {
        let at = self.find(packet_id).filter(|at| self.entries[*at].state == State::WaitsForControl)?;
        let key = self.entries[at].key;
        self.entries[at].state = State::Done;
        self.pop_done();
        key
    }

    /// The answer to a SUBSCRIBE or UNSUBSCRIBE is not waited for any longer.
    pub(crate) fn forget_control(&mut self, key: u64) {
        let is_it = |entry: &&mut Entry| entry.state == State::WaitsForControl && entry.key == Some(key);
        if let Some(entry) = self.entries.iter_mut().find(is_it) {
            entry.state = State::Done;
            self.pop_done();
        }
    }

    /// A PUBACK that says nothing but yes.
    pub(crate) fn on_plain_puback(&mut self, packet_id: u16, batch: &mut Batch) {
        match self.find(packet_id).filter(|at| self.entries[*at].state == State::WaitsForPuback) {
            Some(at) => self.finish(at, ReasonCode::SUCCESS, &mut batch.completed),
            None => {
                let answer = Answer { reason: ReasonCode::SUCCESS, words: None, is_server: false };
                self.on_puback(packet_id, answer, batch);
            }
        }
    }

    pub(crate) fn on_puback(&mut self, packet_id: u16, answer: Answer, batch: &mut Batch) {
        let Some(at) = self.find(packet_id) else { return };
        match self.entries[at].state {
            State::WaitsForPuback => self.settle(at, answer, batch),
            // RabbitMQ answers QoS 2 as if it were QoS 1: no PUBREC will follow.
            State::WaitsForPubrec => {
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
        let state = self.find(packet_id).map(|at| (at, self.entries[at].state));
        match state {
            Some((at, State::WaitsForPubrec)) if reason.is_error() => self.settle(at, answer, batch),
            Some((at, State::WaitsForPubrec)) => {
                let entry = &mut self.entries[at];
                self.largest_taken = self.largest_taken.max(entry.message.as_ref().map_or(0, size));
                (entry.state, entry.message) = (State::WaitsForPubcomp, None);
                batch.taken_over.extend(entry.key);
                put_ack(out, PUBREL, packet_id, ReasonCode::SUCCESS, v5);
            }
            // An error here ends the exchange (MQTT 5.0 section 4.3.3); the peer has had the message.
            Some((at, State::WaitsForPubcomp)) if reason.is_error() => {
                self.finish(at, ReasonCode::SUCCESS, &mut batch.completed);
            }
            Some((at, State::WaitsForPubcomp)) => {
                let entry = &mut self.entries[at];
                entry.pubrels = entry.pubrels.saturating_add(1);
                match entry.pubrels.cmp(&PUBRELS_MAX) {
                    Ordering::Less => put_ack(out, PUBREL, packet_id, ReasonCode::SUCCESS, v5),
                    Ordering::Equal => batch.control.push((batch.received.len(), Control::PubrelUnheard)),
                    Ordering::Greater => {}
                }
            }
            // Brokers may repeat a PUBREC on a new connection before we get to repeat what it answers.
            Some((at, State::UnsentPubrel)) if !reason.is_error() => self.release(at, out, v5),
            Some((at, State::Unsent { dup: true })) if !reason.is_error() && self.is_exactly_once(at) => {
                batch.taken_over.extend(self.entries[at].key);
                self.release(at, out, v5);
            }
            _ if reason.is_error() => {}
            // Let the peer get rid of an id that we know nothing of.
            _ => put_ack(out, PUBREL, packet_id, ReasonCode::PACKET_ID_NOT_FOUND, v5),
        }
    }

    pub(crate) fn on_pubcomp(&mut self, packet_id: u16, completed: &mut Vec<Completion>) {
        if let Some(at) = self.find(packet_id).filter(|at| self.entries[*at].state == State::WaitsForPubcomp) {
            // Whatever PUBCOMP says, the peer has had the message since its PUBREC.
            self.finish(at, ReasonCode::SUCCESS, completed);
        }
    }

    /// The peer has a message that was still to be sent to it again on this connection.
    fn release(&mut self, at: usize, out: &mut BytesMut, v5: bool) {
        let entry = &mut self.entries[at];
        (entry.state, entry.message) = (State::WaitsForPubcomp, None);
        self.unsent -= 1;
        self.count(State::WaitsForPubcomp);
        put_ack(out, PUBREL, packet_id(self.base + at as u64), ReasonCode::SUCCESS, v5);
    }

    fn is_exactly_once(&self, at: usize) -> bool {
        self.entries[at].message.as_ref().is_some_and(|message| message.qos == QoS::ExactlyOnce)
    }

    fn find(&self, packet_id: u16) -> Option<usize> {
        let at = (u64::from(packet_id) - 1 + PACKET_IDS - self.base % PACKET_IDS) % PACKET_IDS;
        (at < self.entries.len() as u64).then_some(at as usize)
    }

    fn finish(&mut self, at: usize, reason: ReasonCode, completed: &mut Vec<Completion>) {
        let entry = &mut self.entries[at];
        if let Some(message) = entry.message.as_ref().filter(|_| !reason.is_error()) {
            self.largest_taken = self.largest_taken.max(size(message));
        }
        self.exactly_once -= usize::from(entry.state.is_exactly_once());
        (entry.state, entry.message) = (State::Done, None);
        completed.extend(entry.key.map(|key| Completion { key, reason }));
        self.in_flight -= 1;
        self.pop_done();
    }

    fn pop_done(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.state == State::Done) {
            self.entries.pop_front();
            self.base += 1;
            self.resend_at = self.resend_at.saturating_sub(1);
        }
    }

    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent > 0
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len()
}

const fn packet_id(serial: u64) -> u16 {
    (serial % PACKET_IDS) as u16 + 1
}

const fn sent_state(qos: QoS) -> State {
    match qos {
        QoS::ExactlyOnce => State::WaitsForPubrec,
        _ => State::WaitsForPuback,
    }
}
