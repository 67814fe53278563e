//! How fast a client may publish: what comes faster is not read before its time has come. Nothing is dropped, and the client
//! feels it as a slow network.

use crate::settings::{Limits, Rates};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// So much of its rate a client may have saved up, and has at once when it connects.
const BURST: Duration = Duration::from_secs(1);

/// What a client has published of late, by its limits.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When what it has published would have been published at its rates; `None`: it has published nothing.
    messages: Option<Instant>,
    bytes: Option<Instant>,
    /// It is not read from before this.
    until: Option<Instant>,
    /// By which rates all of this was counted.
    rates: Rates,
}

impl Pace {
    /// So much was published. Returns whether it is held up now, and was not before.
    pub(super) fn published(&mut self, messages: usize, bytes: usize, limits: &Limits, now: Instant) -> bool {
        let mut held = None;
        self.rates = limits.rates();
        let kinds = [
            (&mut self.messages, limits.message_rate.map(|rate| u64::from(rate.get())), messages),
            (&mut self.bytes, limits.byte_rate.map(NonZeroU64::get), bytes),
        ];
        for (full, rate, count) in kinds {
            let Some(rate) = rate else {
                *full = None;
                continue;
            };
            let nanoseconds = count as u128 * 1_000_000_000 / u128::from(rate);
            let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            let from = full.map_or(now, |full| full.max(now));
            let then = from.checked_add(takes).unwrap_or(from);
            *full = Some(then);
            if let Some(until) = then.checked_sub(BURST).filter(|until| *until > now) {
                held = held.max(Some(until));
            }
        }
        let began = held.is_some() && self.until.is_none();
        self.until = held;
        began
    }

    /// By which it counts.
    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    /// When it is read from again, if it is held up.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.until
    }

    /// Its time may have come.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.until.take_if(|until| *until <= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_is_had_at_once_and_the_rest_at_the_rate() {
        let limits = Limits { message_rate: NonZeroU32::new(100), ..Limits::default() };
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(!pace.published(100, 1_000_000, &limits, start));
        assert_eq!(pace.held_until(), None);
        assert!(pace.published(50, 0, &limits, start));
        assert_eq!(pace.held_until(), Some(start + SECOND / 2));
        pace.on_time(start + SECOND / 4);
        assert!(pace.held_until().is_some());
        pace.on_time(start + SECOND / 2);
        assert_eq!(pace.held_until(), None);
        assert_eq!(limits.frames_max(), 10);
        // Over a long time it is the rate, whatever the steps are.
        let (mut now, mut taken) = (start + SECOND / 2, 0);
        while now < start + 10 * SECOND {
            pace.published(7, 0, &limits, now);
            taken += 7;
            now = pace.held_until().unwrap_or(now);
            pace.on_time(now);
        }
        assert!((945..=960).contains(&taken), "{taken}");
    }

    #[test]
    fn the_slower_of_two_rates_holds_and_a_limit_that_is_gone_does_not() {
        let limits =
            Limits { message_rate: NonZeroU32::new(1000), byte_rate: NonZeroU64::new(1000), ..Limits::default() };
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(pace.published(1, 5000, &limits, now));
        assert_eq!(pace.held_until(), Some(now + 4 * SECOND));
        assert!(!pace.published(1, 1, &Limits::default(), now));
        assert_eq!(pace.held_until(), None);
        assert_eq!(Limits::default().frames_max(), usize::MAX);
    }
}
