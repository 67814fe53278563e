//! The plugins of one route, on a thread of their own.
//!
//! Jobs wait in an [`Inbox`]; the thread takes as many as there are, up to a bound, runs each plugin over all of them
//! at once, and hands the verdicts back in the order the jobs came. A swap of plugins takes effect between two takes,
//! so a message is decided by one version. A plugin that loops is cut by the host; whatever it does, no socket waits.

use crate::counters::StageCounters;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_message::{ByteString, Message};
use tidegate_plugin::{Admission, Circuit, CircuitSettings, Destination, Fault, Input, Instance, Outcome};
use tidegate_router::{Decided, Parcel, Parking, RouteId, To, Verdict};
use tokio::sync::Notify;

/// The most jobs taken at a time: the rest stays where it can be counted and dropped.
const TAKE_MAX: usize = 256;

/// What happens to a message when a plugin fails on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Park,
    Drop,
    Pass,
    Block,
}

/// How often and how far apart a plugin that says `retry` is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Retry {
    fn wait(&self, attempt: u32) -> Duration {
        self.min.saturating_mul(1 << attempt.min(20)).min(self.max)
    }
}

/// One plugin in a pipeline.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: Arc<str>,
    pub(crate) instance: Instance,
    pub(crate) circuit: Circuit,
    /// The names behind [`Destination::Target`].
    pub(crate) targets: Arc<[Arc<str>]>,
    pub(crate) on_failure: OnFailure,
    pub(crate) retry: Retry,
    pub(crate) counters: Arc<StageCounters>,
}

impl Stage {
    pub(crate) fn circuit() -> Circuit {
        Circuit::new(CircuitSettings::default())
    }
}

/// A change of the pipeline, taken between two batches.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) source: Arc<str>,
    pub(crate) tick: Option<Duration>,
    pub(crate) stages: Vec<NewStage>,
}

/// A stage of the pipeline to be: a fresh one, or the running one with that name kept, state and all.
#[derive(Debug)]
pub(crate) enum NewStage {
    Fresh(Box<Stage>),
    Keep { name: Arc<str>, on_failure: OnFailure, retry: Retry },
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

/// Where jobs wait for the thread.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    ready: Condvar,
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
        // A swap that was never taken is replaced, but what it built must not be lost to a `Keep`.
        let earlier = waiting.swap.take();
        waiting.swap = Some(match earlier {
            Some(earlier) => merge(earlier, swap),
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

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.ready.notify_one();
    }
}

fn merge(earlier: Swap, mut later: Swap) -> Swap {
    let mut fresh: Vec<_> = earlier.stages;
    for stage in &mut later.stages {
        if let NewStage::Keep { name, on_failure, retry } = stage {
            let found = fresh.iter().position(|old| matches!(old, NewStage::Fresh(old) if old.name == *name));
            if let Some(NewStage::Fresh(mut built)) = found.map(|at| fresh.swap_remove(at)) {
                (built.on_failure, built.retry) = (*on_failure, *retry);
                *stage = NewStage::Fresh(built);
            }
        }
    }
    later
}

/// Where verdicts of all pipelines wait for the data path.
#[derive(Default)]
pub(crate) struct Outbox {
    decided: Mutex<Vec<(RouteId, Vec<Decided>)>>,
    /// How often something was put in.
    pushed: AtomicU64,
    /// The data path looks at `pushed` right now and need not be woken.
    awaited: AtomicBool,
    pub(crate) ready: Notify,
}

impl Outbox {
    fn push(&self, route: RouteId, decided: Vec<Decided>) {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).push((route, decided));
        // These two and those in `wait` are in one total order: either we see that nobody waits any more, or whoever
        // waited sees what we put in.
        self.pushed.fetch_add(1, SeqCst);
        if !self.awaited.load(SeqCst) {
            self.ready.notify_one();
        }
    }

