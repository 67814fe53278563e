//! What must hold when a story is over: everything ends, and whatever was acknowledged has arrived, is parked, or is counted.

use crate::deciding::state;
use crate::ledger::{Arrival, Attempt, Fate, Stamp, Via, Wanted};
use crate::play::Play;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many rounds are enough for every story.
const ROUNDS: usize = 2_000;

/// What takes the longest is the rest of a target that has refused many times: 60 s.
const IDLE_ROUNDS: usize = 40;

/// Why something may be dropped that its source thinks safe, as the accounts call it.
const REASONS: [&str; 7] = ["quota", "expired", "too_old", "target_removed", "discarded", "refused_by_target", "disk"];

impl Play {
    /// All names are configured, links are up, the disk is good, plugins decide, targets take everything.
    pub(crate) fn drain(&mut self) {
        self.disk.fill(false);
        self.reload(self.setup.all());
        for name in self.ids.keys().cloned().collect::<Vec<_>>() {
            self.slow(&name, false);
            self.up(&name);
        }
        let mut idle = 0;
        for _ in 0..ROUNDS {
            let did = self.round();
            idle = if did { 0 } else { idle + 1 };
            self.wait(Duration::from_millis(if did { 1 } else { 2_000 }));
            if idle > 1 && (self.is_over() || idle > IDLE_ROUNDS) {
                return;
            }
        }
        panic!("it does not end");
    }

    /// Everybody does what there is to do. False if there was nothing.
    fn round(&mut self) -> bool {
        let (durable, waiting) = (self.router.spool().durable(), self.waiting());
        self.work();
        let now = self.now();
        self.router.spool_news(now);
        self.router.read_on(now);
        self.look_at_sessions();
        self.router.look_at_sets(now);
        let mut did = self.router.spool().durable() > durable;
        did |= self.hand_over() > 0;
        for route in self.pipelines.keys().cloned().collect::<Vec<_>>() {
            did |= self.decide(&route, usize::MAX, &[0], false) > 0;
        }
        for name in self.ids.keys().cloned().collect::<Vec<_>>() {
            did |= self.pull(&name, usize::MAX) > 0;
            self.settle_sessions();
            while self.answer(&name, 0) {
                did = true;
            }
            did |= self.release(&name) > 0;
        }
        // An answer may have let others go.
        self.settle_sessions();
        did |= self.take_acks() > 0;
        self.router.flush_log();
        // Also what was dropped for its age, as it was read.
        did |= self.waiting() < waiting;
        for (_, route) in self.router.routes() {
            assert_eq!(route.account.imbalance(), 0, "the account of {}: {:?}", route.name, route.account);
        }
        did
    }

    fn waiting(&self) -> u64 {
        let spool = self.router.spool();
        spool.queues().map(|queue| spool.pending(queue).0).sum()
    }

    fn is_over(&self) -> bool {
        self.router.owed() == (0, 0)
            && self.waiting() == 0
            && self.sessions.values().all(|session| session.in_flight.is_empty())
            // What nobody waits for may be with the router all the same, as what a member of a set has refused.
            && self.router.routes().all(|(_, route)| route.account.in_flight == 0)
    }

    pub(crate) fn check_all_ended(&self) {
        assert_eq!(self.router.owed(), (0, 0), "nobody waits any more");
        let spool = self.router.spool();
        for queue in spool.queues() {
            assert_eq!(spool.pending(queue).0, 0, "what waits for {:?}", spool.key(queue));
        }
        for (name, session) in &self.sessions {
            assert!(session.in_flight.is_empty(), "the session of {name}: {:?}", session.in_flight);
        }
        for (name, source) in &self.sources {
            assert!(source.sent.is_empty(), "{name} waits for {:?}", source.sent);
        }
        for (_, route) in self.router.routes() {
            assert_eq!(route.account.in_flight, 0, "under way in {}: {:?}", route.name, route.account);
        }
        for (id, broker) in self.router.brokers() {
            assert!(!broker.is_held_back(), "{} is held back", broker.name);
            assert_eq!(broker.queued(), (0, 0), "in the lane of {id:?}");
        }
        for (number, batch) in &self.ledger.batches {
            if batch.life == self.ledger.life {
                let is_there = state(self, &batch.route, &format!("k{number}")).is_some();
                assert!(is_there, "what was written with batch {number} of {} is not in the log", batch.route);
            }
        }
    }

