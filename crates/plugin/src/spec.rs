//! What an operator says of a plugin: its configuration, what it may do, and how much of everything.

use crate::Error;
use crate::state::StateStore;
use crate::ticker::TICK;
use std::time::Duration;
use tidegate_config::{Grants, Limits};

/// One plugin as configured.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in the configuration; its log lines bear it.
    pub name: String,
    /// Its `config` table as JSON, handed to `configure`.
    pub config_json: String,
    /// What it may do beyond deciding.
    pub grants: Grants,
    /// How much of everything it may use.
    pub limits: Limits,
    /// Whether its outputs may have control characters and non-characters in topics and in texts of MQTT 5, on which
    /// the next broker may hang up; see [`tidegate_message::text`]. What it leaves as it came is not judged.
    pub allow_control_characters: bool,
    /// Whether what it says is kept for [`Plugin::take_lines`](crate::Plugin::take_lines), besides being logged.
    pub keeps_lines: bool,
    /// What it decides was decided before: its clocks say when the message that it is asked about was received, and what it takes
    /// for random is the same each time.
    pub replays: bool,
    /// Its durable state. Hand the same store to the version that replaces this one.
    pub state: StateStore,
}

impl Spec {
    /// A plugin without grants, with an empty configuration and the default limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config_json: "{}".into(),
            grants: Grants::default(),
            limits: Limits::default(),
            allow_control_characters: false,
            keeps_lines: false,
            replays: false,
            state: StateStore::default(),
        }
    }

    /// A plugin as its section of a configuration says.
    pub fn configured(name: &str, settings: &tidegate_config::Plugin, state: StateStore) -> Self {
        Self {
            config_json: settings.config.to_string(),
            grants: settings.grants.clone(),
            limits: settings.limits.clone(),
            state,
            ..Self::new(name)
        }
    }
}

/// The shortest deadline that can be kept within twice its length.
const MIN_DEADLINE: Duration = TICK.saturating_mul(2);

/// The smallest memory that holds a guest at all: a page of WebAssembly.
const MIN_MEMORY_BYTES: usize = 64 * 1024;

/// Whether a guest can run at all within its limits.
pub(crate) fn check(limits: &Limits) -> Result<(), Error> {
    let refuse = |key, least: String| Err(Error::Limits { key, least });
    if limits.memory_bytes < MIN_MEMORY_BYTES {
        return refuse("memory", format!("{MIN_MEMORY_BYTES} bytes"));
    }
    if limits.deadline < MIN_DEADLINE || limits.configure_deadline < MIN_DEADLINE {
        return refuse("deadline", format!("{} ms", MIN_DEADLINE.as_millis()));
    }
    if limits.outputs == 0 {
        return refuse("outputs", "1".into());
    }
    Ok(())
}
