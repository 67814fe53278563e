//! What was published and what arrived, and the difference.
//!
//! A message is known by its [`Id`], which travels in the payload, so that whatever happens to topics, packet ids and
//! connections on the way, the arithmetic at the end is one of sets.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many ids a failure shows of each kind.
const SHOWN: usize = 10;

/// One message: the `n`th of its key. Order is kept, and checked, within a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// What is ordered: a device, a topic.
    pub key: String,
    /// Counts up within the key.
    pub n: u64,
}

impl Id {
    /// The `n`th of `key`.
    pub fn new(key: impl Into<String>, n: u64) -> Self {
        Self { key: key.into(), n }
    }

    /// As a JSON payload of at least `bytes`, with a temperature for the plugins to work on.
    pub fn encode(&self, bytes: usize) -> Vec<u8> {
        let Self { key, n } = self;
        let key = Value::from(key.as_str());
        let begin = format!(r#"{{"k":{key},"n":{n},"temp":{}.5,"pad":""#, 50 + n % 50);
        let pad = bytes.saturating_sub(begin.len() + 2);
        format!(r#"{begin}{}"}}"#, "~".repeat(pad)).into_bytes()
    }

    /// From a JSON payload with `k` and `n`, whatever else it holds.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        Some(Self { key: value.get("k")?.as_str()?.to_owned(), n: value.get("n")?.as_u64()? })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.key, self.n)
    }
}

/// Shared by all who publish and receive in one test; a clone is the same ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    // Whether it was acknowledged.
    published: BTreeMap<Id, bool>,
    received: BTreeMap<String, Vec<Id>>,
    unreadable: BTreeMap<String, u64>,
}

impl Ledger {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Call it before the message is sent, so that it can never be received before it is known.
    pub fn published(&self, id: Id) {
        self.entries().published.entry(id).or_insert(false);
    }

    /// The broker has acknowledged it: from now on it must not be lost.
    #[track_caller]
    pub fn acknowledged(&self, id: &Id) {
        *self.entries().published.get_mut(id).expect("published before it is acknowledged") = true;
    }

    /// `subscriber` has received it.
    pub fn received(&self, subscriber: &str, id: Id) {
        let mut entries = self.entries();
        match entries.received.get_mut(subscriber) {
            Some(received) => received.push(id),
            None => drop(entries.received.insert(subscriber.to_owned(), vec![id])),
        }
    }

    /// Reads the id from the payload; one without is counted as unreadable.
    pub fn received_payload(&self, subscriber: &str, payload: &[u8]) {
        match Id::decode(payload) {
            Some(id) => self.received(subscriber, id),
            None => *self.entries().unreadable.entry(subscriber.to_owned()).or_default() += 1,
        }
    }

    /// How many were published.
    pub fn published_count(&self) -> usize {
        self.entries().published.len()
    }

    /// How many were received by `subscriber`, repeated ones included.
    pub fn received_count(&self, subscriber: &str) -> usize {
        self.entries().received.get(subscriber).map_or(0, Vec::len)
    }

    /// What `subscriber` has received, in the order in which it came.
    pub fn received_by(&self, subscriber: &str) -> Vec<Id> {
        self.entries().received.get(subscriber).cloned().unwrap_or_default()
    }

    /// Compares what `subscriber` has received with everything that was published.
    pub fn check(&self, subscriber: &str) -> Check {
        self.check_of(subscriber, |_| true)
    }

    /// Compares it with the part of the published that was meant for `subscriber`; the rest must not have come.
    pub fn check_of(&self, subscriber: &str, meant: impl Fn(&Id) -> bool) -> Check {
        let entries = self.entries();
        let none = Vec::new();
        let received = entries.received.get(subscriber).unwrap_or(&none);
        let mut check = Check {
            subscriber: subscriber.to_owned(),
            received: received.len(),
            unreadable: entries.unreadable.get(subscriber).copied().unwrap_or(0),
            ..Check::default()
        };

        let mut times: BTreeMap<&Id, u64> = BTreeMap::new();
        let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
        for id in received {
            let times = times.entry(id).or_default();
            *times += 1;
            // A repetition is no disorder: MQTT sends a whole window again.
            if *times == 1 {
                let highest = highest.entry(&id.key).or_insert(id.n);
                if id.n < *highest {
                    check.reordered.push((id.clone(), *highest));
                }
                *highest = id.n.max(*highest);
            }
        }
        for (&id, &times) in &times {
            if times > 1 {
                check.repeated.push((id.clone(), times));
            }
            if !(entries.published.contains_key(id) && meant(id)) {
                check.unexpected.push(id.clone());
            }
        }
        for (id, &acknowledged) in entries.published.iter().filter(|(id, _)| meant(id)) {
            check.published += 1;
            check.acknowledged += usize::from(acknowledged);
            if !times.contains_key(id) {
                check.missing.push(id.clone());
                if acknowledged {
                    check.lost.push(id.clone());
                }
            }
        }
        check
    }

