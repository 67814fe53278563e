//! A connection, as its task and the broker share it.

use crate::exchange::Exchange;
use crate::expiry::wall_ms;
use crate::listener::{Peer, Scheme};
use crate::scram::Mechanism;
use crate::settled::Settled;
use crate::wake::Wake;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use tidegate_mqtt::{ServerSession, Version};

/// A connection, as its task and the broker share it.
pub(crate) struct Connection {
    pub(crate) session: RefCell<ServerSession>,
    pub(crate) wake: Wake,
    /// The broker has taken the session away: write [`last_words`](Self::last_words) and close.
    pub(crate) told_to_go: Cell<bool>,
    pub(crate) last_words: RefCell<BytesMut>,
    /// In which pause of the gateway this client published something for it; 0 for none.
    pub(crate) fed_in_pause: Cell<u64>,
    /// The gateway has as many of this client's messages unacknowledged as it may.
    pub(crate) window_used_up: Cell<bool>,
    /// Messages wait in the session's queue.
    pub(crate) has_backlog: Cell<bool>,
    /// How its client has said who it is, if not by password or certificate.
    pub(crate) mechanism: Cell<Option<Mechanism>>,
    /// The client is saying it again.
    pub(crate) exchange: RefCell<Option<Box<Exchange>>>,
    /// Which call of `serve` this connection came from.
    pub(crate) listener: u64,
    /// Where its client is.
    pub(crate) peer: Peer,
    /// What it speaks below MQTT.
    pub(crate) scheme: Scheme,
    /// Since when it stands, in milliseconds since the epoch.
    pub(crate) since_ms: u64,
    /// How many bytes have been written to the socket.
    written: Cell<u64>,
    /// What waits: from this byte on nothing is written before so much is settled. Both rise.
    holds: RefCell<VecDeque<(u64, Settled)>>,
}

impl Connection {
    pub(crate) fn new(session: ServerSession, listener: u64, peer: Peer, scheme: Scheme) -> Self {
        Self {
            session: RefCell::new(session),
            wake: Wake::default(),
            told_to_go: Cell::new(false),
            last_words: RefCell::default(),
            fed_in_pause: Cell::new(0),
            window_used_up: Cell::new(false),
            has_backlog: Cell::new(false),
            mechanism: Cell::new(None),
            exchange: RefCell::default(),
            listener,
            peer,
            scheme,
            since_ms: wall_ms(),
            written: Cell::new(0),
            holds: RefCell::default(),
        }
    }

    /// Says how many messages of this client wait for the gateway. In MQTT 5 the client keeps to our receive maximum
    /// by itself, and the session sees to it; in 3.x it knows of none and is not read from.
    pub(crate) fn set_window(&self, unacknowledged: usize, receive_maximum: usize) {
        let is_told = self.session.borrow().version() == Version::V5;
        self.window_used_up.set(!is_told && unacknowledged >= receive_maximum);
    }

    /// Where the next byte to be written to the client will be.
    pub(crate) fn position(&self) -> u64 {
        self.written.get() + self.session.borrow_mut().tx().len() as u64
    }

    /// So many bytes have been written.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes as u64);
    }

    /// From this byte on nothing is written before so much is settled. Returns whether nothing was held before.
    pub(crate) fn hold(&self, position: u64, wanted: Settled) -> bool {
        let mut holds = self.holds.borrow_mut();
        let is_first = holds.is_empty();
        let mut wanted = wanted;
        while let Some((_, also)) = holds.back().copied().filter(|(at, _)| *at >= position) {
            wanted = wanted.and(also);
            holds.pop_back();
        }
        if holds.back().is_none_or(|(_, before)| !wanted.is_met_by(*before)) {
            holds.push_back((position, wanted));
        }
        is_first
    }

    /// What was promised has come to a record: where the promise is waited for, so is that.
    pub(crate) fn promise_recorded(&self, promise: u64, sequence: u64) {
        for (_, wanted) in self.holds.borrow_mut().iter_mut().filter(|(_, wanted)| wanted.promise >= promise) {
            wanted.sequence = wanted.sequence.max(sequence);
        }
    }

    /// Whether something waits for the disk, as far as is known.
    pub(crate) fn is_held(&self) -> bool {
        !self.holds.borrow().is_empty()
    }

    /// How many bytes may be written, so much being settled.
    pub(crate) fn may_write(&self, settled: Settled) -> usize {
        let mut holds = self.holds.borrow_mut();
        while holds.front().is_some_and(|(_, wanted)| wanted.is_met_by(settled)) {
            holds.pop_front();
        }
        holds.front().map_or(usize::MAX, |(position, _)| position.saturating_sub(self.written.get()) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tidegate_mqtt::ServerLimits;

    #[test]
    fn what_waits_for_the_disk_holds_what_is_behind_it() {
        let limits = ServerLimits { receive_maximum: 1, max_packet_size: 100, topic_alias_max: 0 };
        let session = ServerSession::new(limits, Instant::now());
        let connection = Connection::new(session, 0, Peer::Unix, Scheme::Unix);
        let upto = |sequence| Settled { sequence, promise: 0 };
        assert_eq!(connection.may_write(upto(0)), usize::MAX);
        assert!(connection.hold(10, upto(5)));
        assert!(!connection.hold(20, upto(5)), "it is held for that already");
        assert!(!connection.hold(30, upto(7)));
        assert_eq!(connection.may_write(upto(4)), 10);
        connection.wrote(4);
        assert_eq!(connection.may_write(upto(4)), 6);
        assert_eq!(connection.may_write(upto(6)), 26);
        // Something earlier waits for something later: all behind it does.
        connection.hold(20, upto(9));
        assert_eq!(connection.may_write(upto(8)), 16);
        assert_eq!(connection.may_write(upto(9)), usize::MAX);
        // A promise is kept by a record, which is to be durable as well.
        connection.hold(40, Settled { sequence: 9, promise: 3 });
        assert_eq!(connection.may_write(Settled { sequence: 100, promise: 2 }), 36);
        connection.promise_recorded(3, 200);
        assert_eq!(connection.may_write(Settled { sequence: 199, promise: 3 }), 36);
        assert_eq!(connection.may_write(Settled { sequence: 200, promise: 3 }), usize::MAX);
        assert!(!connection.is_held());
    }
}
