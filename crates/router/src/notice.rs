//! What an operator should hear of in the log, and a bound on how many lines that makes.

use std::time::{Duration, Instant};

/// How many lines of a kind are logged in each period at most; the rest is counted, and told with the next line.
const LINES: u32 = 10;
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Bounds the lines that one kind of notice may log.
#[derive(Debug, Default)]
pub struct Lines {
    since: Option<Instant>,
    count: u32,
}

impl Lines {
    /// Whether one more may be logged, and how many were not since the last.
    pub fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now >= since + LINES_EVERY) {
            let kept_back = self.count.saturating_sub(LINES);
            (self.since, self.count) = (Some(now), 1);
            return Some(kept_back);
        }
        self.count += 1;
        (self.count <= LINES).then_some(0)
    }
}

/// One for each kind of the router's own.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) parked: Lines,
    pub(crate) quota: Lines,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_was_kept_back_is_said_with_the_next() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let admitted = (0..100).filter(|_| lines.admit(start).is_some()).count();
        assert_eq!(admitted, LINES as usize);
        assert_eq!(lines.admit(start + LINES_EVERY), Some(90));
    }
}
