//! What is sent again: on a new connection, and by a new process.

use super::{Exchange, OutgoingFlow, Phase, RESEND_BUFFER_BYTES, Wire, packet_id, sent_phase};
use crate::Version;
use crate::outgoing::Completion;
use crate::reason::ReasonCode;
use crate::restore::{Unfinished, alive};
use crate::wire::{PUBREL, put_ack};
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS};

/// Counts the time since a message said how long it is good for off that (MQTT 5.0 section 3.3.2.3.3).
fn count_down(message: &mut Message, said_at: &mut Instant) {
    let Some(left) = message.properties.as_mut().and_then(|all| all.message_expiry_seconds.as_mut()) else { return };
    let passed = said_at.elapsed().as_secs();
    *said_at += Duration::from_secs(passed);
    // Its sending has begun before it expired, and is brought to its end.
    *left = left.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX)).max(1);
}

impl OutgoingFlow {
    /// Takes up what an owner of before recorded, as if its connection had just ended. Returns the keys of messages
    /// that a later one with their packet id shows to be finished.
    pub(crate) fn restore(&mut self, sent: Vec<Unfinished>) -> Vec<u64> {
        debug_assert!(self.entries.is_empty(), "a session is restored before it is used");
        let (sent, finished) = alive(sent);
        self.base = sent.first().map_or(self.base, |first| first.serial);
        for Unfinished { serial, key, message, subscription_ids } in sent {
            // Ids between were used by what nobody recorded, or what is finished.
            self.entries.resize_with((serial - self.base) as usize, Exchange::done);
            let phase = message.as_ref().map_or(Phase::UnsentPubrel, |message| sent_phase(message.qos));
            self.entries.push_back(Exchange { subscription_ids, ..Exchange::new(phase, Some(key), message) });
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
            entry.phase = match entry.phase {
                Phase::Done | Phase::WaitsForControl => Phase::Done,
                Phase::WaitsForPubrec if entry.message.is_none() && session_present => Phase::UnsentPubrel,
                Phase::WaitsForPubrec if entry.message.is_none() => Phase::Done,
                Phase::WaitsForPuback | Phase::WaitsForPubrec | Phase::Unsent { dup: true } => {
                    republished += usize::from(!session_present);
                    Phase::Unsent { dup: session_present }
                }
                Phase::Unsent { dup: false } => Phase::Unsent { dup: false },
                Phase::UnsentPubrel | Phase::WaitsForPubcomp if session_present => Phase::UnsentPubrel,
                // The peer took the message over with its PUBREC, before it forgot us.
                Phase::UnsentPubrel | Phase::WaitsForPubcomp => {
                    completed.extend(entry.key.map(|key| Completion { key, reason: ReasonCode::SUCCESS }));
                    Phase::Done
                }
            };
            self.unsent += usize::from(entry.phase != Phase::Done);
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
            match (entry.phase, &mut entry.message) {
                (Phase::Unsent { dup }, Some(message)) => {
                    // Another broker than before may take less; what it forbids would end every connection to it.
                    message.qos = message.qos.min(wire.limits.max_qos);
                    message.retain &= wire.limits.retain_available;
                    if let Some(said_at) = &mut entry.said_at {
                        count_down(message, said_at);
                    }
                    let once = message.qos == QoS::AtMostOnce;
                    let sent = sent_phase(message.qos);
                    let encoded = wire.encode(message, id, dup && !once, &entry.subscription_ids);
                    entry.phase = sent;
                    self.unsent -= 1;
                    self.count(sent);
                    match encoded {
                        Ok(()) if once => self.finish(at, ReasonCode::SUCCESS, completed),
                        Ok(()) => {}
                        Err(_) => self.finish(at, ReasonCode::PACKET_TOO_LARGE, completed),
                    }
                }
                (Phase::UnsentPubrel, _) => {
                    entry.phase = Phase::WaitsForPubcomp;
                    self.unsent -= 1;
                    self.count(Phase::WaitsForPubcomp);
                    put_ack(wire.out, PUBREL, id, ReasonCode::SUCCESS, wire.version == Version::V5);
                }
                _ => {}
            }
        }
    }
}
