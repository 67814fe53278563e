//! The plugins of a route as they run: each with its circuit and its counters, and how they are swapped.

use super::fold::{Ask, Interrupted, Rules};
use crate::counters::{MemoryShare, OpenShare, StageCounters};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::{OnFailure, Retry};
use tidegate_message::Message;
use tidegate_pacing::LogLimit;
use tidegate_plugin::{
    Admission, Circuit, Destination, Fault, Input, Instance, Outcome, Output, Write, leave_borrowed,
};
use tidegate_router::{Said, Shown, Watched};

/// One plugin in a chain.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: Arc<str>,
    pub(crate) instance: Instance,
    pub(crate) circuit: Circuit,
    /// The names behind [`Destination::Target`](tidegate_plugin::Destination::Target).
    pub(crate) targets: Arc<[Arc<str>]>,
    pub(crate) on_failure: OnFailure,
    pub(crate) retry: Retry,
    pub(crate) counters: Arc<StageCounters>,
    memory: MemoryShare,
    open: OpenShare,
    /// Of the lines about guests that were thrown away.
    restarts: LogLimit,
    /// Whoever looks at a message hears what is said of it.
    watched: Arc<Watched>,
    /// Held by every stage of a version: who asks for it knows when the last one has gone.
    _alive: Arc<()>,
}

/// A change of the chain, taken between two batches.
#[derive(Debug)]
pub(crate) struct Swap {
    /// The broker that the messages come from.
    pub(crate) source: Arc<str>,
    pub(crate) tick: Option<Duration>,
    pub(crate) stages: Vec<NewStage>,
}

/// A stage of the chain to be: a fresh one, or the running one with that name kept, state and all.
#[derive(Debug)]
pub(crate) enum NewStage {
    Fresh(Box<Stage>),
    Keep { name: Arc<str>, on_failure: OnFailure, retry: Retry },
}

impl Swap {
    /// This swap in place of an earlier one that was never taken: what that one has built is kept where this one relies
    /// on it.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        let mut fresh = earlier.stages;
        for stage in &mut self.stages {
            if let NewStage::Keep { name, on_failure, retry } = stage {
                let found = fresh.iter().position(|old| matches!(old, NewStage::Fresh(old) if old.name == *name));
                if let Some(NewStage::Fresh(mut built)) = found.map(|at| fresh.swap_remove(at)) {
                    (built.on_failure, built.retry) = (*on_failure, *retry);
                    *stage = NewStage::Fresh(built);
                }
            }
        }
        self
    }
}

/// The plugins of a route in the order in which they decide.
#[derive(Debug)]
pub(super) struct Chain {
    source: Arc<str>,
    stages: Vec<Stage>,
}

impl Chain {
    /// No plugins yet: the first swap brings them.
    pub(super) fn new() -> Self {
        Self { source: "".into(), stages: Vec::new() }
    }

    /// Takes over the plugins of a swap.
    pub(super) fn change(&mut self, source: Arc<str>, stages: Vec<NewStage>) {
        let mut old = std::mem::take(&mut self.stages);
        for stage in stages {
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
        self.source = source;
    }

    pub(super) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Calls the timer of one plugin, unless it has none or its circuit is open. `None`: nothing was said.
    pub(super) async fn tick(&mut self, stage: usize, now_ms: u64) -> Option<Result<Vec<Output>, Fault>> {
        self.stages[stage].tick(now_ms).await
    }

    /// What plugins have written into their state since this was asked last, by plugin.
    pub(super) fn written(&mut self) -> impl Iterator<Item = (Arc<str>, Vec<Write>)> {
        let written = self.stages.iter_mut().map(|stage| (&stage.name, stage.instance.take_written()));
        written.filter(|(_, writes)| !writes.is_empty()).map(|(name, writes)| (name.clone(), writes))
    }

    /// Takes back what plugins have written since then: what they decided with it is asked anew.
    pub(super) fn take_back_written(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.instance.take_back_written());
    }

    /// For the fold, with what the chain cannot do itself: to let time pass, and to tell of a failure that ends a
    /// message: the stage, the message and the reason.
    pub(super) fn asked<'a>(
        &'a mut self,
        wait: &'a (dyn Fn(Duration) -> Result<(), Interrupted> + Sync),
        failed: &'a mut (dyn FnMut(&Stage, &Message, &str) + Send),
    ) -> impl Ask + 'a {
        Asked { chain: self, wait, failed }
    }
}

struct Asked<'a> {
    chain: &'a mut Chain,
    wait: &'a (dyn Fn(Duration) -> Result<(), Interrupted> + Sync),
    failed: &'a mut (dyn FnMut(&Stage, &Message, &str) + Send),
}

impl Ask for Asked<'_> {
    fn stages(&self) -> usize {
        self.chain.stages.len()
    }

    fn rules(&self, stage: usize) -> Rules<'_> {
        let Stage { name, targets, on_failure, retry, .. } = &self.chain.stages[stage];
        Rules { name, targets, on_failure: *on_failure, retry: *retry }
    }

    async fn ask(&mut self, stage: usize, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let Chain { source, stages } = &mut *self.chain;
        stages[stage].ask(source, inputs, outcomes).await;
    }

    async fn wait(&mut self, stage: usize, wait: Duration) -> Result<(), Interrupted> {
        self.chain.stages[stage].counters.retries.add(1);
        leave_borrowed().await;
        (self.wait)(wait)
    }

    fn failed(&mut self, stage: usize, message: &Message, reason: &str) {
        (self.failed)(&self.chain.stages[stage], message, reason);
    }
}

