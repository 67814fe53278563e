//! What the log says, put together: everything but the messages that wait in queues. No I/O.

use crate::record::{ItemId, NameId, NameKind, Parked, QueueMark, Record, Totals, Transaction};
use ahash::{AHashMap, AHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// Where a QoS 2 item is on its way to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentItem {
    /// The link it was sent on.
    pub link: NameId,
    /// Of the packet id.
    pub serial: u64,
    /// The target has taken it over: it must not be published again.
    pub taken_over: bool,
}

/// What is done of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Everything before it is done.
    pub(crate) cursor: ItemId,
    pub(crate) beyond: BTreeSet<ItemId>,
    pub(crate) done: Totals,
    pub(crate) appended: Totals,
    /// The last item that was seen in the log.
    pub(crate) last: ItemId,
}

impl Done {
    /// False if it is certain that nothing waits. The two counts cannot say it alone: a record that rotted is counted as
    /// appended and never as done.
    pub(crate) fn may_wait(&self) -> bool {
        self.appended.items > self.done.items
            || !self.beyond.is_empty()
            || (self.last != ItemId::default() && !self.is_done(self.last))
    }

    pub(crate) fn is_done(&self, item: ItemId) -> bool {
        item < self.cursor || self.beyond.contains(&item)
    }
}

/// The state of a log at one of its records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LogState {
    pub(crate) names: AHashMap<NameId, (NameKind, String)>,
    by_name: [AHashMap<String, NameId>; 5],
    /// The highest number that stands, or stood, for a name. One whose name was lost still is not free.
    pub(crate) highest_name: NameId,
    pub(crate) queues: BTreeMap<NameId, Done>,
    /// QoS 2 packet ids between their transaction and their PUBREL, by source.
    pub(crate) taken: AHashMap<NameId, AHashSet<u16>>,
    pub(crate) sent: AHashMap<(NameId, ItemId), SentItem>,
    by_serial: AHashMap<(NameId, u64), (NameId, ItemId)>,
    pub(crate) parked: BTreeMap<u64, Parked>,
    pub(crate) last_parked: u64,
    pub(crate) plugins: AHashMap<NameId, BTreeMap<String, Vec<u8>>>,
}

impl LogState {
    pub(crate) fn apply(&mut self, sequence: u64, record: &Record) {
        match record {
            Record::Name { id, kind, text } => self.name(*id, *kind, text),
            Record::Transaction(transaction) => self.transaction(sequence, transaction),
            Record::Sent { link, serial, queue, item } => {
                self.saw(*queue);
                self.saw(*link);
                self.sent(*link, *serial, *queue, *item);
            }
            Record::TakenOver { link, serial } => {
                if let Some(key) = self.by_serial.get(&(*link, *serial))
                    && let Some(sent) = self.sent.get_mut(key)
                {
                    sent.taken_over = true;
                }
            }
            Record::Released { source, packet_id } => {
                if let Some(taken) = self.taken.get_mut(source) {
                    taken.remove(packet_id);
                }
            }
            Record::Forgotten { source } => {
                self.saw(*source);
                self.taken.remove(source);
            }
            Record::Mark(mark) => self.mark(mark, true),
            Record::End { .. } => {}
        }
    }

    /// A number that is not free.
    pub(crate) fn saw(&mut self, id: NameId) {
        self.highest_name = self.highest_name.max(id);
    }

    fn name(&mut self, id: NameId, kind: NameKind, text: &str) {
        self.saw(id);
        self.names.insert(id, (kind, text.to_owned()));
        self.by_name[kind as usize].insert(text.to_owned(), id);
    }

    fn transaction(&mut self, sequence: u64, transaction: &Transaction) {
        for (source, packet_id) in &transaction.taken {
            self.took(*source, *packet_id);
        }
        let mut index = 0;
        for delivery in &transaction.deliveries {
            let bytes = delivery.message.weight_bytes() as u64;
            for queue in &delivery.queues {
                self.queued(delivery.route, *queue, ItemId { sequence, index }, bytes);
                index += 1;
            }
        }
        for (number, parked) in &transaction.parked {
            self.last_parked = self.last_parked.max(*number);
            let mut parked = parked.clone();
            parked.message.detach();
            self.parked.insert(*number, parked);
        }
        for number in &transaction.unparked {
            self.last_parked = self.last_parked.max(*number);
            self.parked.remove(number);
        }
        for write in &transaction.state {
            self.saw(write.plugin);
            let keys = self.plugins.entry(write.plugin).or_default();
            match &write.value {
                Some(value) => {
                    keys.insert(write.key.clone(), value.clone());
                }
                None => {
                    keys.remove(&write.key);
                }
            }
        }
    }

    /// A source's QoS 2 message is taken over.
    pub(crate) fn took(&mut self, source: NameId, packet_id: u16) {
        self.saw(source);
        self.taken.entry(source).or_default().insert(packet_id);
    }

