//! The routes of the topics that came last, so that the index is not asked for each message.

use crate::ids::RouteId;
use ahash::RandomState;
use std::rc::Rc;
use tidegate_message::{SubscriptionIndex, Topic};

/// How many topics are known at a time, for each source.
const TOPICS: usize = 1024;

/// Of one source.
pub(crate) struct TopicCache {
    index: SubscriptionIndex<RouteId>,
    known: Vec<Option<(Topic, Rc<[RouteId]>)>>,
}

impl Default for TopicCache {
    fn default() -> Self {
        Self { index: SubscriptionIndex::new(), known: vec![None; TOPICS] }
    }
}

impl TopicCache {
    /// Forgets everything, for other routes.
    pub(crate) fn renew(&mut self, index: SubscriptionIndex<RouteId>) {
        self.index = index;
        self.known.fill(None);
    }

    /// The routes of a topic, each once.
    #[inline]
    pub(crate) fn routes(&mut self, topic: &Topic, hasher: &RandomState) -> Rc<[RouteId]> {
        let at = hasher.hash_one(topic.as_str()) as usize % TOPICS;
        if let Some((known, routes)) = &self.known[at]
            && known == topic
        {
            return routes.clone();
        }
        let mut routes = Vec::new();
        self.index.for_each_match(topic, |route| {
            // A route with two filters that both match gets the message once.
            if !routes.contains(route) {
                routes.push(*route);
            }
        });
        let routes: Rc<[RouteId]> = routes.into();
        self.known[at] = Some((topic.detached(), routes.clone()));
        routes
    }
}
