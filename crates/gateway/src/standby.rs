//! Which broker of a source with policy `failover` is subscribed to. Pure: who owns it says what is seen, and carries out.
//!
//! One is the *active* one. If it is not well for `takeover_after` the first other that is well becomes it; a preferred one
//! that has been well for `failback` becomes it again, and if it was lost soon after the last time only after twice as long,
//! and so on, as members of target sets do. A broker that was active stays subscribed to until the next one has granted
//! what is asked of it: nothing falls between two.

use std::time::{Duration, Instant};
use tidegate_pacing::Lapses;

/// How a broker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// It is connected.
    pub(crate) is_up: bool,
    /// It never was, and the first attempt has not ended: nothing is known of it.
    pub(crate) is_unknown: bool,
    /// It has refused what we subscribe to.
    pub(crate) refuses: bool,
    /// It has granted all that is asked of it.
    pub(crate) is_settled: bool,
}

/// One broker.
#[derive(Debug, Default)]
struct Place {
    /// Since when it is well, and since when it is not; neither while nothing is known of it.
    well_since: Option<Instant>,
    away_since: Option<Instant>,
    /// Since when it is active after it was not.
    active_since: Option<Instant>,
    lapses: Lapses,
    /// It was active, and is subscribed to until the one that is has granted everything.
    is_kept: bool,
}

/// Another broker is active now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What a look has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) switch: Option<Switch>,
    /// Others are to be subscribed to than before.
    pub(crate) is_new: bool,
    /// When to look again, if nothing happens before.
    pub(crate) next: Option<Instant>,
}

/// All brokers of one source, in order of preference.
#[derive(Debug)]
pub(crate) struct Standby {
    takeover_after: Duration,
    failback: Duration,
    places: Vec<Place>,
    active: usize,
    /// How often another became active.
    changes: u64,
}

impl Standby {
    /// Of each broker whether an earlier process was subscribed there: it goes on with the first of them.
    pub(crate) fn new(takeover_after: Duration, failback: Duration, was_subscribed: &[bool]) -> Self {
        let place = |was: &bool| Place { is_kept: *was, ..Place::default() };
        Self {
            takeover_after,
            failback,
            places: was_subscribed.iter().map(place).collect(),
            active: was_subscribed.iter().position(|was| *was).unwrap_or(0),
            changes: 0,
        }
    }

    /// Other times from here on.
    pub(crate) fn set_times(&mut self, takeover_after: Duration, failback: Duration) {
        (self.takeover_after, self.failback) = (takeover_after, failback);
    }

    /// Whether a broker is to be subscribed to.
    pub(crate) fn is_subscribed(&self, at: usize) -> bool {
        at == self.active || self.places.get(at).is_some_and(|place| place.is_kept)
    }

    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Looks at all brokers. How soon it is looked again while one is to answer is the owner's to say: `next` is about time
    /// alone.
    pub(crate) fn look(&mut self, seen: &[Seen], now: Instant) -> Look {
        let mut look = Look::default();
        for (place, seen) in self.places.iter_mut().zip(seen) {
            if seen.is_unknown {
                continue;
            }
            let is_well = seen.is_up && !seen.refuses;
            let (since, other) = match is_well {
                true => (&mut place.well_since, &mut place.away_since),
                false => (&mut place.away_since, &mut place.well_since),
            };
            since.get_or_insert(now);
            *other = None;
        }
        let next = self.next_active(now);
        let due = next.filter(|(_, at)| now >= *at);
        if let Some((to, _)) = due {
            look.switch = Some(self.switch(to, now));
            look.is_new = true;
        }
        if seen.get(self.active).is_some_and(|active| active.is_up && active.is_settled && !active.refuses)
            && !look.is_new
        {
            let active = self.active;
            let left = self.places.iter_mut().enumerate().filter(|(at, place)| *at != active && place.is_kept);
            look.is_new = left.map(|(_, place)| place.is_kept = false).count() > 0;
        }
        look.next = self.next_active(now).map(|(_, at)| at);
        look
    }

