//! Names and their numbers, queues and their places.

use super::Spool;
use crate::QueueId;
use crate::api::Key;
use crate::log_writer::Op;
use crate::queue::Queue;
use crate::record::{ItemId, NameId, NameKind, Record, queue_key, queue_text};

impl Spool {
    /// The number of a name, if there is one.
    pub fn known_name(&self, kind: NameKind, text: &str) -> Option<NameId> {
        self.state.id(kind, text)
    }

    pub(super) fn add_queue(&mut self, name: NameId) -> QueueId {
        if let Some(id) = self.by_name.get(&name) {
            return *id;
        }
        let found = self.state.queues.entry(name).or_default();
        let mut queue = Queue::new(name, found);
        // The state keeps only what is small; what waits is here.
        found.beyond.clear();
        if queue.backlog_until.is_none() {
            queue.loaded = ItemId { sequence: self.sequence + 1, index: 0 };
        }
        queue.window_items = self.window_items;
        self.queues.push(queue);
        let id = (self.queues.len() - 1) as QueueId;
        self.by_name.insert(name, id);
        id
    }

    /// The number of a name; it is written down if it is new.
    pub fn name(&mut self, kind: NameKind, text: &str) -> NameId {
        if let Some(id) = self.state.id(kind, text) {
            return id;
        }
        let id = self.next_name;
        self.next_name += 1;
        // Twice: what rots of it must not take with it all that goes by this name.
        let record = Record::Name { id, kind, text: text.to_owned() };
        self.record(&record);
        self.record(&record);
        self.has_new_names = true;
        self.roll_if_full();
        id
    }

    /// Names are durable before a record that speaks of them is written: a power loss, which takes any part of what was not
    /// durable, could take a name and leave a record of which nobody knows any more what it is about.
    #[cold]
    pub(super) fn names_first(&mut self) {
        self.has_new_names = false;
        self.take_buffer();
        self.ops.push(Op::Sync);
    }

    /// What a number stands for.
    pub fn text(&self, id: NameId) -> &str {
        self.state.text(id).unwrap_or("?")
    }

    /// The queue of a target and class.
    pub fn queue(&mut self, key: &Key) -> QueueId {
        let name = self.name(NameKind::Queue, &queue_text(key));
        self.add_queue(name)
    }

    /// The name of a queue, for [`Delivery::queues`](crate::Delivery).
    pub fn queue_name(&self, queue: QueueId) -> NameId {
        self.queues[usize::from(queue)].name
    }

    /// What a queue stands for.
    pub fn key(&self, queue: QueueId) -> Key {
        let text = self.state.text(self.queues[usize::from(queue)].name);
        text.and_then(queue_key).unwrap_or_else(|| Key::new("?", 0))
    }

    /// All queues there are.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> + use<> {
        0..self.queues.len() as QueueId
    }
}
