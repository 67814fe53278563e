//! Messages on their way through a route, for people to look at while it happens: what came, what each plugin said, where it
//! went or why it ended.
//!
//! A tap looks at some of the messages that it asks for, so many a second: what is looked at is copied, and the rest pays for one
//! question a batch. Nothing waits for whoever looks; what he does not take in time is counted and gone.

mod watched;

pub use watched::{Said, Shown, Watched};

use crate::account::DropReason;
use crate::debt::Ack;
use crate::decide::Parking;
use crate::ids::{BrokerId, RouteId};
use crate::route::{RouteTarget, Target};
use crate::sessions::Sessions;
use crate::{Moment, Router};
use ahash::AHashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_message::{Message, TopicFilter};

/// So many taps at a time.
const TAPS_MAX: usize = 16;

/// Ways that wait to be taken.
const WAYS_MAX: usize = 1_000;

/// Messages with plugins that are looked at.
const FOLLOWED_MAX: usize = 2_000;

/// What is looked at in a second comes in so many parts: each costs the batch that it is taken from some of its speed.
const PARTS: u32 = 5;

/// A tap for what ends badly looks at so many times as many as it shows.
const RARE: u32 = 10;

/// How a message left its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// On to its targets, as `out` says.
    Onward,
    /// No route wants it.
    Unrouted,
    /// It was dropped, for this reason; `plugin`: by one of the plugins, for a reason of its own.
    Dropped {
        /// As it is counted.
        reason: Box<str>,
        /// As it should be.
        by_plugin: bool,
    },
    /// A plugin could not decide it, and it is kept aside.
    Parked {
        /// Which one.
        plugin: Arc<str>,
        /// What kind of failure.
        kind: &'static str,
        /// In words.
        reason: Box<str>,
    },
    /// It is held back for a moment, to see whether its route is in a loop.
    HeldBack,
}

/// What became of a message in one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// They are numbered.
    pub number: u64,
    /// When it came.
    pub at: SystemTime,
    /// From this broker.
    pub broker: Arc<str>,
    /// Into this route.
    pub route: Option<Arc<str>>,
    /// As it came.
    pub came: Shown,
    /// What each plugin said of it, in order.
    pub said: Vec<Said>,
    /// What went on, and where to.
    pub out: Vec<(Shown, Vec<Arc<str>>)>,
    /// How it ended.
    pub ending: Ending,
    /// How long it took from its receipt until then.
    pub took: Duration,
    /// The taps that it is for, a bit each.
    pub taps: u32,
}

impl Way {
    const fn is_failure(&self) -> bool {
        matches!(self.ending, Ending::Parked { .. } | Ending::Dropped { by_plugin: false, .. })
    }

    const fn is_drop(&self) -> bool {
        matches!(self.ending, Ending::Parked { .. } | Ending::Dropped { .. } | Ending::Unrouted)
    }
}

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
}

/// Somebody who looks, at so many messages a second.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) bit: u32,
    wanted: Wanted,
    pub(crate) left: u32,
}

impl Tap {
    pub(crate) fn new(bit: u32, wanted: Wanted) -> Self {
        let left = wanted.rate;
        Self { bit, wanted, left }
    }

    /// What it may look at until the next time.
    pub(crate) fn refill(&mut self) {
        let times = if self.wanted.only == Only::All { 1 } else { RARE };
        self.left = (self.wanted.rate.saturating_mul(times) / PARTS).max(1);
    }

    /// The same for one who follows: what he has not looked at is left for later in the second, as messages come in bursts.
    pub(crate) fn refill_more(&mut self) {
        self.left = more(self.left, self.wanted.rate);
    }

    pub(crate) fn wants(&self, broker: &str, route: Option<&str>, message: &Message) -> bool {
        let Wanted { filter, broker: from, route: of, contains, .. } = &self.wanted;
        self.left > 0
            && from.as_ref().is_none_or(|from| from == broker)
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

/// All taps, and what they look at.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    taps: Vec<Tap>,
    /// One of them may look at a message now.
    pub(crate) is_on: bool,
    /// The message that a step is about now.
    current: Option<Box<Way>>,
    since: Option<Instant>,
    /// With plugins, by the number of the parcel.
    followed: AHashMap<u64, (Box<Way>, Instant)>,
    pub(crate) watched: Arc<Watched>,
    ways: Vec<Way>,
    number: u64,
    missed: u64,
    refilled: Option<Instant>,
}

impl Taps {
    /// Time goes on. True if those who look, if there are any, may look at more messages from here on.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let is_due = self.refilled.is_none_or(|at| now >= at + Duration::from_secs(1) / PARTS);
        if is_due {
            self.refill(now);
        }
        is_due
    }

    #[cold]
    fn refill(&mut self, now: Instant) {
        self.refilled = Some(now);
        self.taps.iter_mut().for_each(Tap::refill);
        self.is_on = !self.taps.is_empty();
    }

    /// What plugins have said of a parcel that a trace follows; a tap that follows it, too, still needs it.
    pub(crate) fn said_of(&self, parcel: u64) -> Vec<Said> {
        if self.followed.contains_key(&parcel) { self.watched.read(parcel) } else { self.watched.take(parcel) }
    }

