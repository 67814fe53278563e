//! Echo: what a broker sends back to us because we subscribe to what we publish there, and it has neither no-local nor the
//! bridge bit to leave it out. It is known again, and goes no further.
//!
//! Each message that leaves for such a broker under a filter of ours is expected back once. A message that comes and was
//! expected is the echo; a second of the same topic and payload is a device's own, and passes. Topic and payload are what
//! counts: brokers change QoS and the retain flag. Messages of one topic and QoS come back in the order in which they
//! left (MQTT 3.1.1 section 4.6), so those that should have come before one that has come are hardly to be expected any more.
//!
//! What it cannot know: an echo that the broker has lost is expected for [`KNOWN_FOR`], or [`OVERTAKEN_FOR`] once a later one
//! of its topic has come; a device that says the same meanwhile is taken for it. And what is sent again over a broken link comes back as
//! often as the broker got it: all but the first pass, once.

use crate::Router;
use crate::debt::Ack;
use crate::ids::BrokerId;
use crate::sessions::Sessions;
use ahash::{AHashMap, RandomState};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, SubscriptionIndex, Topic, TopicFilter};

/// How many messages are expected back from one broker at a time; of more the oldest are not.
const EXPECTED_MAX: usize = 32 * 1024;

/// And for how long.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// For how long an echo is expected that a later one of its topic has overtaken.
const OVERTAKEN_FOR: Duration = Duration::from_secs(2);

/// What is expected back from one broker.
#[derive(Default)]
pub(crate) struct Echo {
    /// It echoes: it speaks neither MQTT 5 nor the bridge bit.
    echoes: bool,
    /// What we subscribe to there. What is shared may come back to another member of the group.
    filters: SubscriptionIndex<TopicFilter>,
    /// By the hash of the topic, in the order of sending.
    expected: AHashMap<u64, VecDeque<Sent>>,
    count: usize,
    /// All of them, and some that have come: number, when, the hash of the topic.
    order: VecDeque<(u64, Instant, u64)>,
    last: u64,
    /// Of the last echo, and how many more of it may come right behind: one for each other filter that matches.
    copies: Option<(u64, usize)>,
}

/// One message that left.
#[derive(Debug)]
struct Sent {
    number: u64,
    /// The hash of topic and payload.
    content: u64,
    qos: QoS,
    until: Instant,
    /// How many filters of ours match its topic.
    filters: usize,
}

/// A topic as it may come back: RabbitMQ has `/` for `.`, and `+` for `*`.
fn as_it_comes(topic: &str) -> Cow<'_, str> {
    if topic.contains(['.', '*']) { topic.replace('.', "/").replace('*', "+").into() } else { topic.into() }
}

/// The hashes of a topic, as it comes, and of that with the payload.
fn hashes(text: &str, message: &Message, hasher: &RandomState) -> (u64, u64) {
    (hasher.hash_one(text), hasher.hash_one((text, &message.payload[..])))
}

impl Echo {
    /// Other routes: their filters follow.
    pub(crate) fn unsubscribe(&mut self) {
        self.filters = SubscriptionIndex::new();
    }

    /// We subscribe to this.
    pub(crate) fn subscribe(&mut self, filter: &TopicFilter) {
        if filter.share().is_none() {
            self.filters.insert(filter, filter.clone());
        }
    }

