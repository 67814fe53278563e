//! One plugin more closely: its versions, what is tried beside it, and what it remembers.

use super::kept::{Came, Did, Version};
use crate::running::Gateway;
use crate::trial::CandidateDetails;
use tidegate_plugin::{STATE_VERSION_KEY, is_own_key};

/// So many keys of a plugin's state are named.
const KEYS_MAX: usize = 200;

/// More of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDetails {
    /// The versions that are kept, the newest last. The last one runs.
    pub versions: Vec<PluginVersion>,
    /// An operator has put the last one back: it is not what the configuration says.
    pub rolled_back: bool,
    /// What it remembers: the first keys with the length of their values in bytes.
    pub keys: Vec<(String, usize)>,
    /// How many keys there are, and how much they hold, in bytes.
    pub state: (usize, usize),
    /// Which version of its state this is, if the plugin says one.
    pub state_version: Option<String>,
    /// Another version that is tried beside it.
    pub candidate: Option<CandidateDetails>,
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginVersion {
    /// They are numbered, from 1.
    pub number: u64,
    /// SHA-256 of its component.
    pub digest: String,
    /// What it was configured with.
    pub config: serde_json::Value,
    /// How it came to run.
    pub came: Came,
    /// From when to when it ran, in milliseconds since the epoch; `None` if it runs.
    pub ran: (u64, Option<u64>),
    /// What it did in that time.
    pub did: Did,
}

impl Gateway {
    /// More of one plugin; `None` if there is none of this name.
    pub fn plugin(&self, name: &str) -> Option<PluginDetails> {
        self.config().plugins.get(name)?;
        let mut versions = self.versions().borrow_mut();
        versions.count();
        let kept = versions.kept.get(name).cloned().unwrap_or_default();
        let path = self.path().borrow();
        let state = path.router.spool().plugin_state(name);
        let keys = || state.into_iter().flatten().filter(|(key, _)| !is_own_key(key));
        let all = || keys().map(|(key, value)| (key, value.len()));
        let state_version = state.and_then(|state| state.get(STATE_VERSION_KEY));
        let version = |Version { number, rule, came, since_ms, until_ms, did }: Version| PluginVersion {
            number,
            digest: rule.digest,
            config: rule.config,
            came,
            ran: (since_ms, until_ms),
            did,
        };
        Some(PluginDetails {
            rolled_back: kept.rolled_back.is_some(),
            candidate: path.tried(name).map(|tried| tried.details()),
            versions: kept.versions.into_iter().map(version).collect(),
            keys: all().take(KEYS_MAX).map(|(key, bytes)| (key.clone(), bytes)).collect(),
            state_version: state_version.map(|version| String::from_utf8_lossy(version).into_owned()),
            state: all().fold((0, 0), |(keys, bytes), (_, more)| (keys + 1, bytes + more)),
        })
    }
}
