//! Retained messages: the last of each topic, kept for subscribers to come (MQTT 5.0 section 3.3.1.3).

use crate::publisher::RetainedBy;
use ahash::AHashMap;
use std::time::Instant;
use tidegate_message::text::has_too_many_levels;
use tidegate_message::{Message, Topic, TopicFilter};

#[derive(Debug, Clone)]
pub(crate) struct Retained {
    /// Shares no read buffer.
    pub(crate) message: Message,
    pub(crate) publisher: RetainedBy,
    pub(crate) expires: Option<Instant>,
    /// Its number in the store, if it is kept there.
    pub(crate) item: Option<u64>,
}

impl Retained {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }
}

/// A tree with one step per level of the topic.
#[derive(Debug, Default)]
struct Node {
    below: AHashMap<Box<str>, Node>,
    here: Option<Box<Retained>>,
}

/// All retained messages.
#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    root: Node,
    len: usize,
    bytes: usize,
    /// Numbers in the store of messages that have expired and are gone.
    expired: Vec<u64>,
}

impl RetainedMessages {
    /// What has expired and gone since the last time.
    pub(crate) fn take_expired(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.expired)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a message in place of the one before; false when there is no room, and then the topic keeps none.
    pub(crate) fn set(&mut self, retained: Retained, max_messages: usize, max_bytes: usize, now: Instant) -> bool {
        let topic = retained.message.topic.clone();
        self.remove(&topic);
        let weight = retained.message.weight_bytes();
        let full = |this: &Self| this.len >= max_messages || this.bytes + weight > max_bytes;
        if full(self) {
            self.remove_expired(now);
        }
        if full(self) || has_too_many_levels(topic.as_str()) {
            return false;
        }
        let mut node = &mut self.root;
        for level in topic.as_str().split('/') {
            // Asked first, so that a known level costs no copy of its name.
            if !node.below.contains_key(level) {
                node.below.insert(level.into(), Node::default());
            }
            let Some(next) = node.below.get_mut(level) else { return false };
            node = next;
        }
        node.here = Some(Box::new(retained));
        self.len += 1;
        self.bytes += weight;
        true
    }

    /// A topic's message.
    pub(crate) fn get(&self, topic: &Topic) -> Option<&Retained> {
        let mut node = &self.root;
        for level in topic.as_str().split('/') {
            node = node.below.get(level)?;
        }
        node.here.as_deref()
    }

    /// Forgets a topic's message.
    pub(crate) fn remove(&mut self, topic: &Topic) {
        fn below(node: &mut Node, rest: Option<&str>) -> Option<Box<Retained>> {
            let Some(rest) = rest else { return node.here.take() };
            let (level, rest) = split_level(rest);
            let next = node.below.get_mut(level)?;
            let removed = below(next, rest);
            if next.below.is_empty() && next.here.is_none() {
                node.below.remove(level);
            }
            removed
        }
        if has_too_many_levels(topic.as_str()) {
            return;
        }
        if let Some(removed) = below(&mut self.root, Some(topic.as_str())) {
            self.len -= 1;
            self.bytes -= removed.message.weight_bytes();
        }
    }

    fn remove_expired(&mut self, now: Instant) {
        fn sweep(node: &mut Node, now: Instant, removed: &mut (usize, usize), items: &mut Vec<u64>) {
            if let Some(retained) = node.here.take_if(|retained| retained.is_expired(now)) {
                removed.0 += 1;
                removed.1 += retained.message.weight_bytes();
                items.extend(retained.item);
            }
            node.below.retain(|_, next| {
                sweep(next, now, removed, items);
                !next.below.is_empty() || next.here.is_some()
            });
        }
        let mut removed = (0, 0);
        sweep(&mut self.root, now, &mut removed, &mut self.expired);
        self.len -= removed.0;
        self.bytes -= removed.1;
    }

    /// Calls `found` with every message that matches and has not expired.
    pub(crate) fn for_each_match(&self, filter: &TopicFilter, now: Instant, mut found: impl FnMut(&Retained)) {
        walk(&self.root, Some(filter.pattern()), true, &mut |retained| {
            if !retained.is_expired(now) {
                found(retained);
            }
        });
    }
}

fn split_level(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

fn walk(node: &Node, rest: Option<&str>, first: bool, found: &mut impl FnMut(&Retained)) {
    let Some(rest) = rest else {
        node.here.iter().for_each(|retained| found(retained));
        return;
    };
    let (level, rest) = split_level(rest);
    // A wildcard at the first level never reaches `$` topics (MQTT-4.7.2-1).
    let reaches = |name: &str| !(first && name.starts_with('$'));
    match level {
        "#" => {
            // Also the parent itself.
            node.here.iter().for_each(|retained| found(retained));
            node.below.iter().filter(|(name, _)| reaches(name)).for_each(|(_, next)| all(next, found));
        }
        "+" => {
            node.below.iter().filter(|(name, _)| reaches(name)).for_each(|(_, next)| walk(next, rest, false, found));
        }
        name => {
            if let Some(next) = node.below.get(name) {
                walk(next, rest, false, found);
            }
        }
    }
}

fn all(node: &Node, found: &mut impl FnMut(&Retained)) {
    node.here.iter().for_each(|retained| found(retained));
    node.below.values().for_each(|next| all(next, found));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidegate_message::QoS;

    fn retained(topic: &str, expires: Option<Instant>) -> Retained {
        let message = Message::new(Topic::new(topic).unwrap(), "x", QoS::AtMostOnce);
        Retained { message, publisher: RetainedBy::Local(0), expires, item: None }
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
        assert!(all.root.below.is_empty());
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

    #[test]
    fn a_topic_too_deep_for_a_tree_is_not_kept() {
        let now = Instant::now();
        let mut all = RetainedMessages::default();
        assert!(!all.set(retained(&"/".repeat(60_000), None), 2, usize::MAX, now));
        assert_eq!(all.len(), 0);
    }
}
