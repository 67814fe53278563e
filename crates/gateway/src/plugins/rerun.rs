//! A route's plugins on messages that were decided before: nothing waits, and a plugin that fails is asked again about the next.

use super::chain::{Chain, NewStage};
use super::fold::{Folded, fold};
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::OnFailure;
use tidegate_message::Message;
use tidegate_plugin::{Circuit, CircuitSettings, Input, run_here};
use tidegate_router::Verdict;

/// A circuit that never opens: it is one of the time, of which a replay has none.
const NEVER: CircuitSettings = CircuitSettings {
    faults_in_a_row: u32::MAX,
    faults_of_64: u32::MAX,
    backoff_min: Duration::ZERO,
    backoff_max: Duration::ZERO,
};

/// The plugins of a route.
#[derive(Debug)]
pub(crate) struct Rerun {
    chain: Chain,
    folded: Vec<Folded>,
}

/// What a timer said: with a target that the plugin chose, and what the plugins behind made of the rest.
pub(crate) type Ticked = Vec<(Message, Option<Arc<str>>)>;

impl Rerun {
    pub(crate) fn new(source: &str, stages: Vec<NewStage>) -> Self {
        let mut chain = Chain::new();
        let stages = stages.into_iter().map(|stage| match stage {
            NewStage::Fresh(mut stage) => {
                stage.circuit = Circuit::new(NEVER);
                // Nothing waits here for a plugin that may be well later.
                if stage.on_failure == OnFailure::Block {
                    stage.on_failure = OnFailure::Park;
                }
                NewStage::Fresh(stage)
            }
            kept @ NewStage::Keep { .. } => kept,
        });
        chain.change(source.into(), stages.collect(), &[]);
        Self { chain, folded: Vec::new() }
    }

    /// One verdict for each, which takes the message that was changed in its place.
    pub(crate) fn decide<'a>(
        &'a mut self,
        first: usize,
        inputs: &[Input<'_>],
    ) -> impl Iterator<Item = (Message, Verdict)> + 'a {
        let messages: Vec<Message> = inputs.iter().map(|input| input.message.clone()).collect();
        let decided =
            run_here(fold(&mut self.chain.asked(&|_| Ok(()), &mut |_, _, _| ()), first, inputs, &mut self.folded));
        debug_assert!(decided.is_ok(), "nothing interrupts a replay");
        self.chain.written().for_each(drop);
        messages.into_iter().zip(self.folded.drain(..)).map(|(mut message, folded)| {
            let verdict = folded.into_verdict(&mut message);
            (message, verdict)
        })
    }

    /// Calls the timer of a plugin; what it says goes through those behind. `None` if there is no such plugin.
    pub(crate) fn tick(&mut self, plugin: &str, now_ms: u64) -> Option<Ticked> {
        let at = self.chain.stages().iter().position(|stage| *stage.name == *plugin)?;
        let outputs = run_here(self.chain.tick(at, now_ms))?.unwrap_or_default();
        let made = self.chain.stages()[at].made_by_itself(outputs);
        let open: Vec<Message> =
            made.iter().filter(|(_, to)| to.is_none()).map(|(message, _)| message.clone()).collect();
        let input = |message| Input { id: 0, message, received_ms: now_ms, redelivered: false };
        self.decide(at + 1, &open.iter().map(input).collect::<Vec<_>>()).for_each(drop);
        Some(made)
    }
}
