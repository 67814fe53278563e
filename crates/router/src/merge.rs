//! Merge: several brokers bring the same stream, and each of its messages goes on once.
//!
//! It is told by counting: a message is news if its broker has now sent this content more often than any other broker of the
//! source. So a reading that a device repeats passes as often as it was said, and the twins of it do not. Content is the
//! topic with the payload, or with what the configuration names in its place; what a source waits for (QoS 1 and 2) and what
//! none waits for (QoS 0) are counted apart, for a copy that may be lost must not stand for one that may not.
//!
//! Each message that goes on stands in a *window* as a copy, in order, with how many of them each broker has brought by now.
//! A message of a broker is the twin of the first copy of its content that this broker has not brought; without one it
//! goes on, and is a copy itself. A copy leaves when all brokers have brought it, when it is older than the window, or when
//! there are too many. What comes of a copy that has left is news again: a repetition, never a loss.
//!
//! A twin must not be acknowledged to its broker before the first copy is safe, for a crash in between would lose both: its
//! debt *follows* the first copy's, if that is not settled yet.
//!
//! A broker that sends a message again over a new connection (QoS 1) would count twice. It is known by its packet identifier,
//! which stays the same (MQTT 5.0 section 4.4), as long as this broker is not seen to use one for two messages within a window.

use crate::ids::{BrokerId, DebtId};
use ahash::{AHashMap, RandomState};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_config::TwinKey;
use tidegate_message::Message;

/// How many copies of one route wait for twins at a time; of more the oldest are forgotten.
const COPIES_MAX: usize = 64 * 1024;

/// How many of its last messages a broker may be sending again are known: more than it may have under way, unless set.
const SENT_MAX: usize = 4096;

/// What tells messages apart, hashed: so many bits that no two are ever taken for the same.
type Content = u128;

/// The debt of a message that went on; its number tells it from a later one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) debt: DebtId,
    pub(crate) number: u64,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It goes on.
    News,
    /// Another like it went on: that one, if its source waited for it.
    Twin(Option<First>),
}

/// How a message came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage {
    /// The place of its broker in the window.
    pub(crate) broker: usize,
    /// Its own debt.
    pub(crate) debt: Option<First>,
    /// The packet identifier that the broker gave to it.
    pub(crate) packet_id: Option<u16>,
    /// The broker says that it may have sent it before.
    pub(crate) redelivered: bool,
}

/// A message that went on.
#[derive(Debug)]
struct Copy {
    number: u64,
    first: Option<First>,
}

/// The copies of one content, in order, and how many of them each broker has brought.
#[derive(Debug, Default)]
struct Copies {
    list: VecDeque<Copy>,
    brought: SmallVec<[u32; 4]>,
}

impl Copies {
    fn forget_first(&mut self) {
        self.list.pop_front();
        self.brought.iter_mut().for_each(|count| *count = count.saturating_sub(1));
    }
}

/// What one broker sent last, by packet identifier.
#[derive(Debug, Default)]
struct Sent {
    by_id: AHashMap<u16, Known>,
    order: VecDeque<(u16, u64)>,
    last: u64,
    /// It has given one identifier to two messages within a window: identifiers say nothing of it.
    reuses: bool,
}

#[derive(Debug)]
struct Known {
    number: u64,
    content: Content,
    at: Instant,
    first: Option<First>,
}

impl Sent {
    fn remember(&mut self, id: u16, content: Content, first: Option<First>, now: Instant, window: Duration) {
        self.last += 1;
        let known = Known { number: self.last, content, at: now, first };
        if let Some(before) = self.by_id.insert(id, known) {
            self.reuses |= now < before.at + window;
        }
        self.order.push_back((id, self.last));
        while self.order.len() > SENT_MAX {
            let Some((id, number)) = self.order.pop_front() else { break };
            if self.by_id.get(&id).is_some_and(|known| known.number == number) {
                self.by_id.remove(&id);
            }
        }
    }

    /// What this was when it came before.
    fn again(&self, id: u16, content: Content, now: Instant, window: Duration) -> Option<Option<First>> {
        let known = self.by_id.get(&id).filter(|_| !self.reuses)?;
        (known.content == content && now < known.at + window).then_some(known.first)
    }
}

/// The window of one route.
pub(crate) struct Window {
    lasts: Duration,
    key: TwinKey,
    brokers: SmallVec<[BrokerId; 4]>,
    copies: AHashMap<Content, Copies>,
    /// All copies and some that have left, in order.
    order: VecDeque<(u64, Instant, Content)>,
    count: usize,
    last: u64,
    sent: Vec<Sent>,
}

