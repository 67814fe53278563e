//! What was tried for a loop, and is none, is not tried again for a while.

use std::time::{Duration, Instant};
use tidegate_pacing::Doubling;

/// For how long what has come though it was held is not tried again: the first time, for twice as long each time after, and at
/// most. Two gateways of one loop that hold it at the same time disturb each other.
const ACQUITTED_MIN: Duration = Duration::from_secs(1);
const ACQUITTED_MAX: Duration = Duration::from_secs(3600);

/// What has come though it was held is not tried again for a while.
#[derive(Debug)]
pub(crate) struct Acquittal {
    until: Option<Instant>,
    lengths: Doubling,
}

impl Default for Acquittal {
    fn default() -> Self {
        Self { until: None, lengths: Doubling::new(ACQUITTED_MIN, ACQUITTED_MAX) }
    }
}

impl Acquittal {
    pub(crate) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// For so many thousandths of its length.
    pub(crate) fn begin(&mut self, now: Instant, more: u32) {
        self.until = Some(now + self.lengths.advance() * more / 1000);
    }
}
