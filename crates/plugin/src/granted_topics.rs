//! Topics that outputs of an instance had of late, checked and granted: most messages have one of a few.

use ahash::RandomState;
use tidegate_message::Topic;

/// One topic a slot, the slot is the topic's hash: a power of two.
const TOPICS: usize = 256;

/// Longer topics are checked each time, so that a plugin cannot make this large.
const TOPIC_BYTES_MAX: usize = 256;

/// For one instance, whose grants never change.
#[derive(Debug, Default)]
pub(crate) struct GrantedTopics {
    /// Empty until there is one.
    slots: Vec<Option<Topic>>,
    hasher: RandomState,
}

impl GrantedTopics {
    /// The topic of this text; one that is not known is what `check` makes of it.
    pub(crate) fn get<E>(&mut self, text: String, check: impl FnOnce(String) -> Result<Topic, E>) -> Result<Topic, E> {
        if text.len() > TOPIC_BYTES_MAX {
            return check(text);
        }
        if self.slots.is_empty() {
            self.slots.resize(TOPICS, None);
        }
        let slot = &mut self.slots[self.hasher.hash_one(text.as_str()) as usize % TOPICS];
        match slot {
            Some(topic) if topic.as_str() == text => Ok(topic.clone()),
            _ => {
                let topic = check(text)?;
                Ok(slot.insert(topic).clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_good_is_checked_once_and_what_was_not_each_time() {
        let mut known = GrantedTopics::default();
        let mut checks = 0;
        for text in ["a", "a", "b+", "b+", "a", &"x".repeat(300), &"x".repeat(300)] {
            let found = known.get(text.to_owned(), |text| {
                checks += 1;
                Topic::new(text)
            });
            assert_eq!(
                found.map(|topic| topic.as_str().to_owned()).ok(),
                Topic::new(text).map(|_| text.to_owned()).ok()
            );
        }
        assert_eq!(checks, 5);
    }
}