    /// Published and acknowledged ids that none of `subscribers` has received.
    pub fn lost_by_all(&self, subscribers: &[&str]) -> Vec<Id> {
        let entries = self.entries();
        let received: BTreeSet<&Id> =
            subscribers.iter().filter_map(|&subscriber| entries.received.get(subscriber)).flatten().collect();
        let lost = entries.published.iter().filter(|&(id, &acknowledged)| acknowledged && !received.contains(id));
        lost.map(|(id, _)| id.clone()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The difference between what was published and what one subscriber received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Whose.
    pub subscriber: String,
    /// How many were published for it.
    pub published: usize,
    /// How many of these were acknowledged.
    pub acknowledged: usize,
    /// How many arrived, repeated ones included.
    pub received: usize,
    /// Acknowledged and never received.
    pub lost: Vec<Id>,
    /// Published, acknowledged or not, and never received.
    pub missing: Vec<Id>,
    /// Received more than once: how often.
    pub repeated: Vec<(Id, u64)>,
    /// First received after a later one of its key: the highest before it.
    pub reordered: Vec<(Id, u64)>,
    /// Received, but never published, or meant for others.
    pub unexpected: Vec<Id>,
    /// Payloads without an id.
    pub unreadable: u64,
}

impl Check {
    /// Everything acknowledged arrived once, nothing arrived twice, nothing came that was not sent.
    #[track_caller]
    pub fn assert_exactly_once(&self) -> &Self {
        self.assert_at_least_once().assert_at_most_once()
    }

    /// Everything acknowledged arrived, and nothing that was not sent.
    #[track_caller]
    pub fn assert_at_least_once(&self) -> &Self {
        assert!(self.lost.is_empty(), "lost messages: {self}");
        self.assert_nothing_foreign()
    }

    /// Nothing arrived twice, and nothing that was not sent.
    #[track_caller]
    pub fn assert_at_most_once(&self) -> &Self {
        assert!(self.repeated.is_empty(), "repeated messages: {self}");
        self.assert_nothing_foreign()
    }

    /// Each key's messages first arrived in their order.
    #[track_caller]
    pub fn assert_in_order(&self) -> &Self {
        assert!(self.reordered.is_empty(), "reordered messages: {self}");
        self
    }

    /// Everything published arrived, even what was never acknowledged (QoS 0).
    #[track_caller]
    pub fn assert_nothing_missing(&self) -> &Self {
        assert!(self.missing.is_empty(), "missing messages: {self}");
        self
    }

    /// The check compared something: an empty ledger fulfils every promise.
    #[track_caller]
    pub fn assert_published(&self, at_least: usize) -> &Self {
        assert!(self.published >= at_least, "fewer than {at_least} published: {self}");
        self
    }

    #[track_caller]
    fn assert_nothing_foreign(&self) -> &Self {
        assert!(self.unexpected.is_empty() && self.unreadable == 0, "unexpected messages: {self}");
        self
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { subscriber, published, acknowledged, received, unreadable, .. } = self;
        write!(f, "{subscriber}: {published} published, {acknowledged} acknowledged, {received} received")?;
        let ids = |ids: &[Id]| shown(ids.iter().map(Id::to_string));
        write!(f, "; lost {}; missing {}", ids(&self.lost), ids(&self.missing))?;
        write!(f, "; repeated {}", shown(self.repeated.iter().map(|(id, times)| format!("{id} {times} times"))))?;
        write!(f, "; reordered {}", shown(self.reordered.iter().map(|(id, after)| format!("{id} after {after}"))))?;
        write!(f, "; unexpected {}; unreadable {unreadable}", ids(&self.unexpected))
    }
}

fn shown(items: impl ExactSizeIterator<Item = String>) -> String {
    let count = items.len();
    let mut items: Vec<String> = items.take(SHOWN).collect();
    if count > SHOWN {
        items.push("…".to_owned());
    }
    if count == 0 { "0".to_owned() } else { format!("{count} ({})", items.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys of three messages, all acknowledged but the last of `b`.
    fn published() -> Ledger {
        let ledger = Ledger::new();
        for n in 0..3 {
            for key in ["a", "b"] {
                let id = Id::new(key, n);
                ledger.published(id.clone());
                if (key, n) != ("b", 2) {
                    ledger.acknowledged(&id);
                }
            }
        }
        ledger
    }

    fn after(received: &[(&str, u64)]) -> Check {
        let ledger = published();
        for &(key, n) in received {
            ledger.received("s", Id::new(key, n));
        }
        ledger.check("s")
    }

    fn fails(assertion: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(assertion).is_err()
    }

    const ALL: [(&str, u64); 6] = [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("b", 1), ("b", 2)];

    #[test]
    fn all_is_well_with_or_without_the_unacknowledged() {
        after(&ALL).assert_exactly_once().assert_in_order().assert_nothing_missing().assert_published(6);
        let check = after(&ALL[..5]);
        check.assert_exactly_once().assert_in_order();
        assert_eq!(check.missing, [Id::new("b", 2)]);
        assert!(fails(move || drop(check.assert_nothing_missing().clone())));
    }

    #[test]
    fn a_lost_message_is_named() {
        let check = after(&ALL[1..]);
        assert_eq!(check.lost, [Id::new("a", 0)]);
        assert!(check.to_string().contains("lost 1 (a#0)"), "{check}");
        assert!(fails(move || drop(check.assert_at_least_once().clone())));
    }

    #[test]
    fn a_repeated_message_is_counted_and_is_no_disorder() {
        let mut received = ALL.to_vec();
        received.extend([("a", 0), ("a", 0)]);
        let check = after(&received);
        assert_eq!(check.repeated, [(Id::new("a", 0), 3)]);
        check.assert_at_least_once().assert_in_order();
        assert!(fails(move || drop(check.assert_exactly_once().clone())));
    }

    #[test]
    fn disorder_within_a_key_is_found_and_between_keys_is_none() {
        let check = after(&[("a", 1), ("b", 0), ("a", 0), ("a", 2), ("b", 1)]);
        assert_eq!(check.reordered, [(Id::new("a", 0), 1)]);
        check.assert_exactly_once();
        assert!(fails(move || drop(check.assert_in_order().clone())));
    }

    #[test]
    fn what_was_never_sent_or_meant_for_others_is_unexpected() {
        let mut received = ALL.to_vec();
        received.push(("c", 9));
        assert_eq!(after(&received).unexpected, [Id::new("c", 9)]);

        let ledger = published();
        ledger.received("s", Id::new("a", 0));
        ledger.received("s", Id::new("b", 0));
        let check = ledger.check_of("s", |id| id.key == "b" && id.n < 1);
        assert_eq!((check.published, &check.unexpected[..]), (1, &[Id::new("a", 0)][..]));
        ledger.received_payload("s", b"not json");
        assert_eq!(ledger.check("s").unreadable, 1);
        assert!(fails(move || drop(ledger.check("s").assert_at_most_once().clone())));
    }

    #[test]
    fn a_message_is_lost_by_all_only_if_nobody_has_it() {
        let ledger = published();
        for &(key, n) in &ALL[..4] {
            ledger.received("one", Id::new(key, n));
        }
        assert_eq!(ledger.lost_by_all(&["one", "two"]), [Id::new("b", 1)]);
        ledger.received("two", Id::new("b", 1));
        assert_eq!(ledger.lost_by_all(&["one", "two"]), []);
    }

    #[test]
    #[should_panic(expected = "fewer than")]
    fn an_empty_ledger_proves_nothing() {
        Ledger::new().check("s").assert_exactly_once().assert_published(1);
    }

    #[test]
    fn ids_travel_in_json() {
        let id = Id::new("de\"v/1", 12);
        let payload = id.encode(200);
        assert_eq!(payload.len(), 200);
        assert_eq!(Id::decode(&payload), Some(id.clone()));
        assert_eq!(Id::decode(&id.encode(0)), Some(id));
        assert_eq!(Id::decode(br#"{"unit":"C","n":3,"k":"x"}"#), Some(Id::new("x", 3)));
        assert_eq!(Id::decode(br#"{"n":3}"#), None);
    }
}
