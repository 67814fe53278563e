//! Messages to the peer: packet ids, the window, and what must be sent again (MQTT 5.0 sections 2.2.1, 4.3, 4.4, 4.9).
//!
//! An exchange goes through these phases; whatever is unfinished when the connection ends starts at `Unsent` or
//! `UnsentPubrel` on the next one:
//!
//! ```text
//! QoS 1      publish ─▶ WaitsForPuback ─PUBACK─▶ Done
//! QoS 2      publish ─▶ WaitsForPubrec ─PUBREC─▶ WaitsForPubcomp ─PUBCOMP─▶ Done
//! again      Unsent ─PUBLISH, DUP─▶ WaitsForPuback or WaitsForPubrec       UnsentPubrel ─PUBREL─▶ WaitsForPubcomp
//! SUBSCRIBE  control_id ─▶ WaitsForControl ─SUBACK or UNSUBACK─▶ Done
//! ```

mod answers;
mod owner;
mod peer;
mod redelivery;

pub(crate) use answers::Answer;
pub(crate) use peer::{AliasesOut, Mark, PeerLimits, Wire};

use crate::reason::ReasonCode;
use std::collections::VecDeque;
use std::time::Instant;
use tidegate_message::{ByteString, Message, QoS};

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

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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

impl Phase {
    const fn is_exactly_once(self) -> bool {
        matches!(self, Self::WaitsForPubrec | Self::WaitsForPubcomp)
    }
}

/// One packet id in use: a message, or a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug, Clone)]
struct Exchange {
    phase: Phase,
    /// `None` once the owner took the message back: the peer may still hold the packet id, and would take a later
    /// message with it for this one, so the exchange is brought to its end for nobody.
    key: Option<u64>,
    /// `None` once the peer took it over or the owner took it back.
    message: Option<Message>,
    subscription_ids: Box<[u32]>,
    /// How often PUBREL was answered with PUBREC.
    pubrels: u8,
    /// Of a message that expires: when it said how long it is good for.
    said_at: Option<Instant>,
}

impl Exchange {
    fn new(phase: Phase, key: Option<u64>, message: Option<Message>) -> Self {
        let expires =
            |message: &Message| message.properties.as_ref().is_some_and(|all| all.message_expiry_seconds.is_some());
        let said_at = message.as_ref().filter(|message| expires(message)).map(|_| Instant::now());
        Self { phase, key, message, subscription_ids: Box::default(), pubrels: 0, said_at }
    }

    fn done() -> Self {
        Self::new(Phase::Done, None, None)
    }
}

/// The sending half of a session.
///
/// Packet ids are handed out in a ring, in the order of sending, so an id is an index and the original order is the
/// order of the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutgoingFlow {
    entries: VecDeque<Exchange>,
    /// The serial of `entries[0]`; the packet id is the serial modulo the number of ids.
    base: u64,
    /// Messages sent on this connection that wait for PUBACK, PUBREC or PUBCOMP.
    in_flight: usize,
    /// Those of them at QoS 2.
    exactly_once: usize,
    /// Entries in phase `Unsent` or `UnsentPubrel`; all at or behind `resend_at`.
    unsent: usize,
    resend_at: usize,
    /// The largest message that the peer has taken, topic and payload, in bytes.
    largest_taken: usize,
}

impl OutgoingFlow {
    /// Whether a QoS 1 or 2 message would be taken now.
    pub(crate) fn has_room(&self, limits: &PeerLimits) -> bool {
        self.unsent == 0 && self.window_has_room(limits) && (self.entries.len() as u64) < PACKET_IDS
    }

    fn window_has_room(&self, limits: &PeerLimits) -> bool {
        self.in_flight < usize::from(limits.receive_maximum)
            && self.exactly_once < usize::from(limits.exactly_once_maximum)
    }

    /// One more waits for the peer in this phase.
    fn count(&mut self, phase: Phase) {
        self.in_flight += 1;
        self.exactly_once += usize::from(phase.is_exactly_once());
    }

    /// How many messages wait for the peer, sent or not.
    pub(crate) fn in_flight(&self) -> usize {
        let waits = |e: &&Exchange| e.key.is_some() && !matches!(e.phase, Phase::Done | Phase::WaitsForControl);
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
        let phase = sent_phase(message.qos);
        let exactly_once = (message.qos == QoS::ExactlyOnce).then_some(serial);
        let entry = Exchange::new(phase, key, Some(message));
        self.entries.push_back(Exchange { subscription_ids: subscription_ids.into(), ..entry });
        self.count(phase);
        Ok(Published::InFlight { exactly_once })
    }

    /// The serial of the id that was handed out last.
    pub(crate) fn last_serial(&self) -> u64 {
        (self.base + self.entries.len() as u64).saturating_sub(1)
    }

    /// A packet id for a SUBSCRIBE or UNSUBSCRIBE, remembered under `key`; `None` when all ids are taken.
    pub(crate) fn control_id(&mut self, key: u64) -> Option<u16> {
        if self.entries.len() as u64 >= PACKET_IDS {
            return None;
        }
        let id = packet_id(self.base + self.entries.len() as u64);
        self.entries.push_back(Exchange::new(Phase::WaitsForControl, Some(key), None));
        Some(id)
    }

    /// The key behind the id of a SUBACK or UNSUBACK.
    pub(crate) fn on_control(&mut self, packet_id: u16) -> Option<u64> {
        let at = self.find(packet_id).filter(|at| self.entries[*at].phase == Phase::WaitsForControl)?;
        let key = self.entries[at].key;
        self.entries[at].phase = Phase::Done;
        self.pop_done();
        key
    }

    /// The answer to a SUBSCRIBE or UNSUBSCRIBE is not waited for any longer.
    pub(crate) fn forget_control(&mut self, key: u64) {
        let is_it = |entry: &&mut Exchange| entry.phase == Phase::WaitsForControl && entry.key == Some(key);
        if let Some(entry) = self.entries.iter_mut().find(is_it) {
            entry.phase = Phase::Done;
            self.pop_done();
        }
    }

    /// The packet id that keeps all others from being used again, if there is one: it is not answered, and most of the later ones are.
    pub(crate) fn jam(&self) -> Option<u16> {
        let is_jammed = self.entries.len() as u64 >= PACKET_IDS && self.in_flight < self.entries.len() / 2;
        is_jammed.then(|| packet_id(self.base))
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
        self.exactly_once -= usize::from(entry.phase.is_exactly_once());
        (entry.phase, entry.message) = (Phase::Done, None);
        completed.extend(entry.key.map(|key| Completion { key, reason }));
        self.in_flight -= 1;
        self.pop_done();
    }

    fn pop_done(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.phase == Phase::Done) {
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

const fn sent_phase(qos: QoS) -> Phase {
    match qos {
        QoS::ExactlyOnce => Phase::WaitsForPubrec,
        _ => Phase::WaitsForPuback,
    }
}
