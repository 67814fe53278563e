//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Says which seed to use, in place of the clock.
const SEED_VARIABLE: &str = "TIDEGATE_SEED";

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Dice {
    /// Printed where a test tells what it did; given in `TIDEGATE_SEED` it makes the same choices again.
    pub(crate) seed: u64,
    state: u64,
}

impl Dice {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
        Self::with(seed)
    }

    pub(crate) fn with(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// At least `low`, less than `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low)
    }
}
