//! What goes on a minute, over the last minute, five and fifteen: as mosquitto has it under `$SYS/broker/load`.
//!
//! Each is an average that forgets: what is as old as its window counts for a third (1/e).

use crate::stats::Stats;
use std::time::Instant;

/// Windows in minutes, as topics name them.
pub(crate) const WINDOWS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// Counts something.
type Count = fn(&Stats) -> u64;

/// Of what there are averages, as topics name it, and where it is counted.
pub(crate) const COUNTERS: [(&str, Count); 9] = [
    ("messages/received", |stats| stats.received),
    ("messages/sent", |stats| stats.sent),
    ("publish/received", |stats| stats.received),
    ("publish/sent", |stats| stats.sent),
    ("publish/dropped", |stats| stats.dropped.total()),
    ("bytes/received", |stats| stats.bytes_received),
    ("bytes/sent", |stats| stats.bytes_sent),
    ("sockets", |stats| stats.sockets),
    ("connections", |stats| stats.accepted),
];

/// The averages.
#[derive(Debug)]
pub(crate) struct Load {
    at: Instant,
    counted: [u64; COUNTERS.len()],
    averages: [[f64; WINDOWS.len()]; COUNTERS.len()],
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, counted: [0; COUNTERS.len()], averages: [[0.0; WINDOWS.len()]; COUNTERS.len()] }
    }

    /// So much is counted by now.
    pub(crate) fn renew(&mut self, stats: &Stats, now: Instant) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        self.at = now;
        for (at, (_, count)) in COUNTERS.iter().enumerate() {
            let now_counted = count(stats);
            let rate = now_counted.saturating_sub(self.counted[at]) as f64 / minutes;
            self.counted[at] = now_counted;
            for (average, (_, window)) in self.averages[at].iter_mut().zip(WINDOWS) {
                let keeps = (-minutes / window).exp();
                *average = rate + keeps * (*average - rate);
            }
        }
    }

    /// Each with its topic below `load`.
    pub(crate) fn said(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.averages.iter().zip(COUNTERS).flat_map(|(averages, (name, _))| {
            averages
                .iter()
                .zip(WINDOWS)
                .map(move |(average, (window, _))| (format!("{name}/{window}"), format!("{average:.2}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_average_comes_to_what_goes_on_and_forgets_it() {
        let began = Instant::now();
        let mut load = Load::new(began);
        let mut stats = Stats::default();
        // Ten a second for ten minutes.
        for step in 1..=60 {
            stats.received += 100;
            load.renew(&stats, began + Duration::from_secs(10 * step));
        }
        let of = |load: &Load, topic: &str| {
            let value = load.said().find(|(name, _)| name == topic).unwrap().1;
            value.parse::<f64>().unwrap()
        };
        assert!((599.0..=600.0).contains(&of(&load, "messages/received/1min")));
        assert!((510.0..530.0).contains(&of(&load, "messages/received/5min")), "10 minutes of 5");
        assert!((280.0..300.0).contains(&of(&load, "publish/received/15min")), "10 minutes of 15");
        load.renew(&stats, began + Duration::from_secs(600 + 60));
        assert!((215.0..225.0).contains(&of(&load, "messages/received/1min")), "a minute later a third is left");
        assert_eq!(of(&load, "messages/sent/1min"), 0.0);
    }
}
