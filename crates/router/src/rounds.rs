//! Rounds: a loop over other gateways is found where no mark travels, proved, and ended.
//!
//! A message that comes again and again, at the same distance, may go in a round: this gateway sends it on, another brings
//! it back. Or a device says the same each second. What tells them apart is what happens when it is *not* sent on: a round
//! stands still, a device does not. So such a message is put on trial: it is held back, with all of it that is still under
//! way, for longer than a round takes, and for another time at each turn. If it comes then, it is a device's, and everything
//! goes on in its order. If not, it is let go, and must be back within a round. A message that stands still when it is held
//! and comes when it is let go, three times in a row, is in a loop: its route *sifts* from here on, and carries a message that
//! comes again within a few rounds no more. Until then nothing is dropped: a device that falls silent just when it is on trial
//! has its last message a moment later.
//!
//! Loops that feed each other do not stand still when one of their routes does: see [`floods`](crate::floods).
//!
//! What a broker sends again over a new connection is no evidence, and no trial outlives a connection of its route: a link that
//! is cut at an even pace brings what it has not acknowledged at an even pace.
//!
//! Only routes from or to brokers that carry no mark (MQTT 3) are watched; elsewhere `hops` ends a loop with its first round.

use crate::Router;
use crate::account::DropReason;
use crate::acquittal::Acquittal;
use crate::carried::Carried;
use crate::debt::Ack;
use crate::ids::{BrokerId, RouteId};
use crate::moment::Moment;
use crate::parcel::Parcel;
use crate::route::Route;
use crate::sessions::Sessions;
use crate::suspects::{AWAY_ROUNDS, FloodTrial, OWED_MAX, ROUND_MIN, Seen, TURNS};
use crate::traffic::is_in_sample;
use ahash::{AHashMap, RandomState};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Topic};

/// A round that takes longer is not looked for.
const LONGEST_ROUND: Duration = Duration::from_secs(1);

/// Times are taken to be the same within a factor of two and this.
const JITTER: Duration = Duration::from_millis(10);

/// How many messages are remembered, of all routes.
const SEEN_MAX: usize = 4096;

/// How many messages of its topic may wait behind one that is held, and what they may weigh in bytes; with more the trial ends.
const HELD_MAX: usize = 1000;
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is known of messages that may go in rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    /// By route and the hash of topic and payload.
    pub(crate) seen: AHashMap<(RouteId, u64), Seen>,
    order: VecDeque<(RouteId, u64)>,
    /// At most one of a route.
    trials: Vec<Trial>,
    /// While there is one, nothing else is tried.
    pub(crate) flood: Option<FloodTrial>,
    draws: u64,
    carried: Carried,
}

/// What a message may be.
enum Suspicion {
    /// It goes in rounds of about this length.
    Round(Duration),
    /// It multiplies.
    Flood,
}

/// A message that is held back to see whether it comes all the same.
struct Trial {
    route: RouteId,
    content: u64,
    topic: Topic,
    gap: Duration,
    phase: Phase,
    /// From when on it stands still if it goes in rounds: all that was under way has come.
    quiet_from: Instant,
    /// How often it stood still and came back.
    turns: u32,
    /// It, and what came of its topic behind it.
    held: VecDeque<Parcel>,
    held_bytes: usize,
    /// So many of them have a source that waits.
    owed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Held until then.
    Held(Instant),
    /// Let go, and to be back by then.
    Away(Instant),
}

impl Phase {
    const fn until(self) -> Instant {
        match self {
            Self::Held(until) | Self::Away(until) => until,
        }
    }
}

/// What becomes of a message of a route that has a trial.
enum Sentence {
    /// It has nothing to do with it.
    Goes,
    /// It comes though it is held, or too much waits behind it: the trial is over, and what waits goes first.
    Acquitted,
    /// It is held, or waits behind the one that is.
    Held,
    /// It goes in rounds.
    Proved,
}

