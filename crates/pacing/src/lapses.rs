//! How long something that comes and goes has to be well before it is trusted again.

use std::time::Duration;

/// What fails before it was trusted for this many times the wait has to be well for longer the next time.
const SOON: u32 = 10;

/// How often that doubles at most.
const DOUBLINGS: u32 = 6;

/// How often in a row something failed soon after it was trusted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lapses(u32);

impl Lapses {
    /// It has failed, `after` it was trusted again for so long; `None` if it was trusted from the start. `wait` as in
    /// [`patience`](Self::patience).
    pub fn failed(&mut self, after: Option<Duration>, wait: Duration) {
        let is_soon = after.is_some_and(|after| after < wait * SOON);
        self.0 = if is_soon { (self.0 + 1).min(DOUBLINGS) } else { 0 };
    }

    /// For how long it has to be well, where `wait` is enough for one that lasts: twice as long after each lapse, up to 64 times.
    pub fn patience(self, wait: Duration) -> Duration {
        wait * (1 << self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_soon_after_doubles_the_patience_and_one_that_lasted_ends_that() {
        let (second, mut lapses) = (Duration::from_secs(1), Lapses::default());
        lapses.failed(None, second);
        assert_eq!(lapses.patience(second), second);
        let patience: Vec<u64> = std::iter::repeat_with(|| {
            lapses.failed(Some(9 * second), second);
            lapses.patience(second).as_secs()
        })
        .take(8)
        .collect();
        assert_eq!(patience, [2, 4, 8, 16, 32, 64, 64, 64]);
        lapses.failed(Some(10 * second), second);
        assert_eq!(lapses.patience(second), second);
    }
}
