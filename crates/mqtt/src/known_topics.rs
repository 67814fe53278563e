//! The topics that a peer has sent of late: one that is known is not checked and kept again.

use ahash::RandomState;
use tidegate_message::{Topic, TopicId};

/// How many are known at a time.
const TOPICS: usize = 1024;

/// So often in a row must a place be asked for other topics than the one it has, before it takes another: many topics in turn
/// would otherwise push each other out.
const PATIENCE: u8 = 4;

/// A longer one, in bytes, is not kept.
const TOPIC_BYTES_MAX: usize = 256;

#[derive(Debug, Clone)]
struct Known {
    topic: Topic,
    id: TopicId,
    patience: u8,
}

/// Of one connection. Takes no memory before the first topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownTopics {
    places: Vec<Option<Known>>,
    hasher: RandomState,
}

impl KnownTopics {
    fn place(&self, text: &[u8]) -> usize {
        self.hasher.hash_one(text) as usize % TOPICS
    }

    /// The topic of this text, if it is known.
    #[inline]
    pub(crate) fn find(&mut self, text: &[u8]) -> Option<(Topic, TopicId)> {
        if self.places.is_empty() {
            return None;
        }
        let place = self.place(text);
        let known = self.places[place].as_mut()?;
        if known.topic.as_str().as_bytes() == text {
            known.patience = PATIENCE;
            return Some((known.topic.clone(), known.id));
        }
        known.patience = known.patience.saturating_sub(1);
        None
    }

    /// A topic that was not known. Keeps a copy of it if there is a place.
    #[cold]
    pub(crate) fn learn(&mut self, topic: &Topic) {
        if topic.len() > TOPIC_BYTES_MAX {
            return;
        }
        if self.places.is_empty() {
            self.places.resize(TOPICS, None);
        }
        let place = self.place(topic.as_str().as_bytes());
        let place = &mut self.places[place];
        if place.as_ref().is_none_or(|known| known.patience == 0) {
            *place = Some(Known { topic: topic.detached(), id: TopicId::fresh(), patience: PATIENCE });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_topic_keeps_its_number_while_it_is_known_and_no_other_has_it() {
        let mut known = KnownTopics::default();
        assert!(known.find(b"a").is_none());
        let mut ids = std::collections::HashMap::new();
        // Many more than there are places.
        for round in 0..6 {
            for number in 0..4 * TOPICS {
                let text = number.to_string();
                match known.find(text.as_bytes()) {
                    Some((found, id)) => {
                        assert_eq!(found.as_str(), text);
                        assert_eq!(ids.entry(id).or_insert_with(|| text.clone()), &text, "in round {round}");
                    }
                    None => known.learn(&topic(&text)),
                }
            }
        }
        assert!(ids.len() > TOPICS / 2, "{}", ids.len());
    }

    #[test]
    fn topics_in_turn_do_not_push_each_other_out() {
        let mut known = KnownTopics::default();
        let mut missed = 0;
        for number in (0..4 * TOPICS).cycle().take(40 * TOPICS) {
            let text = number.to_string();
            if known.find(text.as_bytes()).is_none() {
                missed += 1;
                known.learn(&topic(&text));
            }
        }
        // Each place keeps one of some four for a while.
        assert!(missed < 38 * TOPICS, "{missed}");
    }

    #[test]
    fn a_topic_that_is_asked_for_no_more_makes_room() {
        let mut known = KnownTopics::default();
        (0..4 * TOPICS).for_each(|number| known.learn(&topic(&number.to_string())));
        let new = topic("new");
        for _ in 0..=PATIENCE {
            assert!(known.find(b"new").is_none());
            known.learn(&new);
            if known.find(b"new").is_some() {
                return;
            }
        }
        panic!("it is never known");
    }

    #[test]
    fn long_topics_are_not_kept() {
        let mut known = KnownTopics::default();
        let long = topic(&"x".repeat(TOPIC_BYTES_MAX + 1));
        known.learn(&long);
        assert!(known.find(long.as_str().as_bytes()).is_none());
    }
}
