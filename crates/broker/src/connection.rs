//! A client's connection, as its task and the broker share it.

use crate::wake::Wake;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
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
    /// Which call of `serve` this connection came from.
    pub(crate) listener: u64,
}

impl Connection {
    pub(crate) fn new(session: ServerSession, listener: u64) -> Self {
        Self {
            session: RefCell::new(session),
            wake: Wake::default(),
            told_to_go: Cell::new(false),
            last_words: RefCell::default(),
            fed_in_pause: Cell::new(0),
            window_used_up: Cell::new(false),
            has_backlog: Cell::new(false),
            listener,
        }
    }

    /// Says how many messages of this client wait for the gateway. In MQTT 5 the client keeps to our receive maximum
    /// by itself, and the session sees to it; in 3.x it knows of none and is not read from.
    pub(crate) fn set_window(&self, unacknowledged: usize, receive_maximum: usize) {
        let is_told = self.session.borrow().version() == Version::V5;
        self.window_used_up.set(!is_told && unacknowledged >= receive_maximum);
    }
}
