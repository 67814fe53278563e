//! What those who look want to look at, and how many messages a second they may.

use tidegate_message::{Message, TopicFilter};

/// What is looked at in a second comes in so many parts: each costs the batch that it is taken from some of its speed.
pub(crate) const PARTS: u32 = 5;

/// A tap for what ends badly looks at so many times as many as it shows.
const RARE: u32 = 10;

/// Which of the messages that a tap looks at are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that do not go on, for whatever reason.
    Dropped,
    /// Those that end badly: parked, or dropped by the gateway itself.
    Failed,
}

/// What somebody wants to look at.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Topics as they come.
    pub filter: TopicFilter,
    /// Only from this broker.
    pub broker: Option<String>,
    /// Only in this route.
    pub route: Option<String>,
    /// Only with this in the payload.
    pub contains: Option<Vec<u8>>,
    /// Only what ends so.
    pub only: Only,
    /// So many messages a second, at least one.
    pub rate: u32,
    /// Whole, and in an order that can be decided again.
    pub whole: bool,
}

/// Somebody who looks, at so many messages a second.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) bit: u32,
    pub(super) wanted: Wanted,
    pub(crate) left: u32,
    /// Some were not looked at, for it had looked at as many as it may.
    pub(super) ran_dry: bool,
}

impl Tap {
    pub(crate) fn new(bit: u32, wanted: Wanted) -> Self {
        let left = wanted.rate;
        Self { bit, wanted, left, ran_dry: false }
    }

    /// What it may look at until the next time.
    pub(crate) fn refill(&mut self) {
        if self.wanted.whole {
            return self.refill_more();
        }
        let times = if self.wanted.only == Only::All { 1 } else { RARE };
        self.left = (self.wanted.rate.saturating_mul(times) / PARTS).max(1);
    }

    /// The same for one who follows: what he has not looked at is left for later in the second, as messages come in bursts.
    pub(crate) fn refill_more(&mut self) {
        self.left = more(self.left, self.wanted.rate);
    }

    pub(crate) fn wants(&self, broker: &str, route: Option<&str>, message: &Message) -> bool {
        self.left > 0 && self.fits(broker, route, message)
    }

    pub(super) fn fits(&self, broker: &str, route: Option<&str>, message: &Message) -> bool {
        let Wanted { filter, broker: from, route: of, contains, .. } = &self.wanted;
        from.as_ref().is_none_or(|from| from == broker)
            && of.as_ref().is_none_or(|of| Some(of.as_str()) == route)
            && filter.matches(&message.topic)
            && contains.as_ref().is_none_or(|words| has(&message.payload, words))
    }
}

/// What is left of `rate` messages a second, a part of a second later.
pub(crate) fn more(left: u32, rate: u32) -> u32 {
    left.saturating_add(rate.div_ceil(PARTS)).min(rate)
}

/// Whether bytes stand somewhere in others.
fn has(payload: &[u8], words: &[u8]) -> bool {
    words.is_empty() || payload.windows(words.len()).any(|at| at == words)
}
