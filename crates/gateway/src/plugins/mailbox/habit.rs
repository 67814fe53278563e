//! Whether plugins of a route may decide on the data path's thread: by how long they have taken lately, and by whether they
//! had to leave it.

use std::time::Duration;

/// A batch that is expected to take longer is for the thread of the route.
const HERE_FOR: Duration = Duration::from_micros(250);

/// A batch counts for one part in so many of the average.
const WEIGHT: u64 = 8;

/// After a batch that had to leave, this many are for the thread of the route; after the next such batch twice as many, and
/// so on up to the maximum. As many batches that stay halve it again.
const PASS_OVER_MIN: u32 = 16;
const PASS_OVER_MAX: u32 = 1024;

#[derive(Debug, Default)]
pub(super) struct Habit {
    /// The average time a message, in nanoseconds.
    message_ns: u64,
    /// So many batches are not decided here, whatever they are.
    pass_over: u32,
    /// How many after the next that has to leave.
    next: u32,
    /// How many have stayed since.
    stayed: u32,
}

impl Habit {
    pub(super) fn admits(&mut self, messages: usize) -> bool {
        if self.pass_over > 0 {
            self.pass_over -= 1;
            return false;
        }
        self.message_ns.saturating_mul(messages as u64) <= HERE_FOR.as_nanos() as u64
    }

    /// So many messages took this long, wherever.
    pub(super) fn took(&mut self, messages: usize, time: Duration) {
        let one = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / messages.max(1) as u64;
        self.message_ns = self.message_ns - self.message_ns / WEIGHT + one / WEIGHT;
    }

    /// As [`took`](Self::took), all of it here.
    pub(super) fn stayed(&mut self, messages: usize, time: Duration) {
        self.took(messages, time);
        self.stayed += 1;
        if self.stayed > self.next {
            (self.stayed, self.next) = (0, self.next / 2);
        }
    }

    /// A batch had to leave.
    pub(super) fn left(&mut self) {
        self.stayed = 0;
        self.pass_over = self.next.clamp(PASS_OVER_MIN, PASS_OVER_MAX);
        self.next = (self.pass_over * 2).min(PASS_OVER_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(5);

    #[test]
    fn plugins_that_always_leave_are_tried_ever_more_rarely() {
        let mut habit = Habit::default();
        let mut tried = 0;
        for _ in 0..100_000 {
            if habit.admits(1) {
                tried += 1;
                habit.left();
            }
        }
        assert!((50..150).contains(&tried), "{tried}");
        // Quick ones after that are trusted again.
        for _ in 0..10_000 {
            if habit.admits(1) {
                habit.stayed(1, QUICK);
            }
        }
        habit.left();
        assert_eq!(habit.pass_over, PASS_OVER_MIN);
    }

    #[test]
    fn a_slow_plugin_is_not_tried_before_it_is_quick_elsewhere() {
        let mut habit = Habit::default();
        (0..50).for_each(|_| habit.took(1, Duration::from_millis(1)));
        assert!(!habit.admits(1));
        (0..100).for_each(|_| habit.took(1, QUICK));
        assert!(habit.admits(1) && habit.admits(40) && !habit.admits(64), "{habit:?}");
    }
}