fn is_same(one: Duration, other: Duration) -> bool {
    one <= 2 * other + JITTER && other <= 2 * one + JITTER
}

/// What is the same of messages that are taken for one.
fn content(message: &Message, hasher: &RandomState) -> u64 {
    hasher.hash_one((message.topic.as_str(), &message.payload[..]))
}

impl Rounds {
    /// A number that nobody outside can know.
    pub(crate) fn draw(&mut self, below: u64, hasher: &RandomState) -> u64 {
        self.draws += 1;
        hasher.hash_one(self.draws) % below
    }

    /// Whether a message has come back often enough to be tried, or too often.
    fn suspicion(&mut self, key: (RouteId, u64), hasher: &RandomState, now: Instant) -> Option<Suspicion> {
        let enough = 2 + self.draw(4, hasher);
        if let Some(seen) = self.seen.get_mut(&key) {
            let gap = now.saturating_duration_since(seen.last);
            let again = gap <= LONGEST_ROUND && (seen.returns == 0 || is_same(gap, seen.gap));
            (seen.last, seen.gap) = (now, gap);
            if seen.multiplies(now) && !seen.no_flood.lasts(now) {
                return Some(Suspicion::Flood);
            }
            if !again {
                (seen.returns, seen.enough) = (0, enough);
                return None;
            }
            seen.returns += 1;
            return (seen.returns >= seen.enough && !seen.acquitted.lasts(now)).then_some(Suspicion::Round(gap));
        }
        if self.seen.len() >= SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        let seen = Seen {
            last: now,
            gap: Duration::ZERO,
            returns: 0,
            enough,
            acquitted: Acquittal::default(),
            no_flood: Acquittal::default(),
            since: now,
            count: 1,
            half_after: Duration::ZERO,
        };
        self.seen.insert(key, seen);
        self.order.push_back(key);
        None
    }

    /// For how long all that is under way may come, and for how long nothing may then: one and a half to four and a half rounds.
    fn hold_for(&mut self, gap: Duration, hasher: &RandomState) -> (Duration, Duration) {
        let parts = 1500 + self.draw(3000, hasher) as u32;
        let round = gap.max(ROUND_MIN);
        (2 * round, round * parts / 1000)
    }

