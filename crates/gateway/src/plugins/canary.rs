//! A candidate that decides some messages for real: those of some topics, so that the order of a topic holds.

use super::stage::call;
use crate::trial::Tried;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::Trial;
use tidegate_message::{Topic, TopicFilter};
use tidegate_plugin::{Admission, Circuit, Fault, Input, Instance, Outcome, Output};

/// Which messages are a canary's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Selection {
    topics: Vec<TopicFilter>,
    share_per_million: u32,
}

impl Selection {
    /// `None` of a shadow.
    pub(crate) fn of(trial: &Trial) -> Option<Self> {
        match trial {
            Trial::Shadow => None,
            Trial::Canary { topics, share_per_million } => {
                Some(Self { topics: topics.clone(), share_per_million: *share_per_million })
            }
        }
    }

    /// A topic is a canary's or not, whenever it comes; with a larger share it stays one.
    fn takes(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|filter| filter.matches(topic)) || place(topic.as_str()) < self.share_per_million
    }
}

/// A number below a million, the same for a topic on every machine: FNV-1a of 64 bits (Fowler, Noll, Vo), mixed.
fn place(topic: &str) -> u32 {
    let hash = topic
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * 1_000_000) >> 32) as u32
}

/// One instance, beside one of the plugin that runs.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(super) instance: Instance,
    circuit: Circuit,
    pub(super) selection: Selection,
    tried: Arc<Tried>,
}

impl Canary {
    pub(super) fn new(instance: Instance, selection: Selection, tried: Arc<Tried>) -> Self {
        Self { instance, circuit: Circuit::default(), selection, tried }
    }

    pub(super) fn takes(&self, topic: &Topic) -> bool {
        self.selection.takes(topic)
    }

    /// One outcome an input.
    pub(super) async fn ask(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let now = Instant::now();
        call(&mut self.instance, &mut self.circuit, source, inputs, outcomes, now).await;
        self.tried.asked_ns.add(now.elapsed().as_nanos() as u64);
        for outcome in &*outcomes {
            match outcome {
                Outcome::Fault(_) => _ = self.circuit.record_fault(now),
                _ => self.circuit.record_ok(),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_topics_is_a_canarys_and_a_larger_one_has_all_of_a_smaller() {
        let topics: Vec<Topic> = (0..100_000).map(|n| Topic::new(format!("dev/{n}/temp")).unwrap()).collect();
        let of = |share_per_million| Selection { topics: Vec::new(), share_per_million };
        let mut before = 0;
        for (share, least, most) in [(0, 0, 0), (10_000, 900, 1_100), (50_000, 4_700, 5_300), (500_000, 49_000, 51_000)]
        {
            let taken = topics.iter().filter(|topic| of(share).takes(topic)).count();
            assert!((least..=most).contains(&taken), "{share}: {taken}");
            let stay = topics.iter().filter(|topic| of(share / 2).takes(topic)).all(|topic| of(share).takes(topic));
            assert!(stay && taken >= before);
            before = taken;
        }
        assert!(topics.iter().all(|topic| of(1_000_000).takes(topic)));
        let named = Selection { topics: vec![TopicFilter::new("dev/7/#".to_owned()).unwrap()], share_per_million: 0 };
        assert_eq!(topics.iter().filter(|topic| named.takes(topic)).count(), 1);
    }
}
