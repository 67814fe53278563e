//! The account of a route: what came in is what went out, was dropped, was put aside, or is under way.

use std::collections::BTreeMap;

/// How many reasons made up by plugins a route counts apart; the rest is counted as [`OTHER`].
const REASONS_MAX: usize = 64;
const OTHER: &str = "other";

/// Why a message ended without being delivered. The words are what `tidegate_route_dropped_total` shows as `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason<'a> {
    /// The disk takes nothing, and no source waits for the message.
    Disk,
    /// Its MQTT 5 expiry has passed while it waited.
    Expired,
    /// The lane of its target is full, and no source waits for it.
    LaneFull,
    /// This gateway has brought it to its target before, and other gateways have brought it back.
    Loop,
    /// Its route has no target that is configured.
    NoTarget,
    /// There is no room to put another message aside.
    ParkingFull,
    /// Its route's plugins have too much before them, and no source waits for it.
    PipelineFull,
    /// A plugin failed on it, and `on_failure` says so.
    PluginFailed,
    /// The queue of its target is full.
    Quota,
    /// The target has answered it with an error.
    RefusedByTarget,
    /// `remap` cannot make a topic of its topic.
    Remap,
    /// Its route feeds itself.
    Ring,
    /// Its target is not configured any more.
    TargetRemoved,
    /// The session of the target did not take it, although it had said that it has room: never, unless there is a bug.
    TargetFull,
    /// It is larger than the target takes.
    TooLarge,
    /// It has waited for longer than its target's `max_age`.
    TooOld,
    /// An operator has discarded it.
    Discarded,
    /// A plugin said so, for a reason of its own.
    Plugin(&'a str),
}

impl DropReason<'_> {
    /// All that the gateway itself gives.
    pub const OWN: [DropReason<'static>; 17] = [
        DropReason::Disk,
        DropReason::Expired,
        DropReason::LaneFull,
        DropReason::Loop,
        DropReason::NoTarget,
        DropReason::ParkingFull,
        DropReason::PipelineFull,
        DropReason::PluginFailed,
        DropReason::Quota,
        DropReason::RefusedByTarget,
        DropReason::Remap,
        DropReason::Ring,
        DropReason::TargetRemoved,
        DropReason::TargetFull,
        DropReason::TooLarge,
        DropReason::TooOld,
        DropReason::Discarded,
    ];

    /// The stable word.
    pub const fn word(&self) -> &str {
        match self {
            Self::Disk => "disk",
            Self::Expired => "expired",
            Self::LaneFull => "lane_full",
            Self::Loop => "loop",
            Self::NoTarget => "no_target",
            Self::ParkingFull => "parking_full",
            Self::PipelineFull => "pipeline_full",
            Self::PluginFailed => "plugin_failed",
            Self::Quota => "quota",
            Self::RefusedByTarget => "refused_by_target",
            Self::Remap => "remap",
            Self::Ring => "ring",
            Self::TargetRemoved => "target_removed",
            Self::TargetFull => "target_full",
            Self::TooLarge => "too_large_for_target",
            Self::TooOld => "too_old",
            Self::Discarded => "discarded",
            Self::Plugin(reason) => reason,
        }
    }
}

/// The account of one route. The identity
/// `received + replayed + ticked + recovered + copies = out + dropped + parked + in flight` holds at any time.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Messages that entered the route.
    pub received: u64,
    /// Parked messages that entered it again.
    pub replayed: u64,
    /// Messages that plugins made on a tick.
    pub ticked: u64,
    /// Found in the spool at the start, from an earlier run.
    pub recovered: u64,
    /// What a fan-out or a plugin made of a message beyond the first.
    pub copies: u64,
    /// Delivered: QoS 0 written, QoS 1 and 2 acknowledged by the target.
    pub out: u64,
    /// Put aside, ever.
    pub parked: u64,
    /// With plugins, in the spool, in a lane or in a session.
    pub in_flight: u64,
    /// Ended without being delivered, by the word for the reason.
    pub dropped: BTreeMap<Box<str>, u64>,
    /// From the receipt of a message to its delivery. Of a message of the log exact to a millisecond only: the log
    /// keeps no finer times.
    pub latency: Histogram,
}

impl Account {
    /// One that was under way ends.
    pub(crate) fn drop(&mut self, reason: DropReason<'_>) {
        self.in_flight -= 1;
        self.count_drop(reason.word());
    }

    fn count_drop(&mut self, reason: &str) {
        if let Some(count) = self.dropped.get_mut(reason) {
            *count += 1;
            return;
        }
        let reason = if self.dropped.len() < REASONS_MAX { reason } else { OTHER };
        *self.dropped.entry(reason.into()).or_default() += 1;
    }

    /// How many ended without being delivered.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// How far the account is off: 0 unless there is a bug.
    pub fn imbalance(&self) -> i64 {
        let came = self.received + self.replayed + self.ticked + self.recovered + self.copies;
        let went = self.out + self.dropped_total() + self.parked + self.in_flight;
        came as i64 - went as i64
    }
}

/// Times in buckets that double: bucket n holds what took less than 2^n microseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: [u64; Self::BUCKETS],
    /// Of all times, in microseconds.
    pub sum_us: u64,
    /// How many times there are.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; Self::BUCKETS], sum_us: 0, count: 0 }
    }
}

impl Histogram {
    /// The last bucket takes everything above 2^26 µs, which is 67 s.
    const BUCKETS: usize = 28;

    /// Counts one time, in microseconds.
    #[inline]
    pub fn record(&mut self, us: u64) {
        let at = (u64::BITS - us.leading_zeros()) as usize;
        self.buckets[at.min(Self::BUCKETS - 1)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.count += 1;
    }

    /// Upper bounds in microseconds with how many took less, the last bucket left out.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut total = 0;
        self.buckets[..Self::BUCKETS - 1].iter().enumerate().map(move |(at, count)| {
            total += count;
            (1 << at, total)
        })
    }

    /// The bound below which this share of all lies, in microseconds; `None` without any.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let wanted = (self.count as f64 * share).ceil() as u64;
        (self.count > 0).then(|| {
            self.cumulative().find(|(_, total)| *total >= wanted).map_or(1 << Self::BUCKETS, |(bound, _)| bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_upper_bounds() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for us in [0, 1, 3, 100, 5_000] {
            histogram.record(us);
        }
        assert_eq!(histogram.quantile_us(0.5), Some(4));
        assert_eq!(histogram.quantile_us(0.99), Some(8192));
        histogram.record(u64::MAX);
        assert_eq!(histogram.count, 6);
    }

    #[test]
    fn reasons_made_up_by_plugins_are_bounded() {
        let mut account = Account::default();
        for n in 0..1000 {
            account.received += 1;
            account.in_flight += 1;
            account.drop(DropReason::Plugin(&n.to_string()));
        }
        assert_eq!((account.dropped_total(), account.imbalance()), (1000, 0));
        assert!(account.dropped.len() <= REASONS_MAX + 1);
    }

    #[test]
    fn words_are_all_different() {
        let words: std::collections::BTreeSet<_> = DropReason::OWN.iter().map(DropReason::word).collect();
        assert_eq!(words.len(), DropReason::OWN.len());
    }
}