    /// Whether somebody looks.
    #[inline]
    pub(crate) const fn are_there(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Whether the step is about a message that is looked at.
    #[inline]
    pub(crate) const fn is_about_one(&self) -> bool {
        self.current.is_some()
    }

    /// What is looked at ends.
    fn finish(&mut self, mut way: Box<Way>, now: Instant) {
        let shown = |tap: &Tap| match tap.wanted.only {
            Only::All => true,
            Only::Dropped => way.is_drop(),
            Only::Failed => way.is_failure(),
        };
        let taps =
            self.taps.iter().filter(|tap| tap.bit & way.taps != 0 && shown(tap)).fold(0, |all, tap| all | tap.bit);
        if taps == 0 {
            return;
        }
        if self.ways.len() == WAYS_MAX {
            self.missed += 1;
            return;
        }
        way.taps = taps;
        way.took = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.number += 1;
        way.number = self.number;
        self.ways.push(*way);
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Shares what plugins are asked to say with their threads.
    pub fn watch_with(&mut self, watched: Arc<Watched>) {
        self.taps.watched = watched;
    }

    /// Somebody looks from here on. Returns the bit of his tap; `None` if too many do.
    pub fn tap(&mut self, wanted: Wanted) -> Option<u32> {
        let free = (0..TAPS_MAX).map(|at| 1 << at).find(|bit| self.taps.taps.iter().all(|tap| tap.bit != *bit))?;
        let mut tap = Tap::new(free, wanted);
        tap.refill();
        self.taps.taps.push(tap);
        self.taps.is_on = true;
        Some(free)
    }

    /// And no longer.
    pub fn untap(&mut self, bit: u32) {
        self.taps.taps.retain(|tap| tap.bit != bit);
        if self.taps.taps.is_empty() {
            self.taps.is_on = false;
            let Taps { followed, watched, .. } = &mut self.taps;
            followed.drain().for_each(|(parcel, _)| _ = watched.take(parcel));
        }
    }

    /// What was looked at since this was asked last.
    pub fn take_ways(&mut self) -> Vec<Way> {
        std::mem::take(&mut self.taps.ways)
    }

    /// Whether there is something to take.
    pub const fn has_ways(&self) -> bool {
        !self.taps.ways.is_empty()
    }

    /// A message enters a route, or is for none.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_enters(&mut self, from: BrokerId, route: Option<RouteId>, message: &Message, now: Moment) {
        let Self { taps: all, brokers, routes, .. } = self;
        let (broker, route) = (&brokers[from.at()].name, route.map(|at| &routes[at.at()].name));
        let mut taps = 0;
        for tap in &mut all.taps {
            if tap.wants(broker, route.map(|name| &**name), message) {
                tap.left -= 1;
                taps |= tap.bit;
            }
        }
        all.is_on = all.taps.iter().any(|tap| tap.left > 0);
        if taps == 0 {
            return;
        }
        all.since = Some(now.at);
        let ending = if route.is_some() { Ending::Onward } else { Ending::Unrouted };
        let way = Way {
            number: 0,
            at: SystemTime::now(),
            broker: broker.clone(),
            route: route.cloned(),
            came: Shown::of(message),
            said: Vec::new(),
            out: Vec::new(),
            ending,
            took: Duration::ZERO,
            taps,
        };
        all.current = Some(Box::new(way));
    }

    /// The step is over: what is looked at has gone on, or ended.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_leaves(&mut self, now: Moment) {
        if let Some(mut way) = self.taps.current.take() {
            if way.out.is_empty() && way.ending == Ending::Onward {
                way.ending = Ending::HeldBack;
            }
            self.taps.finish(way, now.at);
        }
    }

    /// It goes to the plugins of its route.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_parcel(&mut self, parcel: u64) {
        let all = &mut self.taps;
        if all.followed.len() < FOLLOWED_MAX
            && let (Some(way), Some(since)) = (all.current.take(), all.since)
        {
            all.watched.watch(parcel);
            all.followed.insert(parcel, (way, since));
        }
    }

    /// A parcel comes back from the plugins, perhaps to be put aside.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_returns(&mut self, parcel: u64, parked: Option<&Parking>) {
        let Some((mut way, since)) = self.taps.followed.remove(&parcel) else { return };
        way.said = self.taps.watched.take(parcel);
        if let Some(why) = parked {
            let (plugin, kind) = (why.plugin.clone(), why.kind);
            way.ending = Ending::Parked { plugin, kind, reason: why.reason.as_str().into() };
        }
        (self.taps.current, self.taps.since) = (Some(way), Some(since));
    }

    /// Whether plugins have a message that is looked at.
    #[inline]
    pub(crate) fn taps_follow(&self) -> bool {
        !self.taps.followed.is_empty()
    }

    /// It goes on.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_out(&mut self, targets: &[RouteTarget], message: &Message) {
        let name = |target: &RouteTarget| match target.to {
            Target::Broker(broker) => Some(self.brokers[broker.at()].name.clone()),
            to @ Target::Set(_) => self.targets.iter().find(|(_, known)| **known == to).map(|(name, _)| name.clone()),
        };
        let names = targets.iter().filter_map(name).collect();
        if let Some(way) = &mut self.taps.current {
            way.out.push((Shown::of(message), names));
        }
    }

    /// It ends, or one of what has become of it does.
    #[cold]
    #[inline(never)]
    pub(crate) fn tap_ends(&mut self, reason: DropReason<'_>) {
        if let Some(way) = &mut self.taps.current
            && !matches!(way.ending, Ending::Parked { .. })
        {
            let by_plugin = matches!(reason, DropReason::Plugin(_));
            way.ending = Ending::Dropped { reason: reason.word().into(), by_plugin };
        }
    }
}
