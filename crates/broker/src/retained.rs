//! Retained messages: the last of each topic, kept for subscribers to come (MQTT 5.0 section 3.3.1.3).
//!
//! They lie in the order of their topics, where what is below a topic follows it directly: a filter is answered by walking on
//! from one match to the next, in [steps](RetainedMessages::walk) of any length, however many there are.

use crate::publisher::RetainedBy;
use crate::retained_order::{Found, Wanted, place_of};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::time::Instant;
use tidegate_message::{Message, Topic, TopicFilter};

/// A walk that is to go far ahead tries so many topics one by one before it looks for the place anew.
const NEAR: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Retained {
    /// Shares no read buffer.
    pub(crate) message: Message,
    pub(crate) publisher: RetainedBy,
    pub(crate) expires: Option<Instant>,
    /// Its number in the store, if it is kept there.
    pub(crate) item: Option<u64>,
    /// Counts what was ever retained.
    pub(crate) serial: u64,
}

impl Retained {
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }
}

/// All retained messages.
#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    /// By [place](place_of).
    messages: BTreeMap<Box<str>, Box<Retained>>,
    /// The places of those that expire.
    expiring: BTreeSet<(Instant, Box<str>)>,
    bytes: usize,
    /// Of the one that was retained last.
    serial: u64,
    /// Numbers in the store of messages that have expired and are gone.
    expired: Vec<u64>,
}

impl RetainedMessages {
    /// What has expired and gone since the last time.
    pub(crate) fn take_expired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.expired)
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of the message that was retained last.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Keeps a message in place of the one before; false when there is no room, and then the topic keeps none.
    pub(crate) fn set(&mut self, mut retained: Retained, max_messages: usize, max_bytes: usize, now: Instant) -> bool {
        let place = place_of(retained.message.topic.as_str());
        self.remove_at(&place);
        let weight = retained.message.weight_bytes();
        let full = |this: &Self| this.len() >= max_messages || this.bytes + weight > max_bytes;
        if full(self) {
            self.remove_expired(now);
        }
        if full(self) {
            return false;
        }
        if let Some(at) = retained.expires {
            self.expiring.insert((at, place.clone()));
        }
        self.serial += 1;
        retained.serial = self.serial;
        self.bytes += weight;
        self.messages.insert(place, Box::new(retained));
        true
    }

    /// A topic's message.
    pub(crate) fn get(&self, topic: &Topic) -> Option<&Retained> {
        self.messages.get(&place_of(topic.as_str())).map(Box::as_ref)
    }

    /// Forgets a topic's message.
    pub(crate) fn remove(&mut self, topic: &Topic) {
        self.remove_at(&place_of(topic.as_str()));
    }

    fn remove_at(&mut self, place: &str) -> Option<Box<Retained>> {
        let removed = self.messages.remove(place)?;
        self.bytes -= removed.message.weight_bytes();
        if let Some(at) = removed.expires {
            self.expiring.remove(&(at, place.into()));
        }
        Some(removed)
    }

    fn remove_expired(&mut self, now: Instant) {
        while let Some((at, place)) = self.expiring.pop_first() {
            if at > now {
                self.expiring.insert((at, place));
                break;
            }
            let removed = self.remove_at(&place);
            self.expired.extend(removed.and_then(|removed| removed.item));
        }
    }

    /// Calls `found` with every message that matches and has not expired.
    pub(crate) fn for_each_match(&self, filter: &TopicFilter, now: Instant, mut found: impl FnMut(&Retained)) {
        let mut visit = |retained: &Retained| {
            found(retained);
            ControlFlow::Continue(())
        };
        self.walk(filter, &mut Position::default(), &mut { usize::MAX }, now, &mut visit);
    }

    /// Goes on from where it stopped, calling `found` with every message that matches and has not expired. Stops in front of one that
    /// `found` breaks at, or when `most` topics were looked at, which it counts down. Returns whether it has come to the end.
    ///
    /// What is retained meanwhile is found if its topic lies ahead; what is removed does no harm.
    pub(crate) fn walk(
        &self,
        filter: &TopicFilter,
        position: &mut Position,
        most: &mut usize,
        now: Instant,
        found: &mut impl FnMut(&Retained) -> ControlFlow<()>,
    ) -> bool {
        let wanted = Wanted::new(filter.pattern());
        let mut next: Box<str> = position.0.take().unwrap_or_else(|| wanted.first());
        loop {
            let mut ahead: Option<(Box<str>, usize)> = None;
            let mut range = self.messages.range::<str, _>((Bound::Included(&*next), Bound::Unbounded));
            next = loop {
                let Some((place, retained)) = range.next() else { return true };
                if *most == 0 {
                    position.0 = Some(place.clone());
                    return false;
                }
                *most -= 1;
                if let Some((goal, tried)) = &mut ahead
                    && **place < **goal
                {
                    *tried += 1;
                    if *tried > NEAR {
                        break std::mem::take(goal);
                    }
                    continue;
                }
                ahead = None;
                match wanted.find(place) {
                    Found::Match if retained.is_expired(now) => {}
                    Found::Match => {
                        if found(retained).is_break() {
                            position.0 = Some(place.clone());
                            return false;
                        }
                    }
                    Found::Below => {}
                    Found::Ahead(goal) => ahead = Some((goal, 0)),
                    Found::Nothing => return true,
                }
            };
        }
    }
}

