//! What all tasks of a broker share.

use crate::broker_state::BrokerState;
use crate::settings::Settings;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;
use tidegate_mqtt::Batch;
use tidegate_pacing::LogLimit;
use tokio::sync::{Notify, Semaphore};

/// How many passwords are checked at a time.
const PASSWORD_CHECKS: usize = 2;

/// What all tasks of a broker share.
pub(crate) struct SharedBroker {
    pub(crate) state: RefCell<BrokerState>,
    /// There is something to do for the task that tends the broker: a deadline moved, an inbox waits.
    pub(crate) tend: Notify,
    /// Where sockets are read into, one at a time.
    pub(crate) scratch: RefCell<BytesMut>,
    /// What one read held, one at a time.
    pub(crate) batch: RefCell<Batch>,
    pub(crate) paused: Cell<bool>,
    /// Counts the gateway's pauses.
    pub(crate) pauses: Cell<u64>,
    pub(crate) password_checks: Semaphore,
    pub(crate) log_limit: RefCell<LogLimit>,
    pub(crate) listeners: Cell<u64>,
    /// Sockets that are open.
    pub(crate) sockets: Cell<usize>,
}

impl SharedBroker {
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            state: RefCell::new(BrokerState::new(settings, now)),
            tend: Notify::new(),
            scratch: RefCell::default(),
            batch: RefCell::default(),
            paused: Cell::new(false),
            pauses: Cell::new(0),
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            log_limit: RefCell::new(LogLimit::default()),
            listeners: Cell::new(0),
            sockets: Cell::new(0),
        }
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.state.borrow().settings.clone()
    }
}

impl SharedBroker {
    /// Hands every in-process client what is in its inbox.
    pub(crate) fn flush_inboxes(&self) {
        let count = self.state.borrow().locals.len();
        for local in 0..count {
            let (sink, mut inbox) = {
                let mut state = self.state.borrow_mut();
                let Some(Some(slot)) = state.locals.get_mut(local) else { continue };
                if slot.messages.is_empty() {
                    continue;
                }
                (slot.sink.clone(), std::mem::take(&mut slot.messages))
            };
            let taken = match sink.try_borrow_mut() {
                Ok(mut sink) => {
                    sink.received(&mut inbox);
                    inbox.clear();
                    true
                }
                Err(_) => false,
            };
            let mut state = self.state.borrow_mut();
            let Some(Some(slot)) = state.locals.get_mut(local) else { continue };
            // What came in meanwhile goes behind, and the memory is used again.
            inbox.append(&mut slot.messages);
            slot.messages = inbox;
            if !taken || !slot.messages.is_empty() {
                self.tend.notify_one();
            }
        }
    }
}
