//! A log that cannot be filled.

use crate::Bucket;
use std::time::{Duration, Instant};

/// How many lines of one kind of notice a log takes at once, and in each [`NOTICES_EVERY`].
const NOTICES: u32 = 10;
const NOTICES_EVERY: Duration = Duration::from_secs(10);

/// Lets so many lines pass in a period, and tells with the next one how many were held back.
#[derive(Debug)]
pub struct LogLimit {
    bucket: Bucket,
    untold: u64,
    held_back: u64,
}

/// What one kind of notice may write in an operator's log: ten lines at once, and ten in each ten seconds.
impl Default for LogLimit {
    fn default() -> Self {
        Self::new(NOTICES, NOTICES_EVERY)
    }
}

impl LogLimit {
    /// At most `lines` at once, and as many in each `period`; 0: none at all.
    pub fn new(lines: u32, period: Duration) -> Self {
        Self { bucket: Bucket::new(lines, period, lines), untold: 0, held_back: 0 }
    }

    /// Whether a line may be written now; if so, how many were held back before it that nobody was told of yet.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.try_take(now) {
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        self.held_back += 1;
        None
    }

    /// Lines held back so far.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_number() {
        const PERIOD: Duration = NOTICES_EVERY;
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        let written = (0..1000).filter(|_| limit.allow(start).is_some()).count();
        assert_eq!((written, limit.held_back()), (10, 990));
        assert_eq!(limit.allow(start + PERIOD), Some(990), "the next line tells");
        assert_eq!(limit.allow(start + PERIOD), Some(0));
        assert_eq!(LogLimit::new(0, PERIOD).allow(start), None);
    }
}
