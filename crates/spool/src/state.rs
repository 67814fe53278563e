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
}

impl Done {
    pub(crate) fn is_done(&self, item: ItemId) -> bool {
        item < self.cursor || self.beyond.contains(&item)
    }
}

/// The state of a log at one of its records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) names: AHashMap<NameId, (NameKind, String)>,
    pub(crate) by_name: AHashMap<(NameKind, String), NameId>,
    pub(crate) queues: BTreeMap<NameId, Done>,
    /// QoS 2 packet ids between their transaction and their PUBREL, by source.
    pub(crate) taken: AHashMap<NameId, AHashSet<u16>>,
    pub(crate) sent: AHashMap<(NameId, ItemId), SentItem>,
    by_serial: AHashMap<(NameId, u64), (NameId, ItemId)>,
    pub(crate) parked: BTreeMap<u64, Parked>,
    pub(crate) last_parked: u64,
    pub(crate) plugins: AHashMap<NameId, BTreeMap<String, Vec<u8>>>,
}

impl State {
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Name { id, kind, text } => self.name(*id, *kind, text),
            Record::Transaction(transaction) => self.transaction(transaction),
            Record::Sent { link, serial, queue, item } => self.sent(*link, *serial, *queue, *item),
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
                self.taken.remove(source);
            }
            Record::Mark(mark) => self.mark(mark),
            Record::End { .. } => {}
        }
    }

    fn name(&mut self, id: NameId, kind: NameKind, text: &str) {
        self.names.insert(id, (kind, text.to_owned()));
        self.by_name.insert((kind, text.to_owned()), id);
    }

    fn transaction(&mut self, transaction: &Transaction) {
        for (source, packet_id) in &transaction.taken {
            self.taken.entry(*source).or_default().insert(*packet_id);
        }
        for delivery in &transaction.deliveries {
            for queue in &delivery.queues {
                let appended = &mut self.queues.entry(*queue).or_default().appended;
                appended.items += 1;
                appended.bytes += delivery.message.weight_bytes() as u64;
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

    /// Takes what is done of a queue from a checkpoint or a file of cursors, if that knows more.
    pub(crate) fn mark(&mut self, mark: &QueueMark) {
        let done = self.queues.entry(mark.queue).or_default();
        let knows_more = (mark.done.items, mark.cursor) >= (done.done.items, done.cursor);
        if knows_more {
            done.cursor = mark.cursor;
            done.beyond = mark.beyond.iter().copied().collect();
            done.done = mark.done;
        }
        if mark.appended.items > done.appended.items {
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
    }

    /// Everything as records that make this state again, in the order they must be read.
    pub(crate) fn records(&self, marks: &[QueueMark]) -> Vec<Record> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable_by_key(|(id, _)| **id);
        let mut records: Vec<Record> = names
            .into_iter()
            .map(|(id, (kind, text))| Record::Name { id: *id, kind: *kind, text: text.clone() })
            .collect();
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

    pub(crate) fn id(&self, kind: NameKind, text: &str) -> Option<NameId> {
        self.by_name.get(&(kind, text.to_owned())).copied()
    }

    pub(crate) fn text(&self, id: NameId) -> Option<&str> {
        self.names.get(&id).map(|(_, text)| text.as_str())
    }
}