    pub(crate) fn take(&self, into: &mut Vec<(RouteId, Vec<Decided>)>) {
        into.append(&mut self.decided.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How often something was put in so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed.load(SeqCst)
    }

    /// Looks for a moment whether something new was put in, without going to sleep. True if so.
    pub(crate) fn wait(&self, seen: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.awaited.store(true, SeqCst);
        while self.pushed.load(SeqCst) == seen && Instant::now() < until {
            // On a machine with one core the plugin needs it.
            std::thread::yield_now();
        }
        self.awaited.store(false, SeqCst);
        self.pushed.load(SeqCst) != seen
    }
}

/// Interrupted while a plugin blocked its route: a swap or the end has come.
struct Interrupted;

/// The thread's own state.
pub(crate) struct Worker {
    route: RouteId,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    source: Arc<str>,
    stages: Vec<Stage>,
    tick: Option<Duration>,
    next_tick: Option<Instant>,
}

/// Starts the thread. It ends when [`Inbox::stop`] is called and the inbox is empty, or by [`Inbox::retire`].
pub(crate) fn spawn(route: RouteId, name: &str, inbox: Arc<Inbox>, outbox: Arc<Outbox>) -> std::io::Result<()> {
    let mut worker =
        Worker { route, inbox, outbox, source: "".into(), stages: Vec::new(), tick: None, next_tick: None };
    // The thread is not joined: a guest that must be cut at its deadline may outlive the drain.
    std::thread::Builder::new().name(format!("route-{name}")).spawn(move || worker.run()).map(drop)
}

impl Worker {
    fn run(&mut self) {
        let mut jobs = Vec::new();
        loop {
            let now = Instant::now();
            if self.next_tick.is_some_and(|at| now >= at) {
                self.tick(now);
            }
            {
                let mut waiting = self.inbox.lock();
                if waiting.retired {
                    let reason = || Verdict::Drop(ByteString::from_static("route_removed"));
                    let dropped = waiting.jobs.drain(..).map(|job| Decided::Parcel(job, reason())).collect();
                    drop(waiting);
                    return self.outbox.push(self.route, dropped);
                }
                if let Some(swap) = waiting.swap.take() {
                    drop(waiting);
                    self.change(swap);
                    continue;
                }
                if waiting.jobs.is_empty() {
                    if waiting.stop {
                        return;
                    }
                    waiting.idle = true;
                    let patience = self.next_tick.map_or(Duration::from_secs(3600), |at| at.duration_since(now));
                    drop(self.inbox.ready.wait_timeout(waiting, patience));
                    continue;
                }
                let count = waiting.jobs.len().min(TAKE_MAX);
                jobs.extend(waiting.jobs.drain(..count));
            }
            match self.decide(&jobs) {
                Ok(verdicts) => {
                    let mut decided = self.written();
                    decided.extend(jobs.drain(..).zip(verdicts).map(|(job, verdict)| finish(job, verdict)));
                    self.outbox.push(self.route, decided);
                }
                Err(Interrupted) => {
                    let mut waiting = self.inbox.lock();
                    for mut job in jobs.drain(..).rev() {
                        job.redelivered = true;
                        waiting.jobs.push_front(job);
                    }
                    if waiting.stop {
                        return;
                    }
                }
            }
        }
    }

    /// What plugins have written into their state, to go into the record of the decisions behind it.
    fn written(&mut self) -> Vec<Decided> {
        let one = |stage: &mut Stage| {
            let writes = stage.instance.take_written();
            (!writes.is_empty()).then(|| Decided::Remember(stage.name.clone(), writes))
        };
        self.stages.iter_mut().filter_map(one).collect()
    }

    fn change(&mut self, swap: Swap) {
        let written = self.written();
        if !written.is_empty() {
            // Of calls whose decisions a swap has interrupted.
            self.outbox.push(self.route, written);
        }
        let mut old: Vec<Stage> = std::mem::take(&mut self.stages);
        for stage in swap.stages {
            match stage {
                NewStage::Fresh(stage) => self.stages.push(*stage),
                NewStage::Keep { name, on_failure, retry } => {
                    if let Some(at) = old.iter().position(|stage| stage.name == name) {
                        let mut stage = old.swap_remove(at);
                        (stage.on_failure, stage.retry) = (on_failure, retry);
                        self.stages.push(stage);
                    }
                }
            }
        }
        self.source = swap.source;
        if self.tick != swap.tick {
            self.tick = swap.tick;
            self.next_tick = swap.tick.map(|every| Instant::now() + every);
        }
    }

