//! The way in to the plugins of a route, and the way out of the threads of all of them.
//!
//! In: an [`Inbox`] a route, with [`Parcel`]s, at most one [`Swap`] and the word that the end has come. The route's worker
//! rests there, too: its thread takes it for what waits, and the data path's thread for a few parcels that nothing waits
//! before. Out: one [`Outbox`] for all routes, with what the threads have [`Decided`].

mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
}
mod habit;
mod signal;

use super::chain::Swap;
use super::fold::Interrupted;
use habit::Habit;
use signal::Signal;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_plugin::{Input, poll_briefly};
use tidegate_router::{Decided, Parcel, RouteId};
use tokio::sync::Notify;

/// The most jobs taken at a time: the rest stays where it can be counted and dropped.
const TAKE_MAX: usize = 256;

/// The most jobs decided on the data path's thread at a time: more are worth another core.
const HERE_MAX: usize = 64;

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

/// Who decides the parcels of a route.
pub(super) trait Decides: Send + Sized + 'static {
    /// Decides all of them; what is not decided is left in `jobs`.
    fn decide(&mut self, jobs: &mut Vec<Parcel>) -> impl Future<Output = Result<Vec<Decided>, Interrupted>> + Send;
}

/// A batch that was begun on the data path's thread and is to be ended by the route's own: the worker comes back with what
/// it has decided, or with the jobs that it has not.
pub(super) type Begun<W> =
    Pin<Box<dyn Future<Output = (Box<W>, Vec<Parcel>, Result<Vec<Decided>, Interrupted>)> + Send>>;

/// Where jobs wait for the thread of a route, and its worker for jobs: whoever has some first takes it.
pub(crate) struct Inbox<W> {
    waiting: Mutex<Waiting<W>>,
    ready: Condvar,
    /// Other plugins wait for these to end what they do.
    hurry: Arc<AtomicBool>,
}

struct Waiting<W> {
    jobs: VecDeque<Parcel>,
    swap: Option<Swap>,
    /// Its first plugins are not there yet: jobs wait.
    held: bool,
    stop: bool,
    retired: bool,
    leaving: Leaving,
    /// The thread sleeps and wants to be woken.
    idle: bool,
    /// While it has nothing to do.
    worker: Option<Box<W>>,
    begun: Option<Begun<W>>,
    /// When the worker has something to do by itself.
    until: Option<Instant>,
    habit: Habit,
}

/// Whether the thread ends with jobs undecided, which others decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Leaving {
    #[default]
    No,
    /// After the batch that it is in.
    Wanted,
    Done,
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
    /// End, and leave what waits.
    Leave,
    Stop,
}

/// The thread's turn.
pub(super) enum Turn<W> {
    Do(Box<W>, Next),
    /// To be run to its end, wherever it stands.
    End(Begun<W>),
}

/// What became of jobs that were to be decided on the data path's thread.
pub(crate) enum Here {
    /// They are decided.
    Decided(Vec<Decided>),
    /// They are being decided; the thread ends it.
    Elsewhere,
    /// They are left, for the thread.
    Refused,
}

impl<W> Default for Inbox<W> {
    fn default() -> Self {
        let waiting = Waiting {
            jobs: VecDeque::new(),
            swap: None,
            held: false,
            stop: false,
            retired: false,
            leaving: Leaving::default(),
            idle: false,
            worker: None,
            begun: None,
            until: None,
            habit: Habit::default(),
        };
        Self { waiting: Mutex::new(waiting), ready: Condvar::new(), hurry: Arc::default() }
    }
}

impl<W> Waiting<W> {
    /// Whether the thread has something to do besides ending what was begun.
    fn is_due(&self) -> bool {
        let is_ending = self.stop || self.retired || self.leaving != Leaving::No;
        !self.jobs.is_empty() || self.swap.is_some() || self.held || is_ending || self.is_time()
    }

    /// Whether the worker has something to do by itself.
    fn is_time(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn next(&mut self, jobs: &mut Vec<Parcel>) -> Option<Next> {
        if self.retired {
            return Some(Next::Retire(std::mem::take(&mut self.jobs)));
        }
        if self.leaving != Leaving::No {
            return Some(Next::Leave);
        }
        if self.held {
            // Sources send again what is not decided.
            return self.stop.then_some(Next::Stop);
        }
        if let Some(swap) = self.swap.take() {
            return Some(Next::Swap(swap));
        }
        if !self.jobs.is_empty() {
            let count = self.jobs.len().min(TAKE_MAX);
            jobs.extend(self.jobs.drain(..count));
            return Some(Next::Decide);
        }
        if self.stop {
            return Some(Next::Stop);
        }
        self.is_time().then_some(Next::Nothing)
    }

    /// Puts jobs that were taken and not decided back in front of the others. A plugin may have seen them.
    fn give_back(&mut self, jobs: &mut Vec<Parcel>) {
        for mut job in jobs.drain(..).rev() {
            job.redelivered = true;
            self.jobs.push_front(job);
        }
    }
}

impl<W> Inbox<W> {
    fn lock(&self) -> MutexGuard<'_, Waiting<W>> {
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

    /// Jobs wait until the first plugins come.
    pub(crate) fn hold(&self) {
        self.lock().held = true;
    }

    /// Set while a swap waits to be taken.
    pub(super) fn hurry(&self) -> Arc<AtomicBool> {
        self.hurry.clone()
    }

    pub(crate) fn swap(&self, swap: Swap) {
        let mut waiting = self.lock();
        self.hurry.store(true, Relaxed);
        waiting.held = false;
        // A swap that was never taken is replaced, but what it built must not be lost.
        waiting.swap = Some(match waiting.swap.take() {
            Some(earlier) => swap.after(earlier),
            None => swap,
        });
        // Other plugins have other habits.
        waiting.habit = Habit::default();
        waiting.idle = false;
        self.ready.notify_one();
    }