    /// Every message that somebody has followed has been told to its end.
    pub(crate) fn check_all_told(&mut self) {
        self.router.take_journeys(self.now().at);
        let open: Vec<_> = self.router.journeys_under_way().collect();
        assert!(open.is_empty(), "these are not told to their end: {open:#?}");
    }

    pub(crate) fn check_all_arrived(&mut self) {
        self.count_dropped();
        let mut parked: BTreeSet<(String, Stamp)> = BTreeSet::new();
        for found in self.router.spool().parked().values() {
            parked.insert((found.route.clone(), Stamp::of(&found.message)));
        }
        // What is missing of each route, with the reasons that there may be for it.
        let mut missing: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        for (number, attempt) in &self.ledger.attempts {
            for (route, fate) in &attempt.fates {
                for (reasons, words) in self.missing_of(*number, attempt, (route, fate), &parked) {
                    missing.entry(route.clone()).or_default().push((reasons, words));
                }
            }
        }
        for (route, missing) in missing {
            // Enough was dropped for every selection of reasons (Hall's theorem).
            for reasons in 0u32..1 << REASONS.len() {
                let within: Vec<_> = missing.iter().filter(|(may, _)| may & !reasons == 0).collect();
                let known = |at: &usize| reasons >> at & 1 != 0;
                let dropped: u64 = (0..REASONS.len()).filter(known).map(|at| self.dropped(&route, REASONS[at])).sum();
                assert!(
                    within.len() as u64 <= dropped,
                    "of {route} {dropped} were dropped, and these are missing: {within:#?}"
                );
            }
        }
        self.check_exactly_once();
    }

    fn dropped(&self, route: &str, reason: &str) -> u64 {
        self.ledger.dropped.get(&(route.to_owned(), reason.to_owned())).copied().unwrap_or_default()
    }

    /// What has not arrived of a message that had to, each with the reasons there may be.
    fn missing_of(
        &self,
        number: u64,
        attempt: &Attempt,
        (route, fate): (&str, &Fate),
        parked: &BTreeSet<(String, Stamp)>,
    ) -> Vec<(u32, String)> {
        let is_due = |stamp: Stamp| {
            let is_recorded = self.ledger.batches.get(&stamp.batch).is_some_and(|batch| batch.is_there == Some(true));
            !attempt.void && (!attempt.is_owed || attempt.acked) || (is_recorded && !attempt.replayed)
        };
        let arrivals = self.ledger.arrivals.get(&(number, route.to_owned())).map_or(&[][..], Vec::as_slice);
        let is_parked =
            |stamp: Stamp| parked.contains(&(route.to_owned(), stamp)) || self.ledger.deleted.contains(&stamp);
        let any_parked = || {
            let of = |stamp: &Stamp| stamp.attempt == number;
            parked.iter().any(|(of_route, stamp)| of_route == route && of(stamp)) || self.ledger.deleted.iter().any(of)
        };
        if attempt.replayed {
            let is_well = matches!(fate, Fate::Ended) || any_parked() || !arrivals.is_empty();
            let all = (1 << REASONS.len()) - 1;
            return if is_well || attempt.void || (attempt.is_owed && !attempt.acked) {
                vec![]
            } else {
                vec![(all, format!("{attempt:?}, replayed"))]
            };
        }
        match fate {
            Fate::Ended => vec![],
            Fate::WithPlugins => {
                assert!(attempt.void || !attempt.acked, "{number}: {attempt:?} is with plugins for ever");
                vec![]
            }
            Fate::Parked(stamp) if !is_due(*stamp) || is_parked(*stamp) => vec![],
            Fate::Parked(stamp) => vec![(0, format!("{stamp:?} is not parked"))],
            Fate::Outs(outs) => {
                let outs = outs.iter().filter(|out| is_due(out.stamp) && !is_parked(out.stamp));
                let wanted = outs.flat_map(|out| out.wanted.iter().map(move |wanted| (out.stamp, wanted)));
                let came = |stamp, wanted: &Wanted| {
                    arrivals.iter().any(|arrival| !arrival.undone && self.ledger.came(wanted, stamp, arrival))
                };
                // Of a set that is gone by then, all that it would have given to its members is one message that is dropped.
                let mut gone = BTreeSet::new();
                let missing = wanted.filter(|(stamp, wanted)| !came(*stamp, wanted));
                let missing = missing.filter(|(stamp, wanted)| wanted.configured || gone.insert(*stamp));
                missing
                    .map(|(stamp, wanted)| {
                        let words = format!("{stamp:?} at {wanted:?} of {attempt:?}, came: {arrivals:?}");
                        (self.reasons(attempt, wanted), words)
                    })
                    .collect()
            }
        }
    }

