//! The messages that wait for their batch, and those of the last batch of each key, in memory and in the durable state.
//!
//! Each message is an entry of the state of its own, `held:` and a number that grows: a list about it, a space, then the element. What was
//! sent for a message is kept for a while, for it may be delivered again when its outputs were not sent; `sent:` and the key says
//! which they are.

use crate::format::Format;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::HashMap, mem::take, ops::RangeInclusive};
use tidegate_sdk::{
    Message,
    ledger::{Ledger, Written},
    state,
};

/// What was sent for a message is kept for so long: its redelivery follows at once.
const SENT_KEPT_MS: u64 = 30_000;

/// So many messages are decided together and come again together, at most: what was sent before the last so many is not asked for.
const COME_AGAIN: usize = 256;

const HELD: &str = "held:";
const SENT: &str = "sent:";

/// A message on its way.
pub(crate) struct Element {
    number: u64,
    id: u64,
    pub(crate) bytes: Vec<u8>,
    written: Written,
}

/// The messages of one key.
#[derive(Default)]
pub(crate) struct Group {
    /// Of the first message.
    pub(crate) topic: String,
    /// In which the elements are; a swap may have brought another since.
    pub(crate) format: Format,
    /// When the first of them came.
    pub(crate) since_ms: u64,
    pub(crate) waiting: Vec<Element>,
    /// What they take.
    pub(crate) bytes: usize,
    /// The earliest first.
    sent: Vec<Sent>,
    sent_written: Written,
}

/// What one message caused to be sent.
pub(crate) struct Sent {
    /// Its `id`.
    by: u64,
    pub(crate) batches: Vec<Batch>,
    /// None: since before the start.
    at_ms: Option<u64>,
}

pub(crate) struct Batch {
    pub(crate) topic: String,
    pub(crate) format: Format,
    pub(crate) elements: Vec<Element>,
    /// From the first to the last.
    numbers: RangeInclusive<u64>,
}

/// Of `sent:`: the message, and of each batch the first and the last number and the topic.
#[derive(Serialize, Deserialize)]
struct KeptSent {
    by: u64,
    batches: Vec<(u64, u64, String)>,
}

/// The list before an element: `id`, when it was received, its key, its topic, and the format it is in.
#[derive(Serialize, Deserialize)]
struct About<'a>(u64, u64, Cow<'a, str>, Cow<'a, str>, Format);

pub(crate) struct Held {
    pub(crate) groups: HashMap<String, Group>,
    ledger: Ledger,
    next_number: u64,
    /// Keys of the state that mean nothing, to be deleted by the next call.
    orphans: Vec<String>,
}

/// How many messages the state holds.
pub(crate) fn count() -> usize {
    state::keys(HELD).len()
}

impl Held {
    pub(crate) fn restored(ledger: Ledger) -> Self {
        let mut held = Self { groups: HashMap::new(), ledger, next_number: 0, orphans: Vec::new() };
        // First what was sent, so that the messages of it are not taken for waiting ones.
        for state_key in state::keys(SENT) {
            let value = state::get(&state_key).unwrap_or_default();
            let Ok(kept) = serde_json::from_slice::<Vec<KeptSent>>(&value) else {
                held.orphans.push(state_key);
                continue;
            };
            let written = held.ledger.found(&state_key, &value);
            let group = held.groups.entry(state_key[SENT.len()..].to_owned()).or_default();
            group.sent = kept.into_iter().map(Sent::from).collect();
            group.sent_written = written;
        }
        for state_key in state::keys(HELD) {
            let value = state::get(&state_key).unwrap_or_default();
            if !held.restore(&state_key, &value) {
                held.orphans.push(state_key);
            }
        }
        held
    }

    fn restore(&mut self, state_key: &str, value: &[u8]) -> bool {
        let Some(number) = state_key[HELD.len()..].parse::<u64>().ok() else { return false };
        let mut texts = serde_json::Deserializer::from_slice(value).into_iter::<About>();
        let Some(Ok(About(id, received_ms, key, topic, format))) = texts.next() else { return false };
        let Some(bytes) = value[texts.byte_offset()..].strip_prefix(b" ") else { return false };
        self.next_number = self.next_number.max(number + 1);
        let element = Element { number, id, bytes: bytes.to_vec(), written: self.ledger.found(state_key, value) };
        let group = self.groups.entry(key.into_owned()).or_default();
        let mut sent = group.sent.iter_mut().flat_map(|sent| &mut sent.batches);
        match sent.find(|batch| batch.numbers.contains(&number)) {
            Some(batch) => {
                batch.format = format;
                batch.elements.push(element);
            }
            None => group.push(element, &topic, format, received_ms),
        }
        true
    }

    /// Keeps a message; what it takes is given back if the state has no room for it.
    pub(crate) fn keep(&mut self, key: &str, message: &Message, format: Format, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        let about = About(message.id, message.received_ms, key.into(), (&message.topic).into(), format);
        let mut value = serde_json::to_vec(&about).expect("texts and numbers go into memory");
        value.push(b' ');
        value.extend_from_slice(&bytes);
        let mut written = Written::default();
        let state_key = held_key(self.next_number);
        if !self.ledger.set(&mut written, &state_key, &value) {
            self.forget_sent(None);
            if !self.ledger.set(&mut written, &state_key, &value) {
                return Err(bytes);
            }
        }
        let element = Element { number: self.next_number, id: message.id, bytes, written };
        self.next_number += 1;
        self.groups.entry(key.to_owned()).or_default().push(element, &message.topic, format, message.received_ms);
        Ok(())
    }

