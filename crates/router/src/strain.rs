//! How a broker is doing as a target: how long it takes to acknowledge, since when it acknowledges nothing or refuses all, and
//! whether a set is to give it less.
//!
//! One message at a time is timed, from going into the session to its acknowledgement: a sample of all, without a cost for
//! each.

use crate::Broker;
use crate::debt::Ack;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_config::Relief;

/// So many samples are kept: of as many the slowest is about the slowest in a hundred.
const SAMPLES: usize = 100;
/// And none older than this.
const SAMPLES_FOR: Duration = Duration::from_secs(60);

/// A member that refuses so many messages in a row for good is taken to refuse all.
pub(crate) const REFUSALS: usize = 3;

/// A member that is strained gets half as much, at most once in this time.
const STEP: Duration = Duration::from_secs(1);
/// The least that it gets of its weight: enough to see whether it is well again.
const LEAST: f64 = 1.0 / 16.0;

/// How one broker acknowledges.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// What is timed now, by the key of its ticket.
    timed: Option<(u64, Instant)>,
    /// When each came, and how long it took.
    took: VecDeque<(Instant, Duration)>,
    /// When it last acknowledged something.
    pub(crate) answered_at: Option<Instant>,
    /// Since when it refuses for now what it is sent, and takes nothing.
    pub(crate) refuses_since: Option<Instant>,
    /// Since when it has refused messages of sets for good, and taken nothing.
    pub(crate) aside_since: Option<Instant>,
}

impl Pulse {
    /// A message of QoS 1 or 2 goes into its session.
    #[inline]
    pub(crate) fn sent(&mut self, key: u64, now: Instant) {
        if self.timed.is_none() {
            self.timed = Some((key, now));
        }
    }

    /// It has acknowledged a message, whatever it said of it.
    #[inline]
    pub(crate) fn answered(&mut self, key: u64, now: Instant) {
        if let Some((timed, since)) = self.timed
            && timed == key
        {
            self.timed = None;
            if self.took.len() == SAMPLES {
                self.took.pop_front();
            }
            self.took.push_back((now, now - since));
        }
    }

    /// A message is out of its session, and was not acknowledged.
    pub(crate) fn withdrawn(&mut self, key: u64) {
        self.timed.take_if(|(timed, _)| *timed == key);
    }

    /// What it had is elsewhere now.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How long the slowest in a hundred took of late; what has taken longer already and is not answered counts.
    pub(crate) fn slowest(&self, now: Instant) -> Option<Duration> {
        let recent = self.took.iter().filter(|(at, _)| now < *at + SAMPLES_FOR).map(|(_, took)| *took);
        recent.chain(self.timed.map(|(_, since)| now.saturating_duration_since(since))).max()
    }
}

/// Whether a member is given less than its weight.
#[derive(Debug, Clone)]
pub(crate) struct Strain {
    /// How much of its weight.
    pub(crate) share: f64,
    changed_at: Option<Instant>,
    /// When it was strained last.
    strained_at: Option<Instant>,
}

impl Default for Strain {
    fn default() -> Self {
        Self { share: 1.0, changed_at: None, strained_at: None }
    }
}

impl Strain {
    /// So many messages wait for it, the slowest of those answered took so long, and it refuses what it is sent or not. It
    /// gets its share back once it has been within half of each bound for `failback`.
    pub(crate) fn look(
        &mut self,
        bounds: Relief,
        (waiting, slowest, rests): (usize, Option<Duration>, bool),
        failback: Duration,
        now: Instant,
    ) {
        let beyond = |part: u32| {
            bounds.queue.is_some_and(|queue| waiting > queue / part as usize)
                || bounds.latency.zip(slowest).is_some_and(|(bound, slowest)| slowest > bound / part)
        };
        if rests || beyond(2) {
            self.strained_at = Some(now);
        }
        let may_change = self.changed_at.is_none_or(|at| now >= at + STEP);
        if (rests || beyond(1)) && may_change && self.share > LEAST {
            (self.share, self.changed_at) = ((self.share / 2.0).max(LEAST), Some(now));
        } else if self.share < 1.0 && may_change && self.strained_at.is_none_or(|at| now >= at + failback.max(STEP)) {
            (self.share, self.changed_at) = ((self.share * 2.0).min(1.0), Some(now));
        }
    }
}

impl<A: Ack> Broker<A> {
    /// How long the slowest message in a hundred took of late to be acknowledged.
    pub fn slowest(&self, now: Instant) -> Option<Duration> {
        self.pulse.slowest(now)
    }

    /// When it last acknowledged something.
    pub const fn answered_at(&self) -> Option<Instant> {
        self.pulse.answered_at
    }

    /// Since when it refuses for now what it is sent, and has taken nothing.
    pub const fn refuses_since(&self) -> Option<Instant> {
        self.pulse.refuses_since
    }

    /// Whether it has refused some messages for good, one after the other, and taken none between them.
    pub fn refuses_all(&self) -> bool {
        self.aside.len() >= REFUSALS
    }

    /// What a set looks at to see whether it is strained: how many messages wait for it, how slow it is, whether it refuses.
    pub(crate) fn strain(&self, now: Instant) -> (usize, Option<Duration>, bool) {
        (self.lane.len(), self.pulse.slowest(now), self.rest.lasts(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Relief = Relief { queue: Some(100), latency: Some(Duration::from_secs(1)) };
    const FAILBACK: Duration = Duration::from_secs(30);

    #[test]
    fn one_that_is_beyond_its_bounds_gets_less_and_all_again_when_it_has_been_well_for_long() {
        let (start, mut strain) = (Instant::now(), Strain::default());
        let mut look = |seconds: u64, waiting: usize, slowest_ms: u64| {
            let seen = (waiting, Some(Duration::from_millis(slowest_ms)), false);
            strain.look(BOUNDS, seen, FAILBACK, start + Duration::from_secs(seconds));
            strain.share
        };
        assert_eq!(look(0, 100, 1_000), 1.0, "at its bounds it is well");
        assert_eq!(look(1, 101, 0), 0.5);
        assert_eq!(look(1, 500, 0), 0.5, "a step a second");
        assert_eq!(look(2, 0, 1_001), 0.25);
        let strained: Vec<f64> = (3..7).map(|second| look(second, 101, 0)).collect();
        assert_eq!(strained, [0.125, LEAST, LEAST, LEAST], "it keeps a little");
        assert_eq!(look(20, 51, 0), LEAST, "between half of a bound and the bound nothing changes");
        assert_eq!(look(49, 0, 0), LEAST);
        let well: Vec<f64> = (50..54).map(|second| look(second, 0, 0)).collect();
        assert_eq!(well, [0.125, 0.25, 0.5, 1.0]);
    }

    #[test]
    fn the_slowest_of_the_last_hundred_counts_and_what_is_still_unanswered() {
        let (start, mut pulse) = (Instant::now(), Pulse::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pulse.slowest(start), None);
        for key in 0..200u64 {
            pulse.sent(key, at(10 * key));
            pulse.sent(1_000 + key, at(10 * key)); // one at a time
            let took = if key == 150 { 9 } else { 2 };
            pulse.answered(key, at(10 * key + took));
        }
        assert_eq!(pulse.slowest(at(2_000)), Some(Duration::from_millis(9)));
        pulse.sent(7, at(2_000));
        assert_eq!(pulse.slowest(at(2_500)), Some(Duration::from_millis(500)));
        pulse.answered(7, at(2_501));
        assert_eq!(pulse.slowest(at(62_499)), Some(Duration::from_millis(501)));
        assert_eq!(pulse.slowest(at(62_501)), None, "of what was long ago nothing counts");
    }
}
