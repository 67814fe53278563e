//! Messages on their way through a route, for people to look at while it happens: what came, what each plugin said, where it
//! went or why it ended.
//!
//! A tap looks at some of the messages that it asks for, so many a second: what is looked at is copied, and the rest pays for one
//! question a batch. Nothing waits for whoever looks; what he does not take in time is counted and gone.

mod wanted;
mod watched;

pub use wanted::{Only, Wanted};
pub(crate) use wanted::{PARTS, Tap, more};
pub use watched::{Said, Shown, Ticked, Watched};

use crate::account::DropReason;
use crate::debt::Ack;
use crate::decide::Parking;
use crate::ids::{BrokerId, RouteId};
use crate::parcel::Parcel;
use crate::route::{RouteTarget, Target};
use crate::sessions::Sessions;
use crate::{Moment, Router};
use ahash::AHashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_message::Message;

/// So many taps at a time.
const TAPS_MAX: usize = 16;

/// Ways that wait to be taken.
const WAYS_MAX: usize = 1_000;

/// Messages with plugins that are looked at.
const FOLLOWED_MAX: usize = 2_000;

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
    /// All of it, if one of these wants that.
    pub whole: Option<Box<Whole>>,
}

/// A message as plugins are told of it, and what went on, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its number, 0 where its route has no plugins.
    pub id: u64,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// A plugin may have been asked about it before.
    pub redelivered: bool,
    /// As it came.
    pub came: Message,
    /// What went on, and where to.
    pub out: Vec<(Message, Vec<Arc<str>>)>,
    /// Others before it were not looked at, for there were too many.
    pub after_gap: bool,
}

impl Way {
    const fn is_failure(&self) -> bool {
        matches!(self.ending, Ending::Parked { .. } | Ending::Dropped { by_plugin: false, .. })
    }

    const fn is_drop(&self) -> bool {
        matches!(self.ending, Ending::Parked { .. } | Ending::Dropped { .. } | Ending::Unrouted)
    }
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

    /// Whether plugins tell of their timers.
    fn choose_ticks(&self) {
        self.watched.want_ticks(self.taps.iter().any(|tap| tap.wanted.whole));
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
            self.taps.iter_mut().for_each(|tap| tap.ran_dry = true);
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
        self.taps.choose_ticks();
        Some(free)
    }

    /// And no longer.
    pub fn untap(&mut self, bit: u32) {
        self.taps.taps.retain(|tap| tap.bit != bit);
        self.taps.choose_ticks();
        if self.taps.taps.is_empty() {
            self.taps.is_on = false;
            let Taps { followed, watched, .. } = &mut self.taps;
            followed.drain().for_each(|(parcel, _)| _ = watched.take(parcel));
        }
    }

    /// What timers said since this was asked last, if somebody looks who wants to know.
    pub fn take_ticks(&mut self) -> Vec<Ticked> {
        self.taps.watched.take_ticks()
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
        let (mut taps, mut is_whole, mut after_gap) = (0, false, false);
        for tap in &mut all.taps {
            if !tap.fits(broker, route.map(|name| &**name), message) {
                continue;
            }
            if tap.left == 0 {
                tap.ran_dry = true;
                continue;
            }
            tap.left -= 1;
            taps |= tap.bit;
            is_whole |= tap.wanted.whole;
            after_gap |= std::mem::take(&mut tap.ran_dry);
        }
        all.is_on = all.taps.iter().any(|tap| tap.left > 0 || tap.wanted.whole && !tap.ran_dry);
        if taps == 0 {
            return;
        }
        all.since = Some(now.at);
        let ending = if route.is_some() { Ending::Onward } else { Ending::Unrouted };
        let whole = || {
            let (mut came, received_ms) = (message.clone(), now.us / 1_000);
            came.detach();
            Box::new(Whole { id: 0, received_ms, redelivered: false, came, out: Vec::new(), after_gap })
        };
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
            whole: is_whole.then(whole),
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
    pub(crate) fn tap_parcel(&mut self, parcel: &Parcel) {
        let all = &mut self.taps;
        let Some(since) = all.since else { return };
        if all.followed.len() >= FOLLOWED_MAX {
            all.taps.iter_mut().for_each(|tap| tap.ran_dry = true);
        } else if let Some(mut way) = all.current.take() {
            if let Some(whole) = &mut way.whole {
                (whole.id, whole.received_ms, whole.redelivered) = (parcel.id, parcel.received_ms, parcel.redelivered);
            }
            all.watched.watch(parcel.id);
            all.followed.insert(parcel.id, (way, since));
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
        let names: Vec<Arc<str>> = targets.iter().filter_map(name).collect();
        if let Some(way) = &mut self.taps.current {
            if let Some(whole) = &mut way.whole {
                let mut message = message.clone();
                message.detach();
                whole.out.push((message, Vec::clone(&names)));
            }
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
