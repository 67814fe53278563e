//! Messages from the peer: what was received, what may be acknowledged, and in which order (MQTT 5.0 sections 4.3, 4.6).

use crate::reason::ReasonCode;
use crate::wire::{PUBACK, PUBCOMP, PUBREC, ProtocolError, put_ack};
use ahash::{AHashMap, AHashSet};
use bytes::BytesMut;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_message::{Message, QoS, TopicId};

/// The right to acknowledge one received message, once.
///
/// It is plain data: dropping it does nothing, using it twice, on another session or after the peer has forgotten the
/// session does nothing either. It stays good across a reconnect that resumes the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckToken {
    serial: u64,
    generation: Generation,
    packet_id: u16,
    exactly_once: bool,
}

impl AckToken {
    /// The packet id of the message.
    pub const fn packet_id(&self) -> u16 {
        self.packet_id
    }

    /// True for QoS 2: what leaves is PUBREC, and the id is the message's until [`Batch::released`](crate::Batch) has it.
    pub const fn exactly_once(&self) -> bool {
        self.exactly_once
    }
}

/// Tells the tokens of one session from those of any other, also of the same client's session before it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Generation(u32);

impl Default for Generation {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A message from the peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// With the QoS and the retain flag it was sent with.
    pub message: Message,
    /// `None` for QoS 0.
    pub ack: Option<AckToken>,
    /// The peer sent it before; whether we received it then is another question.
    pub dup: bool,
    /// The lowest identifier of the subscriptions it was sent for, if they have any (MQTT 5).
    pub subscription_id: Option<u32>,
    /// The bits that are set in any of these identifiers; 0 if there is none.
    pub subscription_bits: u32,
    /// Of its topic, if a broker has sent it of late: a key that is cheaper than the text.
    pub topic_id: Option<TopicId>,
}

#[derive(Debug, Clone)]
struct Pending {
    packet_id: u16,
    exactly_once: bool,
    /// What tells a message of QoS 2 from another.
    content: u64,
    acked: bool,
    reason: ReasonCode,
}

#[derive(Debug, Clone)]
struct Carried {
    serial: u64,
    exactly_once: bool,
    acked: Option<ReasonCode>,
}

/// Spreads packet ids without a key of its own, which every connection would hold: a peer that chooses them badly has at most 64 of them in a
/// place.
#[derive(Debug, Clone, Copy, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(SPREAD);
        }
    }

    fn write_u16(&mut self, id: u16) {
        let product = u64::from(id).wrapping_mul(SPREAD);
        self.0 = product ^ product >> 32;
    }
}

/// An odd number near 2 to the 64th over the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The receiving half of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct IncomingFlow {
    generation: Generation,
    /// Received on this connection and not acknowledged on the wire, in order of receipt.
    order: VecDeque<Pending>,
    /// The serial of `order[0]`.
    base: u64,
    /// QoS 2 ids in `order`.
    waiting_2: HashSet<u16, BuildHasherDefault<IdHasher>>,
    /// QoS 2 ids between PUBREC and PUBREL on this connection, each with what tells its message from another, if that may be asked.
    received_2: HashMap<u16, u64, BuildHasherDefault<IdHasher>>,
    /// `None` where there never was one: a connection without memory of another holds nothing for it.
    before: Option<Box<Before>>,
    /// The peer cannot say whether it kept the session (MQTT 3.1): what it sends without DUP is new, whatever its id.
    pub(crate) peer_may_have_forgotten: bool,
}

/// What is remembered of earlier connections.
#[derive(Debug, Clone, Default)]
struct Before {
    /// QoS 2 ids whose PUBREC left then, and PUBREL is still to come. They are no part of the peer's window any more, which
    /// starts afresh with each connection (MQTT 5.0 section 4.9).
    received_2: AHashSet<u16>,
    /// Received then, never acknowledged on the wire: the peer cannot have used these ids for anything else, so when it
    /// sends one again it is the message that our owner already has.
    carried: AHashMap<u16, Carried>,
    /// Serials of carried messages that the peer has sent again, to their new ones.
    renumbered: AHashMap<u64, u64>,
}

/// What a PUBLISH of QoS 1 or 2 says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arriving {
    pub(crate) packet_id: u16,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    /// What tells its message from another; 0 at QoS 1.
    pub(crate) content: u64,
}

/// What to do with a PUBLISH of QoS 1 or 2.
pub(crate) enum Arrival {
    New(AckToken),
    /// The owner has it already, or had.
    Known,
}

