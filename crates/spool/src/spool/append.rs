//! What the data path writes down: transactions, the steps of QoS 2, and that an item is done.

use super::{Fresh, Spool};
use crate::QueueId;
use crate::api::DoneItem;
use crate::log_state::SentItem;
use crate::queue::Slot;
use crate::record::{ItemId, NameId, Record, Single, Transaction, encode_single};
use tidegate_message::Message;

impl Spool {
    /// Writes a record and returns its sequence: once [`News::durable`](crate::News::durable) has reached it, all of it has happened.
    pub fn append(&mut self, transaction: Transaction) -> u64 {
        for name in transaction.deliveries.iter().flat_map(|delivery| &delivery.queues) {
            self.add_queue(*name);
        }
        let record = Record::Transaction(transaction);
        let sequence = self.record(&record);
        let Record::Transaction(transaction) = record else { return sequence };
        let mut index = 0;
        for delivery in transaction.deliveries {
            let Some((last, others)) = delivery.queues.split_last() else { continue };
            let bytes = delivery.message.weight_bytes() as u32;
            let mut slot = Slot {
                item: ItemId { sequence, index },
                route: delivery.route,
                bytes,
                received_ms: transaction.received_ms,
                done: false,
            };
            for name in others {
                let id = self.add_queue(*name);
                self.enter(id, slot, delivery.message.clone());
                slot.item.index += 1;
            }
            let id = self.add_queue(*last);
            self.enter(id, slot, delivery.message);
            index = slot.item.index + 1;
        }
        // Not before: a checkpoint counts what is in the queues.
        self.roll_if_full();
        sequence
    }

    /// Writes the record of one message for one queue, the same as [`append`](Self::append) would of a transaction with
    /// nothing else, and returns its sequence.
    // Inlined, as the message goes by value: the common way of all that is spooled.
    #[inline(always)]
    pub fn append_single(&mut self, single: Single, queue: QueueId) -> u64 {
        if self.has_new_names {
            self.names_first();
        }
        self.sequence += 1;
        let (sequence, name) = (self.sequence, self.queues[usize::from(queue)].name);
        let before = self.buffer.len();
        encode_single(&single, name, sequence, &mut self.buffer);
        self.wrote(self.buffer.len() - before);
        let Single { received_ms, taken, route, message } = single;
        if let Some((source, packet_id)) = taken {
            self.state.took(source, packet_id);
        }
        let (item, bytes) = (ItemId { sequence, index: 0 }, message.weight_bytes() as u32);
        self.state.queued(route, name, item, u64::from(bytes));
        self.enter(queue, Slot { item, route, bytes, received_ms, done: false }, message);
        self.roll_if_full();
        sequence
    }

    /// An item that was appended enters its queue: it waits in memory until it is durable, or is read from the disk again.
    #[inline(always)]
    fn enter(&mut self, id: QueueId, slot: Slot, message: Message) {
        let queue = &mut self.queues[usize::from(id)];
        queue.appended.items += 1;
        queue.appended.bytes += u64::from(slot.bytes);
        if let Some(until) = &mut queue.backlog_until {
            if until.sequence != u64::MAX {
                *until = slot.item;
            }
            return;
        }
        if !queue.has_room() {
            queue.backlog_until = Some(slot.item);
            return;
        }
        queue.fresh += 1;
        queue.fresh_bytes += u64::from(slot.bytes);
        self.fresh.push_back(Fresh { queue: id, slot, message });
    }

    pub(super) fn record(&mut self, record: &Record) -> u64 {
        if self.has_new_names && !matches!(record, Record::Name { .. }) {
            self.names_first();
        }
        self.sequence += 1;
        let before = self.buffer.len();
        record.encode(self.sequence, &mut self.buffer);
        self.wrote(self.buffer.len() - before);
        self.state.apply(self.sequence, record);
        self.sequence
    }

    /// So many bytes were added to the buffer.
    fn wrote(&mut self, bytes: usize) {
        self.segment_used += bytes as u64;
        self.since_checkpoint += bytes as u64;
    }

    pub(super) fn roll_if_full(&mut self) {
        if self.segment_used >= self.settings.segment_bytes {
            self.roll();
        }
    }

    fn record_alone(&mut self, record: &Record) -> u64 {
        let sequence = self.record(record);
        self.roll_if_full();
        sequence
    }

    /// An item is about to be sent at QoS 2. Returns the sequence that must be durable before it is.
    pub fn sent(&mut self, queue: QueueId, ordinal: u32, link: NameId, serial: u64) -> u64 {
        let queue = &self.queues[usize::from(queue)];
        let Some(slot) = queue.slot(ordinal).filter(|slot| !slot.done) else { return 0 };
        self.record_alone(&Record::Sent { link, serial, queue: queue.name, item: slot.item })
    }

    /// The target has taken an item over. Returns the sequence that must be durable before PUBREL is sent.
    pub fn taken_over(&mut self, queue: QueueId, ordinal: u32) -> u64 {
        let queue = &self.queues[usize::from(queue)];
        let Some(slot) = queue.slot(ordinal) else { return 0 };
        let Some(SentItem { link, serial, .. }) = self.state.sent.get(&(queue.name, slot.item)).copied() else {
            return 0;
        };
        self.record_alone(&Record::TakenOver { link, serial })
    }

    /// A source has seen our PUBREC. Returns the sequence that must be durable before PUBCOMP is sent.
    pub fn released(&mut self, source: NameId, packet_id: u16) -> u64 {
        if !self.state.taken.get(&source).is_some_and(|ids| ids.contains(&packet_id)) {
            return 0;
        }
        self.record_alone(&Record::Released { source, packet_id })
    }

    /// A source has forgotten our session. Returns the sequence that must be durable before anything is sent there.
    pub fn forgotten(&mut self, source: NameId) -> u64 {
        if self.state.taken.get(&source).is_none_or(|ids| ids.is_empty()) {
            return 0;
        }
        self.record_alone(&Record::Forgotten { source })
    }

    /// An item needs no more care. Returns what it was; `None` if it was done before.
    pub fn done(&mut self, queue: QueueId, ordinal: u32) -> Option<DoneItem> {
        let queue = &mut self.queues[usize::from(queue)];
        let slot = queue.finish(ordinal)?;
        let name = queue.name;
        self.state.finished(name, slot.item);
        self.cursors_moved = true;
        Some(DoneItem { route: slot.route, received_ms: slot.received_ms })
    }
}
