//! What the owner of the client writes down, and what a new process reads of it.

use std::collections::{BTreeMap, BTreeSet};
use tidegate_message::Message;
use tidegate_mqtt::{Restored, RestoredMessage};

/// What the client's owner writes down.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Sent {
        serial: u64,
        key: u64,
        message: Message,
    },
    TakenOver(u64),
    /// Nothing waits for this one.
    Completed(u64),
    Received {
        packet_id: u16,
        n: u64,
    },
    Released(u16),
}

/// The client's owner's log.
#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
    pub(super) durable: usize,
    /// How many records must be durable before the next byte leaves.
    pub(super) gate: usize,
}

impl Log {
    pub(super) fn push(&mut self, record: Record) {
        let lazy = matches!(record, Record::Completed(_));
        self.records.push(record);
        if !lazy {
            self.gate = self.records.len();
        }
    }

    pub(super) fn sync(&mut self, records: usize) {
        self.durable = self.records.len().min(self.durable + records);
    }

    /// What a new process reads.
    pub(super) fn restored(&self) -> Restored {
        let (mut sent, mut received) = (BTreeMap::new(), BTreeSet::new());
        for record in &self.records {
            match record {
                Record::Sent { serial, key, message } => {
                    let message = Some(message.clone());
                    sent.insert(*key, RestoredMessage { serial: *serial, key: *key, message });
                }
                Record::TakenOver(key) => sent.get_mut(key).expect("sent before").message = None,
                Record::Completed(key) => _ = sent.remove(key),
                Record::Received { packet_id, .. } => _ = received.insert(*packet_id),
                Record::Released(packet_id) => _ = received.remove(packet_id),
            }
        }
        Restored { sent: sent.into_values().collect(), received: received.into_iter().collect() }
    }

    pub(super) fn has_sent(&self, wanted: u64) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Sent { key, .. } if *key == wanted))
    }
}
