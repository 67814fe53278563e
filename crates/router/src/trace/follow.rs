//! Messages that somebody follows from their receipt to their end: which, and what has happened to them.

use super::context::{Said, TraceContext};
use super::journey::{Journey, Step, What};
use crate::Router;
use crate::debt::Ack;
use crate::ids::{BrokerId, RouteId};
use crate::sessions::Sessions;
use crate::tap::{Shown, Tap, Wanted, more};
use ahash::AHashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_message::Message;

/// The bit of whoever collects traces.
pub const SAMPLES: u32 = 1 << 31;

/// Which messages are followed for whoever collects traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// One in so many, of those that do not say themselves whether they are; zero: none of them.
    pub one_in: u32,
    /// No more than so many a second.
    pub rate: u32,
}

/// The same, as it goes.
#[derive(Debug)]
struct Sampler {
    asked: Sampling,
    left: u32,
    /// Messages are numbered for what is drawn.
    number: u64,
    random: RandomState,
}

impl Sampler {
    /// Whether this message is followed, and what it says of its trace.
    fn wants(&mut self, message: &Message) -> Option<Option<Said>> {
        if self.left == 0 {
            return None;
        }
        self.number += 1;
        let said = Said::of(message);
        let wants = match said {
            Some(said) => said.is_sampled,
            None => {
                let one_in = u64::from(self.asked.one_in);
                one_in != 0 && self.random.hash_one(self.number).is_multiple_of(one_in)
            }
        };
        wants.then(|| {
            self.left -= 1;
            said
        })
    }
}

/// So many follow messages at a time.
const FOLLOWERS_MAX: usize = 16;

/// So many messages are followed at a time. One that has waited longest for its target makes room for the next.
const JOURNEYS_MAX: usize = 1_000;

/// Of one message so many steps are kept.
const STEPS_MAX: usize = 200;

/// One that is still under way is told as far as it has come after this time: its target may be away for days.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// A message that is followed.
#[derive(Debug)]
struct Followed {
    journey: Journey,
    since: Instant,
    /// In so many places something of it is under way.
    open: u32,
    is_told: bool,
}

/// All that are followed.
#[derive(Debug, Default)]
pub(super) struct Following {
    followers: Vec<Tap>,
    sampler: Option<Sampler>,
    followed: AHashMap<u64, Followed>,
    /// Those that something has happened to.
    touched: Vec<u64>,
    looked: Option<Instant>,
    /// For one that came while too many were.
    missed: u64,
}

impl Following {
    pub(super) fn is_on(&self) -> bool {
        !self.followers.is_empty() || self.sampler.is_some()
    }

    /// Something of it is under way in one place more.
    pub(super) fn opens(&mut self, id: u64) {
        if let Some(one) = self.followed.get_mut(&id) {
            one.open += 1;
        }
    }

    /// And in one less.
    pub(super) fn closes(&mut self, id: u64) {
        if let Some(one) = self.followed.get_mut(&id) {
            one.open = one.open.saturating_sub(1);
            self.touched.push(id);
        }
    }

    pub(super) fn follows(&self, id: u64) -> bool {
        self.followed.contains_key(&id)
    }

    /// Something happens to it.
    pub(super) fn step(
        &mut self,
        id: u64,
        route: Option<&Arc<str>>,
        target: Option<&str>,
        what: impl FnOnce() -> What,
    ) {
        let Some(one) = self.followed.get_mut(&id) else { return };
        if one.journey.steps.len() < STEPS_MAX {
            let after = one.since.elapsed();
            let (route, target) = (route.cloned(), target.map(Arc::from));
            one.journey.steps.push(Step { after, route, target, what: what() });
        }
    }

    /// False if too many are followed, none of which has been told yet.
    fn begin(&mut self, id: u64, journey: Journey) -> bool {
        if self.followed.len() >= JOURNEYS_MAX {
            let waits = self.followed.iter().filter(|(_, one)| one.is_told).min_by_key(|(_, one)| one.since);
            let Some(at) = waits.map(|(at, _)| *at) else {
                self.missed += 1;
                return false;
            };
            self.followed.remove(&at);
        }
        self.followed.insert(id, Followed { journey, since: Instant::now(), open: 0, is_told: false });
        self.touched.push(id);
        true
    }