    /// Makes a batch of all that waits for this key, if there is any. What is sent for a message, `by`, is kept for a while.
    pub(crate) fn close<T>(&mut self, key: &str, by: Option<&Message>, make: impl FnOnce(&Group) -> T) -> Option<T> {
        let group = self.groups.get_mut(key).filter(|group| !group.waiting.is_empty())?;
        let made = make(group);
        group.bytes = 0;
        let mut batch = take(&mut group.waiting);
        let Some(by) = by else {
            batch.iter_mut().for_each(|element| element.delete(&mut self.ledger));
            self.forget_if_empty(key);
            return Some(made);
        };
        let ends = batch.first().zip(batch.last());
        let numbers = ends.map_or(0..=0, |(first, last)| first.number..=last.number);
        let (topic, format) = (group.topic.clone(), group.format);
        let batch = Batch { topic, format, elements: batch, numbers };
        match group.sent.last_mut().filter(|sent| sent.by == by.id) {
            Some(sent) => sent.batches.push(batch),
            None => group.sent.push(Sent { by: by.id, batches: vec![batch], at_ms: Some(by.received_ms) }),
        }
        let mut later = 0;
        let is_asked_for = |sent: &Sent| {
            let asked_for = later < COME_AGAIN;
            later += sent.batches.iter().map(|batch| batch.elements.len()).sum::<usize>();
            asked_for
        };
        let count = group.sent.iter().rev().map(is_asked_for).take_while(|asked_for| *asked_for).count();
        let unasked = group.sent.len() - count;
        group.delete_sent(key, unasked, &mut self.ledger);
        Some(made)
    }

    /// What is known of a message that is delivered again: what was sent for it, or nothing of that if it waits or was sent for
    /// another.
    pub(crate) fn known(&self, key: &str, id: u64) -> Option<Option<&Sent>> {
        let group = self.groups.get(key)?;
        if let Some(sent) = group.sent.iter().find(|sent| sent.by == id) {
            return Some(Some(sent));
        }
        let batches = group.sent.iter().flat_map(|sent| &sent.batches);
        let mut elements = batches.flat_map(|batch| &batch.elements).chain(&group.waiting);
        elements.any(|element| element.id == id).then_some(None)
    }

    /// Forgets what was sent, all of it or what was sent long enough ago.
    pub(crate) fn forget_sent(&mut self, now_ms: Option<u64>) {
        let ledger = &mut self.ledger;
        self.groups.retain(|key, group| {
            let is_old = |sent: &Sent| {
                let age = now_ms.zip(sent.at_ms);
                age.is_none_or(|(now_ms, at_ms)| now_ms.abs_diff(at_ms) >= SENT_KEPT_MS)
            };
            // What was sent before the start is as old as the first call of the timer.
            group.sent.iter_mut().for_each(|sent| sent.at_ms = sent.at_ms.or(now_ms));
            let old = group.sent.iter().take_while(|sent| is_old(sent)).count();
            if old > 0 {
                group.delete_sent(key, old, ledger);
            }
            !group.waiting.is_empty() || !group.sent.is_empty()
        });
    }

    fn forget_if_empty(&mut self, key: &str) {
        if self.groups.get(key).is_some_and(|group| group.waiting.is_empty() && group.sent.is_empty()) {
            self.groups.remove(key);
        }
    }

    /// Not in `configure`, which may be no more than a question.
    pub(crate) fn delete_orphans(&mut self) {
        for key in self.orphans.drain(..) {
            state::delete(&key);
        }
    }
}

impl Group {
    fn push(&mut self, element: Element, topic: &str, format: Format, received_ms: u64) {
        if self.waiting.is_empty() {
            topic.clone_into(&mut self.topic);
            (self.format, self.since_ms) = (format, received_ms);
        }
        self.bytes += element.bytes.len();
        self.waiting.push(element);
    }

    /// Forgets the earliest of what was sent, and writes down what is left. Where that has no room more is forgotten: what the state
    /// does not know to be sent would be held again after a restart.
    fn delete_sent(&mut self, key: &str, mut count: usize, ledger: &mut Ledger) {
        let state_key = format!("{SENT}{key}");
        loop {
            let batches = self.sent.drain(..count).flat_map(|sent| sent.batches);
            batches.flat_map(|batch| batch.elements).for_each(|mut element| element.delete(ledger));
            if self.sent.is_empty() {
                return ledger.delete(&mut self.sent_written, &state_key);
            }
            let ends = |batch: &Batch| (*batch.numbers.start(), *batch.numbers.end(), batch.topic.clone());
            let kept = |sent: &Sent| KeptSent { by: sent.by, batches: sent.batches.iter().map(ends).collect() };
            let kept: Vec<KeptSent> = self.sent.iter().map(kept).collect();
            let text = serde_json::to_vec(&kept).expect("texts and numbers go into memory");
            if ledger.set(&mut self.sent_written, &state_key, &text) {
                return;
            }
            count = 1;
        }
    }
}

impl From<KeptSent> for Sent {
    fn from(kept: KeptSent) -> Self {
        let batch = |(first, last, topic)| Batch {
            topic,
            format: Format::default(), // that of its elements, when they are found
            elements: Vec::new(),
            numbers: first..=last,
        };
        Self { by: kept.by, batches: kept.batches.into_iter().map(batch).collect(), at_ms: None }
    }
}

impl Element {
    fn delete(&mut self, ledger: &mut Ledger) {
        ledger.delete(&mut self.written, &held_key(self.number));
    }
}

/// So that keys in order are messages in order.
fn held_key(number: u64) -> String {
    format!("{HELD}{number:016}")
}
