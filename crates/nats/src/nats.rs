//! A connection before it runs, and its owner's hold on it.

use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::{Outgoing, Settings};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tidegate_message::TopicFilter;
use tokio::sync::Notify;

/// What is true of a stream and its owner on every connection. No borrow is held across an await.
pub(crate) struct Shared {
    pub(crate) outbox: RefCell<Outbox>,
    pub(crate) inbox: RefCell<Inbox>,
    pub(crate) wanted: RefCell<Vec<TopicFilter>>,
    /// The owner wants other filters than the consumer was made for.
    pub(crate) wants_other: Cell<bool>,
    pub(crate) paused: Cell<bool>,
    pub(crate) is_up: Cell<bool>,
    /// When the stream that is known was made; another one by that name has other sequences.
    pub(crate) created: RefCell<Option<String>>,
    pub(crate) wake: Notify,
}

/// A connection that is not running yet.
pub struct Nats {
    pub(crate) settings: Settings,
    pub(crate) shared: Rc<Shared>,
}

impl Nats {
    /// A connection and the handle to it.
    pub fn new(settings: Settings) -> (Self, NatsHandle) {
        let shared = Rc::new(Shared {
            outbox: RefCell::default(),
            inbox: RefCell::new(Inbox::new(settings.receive_maximum.into())),
            wanted: RefCell::default(),
            wants_other: Cell::new(false),
            paused: Cell::new(false),
            is_up: Cell::new(false),
            created: RefCell::default(),
            wake: Notify::new(),
        });
        (Self { settings, shared: shared.clone() }, NatsHandle { shared })
    }
}

/// The owner's hold on a connection. All clones are one.
#[derive(Clone)]
pub struct NatsHandle {
    shared: Rc<Shared>,
}

impl NatsHandle {
    /// There is something to acknowledge or to pull.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Which messages of the stream are wanted from now on; none: there is no need of a consumer.
    pub fn subscribe(&self, filters: Vec<TopicFilter>) {
        if *self.shared.wanted.borrow() != filters {
            *self.shared.wanted.borrow_mut() = filters;
            self.shared.wants_other.set(true);
            self.wake();
        }
    }

    /// Asks for no more messages of the stream, or goes on.
    pub fn pause(&self, paused: bool) {
        if self.shared.paused.replace(paused) && !paused {
            self.wake();
        }
    }

    /// True while stream and, if anything is subscribed to, consumer are there.
    pub fn is_up(&self) -> bool {
        self.shared.is_up.get()
    }

    /// A connection that carries on under other settings. Run it when the one before has ended.
    pub fn with_settings(&self, settings: Settings) -> Nats {
        self.shared.inbox.borrow_mut().remember(settings.receive_maximum.into());
        Nats { settings, shared: self.shared.clone() }
    }

    /// The keys of all messages that were pulled and have not come back, sent or not.
    pub fn unfinished(&self) -> Vec<u64> {
        self.shared.outbox.borrow().keys().collect()
    }

    /// How many messages were pulled and have not come back.
    pub fn in_flight(&self) -> usize {
        self.shared.outbox.borrow().len()
    }

    /// Takes back messages with such a key, in order, to send them elsewhere. Those that were published and not acknowledged
    /// may be in the stream all the same.
    pub fn take_back(&self, wanted: impl Fn(u64) -> bool) -> Vec<Outgoing> {
        self.shared.outbox.borrow_mut().take(|entry| wanted(entry.outgoing.key))
    }
}
