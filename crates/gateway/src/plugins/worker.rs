//! The worker of a route's plugins, and its thread: takes what waits, has it decided, calls the timers, hands back.

use super::chain::{Chain, Swap};
use super::fold::{Folded, Interrupted, fold};
use super::mailbox::{Decides, Inbox, Next, Outbox, Turn, input, of_tick};
use super::stage::Stage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_message::{ByteString, Message};
use tidegate_pacing::LogLimit;
use tidegate_plugin::{Input, Output, run_here};
use tidegate_router::{Decided, Parcel, RouteId, To, Verdict};

/// What sets the numbers of messages made on a tick apart from those of messages that came; below 2^53, which engines of
/// JavaScript hold exactly.
const OF_TICK: u64 = 1 << 52;

/// The number that a message made on a tick had last, in any route.
static LAST_OF_TICK: AtomicU64 = AtomicU64::new(0);

/// Why a message of a route that is no more is dropped.
const ROUTE_REMOVED: ByteString = ByteString::from_static("route_removed");

/// A parcel that a route had which is no more.
pub(crate) fn removed(parcel: Parcel) -> Decided {
    Decided::Parcel(parcel, Verdict::Drop(ROUTE_REMOVED))
}

/// A route's plugins, and what is unfinished of them.
pub(crate) struct Worker {
    route: RouteId,
    /// The route's name.
    name: Box<str>,
    inbox: Arc<Inbox<Self>>,
    outbox: Arc<Outbox>,
    chain: Chain,
    tick: Option<Duration>,
    next_tick: Option<Instant>,
    /// What plugins said on a tick and a swap has interrupted.
    said: Vec<Said>,
    /// Of the lines about what was refused of its ticks.
    refused: LogLimit,
    /// What plugins have written into their state on a tick, before what they said has gone through the plugins behind.
    ticked: Vec<Decided>,
    /// Kept for its allocation between batches; always empty.
    folded: Vec<Folded>,
}

/// What one plugin said on one tick, in order: messages on their way to the plugins behind it, and with a target those
/// that go straight there.
struct Said {
    messages: Vec<(Parcel, Option<Arc<str>>)>,
    /// The plugins behind, which it is to go through.
    ahead: Vec<Arc<str>>,
}

/// Starts the thread. It ends when [`Inbox::stop`] is called and the inbox is empty, or by [`Inbox::retire`].
pub(super) fn spawn(route: RouteId, name: &str, inbox: Arc<Inbox<Worker>>, outbox: Arc<Outbox>) -> std::io::Result<()> {
    let worker = Box::new(Worker::new(route, name, inbox, outbox));
    // The thread is not joined: a guest that must be cut at its deadline may outlive the drain.
    std::thread::Builder::new().name(format!("route-{name}")).spawn(move || run(worker)).map(drop)
}

fn run(mut worker: Box<Worker>) {
    let inbox = worker.inbox.clone();
    let mut jobs = Vec::new();
    loop {
        worker.call_timers_if_due();
        let until = worker.next_tick;
        let (began, count, outcome) = match inbox.take(worker, &mut jobs, until) {
            Turn::End(begun) => {
                let began = Instant::now();
                let outcome;
                (worker, jobs, outcome) = run_here(begun);
                // The jobs of the batch are with what was decided.
                (began, outcome.as_ref().map_or(jobs.len(), Vec::len), outcome)
            }
            Turn::Do(taken, next) => {
                worker = taken;
                match next {
                    Next::Nothing => continue,
                    Next::Swap(swap) => {
                        worker.change(swap);
                        worker.go_on();
                        continue;
                    }
                    Next::Decide => (Instant::now(), jobs.len(), run_here(worker.decide(&mut jobs))),
                    Next::Retire(waiting) => return worker.retire(waiting),
                    Next::Leave => return worker.leave(),
                    Next::Stop => return,
                }
            }
        };
        inbox.took(count, began.elapsed());
        match outcome {
            Ok(decided) => worker.outbox.push(worker.route, decided),
            Err(Interrupted) => {
                inbox.give_back(&mut jobs);
                if inbox.is_stopped() {
                    return;
                }
            }
        }
    }
}