impl IncomingFlow {
    /// Files a QoS 1 or 2 PUBLISH.
    pub(crate) fn accept(
        &mut self,
        publish: Arriving,
        receive_maximum: usize,
        out: &mut BytesMut,
        v5: bool,
    ) -> Result<Arrival, ProtocolError> {
        let Arriving { packet_id, qos, dup, content } = publish;
        let exactly_once = qos == QoS::ExactlyOnce;
        let surely_new = !dup && (!exactly_once || self.peer_may_have_forgotten);
        if exactly_once {
            if surely_new && let Some(before) = &mut self.before {
                before.received_2.remove(&packet_id);
            }
            if !dup && self.received_2.get(&packet_id).is_some_and(|known| *known != content) {
                // A client that never sends PUBREL uses its id for another message, and does not call it a duplicate.
                self.received_2.remove(&packet_id);
            }
            let was_received = self.before.as_ref().is_some_and(|before| before.received_2.contains(&packet_id));
            if was_received || self.received_2.contains_key(&packet_id) {
                put_ack(out, PUBREC, packet_id, ReasonCode::SUCCESS, v5);
                return Ok(Arrival::Known);
            }
            if self.waiting_2.contains(&packet_id) {
                return Ok(Arrival::Known);
            }
        }
        if self.order.len() + self.received_2.len() >= receive_maximum {
            return Err(ProtocolError::ReceiveMaximum(receive_maximum));
        }
        let serial = self.base + self.order.len() as u64;
        let mut pending = Pending { packet_id, exactly_once, content, acked: false, reason: ReasonCode::SUCCESS };
        let mut accept = Arrival::New(AckToken { serial, generation: self.generation, packet_id, exactly_once });
        if let Some(before) = &mut self.before
            && let Some(carried) = before.carried.remove(&packet_id)
            && carried.exactly_once == exactly_once
            && !surely_new
        {
            if let Some(reason) = carried.acked {
                (pending.acked, pending.reason) = (true, reason);
            } else {
                before.renumbered.insert(carried.serial, serial);
            }
            accept = Arrival::Known;
        }
        if exactly_once {
            self.waiting_2.insert(packet_id);
        }
        self.order.push_back(pending);
        if matches!(accept, Arrival::Known) {
            self.flush(out, v5);
        }
        Ok(accept)
    }

    /// Acknowledges a message; on the wire once everything received before it is acknowledged too.
    pub(crate) fn ack(&mut self, token: AckToken, reason: ReasonCode, out: &mut BytesMut, v5: bool) {
        if token.generation != self.generation {
            return;
        }
        let mut serial = token.serial;
        if serial < self.base {
            let Some(before) = &mut self.before else { return };
            if let Some(new) = before.renumbered.remove(&serial) {
                serial = new;
            } else {
                if let Some(carried) = before.carried.get_mut(&token.packet_id).filter(|c| c.serial == serial) {
                    carried.acked.get_or_insert(reason);
                }
                return;
            }
        }
        let Some(pending) = serial.checked_sub(self.base).and_then(|at| self.order.get_mut(at as usize)) else {
            return;
        };
        if !pending.acked {
            (pending.acked, pending.reason) = (true, reason);
            self.flush(out, v5);
        }
    }

    fn flush(&mut self, out: &mut BytesMut, v5: bool) {
        while self.order.front().is_some_and(|pending| pending.acked) {
            let Some(Pending { packet_id, exactly_once, reason, content, .. }) = self.order.pop_front() else { return };
            self.base += 1;
            if exactly_once {
                self.waiting_2.remove(&packet_id);
                // An error in PUBREC ends the exchange (MQTT 5.0 section 4.3.3); 3.x cannot tell it.
                if !(v5 && reason.is_error()) {
                    self.received_2.insert(packet_id, content);
                }
                put_ack(out, PUBREC, packet_id, reason, v5);
            } else {
                put_ack(out, PUBACK, packet_id, reason, v5);
            }
        }
    }

    /// PUBREL: the peer has seen our PUBREC. An unknown id is answered all the same, or the peer would ask for ever.
    /// Returns whether a message of ours had the id until now.
    pub(crate) fn on_pubrel(&mut self, packet_id: u16, out: &mut BytesMut, v5: bool) -> bool {
        let mut before = self.before.as_mut();
        let known = self.received_2.remove(&packet_id).is_some()
            || before.as_mut().is_some_and(|before| before.received_2.remove(&packet_id));
        let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_ID_NOT_FOUND };
        put_ack(out, PUBCOMP, packet_id, reason, v5);
        if !known
            && let Some(before) = before
            && before.carried.get(&packet_id).is_some_and(|carried| carried.exactly_once)
        {
            // The peer gave up on a message that it never saw taken over, and will use the id for another.
            return before.carried.remove(&packet_id).is_some();
        }
        known
    }

    /// QoS 2 ids that an owner of before recorded, and that the peer has not released.
    pub(crate) fn restore(&mut self, packet_ids: Vec<u16>) {
        self.before.get_or_insert_default().received_2.extend(packet_ids);
    }

    /// The connection is gone. What was not acknowledged on it may be sent again.
    pub(crate) fn disconnected(&mut self) {
        self.waiting_2.clear();
        if self.order.is_empty() && self.received_2.is_empty() && self.before.is_none() {
            return;
        }
        let before = self.before.get_or_insert_default();
        let renumbered: AHashMap<u64, u64> = before.renumbered.drain().map(|(old, new)| (new, old)).collect();
        for pending in self.order.drain(..) {
            // Keep the serial that the owner's token holds.
            let serial = renumbered.get(&self.base).copied().unwrap_or(self.base);
            let acked = pending.acked.then_some(pending.reason);
            let carried = Carried { serial, exactly_once: pending.exactly_once, acked };
            before.carried.insert(pending.packet_id, carried);
            self.base += 1;
        }
        before.received_2.extend(self.received_2.drain().map(|(id, _)| id));
    }

    /// The peer has forgotten the session: its ids mean nothing any more.
    pub(crate) fn forget(&mut self) {
        self.base += self.order.len() as u64;
        self.order.clear();
        self.waiting_2.clear();
        self.received_2.clear();
        self.before = None;
    }

    /// How many messages wait for their owner's acknowledgement on this connection.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.order.len()
    }
}