    fn take(&mut self, now: Instant) -> Vec<Journey> {
        let mut told = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            if self.followed.get(&id).is_some_and(|one| one.open == 0)
                && let Some(mut one) = self.followed.remove(&id)
            {
                one.journey.is_complete = true;
                told.push(one.journey);
            }
        }
        if self.looked.is_none_or(|at| now >= at + TOLD_AFTER / 4) {
            self.looked = Some(now);
            for one in self.followed.values_mut().filter(|one| !one.is_told && one.since.elapsed() >= TOLD_AFTER) {
                one.is_told = true;
                told.push(one.journey.clone());
                one.journey.told_before = one.journey.steps.len();
            }
        }
        told.sort_by_key(|journey| journey.number);
        told
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Somebody follows messages from here on, those that are received. Returns his bit; `None` if too many do.
    pub fn follow_messages(&mut self, wanted: Wanted) -> Option<u32> {
        let all = &mut self.trace.following.followers;
        let free = (0..FOLLOWERS_MAX).map(|at| 1 << at).find(|bit| all.iter().all(|one| one.bit != *bit))?;
        all.push(Tap::new(free, wanted));
        Some(free)
    }

    /// And no longer.
    pub fn unfollow_messages(&mut self, bit: u32) {
        self.trace.following.followers.retain(|one| one.bit != bit);
        self.end_following(bit);
    }

    /// Some are followed from here on for whoever collects traces, with the bit [`SAMPLES`], or none.
    pub fn sample_messages(&mut self, wanted: Option<Sampling>) {
        let following = &mut self.trace.following;
        match (&mut following.sampler, wanted) {
            (Some(sampler), Some(asked)) => sampler.asked = asked,
            (sampler, asked) => {
                *sampler =
                    asked.map(|asked| Sampler { asked, left: asked.rate, number: 0, random: RandomState::new() });
            }
        }
        if wanted.is_none() {
            self.end_following(SAMPLES);
        }
    }

    fn end_following(&mut self, bit: u32) {
        let all = &mut self.trace.following;
        all.followed.retain(|_, one| {
            one.journey.followers &= !bit;
            one.journey.followers != 0
        });
        if !all.is_on() {
            // Plugins that have not said yet what becomes of these need not tell.
            self.trace.parcels.keys().for_each(|parcel| _ = self.taps.said_of(*parcel));
        }
    }

    /// Whether there may be something to take.
    pub fn has_journeys(&self) -> bool {
        !self.trace.following.followed.is_empty()
    }

    /// The ways of messages that have come to their end since this was asked last, and, once, of those that have been under way
    /// for long.
    pub fn take_journeys(&mut self, now: Instant) -> Vec<Journey> {
        self.trace.following.take(now)
    }

    /// Those whose ways have not come to their end, as far as they have come.
    pub fn journeys_under_way(&self) -> impl Iterator<Item = &Journey> {
        self.trace.following.followed.values().map(|one| &one.journey)
    }

    /// How many messages were not followed since this was asked last, for too many were.
    pub fn take_missed_journeys(&mut self) -> u64 {
        std::mem::take(&mut self.trace.following.missed)
    }

    /// Time goes on for those who follow.
    #[cold]
    #[inline(never)]
    pub(crate) fn refill_followers(&mut self) {
        let Following { followers, sampler, .. } = &mut self.trace.following;
        followers.iter_mut().for_each(Tap::refill_more);
        if let Some(sampler) = sampler {
            sampler.left = more(sampler.left, sampler.asked.rate);
        }
    }

    /// Who follows a message that has come for these routes, a bit each, and what it says of its trace if that counts.
    pub(super) fn followers_of(
        &mut self,
        from: BrokerId,
        message: &Message,
        routes: &[RouteId],
    ) -> (u32, Option<Said>) {
        let Self { trace, brokers, routes: all, .. } = self;
        let broker = &brokers[from.at()].name;
        let mut followers = 0;
        for one in &mut trace.following.followers {
            let wants = match routes {
                [] => one.wants(broker, None, message),
                routes => routes.iter().any(|route| one.wants(broker, Some(&all[route.at()].name), message)),
            };
            if wants {
                one.left -= 1;
                followers |= one.bit;
            }
        }
        let sampler = trace.following.sampler.as_mut();
        match sampler.filter(|_| !routes.is_empty()).and_then(|sampler| sampler.wants(message)) {
            Some(said) => (followers | SAMPLES, said),
            None => (followers, None),
        }
    }

    /// A message is followed from here on. One that is sampled says so to those who get it.
    pub(super) fn begin_journey(
        &mut self,
        id: u64,
        (followers, said): (u32, Option<Said>),
        from: BrokerId,
        message: &mut Message,
    ) {
        let sampler = self.trace.following.sampler.as_ref().filter(|_| followers & SAMPLES != 0);
        let context = sampler.map(|sampler| TraceContext::after(said, &sampler.random, sampler.number));
        let journey = Journey {
            number: id,
            at: SystemTime::now(),
            broker: self.brokers[from.at()].name.clone(),
            came: Shown::of(message),
            steps: Vec::new(),
            is_complete: false,
            followers,
            context,
            told_before: 0,
        };
        if self.trace.following.begin(id, journey)
            && let Some(context) = context
        {
            context.put(message);
        }
    }
}
