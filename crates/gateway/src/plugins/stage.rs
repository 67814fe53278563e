//! One plugin as it runs in a route: with its circuit, its counters, and perhaps another version that is tried beside it.

use super::canary::Canary;
use super::shadow::Shadow;
use crate::counters::{MemoryShare, OpenShare, StageCounters};
use crate::words;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::{self as config, OnFailure, Retry};
use tidegate_message::Message;
use tidegate_pacing::LogLimit;
use tidegate_plugin::{Admission, Circuit, Destination, Fault, Input, Instance, Outcome, Output, leave_borrowed};
use tidegate_router::{Said, Shown, Ticked, Watched};

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
    /// The message that it was asked about last.
    last_id: u64,
    /// The version before is to be asked about what this one refuses.
    wants_elder: bool,
    elder: Option<Elder>,
    /// Another version that is tried beside it.
    pub(super) trial: Option<Trying>,
    /// What it remembers was brought to its version when it came.
    has_migrated: bool,
    /// Why it cannot decide anything: what it remembers is not of its version.
    no_state: Option<String>,
    /// Held by every stage of a version: who asks for it knows when the last one has gone.
    _alive: Arc<()>,
}

/// The version before, for a while.
#[derive(Debug)]
struct Elder {
    instance: Instance,
    left: u64,
    until: Instant,
}

/// It is asked about so many messages, for so long.
const ELDER_ASKED: u64 = 50;
const ELDER_LASTS: Duration = Duration::from_secs(10 * 60);

/// How another version is tried beside a stage.
#[derive(Debug)]
pub(crate) enum Trying {
    Shadow(Shadow),
    Canary(Box<Canary>),
}

/// What is tried beside a stage from now on.
#[derive(Debug)]
pub(crate) enum NewTrial {
    /// The same as before; a canary perhaps on other messages.
    Keep(Option<config::Trial>),
    Set(Option<Trying>),
}

/// A canary is for other messages from now on.
pub(super) fn select(trial: &mut Option<Trying>, selection: Option<config::Trial>) {
    if let (Some(Trying::Canary(canary)), Some(selection)) = (trial, selection) {
        canary.selection = selection;
    }
}

