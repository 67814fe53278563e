//! What an operator says of a plugin: its configuration, what it may do, and how much of everything.

use crate::Error;
use crate::state::StateStore;
use crate::ticker::TICK;
use std::time::Duration;
use tidegate_message::TopicFilter;

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
            state: StateStore::default(),
        }
    }
}

/// What a plugin may do beyond saying `pass`, `drop`, or `onward` with the topic the message came with.
///
/// - An output straight to a target needs that target's name in `targets`.
/// - A topic the plugin *chooses* must match one of `topics`, wherever it goes. A topic it leaves alone, by `none` or
///   by saying the same text again, is not its choice and needs no grant. All outputs of `tick` choose.
/// - Payload, QoS, retain and properties need no grant.
/// - `state` lets it import `tidegate:gateway/state`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Targets by their configured names; [`Destination::Target`](crate::Destination::Target) is an index into it.
    pub targets: Vec<String>,
    /// Topics it may publish to.
    pub topics: Vec<TopicFilter>,
    /// Whether it may hold state.
    pub state: bool,
}

/// How much of everything a plugin may use. Each instance has these for itself, except `state_bytes` and the log,
/// which all instances of a plugin share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in all, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables together; one takes 8 bytes of ours.
    pub table_elements: usize,
    /// Core modules, memories and tables in one component, each; an interpreter's component has dozens.
    pub instances: usize,
    /// How long one call may take, whatever the size of its batch. A guest is cut at most 5 ms later.
    pub deadline: Duration,
    /// How long instantiating may take, and `configure`, each.
    pub configure_deadline: Duration,
    /// Outputs for one message, or for one tick.
    pub outputs: u32,
    /// Bytes of all outputs for one message: topics, payloads and properties that are its own.
    pub output_bytes: usize,
    /// Lines of log in a second; the rest is counted.
    pub log_lines_per_second: u32,
    /// Keys and values of its state together, in bytes.
    pub state_bytes: usize,
}

impl Limits {
    /// The shortest deadline that can be kept within twice its length.
    pub const MIN_DEADLINE: Duration = TICK.saturating_mul(2);
    /// The smallest memory that holds a guest at all: a page of WebAssembly.
    pub const MIN_MEMORY_BYTES: usize = 64 * 1024;

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |key, least: String| Err(Error::Limits { key, least });
        if self.memory_bytes < Self::MIN_MEMORY_BYTES {
            return refuse("memory", format!("{} bytes", Self::MIN_MEMORY_BYTES));
        }
        if self.deadline < Self::MIN_DEADLINE || self.configure_deadline < Self::MIN_DEADLINE {
            return refuse("deadline", format!("{} ms", Self::MIN_DEADLINE.as_millis()));
        }
        if self.outputs == 0 {
            return refuse("outputs", "1".into());
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            memory_bytes: 16 * MIB,
            table_elements: 100_000,
            instances: 100,
            deadline: Duration::from_millis(50),
            configure_deadline: Duration::from_secs(1),
            outputs: 64,
            output_bytes: MIB,
            log_lines_per_second: 10,
            state_bytes: MIB,
        }
    }
}
