//! The broker's life: accept, tend, stop.

use crate::client;
use crate::connection::Connection;
use crate::disconnect::Leaving;
use crate::error::Error;
use crate::expiry::wall_ms;
use crate::inbox::LocalSink;
use crate::listener::Listener;
use crate::local::Local;
use crate::persisted::Persisted;
use crate::settings::Settings;
use crate::shared::SharedBroker;
use crate::stats::Stats;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_mqtt::ReasonCode;
use tidegate_pacing::LogLimit;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After an error of `accept` (no descriptors left, as a rule), in place of trying again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// So many are taken before everybody else has a turn: a crowd at the door holds up no message.
const ACCEPTED_AT_A_TIME: usize = 16;

/// While no connection can be accepted, that is said once in this time.
const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Sockets beyond the limit on connections that may wait for their turn to be told that the server is busy.
const WAITING_SOCKETS: usize = 256;

/// How long clients have to take their last words when the broker stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// The box's own broker. All clones are one.
///
/// Everything of it runs on the thread it is made on, inside a [`tokio::task::LocalSet`].
#[derive(Clone)]
pub struct Broker {
    shared: Rc<SharedBroker>,
    /// Of the disk, where there is one.
    news: Rc<Option<Arc<Notify>>>,
}

impl Broker {
    /// A broker without listeners.
    pub fn new(settings: Settings) -> Self {
        Self { shared: Rc::new(SharedBroker::new(settings)), news: Rc::default() }
    }

    /// A broker without listeners that goes on with what another process has left, and writes down what is to outlive this one.
    pub fn with_persistence(settings: Settings, persisted: Persisted) -> Self {
        let broker = Self::new(settings);
        let Persisted { store, saved, news } = persisted;
        {
            let mut state = broker.shared.state.borrow_mut();
            state.store = Some(Box::new(store));
            state.restore(saved, Instant::now(), wall_ms());
        }
        broker.shared.on_durable();
        Self { shared: broker.shared, news: Rc::new(Some(news)) }
    }