    /// A message went into a queue.
    #[inline]
    pub(crate) fn queued(&mut self, route: NameId, queue: NameId, item: ItemId, bytes: u64) {
        self.saw(route);
        self.saw(queue);
        let done = self.queues.entry(queue).or_default();
        done.appended.items += 1;
        done.appended.bytes += bytes;
        done.last = item;
    }

    fn sent(&mut self, link: NameId, serial: u64, queue: NameId, item: ItemId) {
        // One item goes to one broker at a time, and a serial that is used again has nothing else behind it.
        if let Some(old) = self.by_serial.insert((link, serial), (queue, item)) {
            self.sent.remove(&old);
        }
        if let Some(old) = self.sent.insert((queue, item), SentItem { link, serial, taken_over: false })
            && (old.link, old.serial) != (link, serial)
        {
            self.by_serial.remove(&(old.link, old.serial));
        }
    }

    /// An item needs no more care.
    pub(crate) fn finished(&mut self, queue: NameId, item: ItemId) {
        if self.sent.is_empty() {
            return;
        }
        if let Some(sent) = self.sent.remove(&(queue, item)) {
            self.by_serial.remove(&(sent.link, sent.serial));
        }
    }

    /// Takes what is done of a queue from a checkpoint or a file of cursors, if that knows more; what went into the queue
    /// only from a checkpoint, for the log may have lost what a file of cursors still counts.
    pub(crate) fn mark(&mut self, mark: &QueueMark, knows_appended: bool) {
        self.saw(mark.queue);
        let done = self.queues.entry(mark.queue).or_default();
        // Cursors only move on; behind one that stands, only more can be done.
        let knows_more = (mark.cursor, mark.beyond.len()) >= (done.cursor, done.beyond.len());
        if knows_more {
            done.cursor = mark.cursor;
            done.beyond = mark.beyond.iter().copied().collect();
            done.done = mark.done;
        }
        if knows_appended && mark.appended.items > done.appended.items {
            done.appended = mark.appended;
        }
    }

    /// Forgets what is known to be done.
    pub(crate) fn settle(&mut self) {
        let Self { sent, queues, by_serial, .. } = self;
        sent.retain(|(queue, item), at| {
            let keep = !queues.get(queue).is_some_and(|done| done.is_done(*item));
            if !keep {
                by_serial.remove(&(at.link, at.serial));
            }
            keep
        });
        for done in queues.values_mut() {
            done.appended.items = done.appended.items.max(done.done.items);
            done.appended.bytes = done.appended.bytes.max(done.done.bytes);
        }
    }

    /// Everything as records that make this state again, in the order they must be read.
    pub(crate) fn records(&self, marks: &[QueueMark]) -> Vec<Record> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable_by_key(|(id, _)| **id);
        let mut records: Vec<Record> = names
            .into_iter()
            .map(|(id, (kind, text))| Record::Name { id: *id, kind: *kind, text: text.clone() })
            .collect();
        // Also of names that were lost.
        records.push(Record::number_was_used(self.highest_name));
        records.extend(marks.iter().cloned().map(Record::Mark));
        let mut one = Transaction::default();
        for (source, ids) in &self.taken {
            one.taken.extend(ids.iter().map(|id| (*source, *id)));
        }
        if !one.taken.is_empty() {
            records.push(Record::Transaction(one));
        }
        for ((queue, item), sent) in &self.sent {
            let SentItem { link, serial, taken_over } = *sent;
            records.push(Record::Sent { link, serial, queue: *queue, item: *item });
            if taken_over {
                records.push(Record::TakenOver { link, serial });
            }
        }
        // One record each: if a bit rots, one is lost.
        for (number, parked) in &self.parked {
            let parked = vec![(*number, parked.clone())];
            records.push(Record::Transaction(Transaction { parked, ..Transaction::default() }));
        }
        // Numbers are not used again.
        if self.last_parked > 0 && !self.parked.contains_key(&self.last_parked) {
            let unparked = vec![self.last_parked];
            records.push(Record::Transaction(Transaction { unparked, ..Transaction::default() }));
        }
        for (plugin, keys) in &self.plugins {
            for (key, value) in keys {
                let state =
                    vec![crate::record::StateWrite { plugin: *plugin, key: key.clone(), value: Some(value.clone()) }];
                records.push(Record::Transaction(Transaction { state, ..Transaction::default() }));
            }
        }
        records
    }

    /// The names of plugins that have state. Other names may have some, too.
    pub(crate) fn plugins_with_state(&self) -> impl Iterator<Item = &str> {
        let with = self.plugins.iter().filter(|(_, keys)| !keys.is_empty());
        with.filter_map(|(id, _)| self.names.get(id))
            .filter(|(kind, _)| *kind == NameKind::Plugin)
            .map(|(_, text)| &**text)
    }

    pub(crate) fn id(&self, kind: NameKind, text: &str) -> Option<NameId> {
        self.by_name[kind as usize].get(text).copied()
    }

    pub(crate) fn text(&self, id: NameId) -> Option<&str> {
        self.names.get(&id).map(|(_, text)| text.as_str())
    }
}
