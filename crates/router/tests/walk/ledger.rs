//! What has happened to each message so far, and what must happen yet.

use crate::setup::{RouteView, Setup};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidegate_message::{Message, QoS, Topic};

/// What a payload says: which sending of a message it is, and which output of which batch of decisions of a plugin (0:
/// none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) attempt: u64,
    pub(crate) batch: u64,
    pub(crate) copy: u64,
}

impl Stamp {
    pub(crate) fn new(attempt: u64, batch: u64, copy: u64) -> Self {
        Self { attempt, batch, copy }
    }

    pub(crate) fn payload(self) -> String {
        format!("{}.{}.{}", self.attempt, self.batch, self.copy)
    }

    pub(crate) fn of(message: &Message) -> Self {
        let text = std::str::from_utf8(&message.payload).expect("a stamp");
        let mut numbers = text.split('.').map(|number| number.parse().expect("a stamp"));
        let mut next = || numbers.next().expect("a stamp");
        Self::new(next(), next(), next())
    }
}

/// One sending of a message by its source: one that is sent again has another number.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Of the message.
    pub(crate) number: u64,
    pub(crate) source: String,
    /// The source waits for it.
    pub(crate) is_owed: bool,
    pub(crate) qos: QoS,
    pub(crate) expires: bool,
    pub(crate) acked: bool,
    /// Nothing is promised about it any more.
    pub(crate) void: bool,
    /// A parked message of it was replayed.
    pub(crate) replayed: bool,
    /// By route.
    pub(crate) fates: BTreeMap<String, Fate>,
}

#[derive(Debug)]
pub(crate) enum Fate {
    /// Its route's plugins have it, or will.
    WithPlugins,
    /// A plugin dropped it, or failed.
    Ended,
    Parked(Stamp),
    Outs(Vec<Out>),
}

/// One output of a decision, or the message itself.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) stamp: Stamp,
    pub(crate) wanted: Vec<Wanted>,
}

/// Where it is to arrive.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// A queue of the log; past the log a broker or a set.
    pub(crate) target: String,
    pub(crate) durable: bool,
    pub(crate) required: bool,
    /// It was configured when this was decided.
    pub(crate) configured: bool,
}

/// The way that a message came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    Queue(String),
    Past { set: bool },
}

#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stamp: Stamp,
    pub(crate) via: Via,
    pub(crate) broker: String,
    /// Nobody waits for it.
    pub(crate) loose: bool,
    /// At QoS 2, to the end of a link.
    pub(crate) exactly_once: bool,
    /// The broker has taken it, or refused it for good.
    pub(crate) settled: bool,
    /// The broker refused it for now, or hung up on it: it is as if it had not come.
    pub(crate) undone: bool,
    /// The broker has refused it: that is an answer, and the broker has it not.
    pub(crate) refused: bool,
}

/// Decisions of a plugin that were made together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) route: String,
    pub(crate) life: u32,
    /// After the life has ended: whether what it wrote is still there.
    pub(crate) is_there: Option<bool>,
    /// Of these routes all that was decided before it is there if it is, and nothing of after it if it is not.
    pub(crate) parts: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) arrivals: HashMap<(u64, String), Vec<Arrival>>,
    /// Of those that remember something.
    pub(crate) batches: BTreeMap<u64, Batch>,
    /// The route of each batch of decisions, whether it remembers or not.
    pub(crate) routes: HashMap<u64, String>,
    pub(crate) life: u32,
    /// By what number the plugins of a route know a message.
    pub(crate) ids: HashMap<(u64, String), u64>,
    /// Counted by routes of lives that are over, by route and reason.
    pub(crate) dropped: BTreeMap<(String, String), u64>,
    /// Parked messages that an operator deleted.
    pub(crate) deleted: BTreeSet<Stamp>,
    /// Where an operator has moved what waited.
    pub(crate) moves: BTreeSet<(String, String)>,
    pub(crate) discarded: BTreeSet<String>,
    /// Targets that have dropped for want of room, or for age.
    pub(crate) may_overflow: BTreeSet<String>,
    pub(crate) may_block: BTreeSet<String>,
    pub(crate) may_age: BTreeSet<String>,
    /// Brokers or sets were removed.
    pub(crate) has_removed: bool,
    /// At least once is what is left for these.
    pub(crate) handed_back: BTreeSet<Stamp>,
    /// Messages of which something went past the log: they are recorded again if that was lost.
    pub(crate) went_past: BTreeSet<u64>,
    /// Messages whose source was removed and came back.
    pub(crate) sent_anew: BTreeSet<u64>,
    /// Attempts up to this one may be overtaken: by route, or by target.
    unordered: HashMap<String, u64>,
    last: HashMap<(Topic, String, String, Via, QoS, bool), Stamp>,
    pub(crate) next: u64,
}

