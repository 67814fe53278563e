//! Waits that double.

use std::time::Duration;

/// The wait before the next attempt: `min` at first, twice as long after each, never longer than `max`.
///
/// Without jitter. Who must not come back together with others takes a random part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubling {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Doubling {
    /// Waits from `min` to `max`. A `min` above `max` counts as `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.min(max);
        Self { min, max, next: min }
    }

    /// The wait after so many failures, for who counts them: what [`advance`](Self::advance) gives after as many calls.
    pub fn after(mut self, failures: u32) -> Duration {
        for _ in 0..failures {
            if self.advance() == self.next {
                break;
            }
        }
        self.next
    }

    /// How long the next wait will be.
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// The next wait; the one after it is twice as long.
    pub fn advance(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait
    }

    /// After a success: the next wait is the shortest again.
    #[inline]
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_maximum_and_start_over_after_success() {
        let ms = Duration::from_millis;
        let mut waits = Doubling::new(ms(100), ms(1_000));
        let first: Vec<_> = (0..6).map(|_| waits.advance()).collect();
        assert_eq!(first, [100, 200, 400, 800, 1_000, 1_000].map(ms));
        waits.reset();
        assert_eq!((waits.peek(), waits.advance(), waits.peek()), (ms(100), ms(100), ms(200)));
    }

    #[test]
    fn who_counts_failures_finds_the_same_waits() {
        let ms = Duration::from_millis;
        let waits = Doubling::new(ms(100), ms(1_000));
        let mut advanced = waits.clone();
        assert!((0..20).all(|failures| waits.clone().after(failures) == advanced.advance()));
        assert_eq!(waits.after(u32::MAX), ms(1_000));
        assert_eq!(Doubling::new(Duration::ZERO, ms(1)).after(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn no_bounds_overflow() {
        let mut waits = Doubling::new(Duration::from_secs(1), Duration::MAX);
        assert_eq!((0..100).map(|_| waits.advance()).last(), Some(Duration::MAX));
        assert_eq!(Doubling::new(Duration::MAX, Duration::ZERO).advance(), Duration::ZERO);
    }
}