    /// Why a message may not have come to a target, a bit each of [`REASONS`].
    fn reasons(&self, attempt: &Attempt, wanted: &Wanted) -> u32 {
        let ledger = &self.ledger;
        let at = |names: &BTreeSet<String>| {
            names.iter().any(|name| ledger.reachable(&wanted.target).contains(name.as_str()))
        };
        let may = [
            wanted.durable && (at(&ledger.may_overflow) || (!attempt.is_owed && at(&ledger.may_block))),
            attempt.expires,
            wanted.durable && at(&ledger.may_age),
            !wanted.configured || (!wanted.durable && ledger.has_removed),
            wanted.durable && at(&ledger.discarded),
            !wanted.durable,
            wanted.durable && !attempt.is_owed,
        ];
        may.iter().enumerate().map(|(at, may)| u32::from(*may) << at).sum()
    }

    /// What is recorded at QoS 2 is recorded once, and arrives once, whatever crashes.
    fn check_exactly_once(&self) {
        let mut recorded: BTreeMap<(u64, &str), BTreeSet<u64>> = BTreeMap::new();
        let loose = |attempt: &Attempt| attempt.replayed || self.ledger.went_past.contains(&attempt.number);
        for ((number, route), arrivals) in &self.ledger.arrivals {
            let attempt = &self.ledger.attempts[number];
            if attempt.qos != tidegate_message::QoS::ExactlyOnce || self.ledger.sent_anew.contains(&attempt.number) {
                continue;
            }
            if arrivals.iter().any(|arrival| matches!(arrival.via, Via::Queue(_))) {
                recorded.entry((attempt.number, route)).or_default().insert(*number);
            }
            let mut times: BTreeMap<(Stamp, &str), usize> = BTreeMap::new();
            let counts = |arrival: &&Arrival| arrival.exactly_once && !arrival.undone && !arrival.refused;
            for arrival in arrivals.iter().filter(counts) {
                let Via::Queue(queue) = &arrival.via else { continue };
                let times = times.entry((arrival.stamp, queue)).or_default();
                *times += 1;
                // A broker may be wanted alone, and as a member of a set.
                let is_enough = *times <= self.times_wanted(&attempt.fates[route], arrival.stamp, queue);
                let is_loose =
                    attempt.replayed || self.ledger.handed_back.contains(&arrival.stamp) || self.is_moved(queue);
                assert!(is_enough || is_loose, "{arrival:?} came {times} times");
            }
        }
        for ((number, route), attempts) in recorded {
            let is_loose = attempts.iter().any(|attempt| loose(&self.ledger.attempts[attempt]));
            assert!(attempts.len() == 1 || is_loose, "message {number} of {route} came as each of {attempts:?}");
        }
    }

    fn times_wanted(&self, fate: &Fate, stamp: Stamp, queue: &str) -> usize {
        let Fate::Outs(outs) = fate else { return 0 };
        let wanted = outs.iter().filter(|out| out.stamp == stamp).flat_map(|out| &out.wanted);
        wanted.filter(|wanted| wanted.target == queue).count()
    }

    fn is_moved(&self, queue: &str) -> bool {
        self.ledger.moves.iter().any(|(_, to)| to == queue)
    }
}
