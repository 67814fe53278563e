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
}

/// A version of a plugin: a component, and what it was configured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginVersion {
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// All of them.
    pub digest: String,
    /// What it was configured with.
    #[schema(value_type = Object)]
    pub config: Value,
    /// `start`, `saved` or `rollback`.
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
        };
        Self {
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
