//! What was found for the topics that came last.

use crate::Topic;
use std::hash::BuildHasher;

/// How many topics are known at a time. One topic a slot, the slot is the topic's hash: a power of two.
const TOPICS: usize = 1024;

/// Longer topics are looked up each time, so that whoever invents topics cannot make a cache large.
const TOPIC_BYTES_MAX: usize = 256;

/// In front of a [`SubscriptionIndex`](crate::SubscriptionIndex), so that it is not asked for each message: 1024 topics,
/// and for each what was made of the answer. `V` is cheap to clone, such as an [`Rc`](std::rc::Rc).
#[derive(Debug)]
pub struct TopicCache<V> {
    slots: Vec<Slot<V>>,
    /// Counts the changes of the index: what was found before the last one counts no more.
    generation: u64,
}

#[derive(Debug, Clone, Default)]
struct Slot<V> {
    topic: String,
    /// Of the index when this was found; 0 is before the first.
    generation: u64,
    found: V,
}

impl<V: Clone + Default> Default for TopicCache<V> {
    fn default() -> Self {
        Self { slots: vec![Slot::default(); TOPICS], generation: 1 }
    }
}

impl<V: Clone + Default> TopicCache<V> {
    /// Forgets everything, for other filters.
    #[inline]
    pub fn forget(&mut self) {
        self.generation += 1;
    }

    /// What is known of a topic. Of one that is not known, `find` makes it out of what the slot held before, whose memory
    /// may be used again. `hasher` is the same in all calls.
    #[inline]
    pub fn get(&mut self, topic: &Topic, hasher: &impl BuildHasher, find: impl FnOnce(&mut V)) -> V {
        let text = topic.as_str();
        if text.len() > TOPIC_BYTES_MAX {
            let mut found = V::default();
            find(&mut found);
            return found;
        }
        let slot = &mut self.slots[hasher.hash_one(text) as usize % TOPICS];
        if slot.generation != self.generation || slot.topic != text {
            find(&mut slot.found);
            slot.topic.clear();
            slot.topic.push_str(text);
            slot.generation = self.generation;
        }
        slot.found.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahash::RandomState;

    /// How many of so many questions for these topics, asked one after the other, had to be answered.
    fn finds(cache: &mut TopicCache<usize>, hasher: &RandomState, topics: &[Topic]) -> usize {
        let mut finds = 0;
        for topic in topics {
            let found = cache.get(topic, hasher, |found| {
                finds += 1;
                *found = topic.len();
            });
            assert_eq!(found, topic.len());
        }
        finds
    }

    #[test]
    fn a_topic_is_looked_up_once_until_the_filters_change() {
        let (mut cache, hasher) = (TopicCache::default(), RandomState::new());
        let topic = [Topic::new("a/b").unwrap()];
        assert_eq!(finds(&mut cache, &hasher, &topic), 1);
        assert_eq!(finds(&mut cache, &hasher, &topic), 0);
        cache.forget();
        assert_eq!(finds(&mut cache, &hasher, &topic), 1);
    }

    #[test]
    fn topics_that_share_a_slot_are_told_apart() {
        let (mut cache, hasher) = (TopicCache::default(), RandomState::new());
        let topics: Vec<_> =
            (0..3 * TOPICS).map(|n| Topic::new("t".repeat(n % 200) + &n.to_string()).unwrap()).collect();
        assert_eq!(finds(&mut cache, &hasher, &topics), topics.len());
        assert!(finds(&mut cache, &hasher, &topics) >= 2 * TOPICS, "one topic a slot");
    }

    #[test]
    fn a_long_topic_is_looked_up_each_time() {
        let (mut cache, hasher) = (TopicCache::default(), RandomState::new());
        let [fits, long] = [0, 1].map(|more| Topic::new("t".repeat(TOPIC_BYTES_MAX + more)).unwrap());
        let topics = [fits.clone(), fits, long.clone(), long];
        assert_eq!(finds(&mut cache, &hasher, &topics), 3);
        assert!(cache.slots.iter().all(|slot| slot.topic.len() <= TOPIC_BYTES_MAX));
    }
}
