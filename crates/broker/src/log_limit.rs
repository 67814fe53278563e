//! Keeps misbehaving clients from filling the log.

use std::time::{Duration, Instant};

/// How many lines may be written in one [`WINDOW`].
const LINES: u32 = 10;

/// How long a window lasts.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct LogLimit {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, lines: 0, suppressed: 0 }
    }

    /// Whether a line may be written now; if so, how many were held back before it.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_ten_lines_and_a_number() {
        let start = Instant::now();
        let mut limit = LogLimit::new(start);
        let written = (0..1000).filter(|_| limit.allow(start).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(limit.allow(start + WINDOW), Some(990));
    }
}
