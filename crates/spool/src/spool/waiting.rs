//! What the spool holds: what waits, what is parked, what plugins remember.

use super::Spool;
use crate::QueueId;
use crate::api::Waiting;
use crate::record::{ItemId, NameId, NameKind, Parked};
use std::collections::BTreeMap;

impl Spool {
    /// How much of a queue is not done: `(items, bytes)`. Bytes are the weight of the messages, topic, payload and
    /// properties, not their length on disk.
    pub fn pending(&self, queue: QueueId) -> (u64, u64) {
        let pending = self.queues[usize::from(queue)].pending();
        (pending.items, pending.bytes)
    }

    /// Whether an item is in the window and not done.
    pub fn waits(&self, queue: QueueId, ordinal: u32) -> bool {
        self.queues[usize::from(queue)].slot(ordinal).is_some_and(|slot| !slot.done)
    }

    /// The route that an item in the window came through; `None` if it does not wait.
    pub fn route(&self, queue: QueueId, ordinal: u32) -> Option<NameId> {
        self.queues.get(usize::from(queue))?.slot(ordinal).map(|slot| slot.route)
    }

    /// The sequence of the record of an item in the window.
    pub fn sequence_of(&self, queue: QueueId, ordinal: u32) -> Option<u64> {
        self.item_of(queue, ordinal).map(|item| item.sequence)
    }

    /// Which item of the log an item in the window is: the same in every process that has this log.
    pub fn item_of(&self, queue: QueueId, ordinal: u32) -> Option<ItemId> {
        self.queues.get(usize::from(queue))?.slot(ordinal).map(|slot| slot.item)
    }

    /// Whether nothing of a queue is yet to come as [`News::ready`](crate::News) that was appended up to a sequence.
    pub fn has_read(&self, queue: QueueId, sequence: u64) -> bool {
        let queue = &self.queues[usize::from(queue)];
        sequence <= self.durable && (queue.backlog_until.is_none() || queue.loaded.sequence > sequence)
    }

    /// When an item was received, in milliseconds since the epoch; `None` if it does not wait.
    pub fn received_ms(&self, queue: QueueId, ordinal: u32) -> Option<u64> {
        Some(self.queues[usize::from(queue)].slot(ordinal)?.received_ms)
    }

    /// True if some of a queue is only on disk.
    pub fn has_backlog(&self, queue: QueueId) -> bool {
        self.queues[usize::from(queue)].backlog_until.is_some()
    }

    /// How many items of a queue are yet to come as [`News::ready`](crate::News): they are on disk only, or not durable yet.
    pub fn to_come(&self, queue: QueueId) -> u64 {
        let queue = &self.queues[usize::from(queue)];
        let known = queue.window.iter().filter(|slot| !slot.done).count() as u64;
        queue.pending().items.saturating_sub(known)
    }

    /// What waits, queue by queue.
    pub fn waiting(&self) -> Vec<Waiting> {
        let one = |id: QueueId| {
            let (items, bytes) = self.pending(id);
            let oldest_ms = self.queues[usize::from(id)].window.front().map(|slot| slot.received_ms);
            Waiting { key: self.key(id), items, bytes, oldest_ms }
        };
        self.queues().map(one).collect()
    }

    /// The packet ids of a source's QoS 2 messages that were taken over and not released.
    pub fn taken(&self, source: NameId) -> Vec<u16> {
        self.state.taken.get(&source).map_or_else(Vec::new, |ids| ids.iter().copied().collect())
    }

    /// Sources of which some packet id was taken over and not released.
    pub fn sources_with_taken(&self) -> impl Iterator<Item = &str> {
        let with = self.state.taken.iter().filter(|(_, ids)| !ids.is_empty());
        with.filter_map(|(source, _)| self.state.text(*source))
    }

    /// Whether a source's QoS 2 message with this packet id was taken over and not released.
    pub fn is_taken(&self, source: NameId, packet_id: u16) -> bool {
        self.state.taken.get(&source).is_some_and(|ids| ids.contains(&packet_id))
    }

    /// Parked messages by number.
    pub fn parked(&self) -> &BTreeMap<u64, Parked> {
        &self.state.parked
    }

    /// A number for the next parked message.
    pub fn next_parked(&self) -> u64 {
        self.state.last_parked + 1
    }

    /// The state of a plugin.
    pub fn plugin_state(&self, plugin: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.state_of(NameKind::Plugin, plugin)
    }

    /// What is kept under a name: the state of a plugin, or what is known of the broker at the end of a link.
    pub fn state_of(&self, kind: NameKind, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.state.plugins.get(&self.state.id(kind, name)?)
    }

    /// The names of all plugins that have state.
    pub fn plugins_with_state(&self) -> Vec<String> {
        self.state.plugins_with_state().map(str::to_owned).collect()
    }
}
