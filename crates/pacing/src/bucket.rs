//! An allowance that fills with time.

use std::time::{Duration, Instant};

/// A rate, and a burst up to which it is saved: a token bucket, kept as the one instant at which it is full again (the
/// generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// How long one takes to come; `None`: none ever comes.
    interval: Option<Duration>,
    /// What the burst takes to come, less one: how far ahead `full` may lie for one more to be there.
    ahead: Duration,
    /// When all that was taken has come back. `None`: nothing was taken yet.
    full: Option<Instant>,
}

impl Bucket {
    /// `count` in each `period`, at most `burst` (at least one) of them at once. It is full at first; of `count` 0
    /// nothing is ever given.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let interval = period.checked_div(count);
        let ahead = interval.map_or(Duration::ZERO, |one| one.saturating_mul(burst.max(1) - 1));
        Self { interval, ahead, full: None }
    }

    /// The same with only one saved up at `now`.
    pub fn with_one(self, now: Instant) -> Self {
        Self { full: now.checked_add(self.ahead), ..self }
    }

    /// Whether one may be taken now.
    #[inline]
    pub fn admits(&self, now: Instant) -> bool {
        self.interval.is_some() && self.full.is_none_or(|full| full.saturating_duration_since(now) <= self.ahead)
    }

    /// Takes one, whether it [`admits`](Self::admits) it or not: what was taken too much is waited for.
    #[inline]
    pub fn take(&mut self, now: Instant) {
        let Some(interval) = self.interval else { return };
        let from = self.full.map_or(now, |full| full.max(now));
        // What cannot be added to an instant is centuries away.
        self.full = Some(from.checked_add(interval).unwrap_or(from));
    }

    /// Takes one if it may be taken now.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let admits = self.admits(now);
        if admits {
            self.take(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let (mut bucket, start) = (Bucket::new(10, SECOND, 3), Instant::now());
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.try_take(now)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + SECOND / 10), 1);
        assert_eq!(taken(&mut bucket, start + SECOND / 10), 0);
        assert_eq!(taken(&mut bucket, start), 0, "a clock set back gives nothing away");
        assert_eq!(taken(&mut bucket, start + 1_000 * SECOND), 3, "no more is saved up than the burst");
    }

    #[test]
    fn it_may_start_with_one_and_give_nothing_at_all() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, SECOND, 10).with_one(now);
        assert_eq!((0..100).filter(|_| bucket.try_take(now)).count(), 1);
        assert!(!Bucket::new(0, SECOND, 10).try_take(now));
        let mut free = Bucket::new(u32::MAX, Duration::from_nanos(1), 1);
        assert!((0..100).all(|_| free.try_take(now)), "more in a period than it has nanoseconds");
        let mut never = Bucket::new(1, Duration::MAX, u32::MAX);
        assert!((0..100).all(|_| never.try_take(now)), "a burst of centuries");
    }

    #[test]
    fn what_was_taken_too_much_is_waited_for() {
        let (mut bucket, now) = (Bucket::new(1, SECOND, 1), Instant::now());
        for _ in 0..5 {
            bucket.take(now);
        }
        assert!(!bucket.admits(now + 5 * SECOND - Duration::from_nanos(1)));
        assert!(bucket.admits(now + 5 * SECOND));
    }

    proptest! {
        /// Whenever it is asked: of any stretch of time it gives at most the burst and the rate, and never less than a
        /// bucket that counts its tokens.
        #[test]
        fn it_gives_what_a_bucket_that_counts_gives(
            count in 1_u32..50, burst in 1_u32..20, steps in proptest::collection::vec(0_u64..200, 1..200),
        ) {
            let mut bucket = Bucket::new(count, Duration::from_millis(u64::from(count) * 20), burst);
            let mut now = Instant::now();
            // In thousandths of one: one comes every 20 ms.
            let mut tokens = u64::from(burst) * 1000;
            for ms in steps {
                now += Duration::from_millis(ms);
                tokens = (tokens + ms * 50).min(u64::from(burst) * 1000);
                let gives = tokens >= 1000;
                prop_assert_eq!(bucket.try_take(now), gives);
                tokens -= u64::from(gives) * 1000;
            }
        }
    }
}
