//! The plugins of a route as they run: each with its circuit and its counters, and how they are swapped.

use super::fold::{Ask, Interrupted, Rules};
use super::migration::{Place, Refused};
use super::stage::{NewTrial, Stage, Trying, select};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tidegate_config::{OnFailure, Retry};
use tidegate_message::Message;
use tidegate_plugin::{Fault, Input, Outcome, Output, Write, leave_borrowed};

/// A change of the chain, taken between two batches.
#[derive(Debug)]
pub(crate) struct Swap {
    /// The broker that the messages come from.
    pub(crate) source: Arc<str>,
    pub(crate) tick: Option<Duration>,
    pub(crate) stages: Vec<NewStage>,
    /// Where its worker goes first, in this order.
    pub(crate) meetings: Vec<Place>,
}

/// A stage of the chain to be: a fresh one, or the running one with that name kept, state and all.
#[derive(Debug)]
pub(crate) enum NewStage {
    Fresh(Box<Stage>),
    Keep { name: Arc<str>, on_failure: OnFailure, retry: Retry, trial: NewTrial },
}

impl Swap {
    /// This swap in place of an earlier one that was never taken: what that one has built is kept where this one relies
    /// on it.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        self.meetings.splice(..0, earlier.meetings);
        let mut before = earlier.stages;
        for stage in &mut self.stages {
            let NewStage::Keep { name, on_failure, retry, trial } = stage else { continue };
            let found = before.iter().position(|known| known.name() == &**name);
            match found.map(|at| before.swap_remove(at)) {
                Some(NewStage::Fresh(mut built)) => {
                    (built.on_failure, built.retry) = (*on_failure, *retry);
                    built.take_trial(std::mem::replace(trial, NewTrial::Keep(None)));
                    *stage = NewStage::Fresh(built);
                }
                Some(NewStage::Keep { trial: NewTrial::Set(built), .. }) => {
                    if let NewTrial::Keep(selection) = trial {
                        let mut built = built;
                        select(&mut built, selection.take());
                        *trial = NewTrial::Set(built);
                    }
                }
                Some(NewStage::Keep { .. }) | None => {}
            }
        }
        self
    }
}

impl NewStage {
    fn name(&self) -> &str {
        match self {
            Self::Fresh(stage) => &stage.name,
            Self::Keep { name, .. } => name,
        }
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

    /// Takes over the plugins of a swap, but for those whose state could not be brought to their version.
    pub(super) fn change(&mut self, source: Arc<str>, stages: Vec<NewStage>, refused: &[Refused]) {
        let mut old = std::mem::take(&mut self.stages);
        for stage in stages {
            match stage {
                NewStage::Fresh(mut stage) => {
                    let before = old.iter().position(|known| known.name == stage.name).map(|at| old.swap_remove(at));
                    let why = refused.iter().find(|(name, _)| *name == stage.name).map(|(_, why)| why);
                    self.stages.push(match (before, why) {
                        (Some(before), None) => {
                            stage.comes_after(before);
                            *stage
                        }
                        (Some(before), Some(why)) => before.instead_of(&stage, why),
                        (None, Some(why)) => stage.without_state(why),
                        (None, None) => *stage,
                    });
                }
                NewStage::Keep { name, on_failure, retry, trial } => {
                    if let Some(at) = old.iter().position(|stage| stage.name == name) {
                        let mut stage = old.swap_remove(at);
                        (stage.on_failure, stage.retry) = (on_failure, retry);
                        stage.take_trial(trial);
                        self.stages.push(stage);
                    }
                }
            }
        }
        self.source = source;
    }

    /// Instances that were to begin when what they remember is of their version.
    pub(super) fn begin(&mut self) {
        for stage in &mut self.stages {
            stage.instance.begin();
            if let Some(Trying::Canary(canary)) = &mut stage.trial {
                canary.instance.begin();
            }
        }
    }

    /// What is to end soon while this is set.
    pub(super) fn hurry_while(&mut self, hurry: &Arc<AtomicBool>) {
        self.stages.iter_mut().for_each(|stage| stage.instance.hurry_while(hurry.clone()));
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
        let written = self.stages.iter_mut().map(|stage| {
            let mut writes = stage.instance.take_written();
            if let Some(Trying::Canary(canary)) = &mut stage.trial {
                let theirs = canary.instance.take_written();
                // Otherwise it has a memory of its own, which ends with it.
                if canary.shares_state {
                    writes.extend(theirs);
                }
            }
            (&stage.name, writes)
        });
        written.filter(|(_, writes)| !writes.is_empty()).map(|(name, writes)| (name.clone(), writes))
    }

    /// Takes back what plugins have written since then: what they decided with it is asked anew.
    pub(super) fn take_back_written(&mut self) {
        for stage in &mut self.stages {
            stage.instance.take_back_written();
            if let Some(Trying::Canary(canary)) = &mut stage.trial {
                canary.instance.take_back_written();
            }
        }
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
