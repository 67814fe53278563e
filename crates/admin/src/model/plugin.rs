//! One plugin more closely than everybody looks at it all the time.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_gateway::Came;
use utoipa::ToSchema;

/// More of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginDetails {
    /// The versions that are kept, the newest last; the last one runs.
    pub versions: Vec<PluginVersion>,
    /// The last one is rolled back to: it is not what the configuration says.
    pub rolled_back: bool,
    /// What it remembers: the first 200 keys.
    pub state: Vec<StateKey>,
    /// How many keys there are.
    pub state_keys: usize,
    /// How much they hold.
    pub state_bytes: usize,
    /// Which version of its state this is, if the plugin says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_version: Option<String>,
    /// Another version that is tried beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
}

/// A version that is tried beside a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// All of them.
    pub digest: String,
    /// What it is configured with.
    #[schema(value_type = Object)]
    pub config: Value,
    /// `shadow`: nothing becomes of what it decides; `canary`: it decides some messages for real.
    pub mode: String,
    /// Since when it is tried.
    pub since_ms: u64,
    /// Messages that it decided.
    pub messages: u64,
    /// It failed on so many.
    pub failures: u64,
    /// It refused so many.
    pub rejects: u64,
    /// How long it took for one, on the average, in microseconds; not there without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_us: Option<f64>,
    /// Messages that a shadow did not see, for it was busy.
    pub missed: u64,
    /// A shadow decided so many otherwise.
    pub differ: u64,
    /// How, the most first.
    pub differences: Vec<Difference>,
}

/// Messages that are decided otherwise in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// In words.
    pub kind: String,
    /// So many.
    pub count: u64,
    /// When the first one came.
    pub first_ms: u64,
    /// And the last one.
    pub last_ms: u64,
    /// The first of them.
    pub samples: Vec<Differing>,
}

/// A message that is decided otherwise, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Differing {
    /// When it came.
    pub at_ms: u64,
    /// Into this route.
    pub route: String,
    /// From this broker.
    pub broker: String,
    /// As it came; not there of a timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<String>,
    /// What is decided.
    pub one: String,
    /// What would be.
    pub other: String,
}

/// The last messages with what was decided on each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recent {
    /// A file as `tidegate record` writes it, in base64.
    pub recording: String,
}

impl Difference {
    /// Of a group.
    pub fn of(kind: &str, group: &tidegate_decisions::Group) -> Self {
        let differing = |sample: &tidegate_decisions::Sample| Differing {
            at_ms: sample.at_ms,
            route: sample.route.to_string(),
            broker: sample.broker.to_string(),
            came: sample.came.as_ref().map(ToString::to_string),
            one: sample.one.to_string(),
            other: sample.other.to_string(),
        };
        Self {
            kind: kind.to_owned(),
            count: group.count,
            first_ms: group.first_ms,
            last_ms: group.last_ms,
            samples: group.samples.iter().map(differing).collect(),
        }
    }

    /// Of all groups, the largest first.
    pub fn all(groups: &std::collections::BTreeMap<String, tidegate_decisions::Group>) -> Vec<Self> {
        let mut all: Vec<Self> = groups.iter().map(|(kind, group)| Self::of(kind, group)).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all
    }
}

impl Candidate {
    fn of(found: tidegate_gateway::CandidateDetails) -> Self {
        Self {
            version: found.digest.chars().take(8).collect(),
            digest: found.digest,
            config: found.config,
            mode: if found.is_canary { "canary" } else { "shadow" }.to_owned(),
            since_ms: found.since_ms,
            messages: found.messages,
            failures: found.failures,
            rejects: found.rejects,
            mean_us: (found.messages > 0).then(|| found.asked_ns as f64 / 1000.0 / found.messages as f64),
            missed: found.missed,
            differ: found.differ,
            differences: Difference::all(&found.groups),
        }
    }
}

/// A version of a plugin: a component, and what it was configured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginVersion {
    /// They are numbered, from 1.
    pub number: u64,
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// All of them.
    pub digest: String,
    /// What it was configured with.
    #[schema(value_type = Object)]
    pub config: Value,
    /// `start`, `saved`, `rollback` or `promoted`.
    pub came: String,
    /// Since when it ran.
    pub since_ms: u64,
    /// Until when; not there while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Messages that it was asked about in that time.
    pub messages: u64,
    /// Of these, those that it did not decide.
    pub failures: u64,
    /// How long it took for one, on the average, in microseconds; not there without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_us: Option<f64>,
}

/// Something that a plugin remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateKey {
    /// Under this key.
    pub key: String,
    /// How long the value is.
    pub bytes: usize,
}

impl PluginDetails {
    pub(crate) fn of(found: tidegate_gateway::PluginDetails) -> Self {
        Self {
            versions: found.versions.into_iter().map(PluginVersion::of).collect(),
            rolled_back: found.rolled_back,
            state: found.keys.into_iter().map(|(key, bytes)| StateKey { key, bytes }).collect(),
            state_keys: found.state.0,
            state_bytes: found.state.1,
            state_version: found.state_version,
            candidate: found.candidate.map(Candidate::of),
        }
    }
}

impl PluginVersion {
    fn of(found: tidegate_gateway::PluginVersion) -> Self {
        let did = found.did;
        let came = match found.came {
            Came::Start => "start",
            Came::Saved => "saved",
            Came::Rollback => "rollback",
            Came::Promoted => "promoted",
        };
        Self {
            number: found.number,
            version: found.digest.chars().take(8).collect(),
            digest: found.digest,
            config: found.config,
            came: came.to_owned(),
            since_ms: found.ran.0,
            until_ms: found.ran.1,
            messages: did.messages,
            failures: did.failures,
            mean_us: (did.messages > 0).then(|| did.asked_ns as f64 / 1000.0 / did.messages as f64),
        }
    }
}
