//! What is counted: plain numbers on the data path, atomics where a plugin's thread counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tidegate_plugin::Fault;

/// A counter that another thread reads.
#[derive(Debug, Default)]
pub(crate) struct Shared(AtomicU64);

impl Shared {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one plugin did in one route, over all its versions.
#[derive(Debug, Default)]
pub(crate) struct StageCounters {
    faults: [Shared; Fault::KINDS.len()],
    pub(crate) rejects: Shared,
    pub(crate) retries: Shared,
    pub(crate) circuit_open: Shared,
    pub(crate) circuit_opened: Shared,
}

impl StageCounters {
    pub(crate) fn fault(&self, kind: &str) {
        if let Some(at) = Fault::KINDS.iter().position(|known| *known == kind) {
            self.faults[at].add(1);
        }
    }

    /// Every kind of fault with its count, zeros included.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::KINDS.into_iter().zip(self.faults.iter().map(Shared::get))
    }

    pub(crate) fn failures(&self) -> u64 {
        self.faults().map(|(_, count)| count).sum::<u64>() + self.rejects.get()
    }
}

/// The accounts of one route. The identity
/// `received + replayed + ticked + recovered + copies = out + dropped + parked + in flight` holds at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteCounters {
    /// Messages that entered the route.
    pub(crate) received: u64,
    /// Parked messages that entered it again.
    pub(crate) replayed: u64,
    /// Messages that plugins made on a tick.
    pub(crate) ticked: u64,
    /// Found in the spool at the start, from an earlier run.
    pub(crate) recovered: u64,
    /// What a fan-out or a plugin made of a message beyond the first.
    pub(crate) copies: u64,
    /// Delivered: QoS 0 written, QoS 1 and 2 acknowledged by the target.
    pub(crate) out: u64,
    /// Kept aside.
    pub(crate) parked: u64,
    /// In a pipeline, a lane or a session.
    pub(crate) in_flight: u64,
    /// By reason.
    pub(crate) dropped: BTreeMap<Box<str>, u64>,
    pub(crate) latency: Histogram,
}

/// How many reasons a route counts apart: plugins make them up.
const REASONS_MAX: usize = 64;
const OTHER_REASONS: &str = "other";

impl RouteCounters {
    pub(crate) fn dropped(&mut self, reason: &str) {
        if let Some(count) = self.dropped.get_mut(reason) {
            *count += 1;
            return;
        }
        let reason = if self.dropped.len() < REASONS_MAX { reason } else { OTHER_REASONS };
        *self.dropped.entry(reason.into()).or_default() += 1;
    }

    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// How far the accounts are off: 0 unless there is a bug.
    pub(crate) fn imbalance(&self) -> i64 {
        let came = self.received + self.replayed + self.ticked + self.recovered + self.copies;
        let went = self.out + self.dropped_total() + self.parked + self.in_flight;
        came as i64 - went as i64
    }
}

/// Times in buckets that double: bucket n holds what took less than 2^n microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: [u64; Self::BUCKETS],
    pub(crate) sum_us: u64,
    pub(crate) count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; Self::BUCKETS], sum_us: 0, count: 0 }
    }
}

impl Histogram {
    /// The last bucket takes everything above 2^26 µs, which is 67 s.
    pub(crate) const BUCKETS: usize = 28;

    pub(crate) fn record(&mut self, us: u64) {
        let at = (u64::BITS - us.leading_zeros()) as usize;
        self.buckets[at.min(Self::BUCKETS - 1)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.count += 1;
    }

    /// Upper bounds in microseconds with how many took less, the last bucket left out.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut total = 0;
        self.buckets[..Self::BUCKETS - 1].iter().enumerate().map(move |(at, count)| {
            total += count;
            (1 << at, total)
        })
    }

    /// The bound below which this share of all lies, in microseconds; `None` without any.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<u64> {
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
        let mut counters = RouteCounters::default();
        for n in 0..1000 {
            counters.dropped(&n.to_string());
        }
        assert_eq!(counters.dropped_total(), 1000);
        assert!(counters.dropped.len() <= REASONS_MAX + 1);
        assert_eq!(counters.imbalance(), -1000);
    }
}
