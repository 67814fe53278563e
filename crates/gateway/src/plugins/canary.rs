//! A candidate that decides some messages for real: those of some topics, so that the order of a topic holds.

use super::stage::{call, record_all};
use crate::trial::Tried;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::Trial;
use tidegate_message::Topic;
use tidegate_plugin::{Admission, Circuit, Fault, Input, Instance, Outcome, Output};

/// One instance, beside one of the plugin that runs.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(super) instance: Instance,
    circuit: Circuit,
    /// Which messages are its.
    pub(super) selection: Trial,
    /// What it remembers is what the one that runs does, and stays.
    pub(super) shares_state: bool,
    tried: Arc<Tried>,
}

impl Canary {
    pub(super) fn new(instance: Instance, selection: Trial, shares_state: bool, tried: Arc<Tried>) -> Self {
        Self { instance, circuit: Circuit::default(), selection, shares_state, tried }
    }

    pub(super) fn takes(&self, topic: &Topic) -> bool {
        self.selection.decides(topic)
    }

    /// One outcome an input.
    pub(super) async fn ask(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let now = Instant::now();
        call(&mut self.instance, &mut self.circuit, source, inputs, outcomes, now).await;
        self.tried.asked_ns.add(now.elapsed().as_nanos() as u64);
        record_all(&mut self.circuit, outcomes, now);
        self.instance.take_lost_guests();
        let open = || Outcome::Fault(Fault::Restart("its circuit is open after repeated failures".to_owned()));
        outcomes.resize_with(inputs.len(), open);
        self.tried.count(outcomes);
    }

    /// What its timer says; nothing if it fails.
    pub(super) async fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        let now = Instant::now();
        if !self.instance.plugin().has_timer() || matches!(self.circuit.admit(now), Admission::Wait(_)) {
            return Vec::new();
        }
        let said = self.instance.tick(now_ms).await;
        self.instance.take_lost_guests();
        match said {
            Ok(said) => {
                self.circuit.record_ok();
                said
            }
            Err(_) => {
                self.tried.faults.add(1);
                self.circuit.record_fault(now);
                Vec::new()
            }
        }
    }
}
