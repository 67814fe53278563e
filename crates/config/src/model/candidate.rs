//! A version of a plugin that is tried beside the one that runs.

use std::path::PathBuf;
use std::time::Duration;
use tidegate_decisions::FieldPath;
use tidegate_message::{Topic, TopicFilter};

/// A version of a plugin that is tried: another component, or the same in another configuration. It has the grants and limits of the
/// plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The component. Absolute.
    pub path: PathBuf,
    /// Handed to `configure`; `None`: what the plugin has.
    pub config: Option<serde_json::Value>,
    /// SHA-256 of the component: nothing else is loaded.
    pub digest: Option<String>,
    /// How it is tried.
    pub trial: Trial,
    /// Fields of JSON payloads that may differ.
    pub ignore: Vec<FieldPath>,
    /// When it takes the plugin's place by itself; `None`: never.
    pub promote: Option<Promote>,
}

/// How a candidate is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It decides every message, and nothing becomes of that.
    Shadow,
    /// It decides some for real.
    Canary {
        /// Topics as they come, all of whose messages it decides.
        topics: Vec<TopicFilter>,
        /// Of all other topics so many in a million.
        share_per_million: u32,
    },
}

impl Trial {
    /// Whether it decides messages of this topic for real: a topic is a canary's or not, whenever it comes, and with a larger share it
    /// stays one.
    pub fn decides(&self, topic: &Topic) -> bool {
        match self {
            Self::Shadow => false,
            Self::Canary { topics, share_per_million } => {
                place(topic.as_str()) < *share_per_million || topics.iter().any(|filter| filter.matches(topic))
            }
        }
    }

    /// As it is written.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary { .. } => "canary",
        }
    }
}

/// A number below a million, the same for a topic on every machine: FNV-1a of 64 bits (Fowler, Noll, Vo), mixed.
fn place(topic: &str) -> u32 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, step);
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * 1_000_000) >> 32) as u32
}

/// When a candidate takes the place of the plugin that it is tried beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promote {
    /// After so long at least.
    pub after: Duration,
    /// And so many messages.
    pub messages: u64,
    /// If it has decided no more messages otherwise.
    pub differences: u64,
    /// And failed on no more in a million.
    pub failures_per_million: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_topics_is_a_canarys_and_a_larger_one_has_all_of_a_smaller() {
        let topics: Vec<Topic> = (0..100_000).map(|n| Topic::new(format!("dev/{n}/temp")).unwrap()).collect();
        let of = |share_per_million| Trial::Canary { topics: Vec::new(), share_per_million };
        let mut before = 0;
        for (share, least, most) in [(0, 0, 0), (10_000, 900, 1_100), (50_000, 4_700, 5_300), (500_000, 49_000, 51_000)]
        {
            let taken = topics.iter().filter(|topic| of(share).decides(topic)).count();
            assert!((least..=most).contains(&taken), "{share}: {taken}");
            let mut smaller = topics.iter().filter(|topic| of(share / 2).decides(topic));
            assert!(smaller.all(|topic| of(share).decides(topic)) && taken >= before);
            before = taken;
        }
        assert!(topics.iter().all(|topic| of(1_000_000).decides(topic)));
        let filter = TopicFilter::new("dev/7/#".to_owned()).unwrap();
        let named = Trial::Canary { topics: vec![filter], share_per_million: 0 };
        assert_eq!(topics.iter().filter(|topic| named.decides(topic)).count(), 1);
        assert!(!topics.iter().any(|topic| Trial::Shadow.decides(topic)));
    }
}