    /// The route is no more: what is not decided yet is dropped, and the thread ends. Returns what a thread that has left
    /// already did not decide.
    pub(crate) fn retire(&self) -> VecDeque<Parcel> {
        let mut waiting = self.lock();
        waiting.retired = true;
        self.ready.notify_one();
        if waiting.leaving == Leaving::Done { std::mem::take(&mut waiting.jobs) } else { VecDeque::new() }
    }

    /// The thread ends after the batch that it is in, and leaves what waits.
    pub(crate) fn leave(&self) {
        self.lock().leaving = Leaving::Wanted;
        self.ready.notify_one();
    }

    /// The thread has left. Returns what waits if the route is no more.
    pub(super) fn left(&self) -> Option<VecDeque<Parcel>> {
        let mut waiting = self.lock();
        waiting.leaving = Leaving::Done;
        waiting.retired.then(|| std::mem::take(&mut waiting.jobs))
    }

    /// Whether the thread has left.
    pub(super) fn has_left(&self) -> bool {
        self.lock().leaving == Leaving::Done
    }

    /// Takes out what waits.
    pub(super) fn take_waiting(&self) -> VecDeque<Parcel> {
        std::mem::take(&mut self.lock().jobs)
    }

    /// The thread ends when everything that came is decided.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.ready.notify_one();
    }

    /// The thread's worker rests until there is something to do, jobs of which go into `jobs`, or until it has something to
    /// do by itself.
    pub(super) fn take(&self, worker: Box<W>, jobs: &mut Vec<Parcel>, until: Option<Instant>) -> Turn<W> {
        let mut waiting = self.lock();
        (waiting.worker, waiting.until) = (Some(worker), until);
        loop {
            if let Some(begun) = waiting.begun.take() {
                return Turn::End(begun);
            }
            // The data path may have it; it says when it is back.
            if let Some(worker) = waiting.worker.take() {
                if let Some(next) = waiting.next(jobs) {
                    self.hurry.store(waiting.swap.is_some(), Relaxed);
                    return Turn::Do(worker, next);
                }
                waiting.worker = Some(worker);
            }
            waiting.idle = true;
            let patience = waiting.until.map_or(SLEEP_MAX, |until| until.saturating_duration_since(Instant::now()));
            let patience = if waiting.worker.is_some() { patience } else { SLEEP_MAX };
            waiting = self.ready.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner).0;
            waiting.idle = false;
        }
    }

    /// The thread has decided so many jobs in this time.
    pub(super) fn took(&self, jobs: usize, time: Duration) {
        self.lock().habit.took(jobs, time);
    }

    /// Puts jobs that were taken and not decided back in front of the others.
    pub(super) fn give_back(&self, jobs: &mut Vec<Parcel>) {
        self.lock().give_back(jobs);
    }

    /// Whether the end has come.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Waits on the thread, unless a swap, a successor or the end comes first.
    pub(super) fn sleep(&self, wait: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + wait;
        let mut waiting = self.lock();
        loop {
            if waiting.stop || waiting.retired || waiting.leaving != Leaving::No || waiting.swap.is_some() {
                return Err(Interrupted);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(());
            };
            waiting = self.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

// The worker decides here only by its interface.
#[allow(private_bounds)]
impl<W: Decides> Inbox<W> {
    /// Has jobs decided on this thread, which is not held up by it, if they are few, the plugins are quick by habit, and
    /// nothing of the route is undecided, or decided and not taken, elsewhere: `is_elsewhere` says whether the outbox has
    /// some.
    pub(crate) fn decide_here(&self, jobs: &mut Vec<Parcel>, is_elsewhere: impl FnOnce() -> bool) -> Here {
        let (count, began) = (jobs.len(), Instant::now());
        let worker = {
            let mut waiting = self.lock();
            let is_free = count <= HERE_MAX && waiting.worker.is_some() && !waiting.is_due();
            // The outbox is asked while nobody has the worker, so that nothing more of the route can come there.
            let is_for_here = is_free && waiting.habit.admits(count) && !is_elsewhere();
            if is_for_here { waiting.worker.take() } else { None }
        };
        let Some(mut worker) = worker else { return Here::Refused };
        let mut mine = std::mem::take(jobs);
        let mut begun: Begun<W> = Box::pin(async move {
            let decided = worker.decide(&mut mine).await;
            (worker, mine, decided)
        });
        let polled = poll_briefly(begun.as_mut());
        let mut waiting = self.lock();
        let here = match polled {
            Poll::Ready((worker, mut left, decided)) => {
                waiting.habit.stayed(count, began.elapsed());
                waiting.worker = Some(worker);
                let here = match decided {
                    Ok(decided) => Here::Decided(decided),
                    Err(Interrupted) => {
                        waiting.give_back(&mut left);
                        Here::Elsewhere
                    }
                };
                *jobs = left;
                here
            }
            Poll::Pending => {
                waiting.habit.left();
                waiting.begun = Some(begun);
                Here::Elsewhere
            }
        };
        if waiting.begun.is_some() || waiting.is_due() {
            waiting.idle = false;
            self.ready.notify_one();
        }
        here
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
        self.tell();
    }

    /// Has the data path look, whether or not there are verdicts.
    pub(super) fn tell(&self) {
        if self.signal.raise() {
            self.ready.notify_one();
        }
    }

    pub(crate) fn take(&self, into: &mut Vec<(RouteId, Vec<Decided>)>) {
        into.append(&mut self.decided.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether verdicts of a route wait.
    pub(crate) fn holds(&self, route: RouteId) -> bool {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(of, _)| *of == route)
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
