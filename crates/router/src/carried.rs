//! What a route in a loop has carried of late, and does not carry again.

use crate::ids::RouteId;
use ahash::AHashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many messages are remembered, of all routes.
const CARRIED_MAX: usize = 64 * 1024;

/// What routes that sift have had of late: each message, until when it is not carried again.
#[derive(Default)]
pub(crate) struct Carried {
    until: AHashMap<(RouteId, u64), Instant>,
    order: VecDeque<(RouteId, u64)>,
}

impl Carried {
    /// Whether it came within this time, and that it has come now.
    pub(crate) fn has(&mut self, key: (RouteId, u64), lasts: Duration, now: Instant) -> bool {
        if let Some(until) = self.until.insert(key, now + lasts) {
            return now < until;
        }
        self.order.push_back(key);
        if self.order.len() > CARRIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.until.remove(&oldest);
        }
        false
    }
}
