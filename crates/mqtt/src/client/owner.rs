//! What the owner of a client's session may do beside sending: probe, hold back, take back, end.

use super::{BrokerLimits, ClientSession, Stage};
use crate::outgoing::Unanswered;
use crate::{Batch, wire};
use std::time::Instant;
use tidegate_message::{Message, QoS};

impl ClientSession {
    /// Asks for a sign of life now; [`pongs`](Self::pongs) counts the answers.
    pub fn ping(&mut self, now: Instant) {
        if self.stage == Stage::Up {
            self.connection.tx.extend_from_slice(&[wire::PINGREQ << 4, 0]);
            self.ping_sent = Some(now);
            self.connection.last_sent = now;
        }
    }

    /// How many PINGRESPs have come on this connection.
    pub const fn pongs(&self) -> u64 {
        self.pongs
    }

    /// Sends at most so many messages at a time from now on, however many the broker takes; 0 holds them all back,
    /// `u16::MAX` is as many as it takes.
    pub fn set_window(&mut self, messages: u16, batch: &mut Batch) {
        self.window = messages;
        if self.stage == Stage::Up {
            self.connection.peer.receive_maximum = self.granted.min(self.window);
            self.connection.resend(&mut batch.completed);
        }
    }

    /// Lowers what the broker is sent from now on, and on later connections until the next [`connect`](Self::connect).
    pub fn limit(&mut self, limits: BrokerLimits) {
        self.limits = limits;
        let peer = &mut self.connection.peer;
        peer.max_qos = peer.max_qos.min(limits.max_qos);
        peer.retain_available &= limits.retain;
        if let Some(max) = limits.max_packet_size {
            peer.max_packet_size = peer.max_packet_size.min(max as usize);
        }
    }

    /// What the broker has left unanswered for longest, of what was sent on the current or last connection: to be asked
    /// before the next [`connect`](Self::connect).
    pub fn first_unanswered(&self) -> Option<Unanswered<'_>> {
        self.connection.flow.outgoing.first_unanswered()
    }

    /// Everything that the broker has left unanswered on this connection, in the order of sending.
    pub fn unanswered(&self) -> impl Iterator<Item = Unanswered<'_>> {
        self.connection.flow.outgoing.unanswered()
    }

    /// The largest message that the broker has taken at QoS 1 or 2, topic and payload together, in bytes.
    pub fn largest_taken(&self) -> usize {
        self.connection.flow.outgoing.largest_taken()
    }

    /// Whether an answer to anything that was sent on this connection is due.
    pub fn is_waiting(&self) -> bool {
        self.connection.flow.outgoing.is_waiting()
    }

    /// The serial of the next packet id.
    pub fn next_serial(&self) -> u64 {
        self.connection.flow.outgoing.next_serial()
    }

    /// Takes an exchange for ended, whatever the broker thinks of it: no [`Completion`](crate::Completion) follows.
    ///
    /// Returns `(key, message)`: the key is `None` if the owner took the message back or published it unwatched, the
    /// message is `None` if the broker has taken it over. `None` altogether if there is no exchange of this serial.
    pub fn end_exchange(&mut self, serial: u64) -> Option<(Option<u64>, Option<Message>)> {
        self.connection.flow.outgoing.abandon(serial)
    }

    /// Ends every exchange whose message the broker has taken over: PUBREL is written where it was still due, and PUBCOMP
    /// is not waited for. Returns the keys; no [`Completion`](crate::Completion) follows.
    pub fn release_all(&mut self) -> Vec<u64> {
        let v5 = self.connection.v5();
        self.connection.flow.outgoing.release_all(&mut self.connection.tx, v5)
    }

    /// Lowers the QoS with which an unfinished message is sent again. False if there is none of this serial.
    pub fn lower_qos(&mut self, serial: u64, qos: QoS) -> bool {
        self.connection.flow.outgoing.lower(serial, qos)
    }

    /// Takes back, in order, the messages with such a key that the broker has not taken over, to send them elsewhere.
    /// Each comes as `(key, message)`. The broker may have received them, and they may arrive twice.
    pub fn take_back(&mut self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Message)> {
        self.connection.flow.outgoing.take_back(wanted)
    }

    /// The keys of all messages of QoS 1 and 2 that went in, and of which nothing has come out yet, in the order of sending.
    pub fn unfinished(&self) -> impl Iterator<Item = u64> + '_ {
        self.connection.flow.outgoing.unfinished()
    }

    /// Takes back every message that the broker has not taken over, to send them elsewhere. No
    /// [`Completion`](crate::Completion) will come for anything published so far.
    ///
    /// Returns two lists: `(key, message)` of what was taken back, in the order of sending, and the keys of the QoS 2
    /// messages that the broker did take over.
    pub fn abandon(&mut self) -> (Vec<(u64, Message)>, Vec<u64>) {
        let released = self.connection.flow.outgoing.released_keys().collect();
        (self.connection.flow.take_unfinished(), released)
    }
}
