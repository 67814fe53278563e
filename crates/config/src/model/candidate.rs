//! A version of a plugin that is tried beside the one that runs.

use std::path::PathBuf;
use std::time::Duration;
use tidegate_decisions::FieldPath;
use tidegate_message::TopicFilter;

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
    /// As it is written.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary { .. } => "canary",
        }
    }
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
