//! How long to wait before the next attempt.

use crate::Doubling;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential backoff with jitter: each wait is between half of a doubling bound and all of it, so that a crowd of
/// gateways that lost the same broker does not come back as one.
#[derive(Debug)]
pub struct Backoff {
    bounds: Doubling,
}

impl Backoff {
    /// The bound of the first wait, and of all from some number of failures on.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { bounds: Doubling::new(min, max) }
    }

    /// After a success: the next wait is short again.
    pub fn reset(&mut self) {
        self.bounds.reset();
    }

    /// How long to wait now.
    pub fn advance(&mut self) -> Duration {
        let bound = self.bounds.advance();
        // No two have the same keys, which the operating system began.
        let random = RandomState::new().hash_one(bound) as u32;
        bound / 2 + (bound / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_maximum_with_jitter_and_start_over_after_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(min, max);
        for bound_ms in [100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.advance();
            let bound = Duration::from_millis(bound_ms);
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} for {bound:?}");
        }
        backoff.reset();
        assert!(backoff.advance() <= min);
        for _ in 0..100 {
            assert!(backoff.advance() <= max);
        }
    }
}
