//! The routes of a source's topics, with a cache of those that came last.

use crate::ids::RouteId;
use ahash::RandomState;
use std::rc::Rc;
use tidegate_message::{SubscriptionIndex, Topic, TopicCache};

/// Of one source.
#[derive(Default)]
pub(crate) struct TopicRoutes {
    index: SubscriptionIndex<RouteId>,
    cache: TopicCache<Rc<[RouteId]>>,
}

impl TopicRoutes {
    /// Forgets everything, for other routes.
    pub(crate) fn renew(&mut self, index: SubscriptionIndex<RouteId>) {
        self.index = index;
        self.cache.forget();
    }

    /// The routes of a topic, each once.
    #[inline]
    pub(crate) fn routes(&mut self, topic: &Topic, hasher: &RandomState) -> Rc<[RouteId]> {
        self.cache.get(topic, hasher, |found| {
            let mut routes = Vec::new();
            self.index.for_each_match(topic, |route| {
                // A route with two filters that both match gets the message once.
                if !routes.contains(route) {
                    routes.push(*route);
                }
            });
            *found = routes.into();
        })
    }
}