    fn acquit(&mut self, trial: &Trial, hasher: &RandomState, now: Instant) {
        let more = 1000 + self.draw(1000, hasher) as u32;
        if let Some(seen) = self.seen.get_mut(&(trial.route, trial.content)) {
            // What came meanwhile was not counted.
            (seen.since, seen.count) = (now, 0);
            seen.acquitted.begin(now, more);
        }
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A broker has accepted us: `echoes` if the session has neither no-local nor the bridge bit to keep what we publish
    /// from coming back, `carries_marks` if it has user properties.
    pub fn connected(&mut self, broker: BrokerId, echoes: bool, carries_marks: bool, now: Moment) {
        let known = &mut self.brokers[broker.at()];
        known.echo.connected(echoes);
        known.carries_marks = carries_marks;
        self.choose_watched();
        self.begin_anew(broker, now);
    }

    /// What routes from or to a broker had come before its connection tells nothing of what comes now.
    fn begin_anew(&mut self, broker: BrokerId, now: Moment) {
        let Self { rounds, routes, sets, .. } = self;
        let is_of = |route: RouteId| routes[route.at()].touches(sets, |known| known == broker);
        rounds.seen.retain(|(route, _), _| !is_of(*route));
        rounds.order.retain(|(route, _)| !is_of(*route));
        let flood = rounds.flood.as_ref().is_some_and(|flood| is_of(flood.route()));
        for trial in rounds.trials.extract_if(.., |trial| is_of(trial.route)).collect::<Vec<_>>() {
            self.let_go(trial, now);
        }
        if flood {
            self.acquit_flood(now);
        }
    }

    /// Which routes may be in a loop that no mark would end.
    pub(crate) fn choose_watched(&mut self) {
        let no_marks = !self.hops.is_on();
        let loses = |broker: BrokerId| {
            let broker = &self.brokers[broker.at()];
            broker.is_link && (no_marks || !broker.carries_marks)
        };
        let watched = |route: &Route| !route.removed && route.touches(&self.sets, loses);
        let watched: Vec<bool> = self.routes.iter().map(watched).collect();
        for (route, watched) in self.routes.iter_mut().zip(watched) {
            route.watched = watched;
        }
    }

    /// Another configuration: everything goes on, and is watched anew.
    pub(crate) fn end_trials(&mut self, now: Moment) {
        self.let_trials_go(now);
        self.acquit_flood(now);
        self.rounds = Rounds::default();
        for route in &mut self.routes {
            route.sifts = false;
        }
    }

    pub(crate) fn let_trials_go(&mut self, now: Moment) {
        for trial in std::mem::take(&mut self.rounds.trials) {
            self.let_go(trial, now);
        }
    }

    /// A message is to enter a route. If that is watched it is looked at; where there is much traffic at a part of the messages,
    /// another part after a while.
    #[inline]
    pub(crate) fn watch(&mut self, at: RouteId, message: &Message, redelivered: bool, now: Moment) {
        let route = &mut self.routes[at.at()];
        if !route.watched || redelivered {
            return;
        }
        if self.rounds.flood.is_some() {
            let content = content(message, &self.hasher);
            return self.watch_flood(at, content, message, now);
        }
        if !route.sifts && !route.on_trial && (!route.traffic.is_busy(now) || is_in_sample(message, now)) {
            self.look_at(at, message, now);
        }
    }

    #[inline(never)]
    fn look_at(&mut self, route: RouteId, message: &Message, now: Moment) {
        let content = content(message, &self.hasher);
        let Self { rounds, hasher, routes, .. } = self;
        let gap = match rounds.suspicion((route, content), hasher, now.at) {
            None => return,
            Some(Suspicion::Round(gap)) => gap,
            Some(Suspicion::Flood) => return self.try_flood(route, content, message, now),
        };
        routes[route.at()].on_trial = true;
        // It was let go when it came last, and is back.
        rounds.trials.push(Trial {
            route,
            content,
            topic: message.topic.detached(),
            gap,
            phase: Phase::Away(now.at),
            quiet_from: now.at,
            turns: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            owed: 0,
        });
        self.wants_look = true;
    }

    /// A message is about to enter a route that has a trial. Returns it if it does.
    #[inline(never)]
    pub(crate) fn try_message(&mut self, parcel: Parcel, route: RouteId, now: Moment) -> Option<Parcel> {
        let Some(at) = self.rounds.trials.iter().position(|trial| trial.route == route) else { return Some(parcel) };
        match self.sentence(at, &parcel, now.at) {
            Sentence::Held => {
                if self.trace.is_about_one() {
                    self.trace_held_back(route, &parcel);
                }
                let trial = &mut self.rounds.trials[at];
                trial.held_bytes += parcel.message.weight_bytes();
                trial.owed += usize::from(parcel.debt.is_some());
                trial.held.push_back(parcel);
                self.wants_look = true;
                None
            }
            Sentence::Goes => Some(parcel),
            Sentence::Acquitted => {
                self.acquit(at, now);
                Some(parcel)
            }
            Sentence::Proved => {
                let trial = self.rounds.trials.swap_remove(at);
                self.sift(route, &parcel.message, trial.gap, now);
                let part = self.part(route, parcel.debt, parcel.received_us);
                self.end(part, &parcel.message.topic, DropReason::Ring);
                None
            }
        }
    }

    fn sentence(&mut self, at: usize, parcel: &Parcel, now: Instant) -> Sentence {
        let (trial, message) = (&self.rounds.trials[at], &parcel.message);
        if trial.topic != message.topic {
            return Sentence::Goes;
        }
        let is_it = !parcel.redelivered && trial.content == content(message, &self.hasher);
        match trial.phase {
            Phase::Held(_) if trial.held.len() >= HELD_MAX || trial.held_bytes >= HELD_BYTES_MAX => Sentence::Acquitted,
            Phase::Held(_) if trial.owed >= OWED_MAX => Sentence::Acquitted,
            Phase::Held(_) if is_it && now >= trial.quiet_from => Sentence::Acquitted,
            Phase::Held(_) => Sentence::Held,
            Phase::Away(_) if !is_it => Sentence::Goes,
            Phase::Away(_) => {
                let (gap, turns) = (trial.gap, trial.turns);
                if turns == TURNS {
                    return Sentence::Proved;
                }
                let (comes_for, stands_for) = self.rounds.hold_for(gap, &self.hasher);
                let trial = &mut self.rounds.trials[at];
                trial.quiet_from = now + comes_for;
                trial.phase = Phase::Held(trial.quiet_from + stands_for);
                Sentence::Held
            }
        }
    }

    /// Lets messages go whose time is up. Returns when to look again.
    pub(crate) fn look_at_trials(&mut self, now: Moment) -> Option<Instant> {
        let mut at = 0;
        while at < self.rounds.trials.len() {
            let trial = &mut self.rounds.trials[at];
            match trial.phase {
                phase if now.at < phase.until() => at += 1,
                Phase::Held(_) => {
                    // It stood still.
                    trial.phase = Phase::Away(now.at + AWAY_ROUNDS * trial.gap.max(ROUND_MIN));
                    trial.turns += 1;
                    (trial.held_bytes, trial.owed) = (0, 0);
                    let (route, held) = (trial.route, std::mem::take(&mut trial.held));
                    self.enter_at_last(route, held, now);
                    at += 1;
                }
                Phase::Away(_) => self.acquit(at, now),
            }
        }
        let flood = self.look_at_flood(now);
        self.rounds.trials.iter().map(|trial| trial.phase.until()).chain(flood).min()
    }

    /// The message of a trial is a device's.
    fn acquit(&mut self, at: usize, now: Moment) {
        let trial = self.rounds.trials.swap_remove(at);
        self.rounds.acquit(&trial, &self.hasher, now.at);
        self.let_go(trial, now);
    }

    fn let_go(&mut self, trial: Trial, now: Moment) {
        self.routes[trial.route.at()].on_trial = false;
        self.enter_at_last(trial.route, trial.held, now);
    }

    fn enter_at_last(&mut self, route: RouteId, held: VecDeque<Parcel>, now: Moment) {
        for parcel in held {
            if self.trace.is_on() {
                self.trace_resumes(&parcel);
            }
            self.go_in(route, parcel, now);
        }
    }

    /// From here on the route carries nothing twice that comes again within a few rounds of this length.
    pub(crate) fn sift(&mut self, at: RouteId, message: &Message, round: Duration, now: Moment) {
        let lasts = (AWAY_ROUNDS * round).max(2 * LONGEST_ROUND);
        let route = &mut self.routes[at.at()];
        (route.on_trial, route.sifts, route.sifts_for) = (false, true, lasts);
        let brokers: Vec<&str> = route.sources.iter().map(|source| &*self.brokers[source.at()].name).collect();
        tracing::error!(
            name: "loop",
            route = &*route.name,
            broker = brokers.join(", "),
            topic = %message.topic.as_str().escape_debug(),
            ?round,
            "in a loop: what this route sends on comes back through another gateway; what comes again within {lasts:?} is dropped as \
             `ring` from here on, until the configuration changes: narrow its topics, or give them a prefix"
        );
        self.has_carried(at, message, now);
    }

    /// Whether a route that sifts has carried a message of late.
    #[inline(never)]
    pub(crate) fn has_carried(&mut self, at: RouteId, message: &Message, now: Moment) -> bool {
        let content = content(message, &self.hasher);
        self.rounds.carried.has((at, content), self.routes[at.at()].sifts_for, now.at)
    }
}
