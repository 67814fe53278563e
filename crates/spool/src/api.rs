//! What goes in and out of a [`Spool`](crate::Spool).

use crate::QueueId;
use crate::log_state::SentItem;
use crate::record::NameId;
use std::time::Duration;
use tidegate_message::Message;

/// How a spool works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a segment becomes, in bytes.
    pub segment_bytes: u64,
    /// How long a flush waits for more.
    pub commit_delay: Duration,
    /// Behind a flush of many records, which many wait for, the next one comes at this distance, and takes along what has come by then. One that
    /// comes later, or behind a flush of few, waits for nothing.
    pub commit_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_bytes: 8 * 1024 * 1024, commit_delay: Duration::ZERO, commit_interval: Duration::ZERO }
    }
}

/// A queue by what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// A broker or a set of them.
    pub target: String,
    /// Its class of priority; the lower leaves first.
    pub class: u8,
    /// Which part of what is for the target, if that has several queues; without a slash. Empty: all of it.
    pub part: String,
}

impl Key {
    /// Of a target with one queue for each class.
    pub fn new(target: impl Into<String>, class: u8) -> Self {
        Self { target: target.into(), class, part: String::new() }
    }
}

/// An item that is durable and waits to be sent.
#[derive(Debug)]
pub struct Ready {
    /// Where it waits.
    pub queue: QueueId,
    /// Its number in the queue, for [`Spool::done`](crate::Spool::done).
    pub ordinal: u32,
    /// The route it came through.
    pub route: NameId,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// What to send.
    pub message: Message,
    /// It was being sent at QoS 2 when the gateway ended.
    pub sent: Option<SentItem>,
    /// It was appended before this start.
    pub recovered: bool,
}

/// What happened since the last [`Spool::poll`](crate::Spool::poll).
#[derive(Debug, Default)]
pub struct News {
    /// Everything up to this sequence is durable.
    pub durable: u64,
    /// What may be sent now, in order for each queue.
    pub ready: Vec<Ready>,
}

/// What waits in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub key: Key,
    /// How many messages wait or are being sent.
    pub items: u64,
    /// What they weigh, in bytes.
    pub bytes: u64,
    /// When the oldest was received, in milliseconds since the epoch; `None` if it is not in memory.
    pub oldest_ms: Option<u64>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneItem {
    /// The route it came through.
    pub route: NameId,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
}
