//! What is counted.

/// What of a broker outlives the process: how much it is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptStats {
    /// How long the log is, in bytes.
    pub log_bytes: u64,
    /// How much of it counts.
    pub live_bytes: u64,
    /// Messages in it.
    pub messages: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// How often it was made durable.
    pub syncs: u64,
    /// How the disk is doing: 0 good, 1 full, 2 failed.
    pub status: u8,
}

/// Counters since the broker was made, and gauges of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// What is on disk; `None`: nothing outlives the process.
    pub kept: Option<KeptStats>,
    /// Clients connected now.
    pub connections: usize,
    /// Sessions now, connected or not.
    pub sessions: usize,
    /// Subscriptions of clients now.
    pub subscriptions: usize,
    /// Retained messages now.
    pub retained: usize,
    /// What they weigh, in bytes.
    pub retained_bytes: usize,
    /// Messages in the sessions' queues now.
    pub queued: usize,
    /// What they weigh, in bytes.
    pub queued_bytes: usize,
    /// The most clients that were connected at a time.
    pub connections_max: usize,
    /// Shared subscriptions of clients now, among the others.
    pub shared_subscriptions: usize,
    /// Clients let in.
    pub accepted: u64,
    /// Connections that came, whatever became of them.
    pub sockets: u64,
    /// Sessions whose time was over while their clients were away.
    pub expired: u64,
    /// Bytes read from clients, and written to them.
    pub bytes_received: u64,
    /// As above.
    pub bytes_sent: u64,
    /// Bytes of the payloads of messages taken from clients.
    pub payload_received: u64,
    /// And of those sent to them.
    pub payload_sent: u64,
    /// Clients turned away.
    pub refused: u64,
    /// Of these, those whose user name or password was wrong.
    pub failed_logins: u64,
    /// How often a client was held up for publishing faster than it may.
    pub held_up: u64,
    /// Connections closed because of bytes that are no MQTT.
    pub protocol_errors: u64,
    /// Messages taken from clients.
    pub received: u64,
    /// Messages handed to the in-process clients.
    pub received_by_local: u64,
    /// Messages published by the in-process clients.
    pub published_by_local: u64,
    /// Messages sent to clients.
    pub sent: u64,
    /// Messages that did not reach a subscriber, by reason; each counted once per subscriber.
    pub dropped: Dropped,
}

/// Why messages did not reach a subscriber. What was refused is counted once, whoever had subscribed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The subscriber's queue, or all queues together, are full.
    pub queue_full: u64,
    /// QoS 0 for a session whose client is away.
    pub offline: u64,
    /// Larger than the subscriber takes.
    pub too_large: u64,
    /// Its message expiry passed while it waited.
    pub expired: u64,
    /// The session it waited for ended.
    pub session_ended: u64,
    /// Published where clients may not publish.
    pub forbidden: u64,
    /// The access lists do not let the subscriber have it.
    pub not_permitted: u64,
    /// Not retained, for want of room; delivered all the same.
    pub retained_full: u64,
    /// Refused: a text has a character that the next broker may hang up on.
    pub control_characters: u64,
    /// Read past: a packet above our maximum from somebody who could not be told it, a topic that cannot be, or a packet
    /// that makes no sense.
    pub unusable: u64,
    /// Refused: the topic has more levels than the next broker may take.
    pub too_deep: u64,
}

impl Dropped {
    /// Each reason by its stable word.
    pub const fn reasons(&self) -> [(&'static str, u64); 11] {
        [
            ("queue_full", self.queue_full),
            ("offline", self.offline),
            ("too_large", self.too_large),
            ("expired", self.expired),
            ("session_ended", self.session_ended),
            ("forbidden", self.forbidden),
            ("not_permitted", self.not_permitted),
            ("retained_full", self.retained_full),
            ("control_characters", self.control_characters),
            ("too_deep", self.too_deep),
            ("unusable", self.unusable),
        ]
    }

    /// What was not taken from clients, by its stable word.
    pub const fn refused(&self) -> [(&'static str, u64); 3] {
        let Self { control_characters, too_deep, unusable, .. } = *self;
        [("control_characters", control_characters), ("too_deep", too_deep), ("unusable", unusable)]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.reasons().iter().map(|(_, count)| count).sum()
    }
}
