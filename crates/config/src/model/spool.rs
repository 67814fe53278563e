//! How much of what is on its way waits on disk, and what becomes of the rest.

use std::time::Duration;

/// What waits for one target: a broker, or a target set of which one member gets each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// How much may wait, in bytes.
    pub max_bytes: u64,
    /// How many messages may wait; at least 1. `None`: as many as there is room for.
    pub max_messages: Option<u64>,
    /// What is older than this is dropped and counted. `None`: never.
    pub max_age: Option<Duration>,
    /// What becomes of a message for which there is no room.
    pub when_full: WhenFull,
    /// The most messages of a backlog that leave in a second; at least 1. `None`: as many as the target takes.
    pub drain_rate: Option<u32>,
    /// What waited longer than this says so, with the MQTT 5 user property `tidegate-late`. `None`: nothing does.
    pub mark_late: Option<Duration>,
}

/// What becomes of a message for which a spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is not taken until there is: its source waits.
    Block,
    /// The oldest are dropped for it, and counted.
    DropOldest,
    /// It is dropped and counted.
    DropNewest,
}