impl Decides for Worker {
    async fn decide(&mut self, jobs: &mut Vec<Parcel>) -> Result<Vec<Decided>, Interrupted> {
        {
            let inputs: Vec<Input<'_>> = jobs.iter().map(input).collect();
            let wait = |wait| self.inbox.sleep(wait);
            let folded = fold(&mut self.chain.asked(&wait, &mut |_, _, _| ()), 0, &inputs, &mut self.folded).await;
            if let Err(interrupted) = folded {
                self.chain.take_back_written();
                return Err(interrupted);
            }
        }
        let verdict = |(mut job, folded): (Parcel, Folded)| {
            let verdict = folded.into_verdict(&mut job.message);
            Decided::Parcel(job, verdict)
        };
        let mut decided = self.written();
        decided.extend(jobs.drain(..).zip(self.folded.drain(..)).map(verdict));
        Ok(decided)
    }
}

impl Worker {
    fn new(route: RouteId, name: &str, inbox: Arc<Inbox<Self>>, outbox: Arc<Outbox>) -> Self {
        Self {
            route,
            name: name.into(),
            inbox,
            outbox,
            chain: Chain::new(),
            tick: None,
            next_tick: None,
            said: Vec::new(),
            refused: LogLimit::default(),
            ticked: Vec::new(),
            folded: Vec::new(),
        }
    }

    fn call_timers_if_due(&mut self) {
        let now = Instant::now();
        if self.next_tick.is_some_and(|at| now >= at) {
            self.next_tick = self.tick.map(|every| now + every);
            self.call_timers();
        }
    }

    /// The route is no more; what is not decided is dropped.
    fn retire(mut self, waiting: impl IntoIterator<Item = Parcel>) {
        let mut dropped = self.drop_said(ROUTE_REMOVED);
        dropped.extend(waiting.into_iter().map(removed));
        self.hand_back(dropped);
    }

    /// Other workers take over, as soon as this one has told all that it knows.
    fn leave(mut self) {
        let dropped = self.drop_said(ByteString::from_static("workers_changed"));
        self.hand_back(dropped);
        match self.inbox.left() {
            Some(waiting) => self.retire(waiting),
            None => self.outbox.tell(),
        }
    }

    /// What plugins said on a tick and nobody goes on with.
    fn drop_said(&mut self, reason: ByteString) -> Vec<Decided> {
        let said = std::mem::take(&mut self.said).into_iter().flat_map(|said| said.messages);
        said.map(|(job, _)| Decided::Tick(job, Verdict::Drop(reason.clone()))).collect()
    }

    fn change(&mut self, swap: Swap) {
        let Swap { source, tick, stages, meetings } = swap;
        let (outbox, route, inbox) = (&self.outbox, self.route, &self.inbox);
        let mut refused = Vec::new();
        for place in meetings {
            let tell = |moved| outbox.push(route, vec![Decided::Moved(moved)]);
            // At the end it goes on with what it has.
            let Some(why) = place.meet(route, tell, || inbox.is_stopped()) else { return };
            refused.extend(why.iter().cloned());
            // The data path takes what was written before it has anything decided here on its own thread.
            outbox.push(route, Vec::new());
        }
        self.chain.change(source, stages, &refused);
        self.chain.begin();
        self.chain.hurry_while(&self.inbox.hurry());
        if self.tick != tick {
            self.tick = tick;
            self.next_tick = tick.map(|every| Instant::now() + every);
        }
    }

    /// What plugins have written into their state, to go into the record of the decisions behind it.
    fn written(&mut self) -> Vec<Decided> {
        let mut all = std::mem::take(&mut self.ticked);
        all.extend(self.chain.written().map(|(plugin, writes)| Decided::Remember(plugin, writes)));
        all
    }

    fn hand_back(&mut self, decided: Vec<Decided>) {
        let mut all = self.written();
        all.extend(decided);
        if !all.is_empty() {
            self.outbox.push(self.route, all);
        }
    }

