//! The way in to the thread of a route's plugins, and the way out of all of them.
//!
//! In: an [`Inbox`] a route, with [`Parcel`]s, at most one [`Swap`] and the word that the end has come. Out: one [`Outbox`]
//! for all routes, with what is [`Decided`].

mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
}
mod signal;

use super::chain::Swap;
use super::fold::Interrupted;
use signal::Signal;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_plugin::Input;
use tidegate_router::{Decided, Parcel, RouteId};
use tokio::sync::Notify;

/// The most jobs taken at a time: the rest stays where it can be counted and dropped.
const TAKE_MAX: usize = 256;

/// How long the thread of a route sleeps at most.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What a plugin said on a tick: no source waits for it. When it was received is for the router to say, by its clock.
pub(super) const fn of_tick(message: Message, id: u64, now_ms: u64) -> Parcel {
    Parcel { message, debt: None, id, received_ms: now_ms, received_us: 0, redelivered: false }
}

/// A parcel as a plugin gets it.
pub(super) const fn input(parcel: &Parcel) -> Input<'_> {
    let Parcel { id, received_ms, redelivered, .. } = *parcel;
    Input { id, message: &parcel.message, received_ms, redelivered }
}

/// Where jobs wait for the thread.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Parcel>,
    swap: Option<Swap>,
    stop: bool,
    retired: bool,
    /// The thread sleeps and wants to be woken.
    idle: bool,
}

/// What the thread is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Decide the jobs that were taken.
    Decide,
    Swap(Swap),
    /// Nothing came: see whether it is time for a tick.
    Nothing,
    /// The route is no more; these were not decided.
    Retire(VecDeque<Parcel>),
    Stop,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A thread that panicked while it held this has changed nothing halfway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves all of `jobs` in. Returns those dropped to keep within `max`: the oldest that no source waits for.
    pub(crate) fn push(&self, jobs: &mut Vec<Parcel>, max: usize) -> Vec<Parcel> {
        let mut waiting = self.lock();
        waiting.jobs.extend(jobs.drain(..));
        let mut dropped = Vec::new();
        if waiting.jobs.len() > max {
            let mut excess = waiting.jobs.len() - max;
            let kept = std::mem::take(&mut waiting.jobs);
            for job in kept {
                if excess > 0 && job.debt.is_none() {
                    excess -= 1;
                    dropped.push(job);
                } else {
                    waiting.jobs.push_back(job);
                }
            }
        }
        if std::mem::take(&mut waiting.idle) {
            self.ready.notify_one();
        }
        dropped
    }

    pub(crate) fn swap(&self, swap: Swap) {
        let mut waiting = self.lock();
        // A swap that was never taken is replaced, but what it built must not be lost.
        waiting.swap = Some(match waiting.swap.take() {
            Some(earlier) => swap.after(earlier),
            None => swap,
        });
        waiting.idle = false;
        self.ready.notify_one();
    }

    /// The route is no more: what is not decided yet is dropped, and the thread ends.
    pub(crate) fn retire(&self) {
        self.lock().retired = true;
        self.ready.notify_one();
    }

    /// The thread ends when everything that came is decided.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.ready.notify_one();
    }

    /// Takes what is to be done next, jobs into `jobs`; sleeps until something comes, at most until `until`.
    pub(super) fn take(&self, jobs: &mut Vec<Parcel>, until: Option<Instant>) -> Next {
        let mut waiting = self.lock();
        if waiting.retired {
            return Next::Retire(std::mem::take(&mut waiting.jobs));
        }
        if let Some(swap) = waiting.swap.take() {
            return Next::Swap(swap);
        }
        if waiting.jobs.is_empty() {
            if waiting.stop {
                return Next::Stop;
            }
            waiting.idle = true;
            let patience = until.map_or(SLEEP_MAX, |until| until.saturating_duration_since(Instant::now()));
            drop(self.ready.wait_timeout(waiting, patience));
            return Next::Nothing;
        }
        let count = waiting.jobs.len().min(TAKE_MAX);
        jobs.extend(waiting.jobs.drain(..count));
        Next::Decide
    }

    /// Puts jobs that were taken and not decided back in front of the others. A plugin may have seen them.
    pub(super) fn give_back(&self, jobs: &mut Vec<Parcel>) {
        let mut waiting = self.lock();
        for mut job in jobs.drain(..).rev() {
            job.redelivered = true;
            waiting.jobs.push_front(job);
        }
    }

    /// Whether the end has come.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Waits on the thread, unless a swap or the end comes first.
    pub(super) fn sleep(&self, wait: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + wait;
        let mut waiting = self.lock();
        loop {
            if waiting.stop || waiting.retired || waiting.swap.is_some() {
                return Err(Interrupted);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(());
            };
            waiting = self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where verdicts of all routes wait for the data path.
#[derive(Default)]
pub(crate) struct Outbox {
    decided: Mutex<Vec<(RouteId, Vec<Decided>)>>,
    signal: Signal,
    pub(crate) ready: Notify,
}

impl Outbox {
    pub(super) fn push(&self, route: RouteId, decided: Vec<Decided>) {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).push((route, decided));
        if self.signal.raise() {
            self.ready.notify_one();
        }
    }

    pub(crate) fn take(&self, into: &mut Vec<(RouteId, Vec<Decided>)>) {
        into.append(&mut self.decided.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How often something was put in so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.signal.raised()
    }

    /// Looks for a moment whether something new was put in, without going to sleep. True if so.
    pub(crate) fn wait(&self, seen: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.signal.watch(seen, || {
            let goes_on = Instant::now() < until;
            if goes_on {
                // On a machine with one core the plugin needs it.
                std::thread::yield_now();
            }
            goes_on
        })
    }
}

#[cfg(test)]
mod tests;
