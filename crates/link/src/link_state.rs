//! What a link, its handles and the connection of the moment share.

use crate::memory::{Avoid, Memory};
use crate::own::Own;
use crate::subscriptions::Subscriptions;
use crate::suspect::Suspicion;
use std::cell::{Cell, RefCell};
use std::time::Instant;
use tidegate_mqtt::ClientSession;
use tokio::sync::Notify;

/// Counted since the link was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Connections that reached CONNACK.
    pub connects: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// System calls that read something.
    pub reads: u64,
    /// System calls that wrote something.
    pub writes: u64,
}

/// What is true of a link on every connection. All of it lives on one thread, and no borrow is held across an await.
pub(crate) struct LinkState {
    pub(crate) session: RefCell<ClientSession>,
    pub(crate) subscriptions: RefCell<Subscriptions>,
    pub(crate) suspicion: RefCell<Suspicion>,
    pub(crate) memory: RefCell<Memory>,
    pub(crate) own: RefCell<Own>,
    /// The key of a message that may be what ends every connection: it is not to be sent elsewhere.
    pub(crate) held: Cell<Option<u64>>,
    /// Messages that are not tried any more.
    pub(crate) avoid: Cell<Avoid>,
    /// Messages below this serial were overdue when last looked.
    pub(crate) overdue_below: Cell<u64>,
    /// Exchanges that were taken as done without the broker's answer.
    pub(crate) given_up: Cell<u64>,
    pub(crate) paused: Cell<bool>,
    /// Messages may be published past the port: nothing of this connection is to come before them.
    pub(crate) takes_at_once: Cell<bool>,
    pub(crate) wake: Notify,
    pub(crate) stats: Cell<Stats>,
}

impl LinkState {
    pub(crate) fn new() -> Self {
        Self {
            session: RefCell::new(ClientSession::new(Instant::now())),
            subscriptions: RefCell::default(),
            suspicion: RefCell::default(),
            memory: RefCell::default(),
            own: RefCell::default(),
            held: Cell::new(None),
            avoid: Cell::default(),
            overdue_below: Cell::new(0),
            given_up: Cell::new(0),
            paused: Cell::new(false),
            takes_at_once: Cell::new(false),
            wake: Notify::new(),
            stats: Cell::default(),
        }
    }
}