    /// Calls the timer of each plugin that has one. What it says goes through the plugins behind it.
    fn call_timers(&mut self) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        for at in 0..self.chain.stages().len() {
            match run_here(self.chain.tick(at, now_ms)) {
                Some(Ok(outputs)) => {
                    self.chain.stages()[at].tell_ticked(&self.name, now_ms, &outputs);
                    let said = self.said(at, outputs, now_ms);
                    if self.pass_on(said).is_err() {
                        break; // a swap: the others are called at the next tick
                    }
                }
                Some(Err(fault)) => {
                    let plugin = &*self.chain.stages()[at].name;
                    if let Some(untold) = self.refused.allow(Instant::now()) {
                        tracing::warn!(
                            name: "tick_refused",
                            route = &*self.name,
                            plugin,
                            %fault,
                            untold,
                            "what it said on a tick is refused"
                        );
                    }
                }
                None => {}
            }
        }
        // Of timers that only wrote down something.
        self.hand_back(Vec::new());
    }

    fn said(&self, at: usize, outputs: Vec<Output>, now_ms: u64) -> Said {
        let (stage, behind) = (&self.chain.stages()[at], &self.chain.stages()[at + 1..]);
        let made = stage.made_by_itself(outputs).into_iter();
        Said {
            messages: made.map(|(message, to)| (of_tick(message, next_of_tick(), now_ms), to)).collect(),
            ahead: behind.iter().map(|stage| stage.name.clone()).collect(),
        }
    }

    /// Lets what was said on a tick go through the plugins behind the one that said it. Keeps it if that is interrupted.
    fn pass_on(&mut self, mut said: Said) -> Result<(), Interrupted> {
        if said.messages.is_empty() {
            return Ok(());
        }
        // What it said is kept, so what it wrote with that is.
        self.ticked = self.written();
        let mut folded = Vec::new();
        let done = {
            let open = said.messages.iter().filter(|(_, target)| target.is_none());
            let inputs: Vec<Input<'_>> = open.map(|(job, _)| input(job)).collect();
            let stages = self.chain.stages();
            // After a swap the one that said it may stand elsewhere, or be gone.
            let first = stages.iter().position(|stage| said.ahead.contains(&stage.name)).unwrap_or(stages.len());
            let (inbox, route, refused) = (&self.inbox, &*self.name, &mut self.refused);
            let wait = |wait| inbox.sleep(wait);
            let mut failed = |stage: &Stage, message: &Message, reason: &str| {
                if let Some(untold) = refused.allow(Instant::now()) {
                    let (plugin, topic) = (&*stage.name, message.topic.as_str());
                    tracing::warn!(
                        name: "tick_refused",
                        route,
                        plugin,
                        topic,
                        reason,
                        untold,
                        "refused what a plugin before it said on a tick"
                    );
                }
            };
            run_here(fold(&mut self.chain.asked(&wait, &mut failed), first, &inputs, &mut folded))
        };
        if done.is_err() {
            self.chain.take_back_written();
            said.messages.iter_mut().for_each(|(job, _)| job.redelivered = true);
            self.said.push(said);
            return done;
        }
        let mut folded = folded.into_iter();
        let verdict = |(mut job, target): (Parcel, Option<Arc<str>>)| {
            let verdict = match target {
                Some(target) => Verdict::Outputs(vec![(To::Target(target), job.message.clone())]),
                None => folded.next()?.into_verdict(&mut job.message),
            };
            Some(Decided::Tick(job, verdict))
        };
        let decided = said.messages.into_iter().filter_map(verdict).collect();
        self.hand_back(decided);
        Ok(())
    }

    /// After a swap: goes on with what the swap has interrupted.
    fn go_on(&mut self) {
        for said in std::mem::take(&mut self.said) {
            // Interrupted once more, it is kept, and its turn comes after the next swap.
            let _ = self.pass_on(said);
        }
    }
}

/// A number that no message made on a tick had before: the time in microseconds, or one more than the last, so that it
/// is not given again after a restart either.
fn next_of_tick() -> u64 {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let next = |last: u64| now_us.max(last + 1);
    let last = LAST_OF_TICK.fetch_update(Relaxed, Relaxed, |last| Some(next(last))).unwrap_or_default();
    OF_TICK | next(last) & (OF_TICK - 1)
}

#[cfg(test)]
mod tests;