impl Window {
    pub(crate) fn new(lasts: Duration, key: TwinKey, brokers: &[BrokerId]) -> Self {
        Self {
            lasts,
            key,
            brokers: brokers.into(),
            copies: AHashMap::new(),
            order: VecDeque::new(),
            count: 0,
            last: 0,
            sent: brokers.iter().map(|_| Sent::default()).collect(),
        }
    }

    /// Whether it is as configured; then it goes on over a reload.
    pub(crate) fn is_as(&self, lasts: Duration, key: &TwinKey, brokers: &[BrokerId]) -> bool {
        (self.lasts, &self.key, &self.brokers[..]) == (lasts, key, brokers)
    }

    pub(crate) fn place_of(&self, broker: BrokerId) -> Option<usize> {
        self.brokers.iter().position(|known| *known == broker)
    }

    /// A broker has another session of ours: its packet identifiers mean others.
    pub(crate) fn forget_sent(&mut self, broker: BrokerId) {
        if let Some(at) = self.place_of(broker) {
            self.sent[at] = Sent::default();
        }
    }

    /// What a message is told by.
    pub(crate) fn content_of(&self, message: &Message, is_owed: bool, hasher: &RandomState) -> Content {
        let (kind, told) = match &self.key {
            TwinKey::Payload => None,
            TwinKey::UserProperty(name) => {
                let user = message.properties.as_ref().map_or(&[][..], |properties| &properties.user);
                let property = user.iter().find(|(known, _)| **known == **name);
                property.map(|(_, value)| (1u8, Cow::Borrowed(str::as_bytes(value))))
            }
            TwinKey::Json(pointer) => {
                let json: Option<serde_json::Value> = serde_json::from_slice(&message.payload).ok();
                let value = json.as_ref().and_then(|json| json.pointer(pointer));
                value.map(|value| (2, Cow::Owned(value.to_string().into_bytes())))
            }
        }
        .unwrap_or((0, Cow::Borrowed(&message.payload[..])));
        let half = |half: u8| hasher.hash_one((half, is_owed, kind, message.topic.as_str(), &told[..]));
        u128::from(half(0)) << u64::BITS | u128::from(half(1))
    }

    /// Looks at a message, and counts it.
    pub(crate) fn see(&mut self, content: Content, passage: Passage, now: Instant) -> Sight {
        let Passage { broker, debt, packet_id, redelivered } = passage;
        if redelivered
            && let Some(id) = packet_id
            && let Some(first) = self.sent[broker].again(id, content, now, self.lasts)
        {
            return Sight::Twin(first);
        }
        let sight = self.count(content, broker, debt, now);
        if let Some(id) = packet_id {
            let first = match sight {
                Sight::News => debt,
                Sight::Twin(first) => first,
            };
            self.sent[broker].remember(id, content, first, now, self.lasts);
        }
        sight
    }

    fn count(&mut self, content: Content, broker: usize, debt: Option<First>, now: Instant) -> Sight {
        self.expire(now);
        let copies = self.copies.entry(content).or_default();
        copies.brought.resize(self.brokers.len(), 0);
        let brought = &mut copies.brought[broker];
        if let Some(copy) = copies.list.get(*brought as usize) {
            let first = copy.first;
            *brought += 1;
            // Those that all have brought are the first ones.
            if copies.brought.iter().all(|count| *count > 0) {
                copies.forget_first();
                self.count -= 1;
                if copies.list.is_empty() {
                    self.copies.remove(&content);
                }
            }
            return Sight::Twin(first);
        }
        *brought += 1;
        self.last += 1;
        copies.list.push_back(Copy { number: self.last, first: debt });
        self.order.push_back((self.last, now, content));
        self.count += 1;
        Sight::News
    }

    /// Forgets what is too old, and the oldest of too many.
    fn expire(&mut self, now: Instant) {
        while let Some((number, at, content)) = self.order.front().copied() {
            let waits = self.waits(content, number);
            if waits && now < at + self.lasts && self.count < COPIES_MAX {
                break;
            }
            self.order.pop_front();
            if waits && let Some(copies) = self.copies.get_mut(&content) {
                copies.forget_first();
                self.count -= 1;
                if copies.list.is_empty() {
                    self.copies.remove(&content);
                }
            }
        }
        if self.order.len() > 2 * COPIES_MAX {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(number, _, content)| self.waits(*content, *number));
            self.order = order;
        }
    }

    /// Whether a copy is still there: those that leave are always the first of their content.
    fn waits(&self, content: Content, number: u64) -> bool {
        let first = self.copies.get(&content).and_then(|copies| copies.list.front());
        first.is_some_and(|copy| copy.number <= number)
    }
}

#[cfg(test)]
mod tests;
