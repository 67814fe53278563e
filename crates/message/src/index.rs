//! Finds the subscribers of a topic.

use crate::{Topic, TopicFilter};
use ahash::AHashMap;

/// A map from topic filters to values that is asked with a topic.
///
/// A tree with one step per level of the filter. A topic walks at most two branches a level, the literal one and `+`,
/// so the time depends on the topic and on what matches, not on how many filters there are.
/// A `$share` prefix is the caller's to deal with: filters are filed under their pattern.
#[derive(Debug, Clone)]
pub struct SubscriptionIndex<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Node<T> {
    literal: AHashMap<Box<str>, Node<T>>,
    plus: Option<Box<Node<T>>>,
    /// Values of filters that end here.
    here: Vec<T>,
    /// Values of filters that end here with `#`.
    hash: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: AHashMap::new(), plus: None, here: Vec::new(), hash: Vec::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.plus.is_none() && self.here.is_empty() && self.hash.is_empty()
    }
}

impl<T> Default for SubscriptionIndex<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T: PartialEq> SubscriptionIndex<T> {
    /// An index without filters.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files a value under a filter. If an equal value is there already, it is replaced and returned.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) -> Option<T> {
        let mut node = &mut self.root;
        let mut values = None;
        for level in filter.pattern().split('/') {
            match level {
                "#" => values = Some(&mut node.hash),
                "+" => node = node.plus.get_or_insert_default(),
                name => node = node.literal.entry(name.into()).or_default(),
            }
            if values.is_some() {
                break;
            }
        }
        let values = match values {
            Some(values) => values,
            None => &mut node.here,
        };
        if let Some(old) = values.iter_mut().find(|old| **old == value) {
            return Some(std::mem::replace(old, value));
        }
        values.push(value);
        self.len += 1;
        None
    }

    /// Takes the value equal to this one from under a filter.
    pub fn remove(&mut self, filter: &TopicFilter, value: &T) -> Option<T> {
        let levels: Vec<&str> = filter.pattern().split('/').collect();
        let removed = remove_below(&mut self.root, &levels, value);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Calls `found` with every value whose filter matches the topic; a value filed under several matching filters
    /// is seen once for each.
    pub fn for_each_match<'a>(&'a self, topic: &Topic, mut found: impl FnMut(&'a T)) {
        let (first, rest) = split_level(topic.as_str());
        // A wildcard at the first level never reaches `$` topics (MQTT-4.7.2-1).
        if topic.is_reserved() {
            if let Some(next) = self.root.literal.get(first) {
                walk(next, rest, &mut found);
            }
        } else {
            walk(&self.root, Some(topic.as_str()), &mut found);
        }
    }
}

fn split_level(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

fn walk<'a, T>(node: &'a Node<T>, rest: Option<&str>, found: &mut impl FnMut(&'a T)) {
    node.hash.iter().for_each(&mut *found);
    let Some(rest) = rest else {
        node.here.iter().for_each(found);
        return;
    };
    let (level, rest) = split_level(rest);
    if let Some(next) = node.literal.get(level) {
        walk(next, rest, found);
    }
    if let Some(next) = &node.plus {
        walk(next, rest, found);
    }
}

fn remove_below<T: PartialEq>(node: &mut Node<T>, levels: &[&str], value: &T) -> Option<T> {
    fn take<T: PartialEq>(values: &mut Vec<T>, value: &T) -> Option<T> {
        values.iter().position(|v| v == value).map(|at| values.remove(at))
    }
    match levels {
        [] => take(&mut node.here, value),
        ["#", ..] => take(&mut node.hash, value),
        ["+", rest @ ..] => {
            let next = node.plus.as_deref_mut()?;
            let removed = remove_below(next, rest, value);
            if next.is_empty() {
                node.plus = None;
            }
            removed
        }
        [name, rest @ ..] => {
            let next = node.literal.get_mut(*name)?;
            let removed = remove_below(next, rest, value);
            if next.is_empty() {
                node.literal.remove(*name);
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["", "a", "b", "$x", "+"])
    }

    fn filter() -> impl Strategy<Value = TopicFilter> {
        (prop::collection::vec(level(), 1..4), any::<bool>()).prop_filter_map("empty", |(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            TopicFilter::new(levels.join("/")).ok()
        })
    }

    fn topic() -> impl Strategy<Value = Topic> {
        prop::collection::vec(level(), 1..5).prop_filter_map("wildcard", |levels| Topic::new(levels.join("/")).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// The index against the plain definition in `TopicFilter::matches`.
        #[test]
        fn finds_what_matching_one_by_one_finds(
            filters in prop::collection::vec(filter(), 0..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            topics in prop::collection::vec(topic(), 1..8),
        ) {
            let mut index = SubscriptionIndex::new();
            for (id, filter) in filters.iter().enumerate() {
                index.insert(filter, id);
            }
            for (id, filter) in filters.iter().enumerate().filter(|(id, _)| removed[*id]) {
                prop_assert_eq!(index.remove(filter, &id), Some(id));
                prop_assert_eq!(index.remove(filter, &id), None);
            }
            for topic in &topics {
                let mut found = Vec::new();
                index.for_each_match(topic, |id| found.push(*id));
                found.sort_unstable();
                let expected: Vec<usize> = filters.iter().enumerate()
                    .filter(|(id, filter)| !removed[*id] && filter.matches(topic))
                    .map(|(id, _)| id).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(index.len(), filters.len() - (0..filters.len()).filter(|id| removed[*id]).count());
        }

        #[test]
        fn overlap_and_cover_agree_with_matching(a in filter(), b in filter(), topics in prop::collection::vec(topic(), 1..20)) {
            for topic in &topics {
                let (in_a, in_b) = (a.matches(topic), b.matches(topic));
                prop_assert!(!(in_a && in_b) || a.overlaps(&b), "{a:?} and {b:?} both match {topic:?}");
                prop_assert!(!a.takes_all_of(&b) || !in_b || in_a, "{a:?} takes all of {b:?} but not {topic:?}");
            }
            prop_assert!(!a.covers(&b) || a.takes_all_of(&b));
            prop_assert!(a == b || !(a.covers(&b) && b.covers(&a)), "{a:?} and {b:?} cover each other");
        }
    }
}
