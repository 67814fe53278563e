//! Keeps misbehaving clients from filling the log.

use std::time::{Duration, Instant};
use tidegate_pacing::LogLimit;

/// A publisher is named once in this time.
const NAMED_EVERY: Duration = Duration::from_secs(60);

/// What the log was told of one publisher whose messages are refused.
#[derive(Debug, Default)]
pub(crate) struct PublisherLogLimit {
    last: Option<Instant>,
    /// Refused since then, and not named.
    untold: u64,
}

impl PublisherLogLimit {
    /// Whether this publisher is to be named now; if so, how often it was not since the last time.
    pub(crate) fn allow(&mut self, limit: &mut LogLimit, now: Instant) -> Option<u64> {
        let is_recent = self.last.is_some_and(|last| now.saturating_duration_since(last) < NAMED_EVERY);
        if is_recent || limit.allow(now).is_none() {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_named_once_a_minute_and_many_publishers_within_the_limit_of_the_log() {
        let now = Instant::now();
        let mut limit = LogLimit::default();
        let mut one = PublisherLogLimit::default();
        assert_eq!(one.allow(&mut limit, now), Some(0));
        for _ in 0..1000 {
            assert_eq!(one.allow(&mut limit, now), None);
        }
        let others = (0..1000).filter(|_| PublisherLogLimit::default().allow(&mut limit, now).is_some()).count();
        assert!((1..20).contains(&others), "{others}");
        assert_eq!(one.allow(&mut limit, now + NAMED_EVERY), Some(1000));
    }
}
