//! The routes of a source's topics, with a cache of those that came last.

use crate::ids::RouteId;
use ahash::RandomState;
use std::cell::OnceCell;
use std::rc::Rc;
use tidegate_message::{SubscriptionIndex, Topic, TopicCache, TopicId};

/// How many topics are known by their number at a time.
const IDS: usize = 1024;

/// Where the messages of one topic go.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Each once.
    pub(crate) routes: Box<[RouteId]>,
    /// What the topic is at the targets of the first of them, if that changes nothing else of a message: kept for the next,
    /// once it was made.
    pub(crate) onward: OnceCell<Topic>,
}

/// Of one source.
#[derive(Default)]
pub(crate) struct TopicRoutes {
    index: SubscriptionIndex<RouteId>,
    cache: TopicCache<Rc<Ways>>,
    /// By the number of the topic, in front of the cache; empty before the first.
    by_id: Vec<Option<(TopicId, Rc<Ways>)>>,
}

impl TopicRoutes {
    /// Forgets everything, for other routes.
    pub(crate) fn renew(&mut self, index: SubscriptionIndex<RouteId>) {
        self.index = index;
        self.cache.forget();
        self.by_id.clear();
    }

    /// Where the messages of a topic go, which has this number if it has any.
    #[inline]
    pub(crate) fn ways(&mut self, topic: &Topic, id: Option<TopicId>, hasher: &RandomState) -> Rc<Ways> {
        if let Some(id) = id
            && let Some(Some((known, ways))) = self.by_id.get(id.place(IDS))
            && *known == id
        {
            return ways.clone();
        }
        self.look_up(topic, id, hasher)
    }

    #[inline(never)]
    fn look_up(&mut self, topic: &Topic, id: Option<TopicId>, hasher: &RandomState) -> Rc<Ways> {
        let ways = self.cache.get(topic, hasher, |found| {
            let mut routes = Vec::new();
            self.index.for_each_match(topic, |route| {
                // A route with two filters that both match gets the message once.
                if !routes.contains(route) {
                    routes.push(*route);
                }
            });
            *found = Rc::new(Ways { routes: routes.into(), onward: OnceCell::new() });
        });
        if let Some(id) = id {
            if self.by_id.is_empty() {
                self.by_id.resize(IDS, None);
            }
            self.by_id[id.place(IDS)] = Some((id, ways.clone()));
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::TopicFilter;

    #[test]
    fn topics_whose_numbers_share_a_place_have_their_own_routes() {
        let mut index = SubscriptionIndex::new();
        let topics = ["a", "b"].map(|text| Topic::new(text).unwrap());
        for (at, topic) in topics.iter().enumerate() {
            index.insert(&TopicFilter::new(topic.to_string()).unwrap(), RouteId::new(at));
        }
        let (mut routes, hasher) = (TopicRoutes::default(), RandomState::new());
        routes.renew(index);
        let first = TopicId::fresh();
        let second = std::iter::repeat_with(TopicId::fresh).find(|id| id.place(IDS) == first.place(IDS)).unwrap();
        for _ in 0..3 {
            for (at, id) in [first, second].into_iter().enumerate() {
                assert_eq!(*routes.ways(&topics[at], Some(id), &hasher).routes, [RouteId::new(at)]);
                assert_eq!(*routes.ways(&topics[at], None, &hasher).routes, [RouteId::new(at)]);
            }
        }
        routes.renew(SubscriptionIndex::new());
        assert!(routes.ways(&topics[0], Some(first), &hasher).routes.is_empty(), "nothing of before");
    }
}
