//! Parts: what waits for a set that balances has a queue for each member, so that what one member does not take holds up
//! nothing that is for another.
//!
//! A topic is of the part of the member that it belongs to while all are well, by weight. That depends on the configuration
//! alone: whoever gets the topic meanwhile, all that waits of it is in one queue, in order.
//!
//! Other members, or other weights, make other parts. Messages of a topic in two queues keep their order as long as both are
//! in memory, where they come in the order of the log. So the parts in force stay until no queue of the set has anything on
//! disk alone; which these are is in the log too. After a start all is on disk alone: what was filed before the parts in force
//! were is read first, and what was filed later waits for that.

use crate::ids::QueueId;
use crate::lane::CLASSES;
use crate::rendezvous::{best, key_hash};
use std::cell::Cell;
use tidegate_config::{Policy, Priority, TargetSet};

/// The parts of a set; none of one that has one queue for all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// A member's name, and its weight.
    pub(crate) name: String,
    weight: f64,
    /// Of its name.
    seed: u64,
    /// By class, as soon as it is known.
    queues: [Cell<Option<QueueId>>; CLASSES],
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        let told = |part: &Part| (part.name.clone(), part.weight);
        self.0.iter().map(told).eq(other.0.iter().map(told))
    }
}

impl Parts {
    /// As configured.
    pub(crate) fn of(set: &TargetSet) -> Self {
        if set.policy != Policy::Balance || set.members.len() < 2 {
            return Self::default();
        }
        Self(set.members.iter().map(|member| Part::new(member, set.weight_of(member))).collect())
    }

    /// As kept in the log: a member and its weight a line.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let part = |line: &str| {
            let (weight, name) = line.split_once(' ')?;
            Some(Part::new(name, weight.parse().ok()?))
        };
        std::str::from_utf8(bytes).ok()?.lines().map(part).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        self.0.iter().map(|part| format!("{} {}\n", part.weight, part.name)).collect::<String>().into_bytes()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part that a key is of.
    pub(crate) fn part_of(&self, key: u64) -> Option<&Part> {
        let scored = self.0.iter().map(|part| (part, part.seed, part.weight));
        best(scored, key)
    }

    /// The part of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Part> {
        self.0.iter().find(|part| part.name == name)
    }
}

impl Part {
    fn new(name: &str, weight: f64) -> Self {
        Self { name: name.to_owned(), weight, seed: key_hash(name), queues: Default::default() }
    }

    /// Its queue of a class, if that is known.
    pub(crate) fn queue(&self, class: Priority) -> &Cell<Option<QueueId>> {
        &self.queues[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_as_they_are() {
        let parts = Parts(vec![Part::new("a b", 3.0), Part::new("c", 1.0)]);
        assert_eq!(Parts::read(&parts.write()), Some(parts.clone()));
        assert_eq!(Parts::read(&Parts::default().write()), Some(Parts::default()));
        assert_eq!(Parts::read(b"x"), None);
        let count = |name: &str| {
            (0..4000).filter(|key| parts.part_of(key_hash(&key.to_string())).unwrap().name == name).count()
        };
        assert!((2850..3150).contains(&count("a b")), "three of four");
        assert_eq!(count("a b") + count("c"), 4000);
    }
}
