//! Who gets a message on a topic: the subscriptions filed by filter, and a cache of what was found.

use ahash::RandomState;
use std::rc::Rc;
use tidegate_message::{QoS, SubscriptionIndex, Topic, TopicCache, TopicFilter};

/// Who subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// An in-process client.
    Local(u32),
    /// A client, by the slot of its session.
    Session(u32),
    /// The members of a shared subscription.
    Group(u32),
}

/// One subscription. Two are equal when they are of the same subscriber: the index holds one for each filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) who: Who,
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// The subscription identifier, 0 for none.
    pub(crate) id: u32,
}

impl Subscription {
    /// Stands for the subscriber where only that matters.
    pub(crate) const fn of(who: Who) -> Self {
        Self { who, qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: 0 }
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        self.who == other.who
    }
}

/// A client that gets a message, whatever number of its subscriptions match (MQTT 5.0 section 3.3.4).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) slot: u32,
    /// The highest of its subscriptions.
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    /// One of its subscriptions does not want what the client itself published.
    pub(crate) no_local: bool,
    pub(crate) ids: Vec<u32>,
}

impl Target {
    fn new(slot: u32, subscription: &Subscription) -> Self {
        let mut target = Self { slot, qos: QoS::AtMostOnce, retain_as_published: false, no_local: false, ids: vec![] };
        target.add(subscription);
        target
    }

    fn add(&mut self, subscription: &Subscription) {
        self.qos = self.qos.max(subscription.qos);
        self.retain_as_published |= subscription.retain_as_published;
        self.no_local |= subscription.no_local;
        if subscription.id != 0 {
            self.ids.push(subscription.id);
        }
    }
}

/// Everybody who gets a message on one topic.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    pub(crate) locals: Vec<(u32, QoS)>,
    pub(crate) targets: Vec<Target>,
    pub(crate) groups: Vec<u32>,
}

impl Matched {
    fn clear(&mut self) {
        self.locals.clear();
        self.targets.clear();
        self.groups.clear();
    }

    fn fill(&mut self, found: &mut Vec<Subscription>) {
        // Equal subscribers side by side, so that merging looks at the last one only.
        found.sort_unstable_by_key(|subscription| subscription.who);
        for subscription in found.drain(..) {
            match subscription.who {
                Who::Local(local) => match self.locals.last_mut() {
                    Some((last, qos)) if *last == local => *qos = (*qos).max(subscription.qos),
                    _ => self.locals.push((local, subscription.qos)),
                },
                Who::Session(slot) => match self.targets.last_mut() {
                    Some(last) if last.slot == slot => last.add(&subscription),
                    _ => self.targets.push(Target::new(slot, &subscription)),
                },
                Who::Group(group) => self.groups.push(group),
            }
        }
    }
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    index: SubscriptionIndex<Subscription>,
    cache: TopicCache<Rc<Matched>>,
    hasher: RandomState,
    /// Kept for its allocation; always empty.
    found: Vec<Subscription>,
}

impl Subscriptions {
    /// Files a subscription; returns the one of the same subscriber on the same filter that it replaces.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, subscription: Subscription) -> Option<Subscription> {
        self.cache.forget();
        self.index.insert(filter, subscription)
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter, who: Who) -> Option<Subscription> {
        self.cache.forget();
        self.index.remove(filter, &Subscription::of(who))
    }

    /// Who gets a message on this topic.
    pub(crate) fn matching(&mut self, topic: &Topic) -> Rc<Matched> {
        let Self { index, cache, hasher, found } = self;
        cache.get(topic, hasher, |cached| {
            if Rc::get_mut(cached).is_none() {
                *cached = Rc::default();
            }
            if let Some(matched) = Rc::get_mut(cached) {
                matched.clear();
                index.for_each_match(topic, |subscription| found.push(*subscription));
                matched.fill(found);
            }
        })
    }

    /// What a client gets of its own message when some of its subscriptions are no-local; `None` for nothing.
    pub(crate) fn own_target(&self, topic: &Topic, slot: u32) -> Option<Target> {
        let mut target: Option<Target> = None;
        self.index.for_each_match(topic, |subscription| {
            if subscription.who == Who::Session(slot) && !subscription.no_local {
                match &mut target {
                    Some(target) => target.add(subscription),
                    None => target = Some(Target::new(slot, subscription)),
                }
            }
        });
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn overlapping_subscriptions_make_one_target() {
        let mut all = Subscriptions::default();
        let topic = Topic::new("a/b").unwrap();
        assert!(all.matching(&topic).targets.is_empty());
        for (text, qos, id) in [("a/#", 1, 7), ("a/+", 2, 8), ("a/b", 0, 0), ("other", 2, 9)] {
            let qos = QoS::from_u8(qos).unwrap();
            all.insert(&filter(text), Subscription { qos, id, ..Subscription::of(Who::Session(3)) });
        }
        all.insert(&filter("#"), Subscription::of(Who::Session(4)));
        let matched = all.matching(&topic);
        assert_eq!(matched.targets.len(), 2);
        let mut target = matched.targets[0].clone();
        target.ids.sort_unstable();
        assert_eq!((target.slot, target.qos, target.ids), (3, QoS::ExactlyOnce, vec![7, 8]));
    }

    #[test]
    fn the_cache_forgets_when_subscriptions_change() {
        let mut all = Subscriptions::default();
        let topic = Topic::new("t").unwrap();
        for _ in 0..2 {
            all.insert(&filter("t"), Subscription::of(Who::Local(0)));
            assert_eq!(all.matching(&topic).locals.len(), 1);
            assert_eq!(all.matching(&topic).locals.len(), 1);
            all.remove(&filter("t"), Who::Local(0));
            assert_eq!(all.matching(&topic).locals.len(), 0);
        }
    }

    #[test]
    fn no_local_keeps_only_the_subscriptions_that_want_it() {
        let mut all = Subscriptions::default();
        let topic = Topic::new("t").unwrap();
        let who = Who::Session(1);
        all.insert(&filter("t"), Subscription { no_local: true, qos: QoS::ExactlyOnce, ..Subscription::of(who) });
        assert_eq!(all.own_target(&topic, 1), None);
        all.insert(&filter("#"), Subscription { qos: QoS::AtLeastOnce, ..Subscription::of(who) });
        assert_eq!(all.own_target(&topic, 1).unwrap().qos, QoS::AtLeastOnce);
        assert!(all.matching(&topic).targets[0].no_local);
    }
}