impl Ledger {
    /// A power loss may take what says that an item is done. Of a broker that is not configured then, no session knows it
    /// either.
    pub(crate) fn lose_sessions(&mut self, is_gone: impl Fn(&str) -> bool) {
        let arrivals = self.arrivals.values().flatten().filter(|arrival| is_gone(&arrival.broker));
        self.handed_back.extend(arrivals.map(|arrival| arrival.stamp));
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Order is not promised between what has come so far, and from here on, of a route or to a target.
    pub(crate) fn unorder(&mut self, name: &str) {
        self.unordered.insert(name.to_owned(), self.next);
    }

    fn is_unordered(&self, name: &str, attempt: u64) -> bool {
        self.unordered.get(name).is_some_and(|upto| attempt <= *upto)
    }

    /// Through which route a message came that is at a target: its plugins say so, or its topic there.
    pub(crate) fn route_of(&self, message: &Message) -> String {
        let by_topic = || message.topic.as_str().split('/').next().unwrap_or_default().to_owned();
        self.routes.get(&Stamp::of(message).batch).cloned().unwrap_or_else(by_topic)
    }

    /// Where what was meant for a target may be now.
    pub(crate) fn reachable<'a>(&'a self, target: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut look) = (BTreeSet::from([target]), vec![target]);
        while let Some(at) = look.pop() {
            let next = self.moves.iter().filter(|(from, _)| from == at).map(|(_, to)| to.as_str());
            look.extend(next.filter(|to| found.insert(to)));
        }
        found
    }

    pub(crate) fn came(&self, wanted: &Wanted, stamp: Stamp, arrival: &Arrival) -> bool {
        arrival.stamp == stamp && self.fits(wanted, arrival)
    }

    pub(crate) fn fits(&self, wanted: &Wanted, arrival: &Arrival) -> bool {
        match &arrival.via {
            Via::Queue(queue) => wanted.durable && self.reachable(&wanted.target).contains(queue.as_str()),
            Via::Past { set } => {
                !wanted.durable
                    && (arrival.broker == wanted.target
                        || (*set && (wanted.target.starts_with('s') || self.has_removed)))
            }
        }
    }

    /// A message has come to a broker. Returns its place among those of its attempt and route.
    pub(crate) fn arrive(&mut self, route: &str, message: &Message, arrival: Arrival) -> (u64, String, usize) {
        let stamp = arrival.stamp;
        let attempt = self.attempts.get(&stamp.attempt).expect("a message that was sent");
        let is_known = match attempt.fates.get(route) {
            _ if attempt.replayed => true,
            Some(Fate::Outs(outs)) => {
                let out = outs.iter().find(|out| out.stamp == stamp);
                out.is_some_and(|out| out.wanted.iter().any(|wanted| self.fits(wanted, &arrival)))
            }
            _ => false,
        };
        assert!(is_known, "{arrival:?} on {route} was not to come: {attempt:?}");
        if let Some(batch) = self.batches.get(&stamp.batch)
            && matches!(arrival.via, Via::Queue(_))
        {
            assert_ne!(batch.is_there, Some(false), "{arrival:?} came, and what its plugin wrote is gone");
        }
        let earlier = self.arrivals.entry((stamp.attempt, route.to_owned())).or_default();
        let is_repeat = earlier.iter().any(|one| one.stamp == stamp && one.via == arrival.via);
        earlier.push(arrival);
        let at = (stamp.attempt, route.to_owned(), earlier.len() - 1);
        if !is_repeat {
            self.check_order(&at, message);
        }
        at
    }

    fn check_order(&mut self, (number, route, place): &(u64, String, usize), message: &Message) {
        let arrival = &self.arrivals[&(*number, route.clone())][*place];
        let attempt = &self.attempts[number];
        let target = match &arrival.via {
            Via::Queue(name) => name.clone(),
            Via::Past { set: false } => arrival.broker.clone(),
            Via::Past { set: true } => "set".to_owned(),
        };
        if attempt.replayed || self.is_unordered(route, *number) || self.is_unordered(&target, *number) {
            return;
        }
        let key = (
            message.topic.clone(),
            attempt.source.clone(),
            // A queue of a set is in order whichever member gets the next; but what no member answers to (QoS 0) is waited for by
            // nobody: it may still be on its way to one when the next is at another.
            match arrival.via {
                Via::Queue(_) if message.qos > QoS::AtMostOnce => String::new(),
                _ => arrival.broker.clone(),
            },
            arrival.via.clone(),
            message.qos,
            // What nobody waits for is held up by nobody.
            attempt.is_owed && !arrival.loose,
        );
        let stamp = arrival.stamp;
        let order = |stamp: Stamp| (stamp.attempt, stamp.copy);
        if let Some(last) = self.last.insert(key, stamp) {
            assert!(order(last) < order(stamp), "{stamp:?} after {last:?} on {route}: {message:?} {arrival:?}");
        }
    }

    /// What the targets of a route are to get of a message.
    pub(crate) fn wanted(
        setup: &Setup,
        (view, is_live): (&RouteView, bool),
        targets: &[(String, bool)],
        is_owed: bool,
        qos: QoS,
    ) -> Vec<Wanted> {
        let qos = view.qos.unwrap_or(qos);
        let durable = view.spooled && (is_owed || view.persist_qos0 || qos > QoS::AtMostOnce);
        let each = targets.iter().flat_map(|(name, required)| {
            let configured = is_live && setup.has_target(name);
            let queues = setup.queues(name);
            queues.into_iter().map(move |target| Wanted { target, durable, required: *required, configured })
        });
        each.collect()
    }

    /// A source is told that a message is taken care of: what is not in the log must be with its targets.
    pub(crate) fn acknowledge(&mut self, number: u64, dropped: u64) {
        let attempt = self.attempts.get_mut(&number).expect("a message that was sent");
        assert!(!attempt.acked, "{number} is acknowledged twice");
        attempt.acked = true;
        let attempt = &self.attempts[&number];
        if attempt.replayed {
            // What other routes decide of it from there on is not followed.
            return;
        }
        for (route, fate) in &attempt.fates {
            let outs = match fate {
                Fate::WithPlugins => panic!("{number} is acknowledged, and plugins of {route} have it: {attempt:?}"),
                Fate::Ended | Fate::Parked(_) => continue,
                Fate::Outs(outs) => outs,
            };
            for out in outs {
                for wanted in out.wanted.iter().filter(|wanted| !wanted.durable && wanted.required) {
                    let arrivals = self.arrivals.get(&(number, route.clone())).map_or(&[][..], Vec::as_slice);
                    let is_settled =
                        arrivals.iter().any(|one| self.came(wanted, out.stamp, one) && (one.settled || one.undone));
                    assert!(is_settled || dropped > 0, "{number} is acknowledged without {wanted:?} of {out:?}");
                }
            }
        }
    }

    /// A process has ended: what is only in memory is gone, and the disk has this of what plugins wrote.
    pub(crate) fn end_life(&mut self) {
        self.life += 1;
        for attempt in self.attempts.values_mut() {
            attempt.void |= !attempt.is_owed;
            for fate in attempt.fates.values_mut() {
                if let Fate::Outs(outs) = fate {
                    if outs.iter().any(|out| out.wanted.iter().any(|wanted| !wanted.durable)) {
                        self.went_past.insert(attempt.number);
                    }
                    outs.iter_mut().for_each(|out| out.wanted.retain(|wanted| wanted.durable));
                }
            }
        }
        // What was dropped for want of room, for age or by an operator may be back, for nothing says on disk yet that it was; what came after
        // it has arrived meanwhile.
        let dropped = self.may_overflow.iter().chain(&self.may_age).chain(&self.discarded);
        let dropped: Vec<String> = dropped.cloned().collect();
        dropped.iter().for_each(|name| self.unorder(name));
        // Sources and targets of before are not in order with those of now past the log.
        self.last.retain(|(.., via, _, _), _| matches!(via, Via::Queue(_)));
    }

    /// What of the state that the plugins of a life wrote is there must be all of it up to one batch, for each route.
    pub(crate) fn look_at_state(&mut self, state: impl Fn(&str, &str) -> Option<Vec<u8>>) {
        let mut last: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        for (number, batch) in &mut self.batches {
            let is_there = state(&batch.route, &format!("k{number}")).is_some();
            if let Some(known) = batch.is_there {
                assert_eq!(known, is_there, "what was written with batch {number} of {}", batch.route);
            }
            if batch.life + 1 == self.life {
                batch.is_there = Some(is_there);
                let (highest, is_over) = last.entry(batch.route.clone()).or_default();
                assert!(!(is_there && *is_over), "batch {number} of {} is there without one before", batch.route);
                *is_over |= !is_there;
                *highest = if is_there { *number } else { *highest };
            }
        }
        let of_life = || self.batches.iter().filter(|(_, batch)| batch.life + 1 == self.life);
        for (number, moved) in of_life() {
            for (other, batch) in of_life().filter(|(_, batch)| moved.parts.contains(&batch.route)) {
                let (first, then) = if other < number { (batch, moved) } else { (moved, batch) };
                let (first, then) = (first.is_there == Some(true), then.is_there == Some(true));
                assert!(
                    first || !then,
                    "state moved with batch {number}: {other} of {} stands on its wrong side",
                    batch.route
                );
            }
        }
        for (route, (highest, _)) in last.iter().filter(|(_, (highest, _))| *highest > 0) {
            let found = state(route, "last");
            assert_eq!(found, Some(highest.to_string().into_bytes()), "the last batch of {route} that is there");
        }
    }
}