/// Asks an instance about as much as its circuit lets it be asked. True if that is not closed.
pub(super) async fn call(
    instance: &mut Instance,
    circuit: &mut Circuit,
    source: &str,
    inputs: &[Input<'_>],
    outcomes: &mut Vec<Outcome>,
    now: Instant,
) -> bool {
    let admission = circuit.admit(now);
    match admission {
        Admission::Go => instance.handle(source, inputs, outcomes).await,
        Admission::Probe => {
            let (probe, rest) = inputs.split_at(inputs.len().min(1));
            instance.handle(source, probe, outcomes).await;
            let is_well = !matches!(outcomes.last(), Some(Outcome::Fault(_)));
            if is_well {
                instance.handle(source, rest, outcomes).await;
            }
        }
        Admission::Wait(_) => {}
    }
    !matches!(admission, Admission::Go)
}

/// Tells a circuit how each of these went.
pub(super) fn record_all(circuit: &mut Circuit, outcomes: &[Outcome], now: Instant) {
    for outcome in outcomes {
        match outcome {
            Outcome::Fault(_) => _ = circuit.record_fault(now),
            _ => circuit.record_ok(),
        }
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
        let (last_id, trial) = (0, None);
        Self {
            name,
            instance,
            circuit,
            targets,
            on_failure,
            retry,
            counters,
            memory,
            open,
            restarts,
            watched,
            last_id,
            wants_elder: false,
            elder: None,
            trial,
            has_migrated: false,
            no_state: None,
            _alive,
        }
    }

    /// The same, as one of a version.
    pub(crate) fn of_version(self, alive: Arc<()>) -> Self {
        Self { _alive: alive, ..self }
    }

    /// The same, with another version that is tried beside it.
    pub(crate) fn with_trial(self, trial: Option<Trying>) -> Self {
        Self { trial, ..self }
    }

    /// The same, one that is watched at first for what it refuses, or not.
    pub(crate) fn on_probation(self, wants_elder: bool) -> Self {
        Self { wants_elder, ..self }
    }

    /// The same, one whose state is brought to its version when it comes.
    pub(crate) fn with_moved_state(self) -> Self {
        Self { has_migrated: true, ..self }
    }

    /// This one comes after `old`, which is asked about what this one refuses.
    pub(super) fn comes_after(&mut self, old: Self) {
        // What both remember is of this one's version now.
        if !self.wants_elder || self.has_migrated {
            return;
        }
        let until = Instant::now() + ELDER_LASTS;
        self.elder = Some(Elder { instance: old.instance, left: ELDER_ASKED, until });
    }

    /// This one stays in the place of `new`, whose state it could not have.
    pub(super) fn instead_of(mut self, new: &Self, why: &str) -> Self {
        (self.on_failure, self.retry) = (new.on_failure, new.retry);
        new.counters.no_state.set(why);
        self
    }

    /// It cannot have its state, and there is no other one: it decides nothing, and says why.
    pub(super) fn without_state(self, why: &str) -> Self {
        self.counters.no_state.set(why);
        Self { no_state: Some(why.to_owned()), ..self }
    }

    /// Counts which of the messages that it refused the version before would have decided.
    async fn ask_elder(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &[Outcome]) {
        let Some(elder) = &mut self.elder else { return };
        if Instant::now() >= elder.until {
            self.elder = None;
            return;
        }
        let refused = inputs.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Reject(_)));
        let refused: Vec<Input<'_>> = refused.map(|(input, _)| *input).take(elder.left as usize).collect();
        if refused.is_empty() {
            return;
        }
        let mut decided = Vec::with_capacity(refused.len());
        elder.instance.handle(source, &refused, &mut decided).await;
        // It decides nothing.
        elder.instance.take_back_written();
        elder.instance.take_lost_guests();
        elder.left -= refused.len() as u64;
        let is_decided = |one: &&Outcome| matches!(one, Outcome::Pass | Outcome::Forward(_) | Outcome::Drop(_));
        self.counters.rejects_asked.add(refused.len() as u64);
        self.counters.rejects_decided.add(decided.iter().filter(is_decided).count() as u64);
        if elder.left == 0 {
            self.elder = None;
        }
    }

    pub(super) fn take_trial(&mut self, trial: NewTrial) {
        match trial {
            NewTrial::Keep(selection) => select(&mut self.trial, selection),
            NewTrial::Set(trial) => self.trial = trial,
        }
    }

    /// One outcome an input: of what is tried for real, its own.
    pub(super) async fn ask(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        if let Some(why) = &self.no_state {
            return outcomes.extend(inputs.iter().map(|_| Outcome::Retry(why.clone())));
        }
        let mut trial = self.trial.take();
        match &mut trial {
            None => self.ask_running(source, inputs, outcomes).await,
            Some(Trying::Shadow(shadow)) => {
                let first = outcomes.len();
                self.ask_running(source, inputs, outcomes).await;
                shadow.show(inputs, &outcomes[first..]);
            }
            Some(Trying::Canary(canary)) => self.ask_both(canary, source, inputs, outcomes).await,
        }
        self.trial = trial;
    }

    async fn ask_both(&mut self, canary: &mut Canary, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let is_theirs: Vec<bool> = inputs.iter().map(|input| canary.takes(&input.message.topic)).collect();
        if !is_theirs.contains(&true) {
            return self.ask_running(source, inputs, outcomes).await;
        }
        let of = |wanted: bool| -> Vec<Input<'_>> {
            inputs.iter().zip(&is_theirs).filter(|(_, theirs)| **theirs == wanted).map(|(input, _)| *input).collect()
        };
        let (ours, theirs) = (of(false), of(true));
        let (mut decided, mut tried) = (Vec::with_capacity(ours.len()), Vec::with_capacity(theirs.len()));
        if !ours.is_empty() {
            self.ask_running(source, &ours, &mut decided).await;
        }
        let now = Instant::now();
        canary.ask(source, &theirs, &mut tried).await;
        if self.watched.is_on() {
            self.tell_watched(canary.instance.digest(), &theirs, &tried, now.elapsed());
        }
        let (mut decided, mut tried) = (decided.into_iter(), tried.into_iter());
        outcomes.extend(is_theirs.iter().filter_map(|theirs| if *theirs { tried.next() } else { decided.next() }));
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
    async fn ask_running(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let now = Instant::now();
        let first = outcomes.len();
        self.last_id = inputs.last().map_or(self.last_id, |input| input.id);
        let is_open = call(&mut self.instance, &mut self.circuit, source, inputs, outcomes, now).await;
        self.open.set(is_open);
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
        if self.elder.is_some() {
            self.ask_elder(source, inputs, &outcomes[first..]).await;
        }
        if self.watched.is_on() {
            self.tell_watched(self.instance.digest(), inputs, &outcomes[first..], took);
        }
    }

    /// Tells whoever looks what was said of which message.
    #[cold]
    fn tell_watched(&self, digest: &str, inputs: &[Input<'_>], outcomes: &[Outcome], took: Duration) {
        let version: Arc<str> = super::build::short(digest).into();
        for at in self.watched.of(inputs.iter().map(|input| input.id)) {
            let (input, outcome) = (&inputs[at], &outcomes[at]);
            let (words, made) = match outcome {
                Outcome::Forward(outputs) => {
                    let made = outputs.iter().map(|output| Shown::of(&output.clone().applied_to(input.message)));
                    let to = |output: &Output| match output.to {
                        Destination::Onward => "onward".to_owned(),
                        Destination::Target(at) => {
                            self.targets.get(usize::from(at)).map_or_else(String::new, |name| format!("to `{name}`"))
                        }
                    };
                    let to: Vec<String> = outputs.iter().map(to).collect();
                    (format!("{}: {}", words::of(outcome), to.join(", ")), made.collect())
                }
                _ => (words::of(outcome), Vec::new()),
            };
            let (plugin, version, of) = (self.name.clone(), version.clone(), inputs.len() as u32);
            self.watched.say(input.id, Said { plugin, version, took, of, words, made });
        }
    }

    /// What it said on a tick: messages, with the targets that it chose. The host has checked those against the same list.
    pub(super) fn made_by_itself(&self, outputs: Vec<Output>) -> Vec<(Message, Option<Arc<str>>)> {
        let message = |output: Output| {
            let target = match output.to {
                Destination::Onward => None,
                Destination::Target(at) => Some(self.targets.get(usize::from(at))?.clone()),
            };
            Some((output.by_itself()?, target))
        };
        outputs.into_iter().filter_map(message).collect()
    }

    /// Tells whoever records what it said on a tick.
    pub(super) fn tell_ticked(&self, route: &str, now_ms: u64, outputs: &[Output]) {
        if !self.watched.wants_ticks() {
            return;
        }
        let made = self.made_by_itself(outputs.to_vec());
        let (route, plugin, after) = (route.into(), self.name.clone(), self.last_id);
        self.watched.tick(Ticked { route, plugin, now_ms, after, made });
    }

    pub(super) async fn tick(&mut self, now_ms: u64) -> Option<Result<Vec<Output>, Fault>> {
        let said = self.tick_running(now_ms).await;
        match &mut self.trial {
            Some(Trying::Shadow(shadow)) => {
                if let Some(Ok(said)) = &said {
                    shadow.show_tick(now_ms, said);
                }
                said
            }
            Some(Trying::Canary(canary)) => {
                let theirs = canary.tick(now_ms).await;
                match said {
                    Some(Ok(ours)) => Some(Ok([ours, theirs].concat())),
                    said if theirs.is_empty() => said,
                    // What a canary says goes out, whatever becomes of the other.
                    _ => Some(Ok(theirs)),
                }
            }
            None => said,
        }
    }

    async fn tick_running(&mut self, now_ms: u64) -> Option<Result<Vec<Output>, Fault>> {
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