/// Where a [walk](RetainedMessages::walk) goes on: at the beginning, at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position(Option<Box<str>>);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidegate_message::QoS;

    fn retained(topic: &str, expires: Option<Instant>) -> Retained {
        let message = Message::new(Topic::new(topic).unwrap(), "x", QoS::AtMostOnce);
        Retained { message, publisher: RetainedBy::Local(0), expires, item: None, serial: 0 }
    }

    fn matching(all: &RetainedMessages, filter: &str, now: Instant) -> Vec<String> {
        let mut found = Vec::new();
        let filter = TopicFilter::new(filter).unwrap();
        all.for_each_match(&filter, now, |retained| found.push(retained.message.topic.to_string()));
        found.sort();
        found
    }

    /// The tree against the plain definition in `TopicFilter::matches`.
    #[test]
    fn finds_what_matching_one_by_one_finds() {
        let now = Instant::now();
        let topics = ["a", "a/b", "a/b/c", "a//c", "/", "/a", "b", "b/b", "$SYS/x", "$SYS", "a/$x"];
        let filters =
            ["#", "+", "a/#", "a/+", "+/b", "+/+/c", "/#", "/+", "+/", "$SYS/#", "$SYS/+", "a/b", "+/#", "a/$x"];
        let mut all = RetainedMessages::default();
        for topic in topics {
            assert!(all.set(retained(topic, None), 100, usize::MAX, now));
        }
        for filter in filters {
            let parsed = TopicFilter::new(filter).unwrap();
            let mut expected: Vec<&str> =
                topics.into_iter().filter(|topic| parsed.matches(&Topic::new(*topic).unwrap())).collect();
            expected.sort_unstable();
            assert_eq!(matching(&all, filter, now), expected, "{filter}");
        }
        for topic in topics {
            all.remove(&Topic::new(topic).unwrap());
        }
        assert_eq!((all.len(), all.bytes()), (0, 0));
        assert!(all.messages.is_empty());
    }

    #[test]
    fn the_expired_make_room() {
        let now = Instant::now();
        let mut all = RetainedMessages::default();
        assert!(all.set(retained("a", Some(now + Duration::from_secs(1))), 2, usize::MAX, now));
        assert!(all.set(retained("b", None), 2, usize::MAX, now));
        assert!(!all.set(retained("c", None), 2, usize::MAX, now));
        let later = now + Duration::from_secs(1);
        assert_eq!(matching(&all, "#", later), ["b"]);
        assert!(all.set(retained("c", None), 2, usize::MAX, later));
        assert_eq!(matching(&all, "#", later), ["b", "c"]);
    }

    /// In steps of any length, while other messages come and go: each of those that stay is found once.
    #[test]
    fn a_walk_goes_on_where_it_stopped() {
        let now = Instant::now();
        for step in 1..40 {
            let mut all = RetainedMessages::default();
            for device in 0..30 {
                for value in ["hum", "temp", "volt"] {
                    assert!(all.set(retained(&format!("dev/{device}/{value}"), None), 1000, usize::MAX, now));
                }
            }
            let filter = TopicFilter::new("dev/+/temp").unwrap();
            let (mut position, mut found, mut steps) = (Position::default(), Vec::new(), 0);
            loop {
                let is_end = all.walk(&filter, &mut position, &mut { step }, now, &mut |retained| {
                    found.push(retained.message.topic.to_string());
                    ControlFlow::Continue(())
                });
                if is_end {
                    break;
                }
                steps += 1;
                // Behind or ahead of where it stands.
                assert!(all.set(retained(&format!("dev/{step}x/hum"), None), 1000, usize::MAX, now));
                all.remove(&Topic::new(format!("dev/{}/volt", steps % 30)).unwrap());
            }
            let expected: Vec<String> = (0..30).map(|device| format!("dev/{device}/temp")).collect();
            let count = found.len();
            found.sort_unstable_by_key(|topic| topic.split('/').nth(1).and_then(|n| n.parse::<u32>().ok()));
            assert_eq!((found, count), (expected, 30), "in steps of {step}");
        }
    }

    #[test]
    fn a_walk_stops_in_front_of_what_has_no_room() {
        let now = Instant::now();
        let mut all = RetainedMessages::default();
        for topic in ["a", "b", "c"] {
            assert!(all.set(retained(topic, None), 9, usize::MAX, now));
        }
        let (filter, mut position, mut found) = (TopicFilter::new("#").unwrap(), Position::default(), Vec::new());
        let mut room = 2;
        let mut visit = |retained: &Retained| {
            if room == 0 {
                room = 9;
                return ControlFlow::Break(());
            }
            room -= 1;
            found.push(retained.message.topic.to_string());
            ControlFlow::Continue(())
        };
        assert!(!all.walk(&filter, &mut position, &mut 100, now, &mut visit));
        assert!(all.walk(&filter, &mut position, &mut 100, now, &mut visit));
        assert_eq!(found, ["a", "b", "c"]);
    }

    /// A filter that matches little of much does not look at all of it.
    #[test]
    fn a_walk_leaves_out_what_cannot_match() {
        let now = Instant::now();
        let mut all = RetainedMessages::default();
        for device in 0..20 {
            for value in 0..100 {
                assert!(all.set(retained(&format!("dev/{device}/{value}"), None), 9999, usize::MAX, now));
            }
        }
        for (filter, matches, looks) in [
            ("dev/7/9", 1, 2),
            ("dev/+/50", 20, 500),
            ("nobody/#", 0, 1),
            ("+/+", 0, 300),
            ("dev/7/#", 100, 101),
            ("dev/7/+", 100, 101),
        ] {
            let (mut left, mut found) = (10_000, 0);
            let parsed = TopicFilter::new(filter).unwrap();
            assert!(all.walk(&parsed, &mut Position::default(), &mut left, now, &mut |_| {
                found += 1;
                ControlFlow::Continue(())
            }));
            assert_eq!(found, matches, "{filter}");
            assert!(10_000 - left <= looks, "{filter} looked at {}", 10_000 - left);
        }
    }

    #[test]
    fn what_is_replaced_does_not_expire_in_the_name_of_what_it_replaced() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut all = RetainedMessages::default();
        assert!(all.set(retained("a", Some(now + Duration::from_secs(1))), 1, usize::MAX, now));
        assert!(all.set(retained("a", None), 1, usize::MAX, now));
        assert!(!all.set(retained("b", None), 1, usize::MAX, later));
        assert_eq!(matching(&all, "#", later), ["a"]);
        assert!(all.expiring.is_empty());
    }
}
