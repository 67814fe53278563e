//! What one client has subscribed to, by filter: a list while it is short, as it is for nearly all, so that a client with one filter pays
//! for one.

use ahash::AHashMap;
use tidegate_message::{QoS, TopicFilter};

/// More than so many are found by their hash.
const FEW: usize = 8;

/// How a client has subscribed to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// The subscription identifier, 0 for none.
    pub(crate) id: u32,
}

impl Subscribed {
    /// As the store has it.
    pub(crate) fn to(self, filter: &TopicFilter) -> tidegate_persistence::Subscription {
        let Self { qos, no_local, retain_as_published, id } = self;
        tidegate_persistence::Subscription { filter: filter.clone(), qos, no_local, retain_as_published, id }
    }
}

/// All of one client.
#[derive(Debug, Default)]
pub(crate) struct SubscribedFilters {
    few: Vec<(TopicFilter, Subscribed)>,
    /// Instead of the list.
    many: Option<Box<AHashMap<TopicFilter, Subscribed>>>,
}

impl SubscribedFilters {
    pub(crate) fn len(&self) -> usize {
        self.few.len() + self.many.as_ref().map_or(0, |many| many.len())
    }

    pub(crate) fn get(&self, filter: &TopicFilter) -> Option<Subscribed> {
        match &self.many {
            Some(many) => many.get(filter).copied(),
            None => self.few.iter().find(|(known, _)| known == filter).map(|(_, how)| *how),
        }
    }

    /// How it was subscribed to before.
    pub(crate) fn insert(&mut self, filter: TopicFilter, how: Subscribed) -> Option<Subscribed> {
        if let Some(many) = &mut self.many {
            return many.insert(filter, how);
        }
        if let Some((_, known)) = self.few.iter_mut().find(|(known, _)| *known == filter) {
            return Some(std::mem::replace(known, how));
        }
        if self.few.len() == FEW {
            let mut many: AHashMap<_, _> = std::mem::take(&mut self.few).into_iter().collect();
            many.insert(filter, how);
            self.many = Some(Box::new(many));
        } else {
            self.few.reserve_exact(1);
            self.few.push((filter, how));
        }
        None
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> Option<Subscribed> {
        match &mut self.many {
            Some(many) => many.remove(filter),
            None => {
                let at = self.few.iter().position(|(known, _)| known == filter)?;
                Some(self.few.swap_remove(at).1)
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &Subscribed)> {
        let few = self.few.iter().map(|(filter, how)| (filter, how));
        few.chain(self.many.iter().flat_map(|many| many.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn how(id: u32) -> Subscribed {
        Subscribed { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: true, id }
    }

    #[test]
    fn few_and_many_are_a_map() {
        for count in [1, FEW, FEW + 1, 40] {
            let (mut all, mut plain) = (SubscribedFilters::default(), BTreeMap::new());
            // Each twice, and then every third away, twice.
            for id in 0..2 * count as u32 {
                let filter = TopicFilter::new(format!("a/{}", id as usize % count)).unwrap();
                assert_eq!(all.insert(filter.clone(), how(id)), plain.insert(filter.to_string(), how(id)));
            }
            for id in (0..count).step_by(3).chain((0..count).step_by(3)) {
                let filter = TopicFilter::new(format!("a/{id}")).unwrap();
                assert_eq!(all.remove(&filter), plain.remove(filter.as_str()));
                assert_eq!(all.get(&filter), None);
            }
            assert_eq!(all.len(), plain.len());
            let found: BTreeMap<String, Subscribed> =
                all.iter().map(|(filter, how)| (filter.to_string(), *how)).collect();
            assert_eq!(found, plain);
            let (filter, known) =
                plain.iter().next().map_or_else(Default::default, |(filter, how)| (filter.clone(), Some(*how)));
            assert_eq!(TopicFilter::new(filter).ok().and_then(|filter| all.get(&filter)), known);
        }
    }
}
