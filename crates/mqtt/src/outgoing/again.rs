//! What is sent again: on a new connection, and by a new process.

use super::{Entry, Outgoing, RESEND_BUFFER_BYTES, State, Wire, packet_id, sent_state};
use crate::Version;
use crate::outgoing::Completion;
use crate::reason::ReasonCode;
use crate::restore::{RestoredMessage, alive};
use crate::wire::{PUBREL, put_ack};
use tidegate_message::{Message, QoS};

impl Outgoing {
    /// Takes up what an owner of before recorded, as if its connection had just ended. Returns the keys of messages
    /// that a later one with their packet id shows to be finished.
    pub(crate) fn restore(&mut self, sent: Vec<RestoredMessage>) -> Vec<u64> {
        debug_assert!(self.entries.is_empty(), "a session is restored before it is used");
        let (sent, finished) = alive(sent);
        self.base = sent.first().map_or(self.base, |first| first.serial);
        for RestoredMessage { serial, key, message } in sent {
            // Ids between were used by what nobody recorded, or what is finished.
            self.entries.resize_with((serial - self.base) as usize, Entry::done);
            let state = if message.is_some() { State::WaitsForPubrec } else { State::UnsentPubrel };
            let message = message.map(|message| Message { qos: QoS::ExactlyOnce, ..message });
            self.entries.push_back(Entry::new(state, Some(key), message));
        }
        finished
    }

    /// A new connection: everything unfinished is to be sent on it, in the original order. Returns how many messages
    /// are published as new because the peer has forgotten the session.
    pub(crate) fn reconnected(&mut self, session_present: bool, completed: &mut Vec<Completion>) -> usize {
        let mut republished = 0;
        self.unsent = 0;
        for entry in &mut self.entries {
            entry.pubrels = 0;
            entry.state = match entry.state {
                State::Done | State::WaitsForControl => State::Done,
                State::WaitsForPubrec if entry.message.is_none() && session_present => State::UnsentPubrel,
                State::WaitsForPubrec if entry.message.is_none() => State::Done,
                State::WaitsForPuback | State::WaitsForPubrec | State::Unsent { dup: true } => {
                    republished += usize::from(!session_present);
                    State::Unsent { dup: session_present }
                }
                State::Unsent { dup: false } => State::Unsent { dup: false },
                State::UnsentPubrel | State::WaitsForPubcomp if session_present => State::UnsentPubrel,
                // The peer took the message over with its PUBREC, before it forgot us.
                State::UnsentPubrel | State::WaitsForPubcomp => {
                    completed.extend(entry.key.map(|key| Completion { key, reason: ReasonCode::SUCCESS }));
                    State::Done
                }
            };
            self.unsent += usize::from(entry.state != State::Done);
        }
        (self.in_flight, self.exactly_once, self.resend_at) = (0, 0, 0);
        self.pop_done();
        republished
    }

    /// Sends what a new connection owes the peer, as far as window and buffer allow.
    pub(crate) fn resend(&mut self, wire: &mut Wire<'_>, completed: &mut Vec<Completion>) {
        while self.unsent > 0 && self.window_has_room(wire.limits) && wire.out.len() < RESEND_BUFFER_BYTES {
            let at = self.resend_at;
            self.resend_at += 1;
            let Some(entry) = self.entries.get_mut(at) else { return };
            let id = packet_id(self.base + at as u64);
            match (entry.state, &mut entry.message) {
                (State::Unsent { dup }, Some(message)) => {
                    // Another broker than before may take less; what it forbids would end every connection to it.
                    message.qos = message.qos.min(wire.limits.max_qos);
                    message.retain &= wire.limits.retain_available;
                    let once = message.qos == QoS::AtMostOnce;
                    let sent = sent_state(message.qos);
                    let encoded = wire.encode(message, id, dup && !once, &entry.subscription_ids);
                    entry.state = sent;
                    self.unsent -= 1;
                    self.count(sent);
                    match encoded {
                        Ok(()) if once => self.finish(at, ReasonCode::SUCCESS, completed),
                        Ok(()) => {}
                        Err(_) => self.finish(at, ReasonCode::PACKET_TOO_LARGE, completed),
                    }
                }
                (State::UnsentPubrel, _) => {
                    entry.state = State::WaitsForPubcomp;
                    self.unsent -= 1;
                    self.count(State::WaitsForPubcomp);
                    put_ack(wire.out, PUBREL, id, ReasonCode::SUCCESS, wire.version == Version::V5);
                }
                _ => {}
            }
        }
    }
}