impl Stage {
    pub(crate) fn new(
        name: Arc<str>,
        instance: Instance,
        targets: Arc<[Arc<str>]>,
        (on_failure, retry): (OnFailure, Retry),
        counters: Arc<StageCounters>,
        watched: Arc<Watched>,
    ) -> Self {
        let (circuit, restarts) = (Circuit::default(), LogLimit::default());
        let mut memory = MemoryShare::new(counters.clone());
        memory.set(instance.memory_bytes() as u64);
        let open = OpenShare::new(counters.clone());
        let _alive = Arc::default();
        Self { name, instance, circuit, targets, on_failure, retry, counters, memory, open, restarts, watched, _alive }
    }

    /// The same, as one of a version.
    pub(crate) fn of_version(self, alive: Arc<()>) -> Self {
        Self { _alive: alive, ..self }
    }

    /// What a second chance heals is seen all the same: whatever the plugin held in memory is gone.
    async fn tell_of_lost_guests(&mut self) {
        self.memory.set(self.instance.memory_bytes() as u64);
        let lost = self.instance.take_lost_guests();
        let Some(fault) = lost.last() else { return };
        lost.iter().for_each(|fault| self.counters.restarts.count(fault));
        leave_borrowed().await;
        if let Some(untold) = self.restarts.allow(Instant::now()) {
            let plugin = &*self.name;
            tracing::warn!(
                name: "plugin_restarted",
                plugin,
                %fault,
                untold,
                "the plugin starts anew: what it held in memory is gone"
            );
        }
    }

    /// One outcome an input, whatever the circuit says.
    async fn ask(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let now = Instant::now();
        let first = outcomes.len();
        let admission = self.circuit.admit(now);
        self.open.set(!matches!(admission, Admission::Go));
        match admission {
            Admission::Go => self.instance.handle(source, inputs, outcomes).await,
            Admission::Probe => {
                let (probe, rest) = inputs.split_at(inputs.len().min(1));
                self.instance.handle(source, probe, outcomes).await;
                let is_well = !matches!(outcomes.last(), Some(Outcome::Fault(_)));
                if is_well {
                    self.instance.handle(source, rest, outcomes).await;
                }
            }
            Admission::Wait(_) => {}
        }
        let took = now.elapsed();
        self.counters.asked_ns.add(took.as_nanos() as u64);
        self.tell_of_lost_guests().await;
        let (mut passed, mut changed, mut dropped) = (0, 0, 0);
        for outcome in &outcomes[first..] {
            match outcome {
                Outcome::Pass => passed += 1,
                Outcome::Forward(_) => changed += 1,
                Outcome::Drop(_) => dropped += 1,
                _ => {}
            }
            match outcome {
                Outcome::Fault(fault) => self.record(fault, now),
                Outcome::Reject(_) => {
                    self.counters.rejects.add(1);
                    self.circuit.record_ok();
                }
                _ => self.circuit.record_ok(),
            }
        }
        let counts =
            [(&self.counters.passed, passed), (&self.counters.changed, changed), (&self.counters.dropped, dropped)];
        counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(counter, count)| counter.add(count));
        let of_these = &outcomes[first..];
        if of_these.iter().any(|outcome| matches!(outcome, Outcome::Fault(_))) {
            let behind = of_these.iter().filter(|outcome| matches!(outcome, Outcome::Retry(_))).count();
            self.counters.given_up.add(behind as u64);
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
        if self.watched.is_on() {
            self.tell_watched(inputs, &outcomes[first..], took);
        }
    }

    /// Tells whoever looks what was said of which message.
    #[cold]
    fn tell_watched(&self, inputs: &[Input<'_>], outcomes: &[Outcome], took: Duration) {
        let version: Arc<str> = super::build::short(self.instance.plugin().digest()).into();
        for at in self.watched.of(inputs.iter().map(|input| input.id)) {
            let (input, outcome) = (&inputs[at], &outcomes[at]);
            let (words, made) = match outcome {
                Outcome::Pass => ("onward, unchanged".to_owned(), Vec::new()),
                Outcome::Forward(outputs) => {
                    let made = outputs.iter().map(|output| Shown::of(&output.clone().applied_to(input.message)));
                    let to = |output: &Output| match output.to {
                        Destination::Onward => "onward".to_owned(),
                        Destination::Target(at) => {
                            self.targets.get(usize::from(at)).map_or_else(String::new, |name| format!("to `{name}`"))
                        }
                    };
                    let to: Vec<String> = outputs.iter().map(to).collect();
                    (to.join(", "), made.collect())
                }
                Outcome::Drop(reason) => (format!("dropped: {reason}"), Vec::new()),
                Outcome::Reject(reason) => (format!("rejected: {reason}"), Vec::new()),
                Outcome::Retry(reason) => (format!("wants to be asked again: {reason}"), Vec::new()),
                Outcome::Fault(fault) => (format!("failed: {fault}"), Vec::new()),
            };
            let (plugin, version, of) = (self.name.clone(), version.clone(), inputs.len() as u32);
            self.watched.say(input.id, Said { plugin, version, took, of, words, made });
        }
    }

    async fn tick(&mut self, now_ms: u64) -> Option<Result<Vec<Output>, Fault>> {
        let now = Instant::now();
        if !self.instance.plugin().has_timer() || matches!(self.circuit.admit(now), Admission::Wait(_)) {
            return None;
        }
        let said = self.instance.tick(now_ms).await;
        self.tell_of_lost_guests().await;
        match &said {
            Ok(_) => self.circuit.record_ok(),
            Err(fault) => self.record(fault, now),
        }
        Some(said)
    }

    fn record(&mut self, fault: &Fault, now: Instant) {
        self.counters.faults.count(fault);
        if self.circuit.record_fault(now) {
            self.counters.circuit_opened.add(1);
            tracing::warn!(
                name: "circuit_opened",
                plugin = &*self.name,
                %fault,
                "the plugin keeps failing: its circuit opens"
            );
        }
    }
}