    /// Serves these listeners and tends the sessions, until stopped: then MQTT 5 clients are told that the server
    /// shuts down, everybody gets what is in the write buffers, and the in-process clients are let go.
    ///
    /// # Errors
    /// [`Error::Disk`] when what is kept over a restart cannot be written any more; [`Error::Panicked`] is a bug.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn_local(self.clone().serve(listener, stop.clone()));
        }
        let disk = tokio::task::spawn_local(self.clone().tend_disk());
        tokio::select! {
            () = self.tend(&stop) => {}
            error = self.shared.disk_failed() => {
                // Nobody is told anything more: what was not acknowledged is sent again after the next start.
                disk.abort();
                return Err(Error::Disk(error));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(Error::Panicked)??;
        }
        disk.abort();
        self.close_persistence();
        let count = self.shared.state.borrow().locals.len();
        for local in 0..count {
            // Freed while nothing is borrowed: a sink may hold handles to this broker.
            let slot = self.shared.state.borrow_mut().locals[local].take();
            drop(slot);
        }
        Ok(())
    }

    /// Serves one more listener beside those of [`run`](Self::run), until stopped; only its own clients are sent away.
    ///
    /// # Errors
    /// [`Error::Panicked`] is a bug.
    pub async fn serve(self, listener: Listener, stop: CancellationToken) -> Result<(), Error> {
        let shared = self.shared;
        let number = shared.listeners.get() + 1;
        shared.listeners.set(number);
        let mut clients = JoinSet::new();
        let (mut in_a_row, mut told) = (0, LogLimit::new(1, ACCEPT_TOLD_EVERY));
        loop {
            if in_a_row == ACCEPTED_AT_A_TIME {
                in_a_row = 0;
                // Until the sockets were looked at.
                tokio::task::yield_now().await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = clients.join_next(), if !clients.is_empty() => reap(&shared, ended),
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        in_a_row += 1;
                        shared.state.borrow_mut().stats.sockets += 1;
                        let room = shared.settings().limits.connections.saturating_add(WAITING_SOCKETS);
                        if shared.sockets.get() >= room {
                            shared.state.borrow_mut().stats.refused += 1;
                        } else {
                            shared.sockets.set(shared.sockets.get() + 1);
                            let (shared, stop) = (shared.clone(), stop.clone());
                            clients.spawn_local(client::serve(shared, socket, peer, listener.scheme, number, stop));
                        }
                    }
                    Err(error) => {
                        if told.allow(Instant::now()).is_some() {
                            tracing::warn!(%error, "cannot accept a connection; trying again");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let all_of_it = |_: &_, connection: &Connection| connection.listener == number;
        let reason = ReasonCode::SERVER_SHUTTING_DOWN;
        shared.state.borrow_mut().throw_out_all(reason, Leaving::Stopping, Instant::now(), all_of_it);
        let farewell = async {
            while let Some(ended) = clients.join_next().await {
                reap(&shared, ended);
            }
        };
        let _ = tokio::time::timeout(STOP_DEADLINE, farewell).await;
        shared.sockets.set(shared.sockets.get() - clients.len());
        Ok(())
    }

    /// Does what has its time and belongs to no connection: wills, ends of sessions, what the gateway published to
    /// itself, what the broker says of itself.
    async fn tend(&self, stop: &CancellationToken) {
        loop {
            let mut is_more = false;
            let next = {
                let (mut state, now) = (self.shared.state.borrow_mut(), Instant::now());
                if !self.shared.paused.get() {
                    is_more = state.replay_to_locals(now);
                }
                let (due, say, keep) = (state.on_time(now), state.say_sys(now), state.keep_gateway(now));
                due.into_iter().chain(keep).fold(say, Instant::min)
            };
            self.shared.settle();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.tend.notified() => {}
                () = tokio::task::yield_now(), if is_more => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// Hands over what is to be written down, and tells everybody who waits for the disk how far it is.
    async fn tend_disk(self) {
        let Some(news) = &*self.news else { return };
        loop {
            tokio::select! {
                () = news.notified() => self.shared.on_durable(),
                () = self.shared.unwritten.notified() => self.shared.state.borrow_mut().write_down(),
            }
        }
    }

    /// Sends every client away and closes what is kept over a restart, for another broker to go on with: nothing is written down from
    /// here on, and nobody is told anything that would have to be. Blocks until the disk has everything, and says whether it has.
    pub fn close_persistence(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        state.is_closed = true;
        state.throw_out_all(ReasonCode::SERVER_SHUTTING_DOWN, Leaving::Stopping, Instant::now(), |_, _| true);
        state.write_down();
        let is_written = state.store.take().is_none_or(|mut store| store.finish(STOP_DEADLINE));
        if !is_written {
            tracing::error!(broker = state.settings.name, "not everything that is to be kept could be written");
        }
        is_written
    }

    /// Makes the gateway, or a part of it, a client without a socket.
    pub fn local(&self, sink: Rc<RefCell<dyn LocalSink>>) -> Local {
        Local::new(self.shared.clone(), sink)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.shared.state.borrow().stats()
    }

    /// Changes users and limits. What was told to connected clients holds until they reconnect; clients whose user is
    /// gone or has another password, or who are anonymous and may not be any more, are sent away now.
    pub fn reconfigure(&self, settings: Settings) {
        let mut state = self.shared.state.borrow_mut();
        let old = std::mem::replace(&mut state.settings, Rc::new(settings));
        let new = state.settings.clone();
        self.shared.frames_max.set(new.limits.frames_max());
        if new.server_reference.is_some() {
            state.throw_out_all(ReasonCode::USE_ANOTHER_SERVER, Leaving::Lost, Instant::now(), |_, _| true);
        }
        state.throw_out_all(ReasonCode::NOT_AUTHORIZED, Leaving::Lost, Instant::now(), |session, _| {
            match (&session.username, &old.users, &new.users) {
                (Some(name), Some(before), Some(after)) => !before.agree_on(after, name),
                (Some(_), None, Some(_)) => true,
                _ => !new.allow_anonymous,
            }
        });
        if old.access != new.access {
            state.sessions.iter_mut().for_each(|session| session.ask(new.access.as_ref()));
        }
        if old.limits.rates() != new.limits.rates() {
            // Who was held up by the old ones may go on.
            state.wake_all();
        }
        drop(state);
        self.shared.settle();
        self.shared.tend.notify_one();
    }
}

fn reap(shared: &SharedBroker, ended: Result<(), tokio::task::JoinError>) {
    shared.sockets.set(shared.sockets.get() - 1);
    if let Err(error) = ended {
        tracing::error!(%error, "a client's task panicked; its connection is closed");
    }
}