    /// Runs every plugin over all jobs; one verdict a job, in order.
    fn decide(&mut self, jobs: &[Parcel]) -> Result<Vec<Slot>, Interrupted> {
        let mut slots: Vec<Slot> = jobs.iter().map(|_| Slot::Nothing).collect();
        let mut items: Vec<Item> = (0..jobs.len()).map(|job| Item { job, message: None }).collect();
        let mut outcomes = Vec::with_capacity(jobs.len());
        let count = self.stages.len();
        for at in 0..count {
            let mut next = Vec::with_capacity(items.len());
            self.ask(at, jobs, &items, &mut outcomes)?;
            let stage = &self.stages[at];
            for (item, outcome) in items.drain(..).zip(outcomes.drain(..)) {
                let slot = &mut slots[item.job];
                match outcome {
                    // Another part of the same message has failed: nothing of it goes out.
                    _ if matches!(slot, Slot::Final(Verdict::Park(_) | Verdict::Failed)) => {}
                    Outcome::Pass => next.push(item),
                    Outcome::Forward(outputs) => {
                        for output in outputs {
                            let original = item.message.as_ref().unwrap_or(&jobs[item.job].message);
                            let to = output.to;
                            let message = output.applied_to(original);
                            match to {
                                Destination::Onward => next.push(Item { job: item.job, message: Some(message) }),
                                Destination::Target(index) => {
                                    if let Some(name) = stage.targets.get(usize::from(index)) {
                                        slot.add(To::Target(name.clone()), message);
                                    }
                                }
                            }
                        }
                    }
                    Outcome::Drop(reason) => slot.drop_for(reason),
                    Outcome::Reject(reason) => self.fail(at, slot, "reject", reason, item, &mut next),
                    Outcome::Retry(reason) => self.fail(at, slot, "retries_exhausted", reason, item, &mut next),
                    Outcome::Fault(fault) => self.fail(at, slot, fault.kind(), fault.to_string(), item, &mut next),
                }
            }
            items = next;
        }
        for item in items {
            let slot = &mut slots[item.job];
            match (item.message, &slot) {
                (_, Slot::Final(Verdict::Park(_) | Verdict::Failed)) => {}
                (None, Slot::Nothing) => *slot = Slot::Unchanged,
                (None, _) => slot.add(To::Onward, jobs[item.job].message.clone()),
                (Some(message), _) => slot.add(To::Onward, message),
            }
        }
        Ok(slots)
    }

    fn fail(&self, at: usize, slot: &mut Slot, kind: &'static str, reason: String, item: Item, next: &mut Vec<Item>) {
        let stage = &self.stages[at];
        match stage.on_failure {
            OnFailure::Pass => next.push(item),
            OnFailure::Drop => *slot = Slot::Final(Verdict::Failed),
            // `Block` ends here only when the plugin rejects: it will never decide, however long it is asked.
            OnFailure::Park | OnFailure::Block => {
                let parking = Parking { plugin: stage.name.clone(), kind, reason };
                *slot = Slot::Final(Verdict::Park(parking));
            }
        }
    }

