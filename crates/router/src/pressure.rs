//! Back-pressure: sources are held back while what they send has nowhere to go, backlogs leave at a pace, and a target
//! that is busy is left alone for a while.

use crate::account::DropReason;
use crate::debt::{Ack, Creditor};
use crate::ids::{BrokerId, DebtId, RouteId};
use crate::sessions::Sessions;
use crate::{Moment, Router};
use std::time::{Duration, Instant};
use tidegate_pacing::{Bucket, Doubling};
use tidegate_spool::Delivery;

/// How much of one source's messages may wait for delivery, in bytes; beyond, it is read only once a second.
pub(crate) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many parcels a route's plugins may have before them. Beyond, sources hold back, then the oldest that nobody waits
/// for is dropped.
pub(crate) const PIPELINE_MAX: usize = 8 * 1024;

/// How long a source that is held back waits at most before it is read again.
pub(crate) const HOLD_BACK: Duration = Duration::from_secs(1);

/// What a broker refuses for now is tried again after this long, then after twice as long, up to the longest.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);

/// How fast a backlog leaves: so many messages a second, a tenth of a second's worth at a time. It begins with one.
pub(crate) fn pace(per_second: u32, now: Instant) -> Bucket {
    Bucket::new(per_second, Duration::from_secs(1), per_second / 10).with_one(now)
}

/// A target that refuses messages for now gets none at QoS 1 and 2 for a while, longer each time.
#[derive(Debug)]
pub(crate) struct Rest {
    until: Option<Instant>,
    lengths: Doubling,
}

impl Default for Rest {
    fn default() -> Self {
        Self { until: None, lengths: Doubling::new(REST_MIN, REST_MAX) }
    }
}

impl Rest {
    #[inline]
    pub(crate) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// It has refused again. Returns for how long it is left alone.
    pub(crate) fn begin(&mut self, now: Instant) -> Duration {
        let rest = self.lengths.advance();
        self.until = Some(now + rest);
        rest
    }

    /// It has taken a message.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.until = None;
        self.lengths.reset();
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Stops reading from a source for a while.
    pub(crate) fn hold_back(&mut self, source: BrokerId, until: Instant) {
        let broker = &mut self.brokers[source.at()];
        if broker.held_back_until.is_none() {
            broker.held_back_until = Some(until);
            self.wants_look = true;
            self.touch(source);
        }
    }

    /// Stops reading from the sources of a route for a while.
    pub(crate) fn hold_back_sources(&mut self, of: RouteId, until: Instant) {
        for source in self.routes[of.at()].sources.clone() {
            self.hold_back(source, until);
        }
    }

    /// Reads on from sources whose time is up, or from all when nothing is full any more, and lets go what was held back for
    /// long enough. Returns when to look again. What it lets go is to be flushed.
    pub fn read_on(&mut self, now: Moment) -> Option<Instant> {
        let mut next = self.look_at_trials(now);
        let now = now.at;
        let full = self.brokers.iter().any(|broker| broker.lane.holds_back(now) || broker.held_bytes > HELD_BYTES_MAX)
            || self.routes.iter().any(|route| route.full_since.is_some_and(|since| now < since + HOLD_BACK));
        for at in 0..self.brokers.len() {
            let broker = &mut self.brokers[at];
            let Some(until) = broker.held_back_until else { continue };
            if full && now < until {
                next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            broker.held_back_until = None;
            self.touch(BrokerId::new(at));
        }
        next
    }

    /// Whether a backlog waits for its pace.
    pub fn is_paced(&self) -> bool {
        self.brokers.iter().any(|broker| broker.paced)
    }

    /// Lets the owner look again at the targets whose backlog leaves at a pace.
    pub fn wake_paced(&mut self) {
        for at in 0..self.brokers.len() {
            if self.brokers[at].paced {
                self.touch(BrokerId::new(at));
            }
        }
    }

    /// Of a source of which too much waits: forgets what waits for room in full queues and is owed to nobody any more, for its
    /// publisher is gone. It was never taken over. Returns how many messages that were.
    pub fn forget_what_is_owed_to_nobody(&mut self, source: BrokerId, is_owed: impl Fn(A) -> bool) -> usize {
        if self.brokers[source.at()].held_bytes <= HELD_BYTES_MAX {
            return 0;
        }
        let before = self.blocked.len();
        for (from, id) in std::mem::take(&mut self.blocked) {
            let is_owed = self.debts.get(id).is_none_or(|debt| match debt.to {
                Creditor::Source(from, ack) => from != source || is_owed(ack) || !debt.is_filed_alone(),
                _ => true,
            });
            if is_owed {
                self.blocked.push_back((from, id));
            } else {
                self.forget_stash(id);
            }
        }
        before - self.blocked.len()
    }

    fn forget_stash(&mut self, id: DebtId) {
        let Some((stash, _)) = self.debts.take_stash(id) else { return };
        for Delivery { route, queues, message } in &stash.deliveries {
            let route = self.route_of(*route);
            for _ in queues {
                self.routes[route.at()].account.drop(DropReason::Quota);
                self.note_drop(route, Some(&message.topic), DropReason::Quota);
            }
        }
        self.settle_delivered(id);
    }

    /// A source has sent a batch: if too much of it waits, it is held back.
    pub(crate) fn bound_held_bytes(&mut self, source: BrokerId, now: Moment) {
        if self.brokers[source.at()].held_bytes > HELD_BYTES_MAX {
            self.hold_back(source, now.at + HOLD_BACK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_so_many_go_in_a_second() {
        let start = Instant::now();
        let mut pace = pace(100, start);
        let mut went = 0;
        for ms in 0..=1_000 {
            while pace.try_take(start + Duration::from_millis(ms)) {
                went += 1;
            }
        }
        assert_eq!(went, 101, "one at the start, and a hundred");
    }

    #[test]
    fn rests_become_longer_until_a_message_is_taken() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        let rests: Vec<_> = (0..9).map(|_| rest.begin(now).as_millis()).collect();
        assert_eq!(rests, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert!(rest.lasts(now + Duration::from_secs(59)) && !rest.lasts(now + Duration::from_secs(60)));
        rest.end();
        assert!(!rest.lasts(now));
        assert_eq!(rest.begin(now), REST_MIN);
    }
}
