//! Floods: loops that feed each other, where no mark travels.
//!
//! In such loops a message multiplies, and it does not stand still when one of their routes does. So a message that comes
//! [`FLOOD`] times in a second, faster and faster, puts the whole gateway on trial: nothing leaves for any link for a moment, while
//! sources are acknowledged as ever. If the message stops coming meanwhile, and is back once a few messages have left, three
//! times in a row and each time for a time that nobody can guess, it comes of what we send. Only a few messages leave between
//! two turns, or the trial would feed the flood. Every route that it crosses *sifts* from
//! then on. A device that says the same, however fast, goes on meanwhile, and has a few of its messages a moment later.
//!
//! A source that waits for us stands still whatever it is, so one that is owed acknowledgements, or is held back, proves nothing.

use crate::Router;
use crate::debt::Ack;
use crate::ids::{BrokerId, RouteId};
use crate::moment::Moment;
use crate::sessions::Sessions;
use crate::suspects::{AWAY_ROUNDS, FLOOD, FloodTrial, OWED_MAX, Phase, ROUND_MIN, Seen, TURNS};
use std::time::{Duration, Instant};
use tidegate_message::Message;

/// A route that a message of a flood has crossed so often is one of those that it crosses.
const CROSSED: u64 = FLOOD / 8;

/// What was under way when nothing left any more may come for so long.
const COMES_FOR: Duration = Duration::from_millis(500);

/// So many messages leave for each link between two turns.
const LET_GO: u32 = 16;

/// What is in loops that feed each other comes in intervals that are shorter than this, and so stands still for a multiple of it.
const QUIET_MIN: Duration = Duration::from_millis(60);

impl<A: Ack, S: Sessions> Router<A, S> {
    fn hushed(&mut self, now: Instant) -> Phase {
        let quiet = QUIET_MIN * (1000 + self.rounds.draw(3000, &self.hasher) as u32) / 1000;
        Phase::Hushed { comes_until: now + COMES_FOR, quiet, quiet_from: now }
    }

    /// A message multiplies, as it seems.
    pub(crate) fn try_flood(&mut self, route: RouteId, content: u64, message: &Message, now: Moment) {
        self.let_trials_go(now);
        let phase = self.hushed(now.at);
        let weight_bytes = message.weight_bytes();
        self.rounds.flood = Some(FloodTrial { route, content, weight_bytes, phase, turns: 0 });
        self.hush(Some(0));
    }

    /// A message is to enter a route while one is tried by sending nothing.
    #[inline(never)]
    pub(crate) fn watch_flood(&mut self, at: RouteId, content: u64, message: &Message, now: Moment) {
        let Some(seen) = self.rounds.seen.get_mut(&(at, content)) else { return };
        seen.count += 1;
        let Some(flood) = self.rounds.flood.as_mut().filter(|flood| flood.content == content) else { return };
        match &mut flood.phase {
            Phase::Hushed { comes_until, .. } if now.at >= *comes_until => self.acquit_flood(now),
            Phase::Hushed { quiet_from, .. } => *quiet_from = now.at,
            Phase::Away(_) if flood.turns == TURNS => self.is_flood(content, message, now),
            Phase::Away(_) => {
                let phase = self.hushed(now.at);
                if let Some(flood) = self.rounds.flood.as_mut() {
                    flood.phase = phase;
                }
                self.hush(Some(0));
            }
        }
    }

    /// Whether its time is up. Returns when to look again.
    pub(crate) fn look_at_flood(&mut self, now: Moment) -> Option<Instant> {
        let flood = self.rounds.flood.as_ref()?;
        if flood.until() <= now.at {
            match flood.phase {
                Phase::Hushed { .. } if !self.source_waits(flood) => {
                    if let Some(flood) = self.rounds.flood.as_mut() {
                        flood.turns += 1;
                        flood.phase = Phase::Away(now.at + AWAY_ROUNDS * ROUND_MIN);
                    }
                    self.hush(Some(LET_GO));
                }
                Phase::Hushed { .. } | Phase::Away(_) => self.acquit_flood(now),
            }
        }
        self.rounds.flood.as_ref().map(FloodTrial::until)
    }

    /// Whether a source of the message may stand still because it waits for us.
    fn source_waits(&self, flood: &FloodTrial) -> bool {
        let waits = |source: &BrokerId| {
            let broker = &self.brokers[source.at()];
            broker.held_back_until.is_some() || broker.held_bytes > OWED_MAX * flood.weight_bytes
        };
        self.routes[flood.route.at()].sources.iter().any(waits)
    }

    /// It is a device's, or nobody knows.
    pub(crate) fn acquit_flood(&mut self, now: Moment) {
        let Some(flood) = self.rounds.flood.take() else { return };
        let more = 1000 + self.rounds.draw(1000, &self.hasher) as u32;
        if let Some(seen) = self.rounds.seen.get_mut(&(flood.route, flood.content)) {
            (seen.since, seen.count) = (now.at, 0);
            seen.no_flood.begin(now.at, more);
        }
        self.hush(None);
    }

    /// It comes of what we send.
    fn is_flood(&mut self, content: u64, message: &Message, now: Moment) {
        self.rounds.flood = None;
        self.hush(None);
        let crossed =
            |(key, seen): (&(RouteId, u64), &Seen)| (key.1 == content && seen.count >= CROSSED).then_some(key.0);
        let mut routes: Vec<_> = self.rounds.seen.iter().filter_map(crossed).collect();
        routes.sort_unstable();
        for route in routes {
            self.sift(route, message, ROUND_MIN, now);
        }
    }

    /// So many messages leave for each link from here on, or all.
    fn hush(&mut self, may_leave: Option<u32>) {
        for at in 0..self.brokers.len() {
            let broker = &mut self.brokers[at];
            if broker.is_link && broker.may_leave != may_leave {
                broker.may_leave = may_leave;
                self.touch(BrokerId::new(at));
            }
        }
        self.wants_look = true;
    }
}
