//! Messages that may come of what we send, and what is known of each.

use crate::acquittal::Acquittal;
use crate::ids::RouteId;
use std::time::{Duration, Instant};

/// Several copies of one message in a round come closer to each other than the round is long, which is then taken to be this long.
pub(crate) const ROUND_MIN: Duration = Duration::from_millis(100);

/// How often a message must stand still and come back.
pub(crate) const TURNS: u32 = 3;

/// A message that was let go is back within so many rounds: another gateway of the loop may hold it too.
pub(crate) const AWAY_ROUNDS: u32 = 8;

/// How many of these may have a source that waits for us. Brokers have ten and more under way at once (RabbitMQ 10, mosquitto 20,
/// EMQX 32): one that has nothing left to send until we acknowledge stands still whatever it is, and what stands still then proves
/// nothing.
pub(crate) const OWED_MAX: usize = 8;

/// A message that comes so often in a second, and more and more often, may be in loops that feed each other.
pub(crate) const FLOOD: u64 = 500;

/// What comes at an even pace takes twice as long to come twice as often; what multiplies, an eighth longer to get from half
/// of [`FLOOD`] to all of it. This is between, in tenths.
const GROWS: u32 = 13;

/// A message that came once or more.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) last: Instant,
    /// Between the last two times.
    pub(crate) gap: Duration,
    /// How often in a row it came again after the same time, and how often is enough.
    pub(crate) returns: u64,
    pub(crate) enough: u64,
    pub(crate) acquitted: Acquittal,
    /// The same of floods.
    pub(crate) no_flood: Acquittal,
    /// How often it has come since then, and when half of a flood had.
    pub(crate) since: Instant,
    pub(crate) count: u64,
    pub(crate) half_after: Duration,
}

/// A message that is tried by sending nothing.
#[derive(Debug)]
pub(crate) struct FloodTrial {
    pub(crate) route: RouteId,
    pub(crate) content: u64,
    pub(crate) weight_bytes: usize,
    pub(crate) phase: Phase,
    pub(crate) turns: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// Nothing leaves; it may still come until `comes_until`, and stands still if it has not come for `quiet` then.
    Hushed { comes_until: Instant, quiet: Duration, quiet_from: Instant },
    /// A few have left, and it is to be back by then.
    Away(Instant),
}

impl FloodTrial {
    pub(crate) fn until(&self) -> Instant {
        match self.phase {
            Phase::Hushed { quiet, quiet_from, .. } => quiet_from + quiet,
            Phase::Away(until) => until,
        }
    }

    pub(crate) const fn route(&self) -> RouteId {
        self.route
    }
}

impl Seen {
    /// Another one has come. Whether it is one of ever more.
    pub(crate) fn multiplies(&mut self, now: Instant) -> bool {
        if now > self.since + Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count == FLOOD / 2 {
            self.half_after = now - self.since;
        }
        self.count == FLOOD && (now - self.since) * 10 < self.half_after * GROWS
    }
}