    /// Asks one plugin about all items, and again about those it is to be asked again.
    fn ask(
        &mut self,
        at: usize,
        jobs: &[Parcel],
        items: &[Item],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Interrupted> {
        let source = self.source.clone();
        let inputs: Vec<Input<'_>> = items
            .iter()
            .map(|item| {
                let job = &jobs[item.job];
                let message = item.message.as_ref().unwrap_or(&job.message);
                Input { id: job.id, message, received_ms: job.received_ms, redelivered: job.redelivered }
            })
            .collect();
        self.stages[at].call(&source, &inputs, outcomes);
        for (n, input) in inputs.iter().enumerate() {
            let mut attempt = 0;
            loop {
                let stage = &mut self.stages[at];
                let again = match &outcomes[n] {
                    Outcome::Retry(_) if attempt < stage.retry.attempts => true,
                    Outcome::Retry(_) | Outcome::Fault(_) => stage.on_failure == OnFailure::Block,
                    _ => false,
                };
                if !again {
                    break;
                }
                let wait = stage.retry.wait(attempt);
                attempt += 1;
                stage.counters.retries.add(1);
                self.sleep(wait)?;
                let mut one = Vec::with_capacity(1);
                self.stages[at].call(&source, &[Input { redelivered: true, ..*input }], &mut one);
                if let Some(outcome) = one.pop() {
                    outcomes[n] = outcome;
                }
            }
        }
        Ok(())
    }

    /// Waits, unless a swap or the end comes first.
    fn sleep(&self, wait: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + wait;
        let mut waiting = self.inbox.lock();
        loop {
            if waiting.stop || waiting.retired || waiting.swap.is_some() {
                return Err(Interrupted);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(());
            };
            waiting = self.inbox.ready.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tick(&mut self, now: Instant) {
        self.call_timers(now);
        let written = self.written();
        if !written.is_empty() {
            self.outbox.push(self.route, written);
        }
    }

    fn call_timers(&mut self, now: Instant) {
        self.next_tick = self.tick.map(|every| now + every);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        for stage in self.stages.iter_mut().filter(|stage| stage.instance.plugin().has_timer()) {
            if !matches!(stage.circuit.admit(now), Admission::Go | Admission::Probe) {
                continue;
            }
            match stage.instance.tick(now_ms) {
                Ok(outputs) => {
                    stage.circuit.record_ok();
                    let targets = &stage.targets;
                    let out: Vec<_> = outputs
                        .into_iter()
                        .filter_map(|output| {
                            let to = match output.to {
                                Destination::Onward => To::Onward,
                                Destination::Target(index) => To::Target(targets.get(usize::from(index))?.clone()),
                            };
                            Some((to, output.by_itself()?))
                        })
                        .collect();
                    if !out.is_empty() {
                        let writes = stage.instance.take_written();
                        let written = (!writes.is_empty()).then(|| Decided::Remember(stage.name.clone(), writes));
                        let decided = written.into_iter().chain([Decided::Tick(out)]).collect();
                        self.outbox.push(self.route, decided);
                    }
                }
                Err(fault) => stage.record(&fault, now),
            }
        }
    }
}

impl Stage {
    /// One outcome an input, whatever the circuit says.
    fn call(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        if inputs.is_empty() {
            return; // an earlier plugin has dropped everything
        }
        let now = Instant::now();
        let first = outcomes.len();
        match self.circuit.admit(now) {
            Admission::Go => self.instance.handle(source, inputs, outcomes),
            Admission::Probe => {
                self.instance.handle(source, &inputs[..1], outcomes);
                let well = !matches!(outcomes.last(), Some(Outcome::Fault(_)));
                if well {
                    self.instance.handle(source, &inputs[1..], outcomes);
                }
            }
            Admission::Wait(_) => {}
        }
        for outcome in &outcomes[first..] {
            match outcome {
                Outcome::Fault(fault) => self.record(fault, now),
                Outcome::Reject(_) => {
                    self.counters.rejects.add(1);
                    self.circuit.record_ok();
                }
                _ => self.circuit.record_ok(),
            }
        }
        let missing = inputs.len() - (outcomes.len() - first);
        if missing > 0 {
            self.counters.circuit_open.add(missing as u64);
            // Whoever may be asked again will be, after a wait; the others fail without costing anything.
            let open = || match self.on_failure {
                OnFailure::Block => Outcome::Retry("its circuit is open".to_owned()),
                _ => Outcome::Fault(Fault::Restart("its circuit is open after repeated failures".to_owned())),
            };
            outcomes.extend(std::iter::repeat_with(open).take(missing));
        }
    }

    fn record(&mut self, fault: &Fault, now: Instant) {
        self.counters.fault(fault.kind());
        if self.circuit.record_fault(now) {
            self.counters.circuit_opened.add(1);
            tracing::warn!(plugin = &*self.name, %fault, "the plugin keeps failing: its circuit opens");
        }
    }
}

/// One message, or one part of it, between two plugins. Without a message of its own it is the job's.
struct Item {
    job: usize,
    message: Option<Message>,
}

/// What is known so far of a job.
enum Slot {
    Nothing,
    Unchanged,
    /// The common case, without an allocation.
    One(To, Message),
    Outputs(Vec<(To, Message)>),
    Final(Verdict),
}

impl Slot {
    fn add(&mut self, to: To, message: Message) {
        match self {
            Self::Outputs(outputs) => outputs.push((to, message)),
            Self::One(..) => {
                if let Self::One(first_to, first) = std::mem::replace(self, Self::Nothing) {
                    *self = Self::Outputs(vec![(first_to, first), (to, message)]);
                }
            }
            Self::Final(Verdict::Park(_) | Verdict::Failed) => {}
            Self::Nothing | Self::Unchanged | Self::Final(_) => *self = Self::One(to, message),
        }
    }

    fn drop_for(&mut self, reason: ByteString) {
        if matches!(self, Self::Nothing) {
            *self = Self::Final(Verdict::Drop(reason));
        }
    }
}

fn finish(mut job: Parcel, slot: Slot) -> Decided {
    let verdict = match slot {
        Slot::Unchanged => Verdict::Onward,
        Slot::Nothing => Verdict::Drop(ByteString::from_static("no output")),
        Slot::Final(verdict) => verdict,
        Slot::One(To::Onward, message) => {
            job.message = message;
            Verdict::Onward
        }
        Slot::One(to, message) => Verdict::Outputs(vec![(to, message)]),
        Slot::Outputs(outputs) => Verdict::Outputs(outputs),
    };
    Decided::Parcel(job, verdict)
}