    /// Who becomes active next if all stays as it is, and when.
    fn next_active(&self, now: Instant) -> Option<(usize, Instant)> {
        let well = |at: &usize| self.places[*at].well_since.is_some();
        let back = (0..self.active).filter(well).filter_map(|at| {
            let place = &self.places[at];
            Some((at, place.well_since? + place.lapses.patience(self.failback)))
        });
        // Of those whose time has come the preferred one.
        let back = back.min_by_key(|(at, when)| ((*when).max(now), *at));
        let over = self.places.get(self.active).and_then(|active| {
            let at = (0..self.places.len()).filter(|at| *at != self.active).find(well)?;
            Some((at, active.away_since? + self.takeover_after))
        });
        match (over, back) {
            (Some(over), Some(back)) => Some(if over.1 <= back.1 { over } else { back }),
            (over, back) => over.or(back),
        }
    }

    fn switch(&mut self, to: usize, now: Instant) -> Switch {
        let from = self.active;
        let left = &mut self.places[from];
        if left.well_since.is_none() {
            left.lapses.failed(left.active_since.map(|since| now.saturating_duration_since(since)), self.failback);
        }
        (left.active_since, left.is_kept) = (None, true);
        let next = &mut self.places[to];
        (next.active_since, next.is_kept) = (Some(now), false);
        (self.active, self.changes) = (to, self.changes + 1);
        Switch { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DOWN: Seen = Seen { is_up: false, is_unknown: false, refuses: false, is_settled: false };
    const UNKNOWN: Seen = Seen { is_unknown: true, ..DOWN };
    const UP: Seen = Seen { is_up: true, ..DOWN };
    const SETTLED: Seen = Seen { is_settled: true, ..UP };
    const REFUSES: Seen = Seen { refuses: true, ..UP };

    /// A source and its time.
    struct Play {
        standby: Standby,
        now: Instant,
    }

    impl Play {
        fn new(was_subscribed: &[bool]) -> Self {
            Self { standby: Standby::new(SECOND, 10 * SECOND, was_subscribed), now: Instant::now() }
        }

        /// What is subscribed to so long afterwards, looked at then only.
        fn after(&mut self, wait: Duration, seen: &[Seen]) -> Vec<usize> {
            self.now += wait;
            self.standby.look(seen, self.now);
            (0..seen.len()).filter(|at| self.standby.is_subscribed(*at)).collect()
        }
    }

    #[test]
    fn the_next_that_is_well_takes_over_and_the_preferred_one_comes_back() {
        let mut play = Play::new(&[false; 3]);
        assert_eq!(play.after(SECOND, &[SETTLED, UP, UP]), [0]);
        assert_eq!(play.after(SECOND, &[DOWN, DOWN, UP]), [0], "it has only just gone");
        assert_eq!(
            play.after(SECOND, &[DOWN, DOWN, UP]),
            [0, 2],
            "what was active stays until the next has granted it"
        );
        assert_eq!(play.after(SECOND, &[DOWN, UP, SETTLED]), [2]);
        assert_eq!(play.after(9 * SECOND, &[UP, UP, SETTLED]), [2]);
        assert_eq!(play.after(SECOND, &[UP, UP, SETTLED]), [1, 2], "well for ten seconds, and preferred");
        assert_eq!(play.after(Duration::ZERO, &[UP, SETTLED, SETTLED]), [1]);
        assert_eq!(play.after(9 * SECOND, &[UP, SETTLED, SETTLED]), [0, 1], "the first, well for ten seconds");
        assert_eq!(play.after(SECOND, &[UP, UP, UP]), [0, 1], "until it has granted it");
        assert_eq!(play.after(SECOND, &[SETTLED, SETTLED, UP]), [0]);
        assert_eq!(play.standby.changes(), 3);
    }

    #[test]
    fn what_has_not_been_tried_yet_is_not_away() {
        let mut play = Play::new(&[false; 2]);
        assert_eq!(play.after(SECOND, &[UNKNOWN, UP]), [0]);
        assert_eq!(play.after(100 * SECOND, &[UNKNOWN, UP]), [0]);
        assert_eq!(play.after(SECOND, &[DOWN, UP]), [0], "from here on it is");
        assert_eq!(play.after(SECOND, &[DOWN, UP]), [0, 1]);
    }

    #[test]
    fn with_nobody_well_all_stays_and_whoever_is_first_goes_on() {
        let mut play = Play::new(&[false; 2]);
        assert_eq!(play.after(SECOND, &[DOWN, DOWN]), [0]);
        assert_eq!(play.after(100 * SECOND, &[DOWN, DOWN]), [0]);
        assert_eq!(play.after(SECOND, &[DOWN, UP]), [0, 1], "it was away for long enough");
    }

    #[test]
    fn one_that_refuses_is_as_one_that_is_away_and_comes_back_later_each_time() {
        let mut play = Play::new(&[false; 2]);
        play.after(SECOND, &[REFUSES, UP]);
        assert_eq!(play.after(SECOND, &[REFUSES, UP]), [0, 1]);
        assert_eq!(play.after(SECOND, &[REFUSES, SETTLED]), [1]);
        for patience in [10, 20, 40] {
            play.after(Duration::ZERO, &[UP, SETTLED]);
            assert_eq!(play.after((patience - 1) * SECOND, &[UP, SETTLED]), [1], "{patience} s");
            assert_eq!(play.after(SECOND, &[UP, SETTLED]), [0, 1], "{patience} s");
            play.after(SECOND, &[REFUSES, SETTLED]);
            assert_eq!(play.after(SECOND, &[REFUSES, SETTLED]), [0, 1], "the other one is active again");
            assert_eq!(play.after(Duration::ZERO, &[REFUSES, SETTLED]), [1]);
        }
    }

    #[test]
    fn a_start_goes_on_with_the_one_that_was_subscribed_to() {
        let mut play = Play::new(&[false, true]);
        assert_eq!(play.after(SECOND, &[UP, UP]), [1]);
        assert_eq!(play.after(9 * SECOND, &[UP, SETTLED]), [1]);
        assert_eq!(play.after(SECOND, &[UP, SETTLED]), [0, 1]);
        // It ended while both were: none is taken away before the other has granted everything.
        let mut play = Play::new(&[true, true]);
        assert_eq!(play.after(SECOND, &[UP, SETTLED]), [0, 1]);
        assert_eq!(play.after(SECOND, &[SETTLED, SETTLED]), [0]);
    }

    #[test]
    fn it_says_when_to_look_again() {
        let mut play = Play::new(&[false; 2]);
        let (began, standby) = (play.now, &mut play.standby);
        assert_eq!(standby.look(&[DOWN, DOWN], began).next, None, "somebody has to come first");
        assert_eq!(standby.look(&[DOWN, UP], began).next, Some(began + SECOND));
        let look = standby.look(&[DOWN, UP], began + SECOND);
        assert_eq!((look.switch, look.next), (Some(Switch { from: 0, to: 1 }), None));
        let look = standby.look(&[UP, SETTLED], began + 2 * SECOND);
        assert_eq!((look.is_new, look.next), (true, Some(began + 12 * SECOND)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever happens: one is subscribed to at least, and none is taken away while no other has granted everything.
        #[test]
        fn none_is_taken_away_before_another_has_granted_everything(
            steps in proptest::collection::vec((0u64..3000, proptest::collection::vec(0usize..5, 3)), 1..200)
        ) {
            let mut play = Play::new(&[false; 3]);
            let mut before = vec![0];
            for (wait, seen) in steps {
                let seen: Vec<Seen> = seen.iter().map(|at| [DOWN, UP, SETTLED, REFUSES, UNKNOWN][*at]).collect();
                let after = play.after(Duration::from_millis(wait), &seen);
                assert!(!after.is_empty());
                if before.iter().any(|at| !after.contains(at)) {
                    assert!(after.iter().any(|at| before.contains(at) && seen[*at] == SETTLED), "{before:?} {after:?} {seen:?}");
                }
                before = after;
            }
        }
    }
}