    /// Whether it is to be asked at all.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.echoes && !self.filters.is_empty()
    }

    /// A broker has accepted us.
    pub(crate) fn connected(&mut self, echoes: bool) {
        self.echoes = echoes;
        if !echoes {
            self.forget();
        }
    }

    /// Our session ended, and what the broker had for us with it.
    pub(crate) fn forget(&mut self) {
        self.expected.clear();
        self.order.clear();
        (self.count, self.copies) = (0, None);
    }

    /// How many of our filters a topic matches that the broker knows: it is not subscribed to what another covers.
    fn matching(&self, topic: &Topic) -> usize {
        let mut found: Vec<&TopicFilter> = Vec::new();
        self.filters.for_each_match(topic, |filter| found.push(filter));
        let is_covered = |filter: &TopicFilter| found.iter().any(|other| *other != filter && other.covers(filter));
        found.iter().filter(|filter| !is_covered(filter)).count()
    }

    /// A message leaves.
    fn sent(&mut self, message: &Message, hasher: &RandomState, now: Instant) {
        let text = as_it_comes(message.topic.as_str());
        let mut filters = self.matching(&message.topic);
        if let Cow::Owned(text) = &text
            && let Ok(topic) = Topic::new(text.as_str())
        {
            filters = filters.max(self.matching(&topic));
        }
        if filters == 0 {
            return;
        }
        self.last += 1;
        let (topic, content) = hashes(&text, message, hasher);
        self.expected.entry(topic).or_default().push_back(Sent {
            number: self.last,
            content,
            qos: message.qos,
            until: now + KNOWN_FOR,
            filters,
        });
        self.order.push_back((self.last, now, topic));
        self.count += 1;
        self.expire(now);
    }

    /// Whether a message that has come is one of ours.
    fn is_echo(&mut self, message: &Message, hasher: &RandomState, now: Instant) -> bool {
        let (topic, content) = hashes(&as_it_comes(message.topic.as_str()), message, hasher);
        if let Some((last, left)) = self.copies.take()
            && last == content
            && left > 0
        {
            self.copies = Some((last, left - 1));
            return true;
        }
        self.expire(now);
        let Some(queue) = self.expected.get_mut(&topic) else { return false };
        let is_it = |sent: &Sent| sent.content == content && now < sent.until;
        let Some(found) = queue.iter().position(is_it).and_then(|at| queue.remove(at).map(|sent| (at, sent))) else {
            return false;
        };
        let (at, Sent { qos, filters, .. }) = found;
        for before in queue.iter_mut().take(at).filter(|before| before.qos == qos) {
            before.until = before.until.min(now + OVERTAKEN_FOR);
        }
        self.count -= 1;
        if queue.is_empty() {
            self.expected.remove(&topic);
        }
        self.copies = (filters > 1).then_some((content, filters - 1));
        true
    }

    /// Forgets what is too old, and the oldest of too many.
    fn expire(&mut self, now: Instant) {
        while let Some((number, at, topic)) = self.order.front().copied() {
            let is_due = self.is_expected(number, topic);
            if is_due && now < at + KNOWN_FOR && self.count <= EXPECTED_MAX {
                break;
            }
            self.order.pop_front();
            if is_due && let Some(queue) = self.expected.get_mut(&topic) {
                queue.retain(|sent| sent.number != number);
                self.count -= 1;
                if queue.is_empty() {
                    self.expected.remove(&topic);
                }
            }
        }
        if self.order.len() > 2 * EXPECTED_MAX {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(number, _, topic)| self.is_expected(*number, *topic));
            self.order = order;
        }
    }

    fn is_expected(&self, number: u64, topic: u64) -> bool {
        self.expected.get(&topic).is_some_and(|queue| queue.binary_search_by_key(&number, |sent| sent.number).is_ok())
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A message leaves for a broker that echoes.
    #[inline(never)]
    pub(crate) fn expect_echo(&mut self, broker: BrokerId, message: &Message, now: Instant) {
        self.brokers[broker.at()].echo.sent(message, &self.hasher, now);
    }

    /// A message has come from a broker that echoes: whether it is one of ours.
    #[inline(never)]
    pub(crate) fn is_echo(&mut self, broker: BrokerId, message: &Message, now: Instant) -> bool {
        let broker = &mut self.brokers[broker.at()];
        let is_echo = broker.echo.is_echo(message, &self.hasher, now);
        broker.echoed += u64::from(is_echo);
        is_echo
    }
}
