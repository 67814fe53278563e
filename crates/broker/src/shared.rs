//! What all tasks of a broker share.

use crate::broker_state::{BrokerState, Traffic};
use crate::connection::Connection;
use crate::inbox::LocalRelease;
use crate::settings::Settings;
use crate::settled::Settled;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;
use tidegate_mqtt::Batch;
use tidegate_pacing::LogLimit;
use tidegate_persistence::DiskStatus;
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
    /// How many packets are taken from a client at a time.
    pub(crate) frames_max: Cell<usize>,
    /// Counts the gateway's pauses.
    pub(crate) pauses: Cell<u64>,
    pub(crate) password_checks: Semaphore,
    pub(crate) log_limit: RefCell<LogLimit>,
    pub(crate) listeners: Cell<u64>,
    /// Sockets that are open.
    pub(crate) sockets: Cell<usize>,
    pub(crate) traffic: Rc<Traffic>,
    /// Up to where what is recorded is durable; everything, where nothing is recorded.
    pub(crate) settled: Cell<Settled>,
    /// It has moved.
    pub(crate) durable_moved: Notify,
    /// Something was recorded that is to be written down.
    pub(crate) unwritten: Notify,
    /// The last promise that the gateway has kept.
    pub(crate) confirmed: Cell<u64>,
    /// How the disk was doing when it was asked last.
    pub(crate) disk: RefCell<DiskStatus>,
}

impl SharedBroker {
    pub(crate) fn new(settings: Settings) -> Self {
        let frames_max = Cell::new(settings.limits.frames_max());
        let state = BrokerState::new(settings, Instant::now());
        Self {
            frames_max,
            traffic: state.traffic.clone(),
            state: RefCell::new(state),
            tend: Notify::new(),
            scratch: RefCell::default(),
            batch: RefCell::default(),
            paused: Cell::new(false),
            pauses: Cell::new(0),
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            log_limit: RefCell::new(LogLimit::default()),
            listeners: Cell::new(0),
            sockets: Cell::new(0),
            settled: Cell::new(Settled::ALL),
            durable_moved: Notify::new(),
            unwritten: Notify::new(),
            confirmed: Cell::new(0),
            disk: RefCell::default(),
        }
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.state.borrow().settings.clone()
    }
}

impl SharedBroker {
    /// There is news of the disk.
    pub(crate) fn on_durable(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(store) = &mut state.store else { return };
        let sequence = store.poll();
        let promise = self.confirmed.get();
        self.settled.set(Settled { sequence, promise });
        let status = store.status();
        let has_changed = status != *self.disk.borrow();
        if has_changed {
            say_disk(&state.settings.name, &status);
            self.disk.replace(status);
        }
        self.tell_held(state);
    }

    /// More is settled than before.
    fn tell_held(&self, state: &mut BrokerState) {
        let settled = self.settled.get();
        state.held.retain(|connection| {
            connection.may_write(settled);
            connection.wake.wake();
            connection.is_held()
        });
        self.durable_moved.notify_waiters();
    }

    /// The gateway has recorded that a packet id is free again.
    pub(crate) fn confirm(&self, release: &LocalRelease) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.confirm(release);
        self.confirmed.set(self.confirmed.get().max(release.promise));
        if state.store.is_some() {
            self.settled.set(Settled { promise: self.confirmed.get(), ..self.settled.get() });
        }
        self.tell_held(state);
    }

    /// Waits until the disk has failed.
    pub(crate) async fn disk_failed(&self) -> String {
        loop {
            let moved = self.durable_moved.notified();
            if let DiskStatus::Failed(error) = &*self.disk.borrow() {
                return error.clone();
            }
            moved.await;
        }
    }

    /// Waits until nothing that is to be told on a connection waits for the disk.
    pub(crate) async fn until_durable(&self, connection: &Connection) {
        loop {
            let moved = self.durable_moved.notified();
            if connection.may_write(self.settled.get()) == usize::MAX {
                return;
            }
            moved.await;
        }
    }

    /// Tells the gateway which packet ids are free again.
    fn tell_releases(&self) {
        let (mut releases, sink) = {
            let mut state = self.state.borrow_mut();
            if state.releases.is_empty() {
                return;
            }
            // The first in-process client is the gateway.
            let sink = state.locals.first().and_then(Option::as_ref).map(|inbox| inbox.sink.clone());
            (std::mem::take(&mut state.releases), sink)
        };
        if let Some(sink) = sink {
            match sink.try_borrow_mut() {
                Ok(mut sink) => sink.released(&mut releases),
                Err(_) => {
                    releases.append(&mut self.state.borrow_mut().releases);
                    self.state.borrow_mut().releases = releases;
                    self.tend.notify_one();
                    return;
                }
            }
        }
        for release in releases {
            self.confirm(&release);
        }
    }

    /// Has what was recorded written down.
    pub(crate) fn write_down_soon(&self, state: &BrokerState) {
        if state.store.as_ref().is_some_and(|store| store.has_unwritten()) {
            // Behind all clients that have their turn now: what they bring is one batch of the disk's.
            self.unwritten.notify_one();
        }
    }

    /// Has written down what was recorded, and hands every in-process client what is in its inbox.
    pub(crate) fn settle(&self) {
        self.tell_releases();
        self.write_down_soon(&self.state.borrow());
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

fn say_disk(broker: &str, status: &DiskStatus) {
    match status {
        DiskStatus::Good => {
            tracing::info!(name: "persistence_goes_on", broker, "the disk takes what is to be kept again")
        }
        DiskStatus::Full => tracing::error!(
            name: "persistence_waits",
            broker,
            "the disk is full: clients of QoS 1 and 2 wait for their acknowledgements until there is room"
        ),
        DiskStatus::Failed(error) => tracing::error!(
            name: "persistence_failed",
            broker,
            error,
            "the disk failed: nothing that is to be kept is acknowledged any more"
        ),
    }
}
