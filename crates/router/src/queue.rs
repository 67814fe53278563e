//! The queues of the spool as the router sees them: which target each is for, and what waits for a target that is not there.

use crate::Router;
use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{QueueId, RouteId, SetId};
use crate::lane::Entry;
use crate::parts::Parts;
use crate::rendezvous::key_hash;
use crate::route::{Route, Target};
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, ids};
use std::collections::VecDeque;
use std::rc::Rc;
use tidegate_config::{Policy, Priority, SpoolSettings};
use tidegate_message::Message;
use tidegate_spool::{Key, NameId, NameKind, StateWrite, Transaction};

/// Under which name the parts of a set are kept in the log.
const PARTS: &str = "parts";
/// And the number of the record that says so.
const PARTS_SINCE: &str = "parts-since";

/// The router's side of one queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// As configured now; `None` while nothing of that name is.
    pub(crate) target: Option<Target>,
    pub(crate) class: Priority,
    pub(crate) name: NameId,
    /// All queues of its target and class, itself included: what its settings bound, they bound together.
    pub(crate) kin: Rc<[QueueId]>,
    pub(crate) settings: SpoolSettings,
    /// Some route sends to its target.
    pub(crate) is_fed: bool,
    /// What waits for a target that is not there: it is durable, and never dropped for that.
    pub(crate) orphans: VecDeque<Entry>,
    /// An operator has said where what waits goes.
    pub(crate) leaving: Option<Leaving>,
    /// Messages that its target has taken.
    pub(crate) delivered: u64,
}

/// What waited when an operator moved or discarded it, and was not in memory then. What came later stays: it may be what was
/// moved back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    /// The sequence of the last record of that moment.
    pub(crate) until: u64,
    /// The queue it goes to; `None` if it is dropped.
    pub(crate) to: Option<QueueId>,
}

/// What waits for a target, of all its classes of priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// A broker or a target set.
    pub target: String,
    /// How many messages wait or are being sent.
    pub messages: u64,
    /// When the oldest was received, in milliseconds since the epoch; `None` if it is not in memory.
    pub oldest_ms: Option<u64>,
    /// How many the target has taken since the start.
    pub delivered: u64,
}

/// Whether so many messages, and bytes of them, are all that a queue may hold.
#[inline]
pub(crate) fn is_full(settings: &SpoolSettings, (items, bytes): (u64, u64)) -> bool {
    bytes >= settings.max_bytes || settings.max_messages.is_some_and(|max| items >= max)
}

impl ids::QueueId {
    /// In the spool's own numbers.
    #[inline]
    pub(crate) const fn spool(self) -> tidegate_spool::QueueId {
        self.0
    }
}

/// A class of priority by its number in the log; one of a later version is the last.
pub(crate) const fn class_of(number: u8) -> Priority {
    match number {
        0 => Priority::High,
        1 => Priority::Normal,
        _ => Priority::Low,
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// The queue of a target, for messages of a route's class; `None` if there is no such target.
    pub(crate) fn queue_for(&mut self, target: Target, route: RouteId) -> Option<QueueId> {
        let class = self.routes[route.at()].class;
        if let Some(queue) = self.queue_ids.get(&(target, class as u8)) {
            return Some(*queue);
        }
        let name = self.targets.iter().find(|(_, known)| **known == target).map(|(name, _)| name.clone())?;
        Some(self.queue_named(&name, class))
    }

    /// The queue of a name and class, made if there is none.
    pub(crate) fn queue_named(&mut self, target: &str, class: Priority) -> QueueId {
        self.queue_of(&Key::new(target, class as u8))
    }

    /// The queue of a key, made if there is none.
    pub(crate) fn queue_of(&mut self, key: &Key) -> QueueId {
        let queue = QueueId::new(self.spool.queue(key).into());
        self.find_queues();
        queue
    }

    /// How much waits in a queue and all others of its target and class: `(items, bytes)`.
    #[inline]
    pub(crate) fn pending(&self, queue: QueueId) -> (u64, u64) {
        let kin = self.queues[queue.at()].kin.iter();
        kin.map(|queue| self.spool.pending(queue.spool())).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Makes a place for each queue there is.
    fn find_queues(&mut self) {
        for queue in self.spool.queues().skip(self.queues.len()) {
            let key = self.spool.key(queue);
            let (class, name) = (class_of(key.class), self.spool.queue_name(queue));
            let target = self.targets.get(key.target.as_str()).copied();
            let settings = self.spool_settings.get(&key.target).copied().unwrap_or_default();
            let id = QueueId::new(queue.into());
            if let Some(target) = target.filter(|_| key.part.is_empty()) {
                self.queue_ids.insert((target, class as u8), id);
            }
            let known = self.kin.entry((key.target, key.class)).or_default();
            known.push(id);
            let kin: Rc<[QueueId]> = known[..].into();
            let others = kin.iter().filter(|known| **known != id);
            others.for_each(|known| self.queues[known.at()].kin = kin.clone());
            self.queues.push(Queue {
                target,
                class,
                name,
                kin,
                settings,
                is_fed: true,
                orphans: VecDeque::new(),
                leaving: None,
                delivered: 0,
            });
        }
    }

    /// Whether a route sends to a target, or to a set whose members each get everything and of which it is one.
    fn is_fed(&self, target: Target) -> bool {
        let routes = self.routes.iter().filter(|route| !route.removed);
        routes.flat_map(Route::targets).any(|to| match (to, target) {
            (Target::Set(set), Target::Broker(member)) => {
                let set = &self.sets[set.at()];
                set.policy == Policy::All && set.has(member)
            }
            _ => to == target,
        })
    }

    /// Finds the target of each queue anew, after targets have come or gone. What waited for one that is back goes on.
    pub(crate) fn adopt_queues(&mut self, now: Moment) {
        self.find_queues();
        self.queue_ids.clear();
        let mut going = Vec::new();
        for at in 0..self.queues.len() {
            let queue = QueueId::new(at);
            let key = self.spool.key(queue.spool());
            let target = self.targets.get(key.target.as_str()).copied();
            let is_fed = target.is_some_and(|target| self.is_fed(target));
            let slot = &mut self.queues[at];
            (slot.target, slot.is_fed) = (target, is_fed);
            if let Some(settings) = self.spool_settings.get(&key.target) {
                slot.settings = *settings;
            }
            let Some(target) = target else { continue };
            if key.part.is_empty() {
                self.queue_ids.insert((target, slot.class as u8), queue);
            }
            let up_to = target.set().and_then(|set| self.sets[set.at()].reads_up_to);
            for entry in std::mem::take(&mut self.queues[at].orphans) {
                // What others wait for never waits itself.
                match entry.ticket.place(&self.spool) {
                    Some(item) if Some(item.sequence) > up_to && up_to.is_some() => {
                        self.queues[at].orphans.push_back(entry);
                    }
                    _ => going.push((queue, entry)),
                }
            }
        }
        self.place_in_order(going, now);
    }

    /// What comes from several queues goes where it belongs, in the order of the log.
    fn place_in_order(&mut self, mut entries: Vec<(QueueId, Entry)>, now: Moment) {
        entries.sort_by_cached_key(|(_, entry)| entry.ticket.place(&self.spool));
        for (queue, entry) in entries {
            self.place(queue, entry, now);
        }
    }

    /// A message that has come out of the log goes where it belongs, unless others are to come before it.
    #[inline(always)]
    pub(crate) fn place_ready(&mut self, queue: QueueId, entry: Entry, now: Moment) {
        let up_to =
            self.queues[queue.at()].target.and_then(Target::set).and_then(|set| self.sets[set.at()].reads_up_to);
        if let (Some(up_to), Ticket::Spooled { ordinal, .. }) = (up_to, entry.ticket)
            && self.spool.sequence_of(queue.spool(), ordinal) > Some(up_to)
        {
            return self.queues[queue.at()].orphans.push_back(entry);
        }
        self.place(queue, entry, now);
    }

    /// Lets go on what had to wait until older messages were read.
    pub(crate) fn end_reading_up(&mut self, now: Moment) {
        for set in (0..self.sets.len()).map(SetId::new) {
            let Some(up_to) = self.sets[set.at()].reads_up_to else { continue };
            let of_set = |at: &QueueId| self.queues[at.at()].target == Some(Target::Set(set));
            let queues: Vec<QueueId> = (0..self.queues.len()).map(QueueId::new).filter(of_set).collect();
            if queues.iter().any(|queue| !self.spool.has_read(queue.spool(), up_to)) {
                continue;
            }
            self.sets[set.at()].reads_up_to = None;
            let of = |queue: QueueId| {
                std::mem::take(&mut self.queues[queue.at()].orphans).into_iter().map(move |entry| (queue, entry))
            };
            let waiting = queues.into_iter().flat_map(of).collect();
            self.place_in_order(waiting, now);
        }
    }

    /// Into the lane of the broker that a durable message is for, or of the member that is to get it.
    #[inline(always)]
    pub(crate) fn place(&mut self, queue: QueueId, entry: Entry, now: Moment) {
        match self.queues[queue.at()].target {
            Some(Target::Broker(broker)) if !self.brokers[broker.at()].is_gone => self.push(broker, entry, now),
            // Of a set whose members all get everything, each has a queue of its own.
            Some(Target::Set(set)) => self.place_in_set(set, entry, now),
            Some(Target::Broker(_)) | None => self.queues[queue.at()].orphans.push_back(entry),
        }
    }

    /// Drops the oldest message of a queue, or of another of its target and class, that is not being sent. False if there is
    /// none in memory.
    pub(crate) fn drop_oldest(&mut self, wanted: QueueId, now: Moment) -> bool {
        let kin = self.queues[wanted.at()].kin.clone();
        let of_queue = |ticket: Ticket| matches!(ticket, Ticket::Spooled { queue, .. } if kin.contains(&queue));
        let oldest_of = |broker: &crate::Broker<A>| broker.lane.first(of_queue).map(|entry| entry.received_us);
        let lanes = self.brokers.iter().enumerate().filter_map(|(at, broker)| Some((oldest_of(broker)?, at)));
        let oldest = lanes.min().and_then(|(_, at)| self.brokers[at].lane.take_first(of_queue));
        let oldest = oldest.or_else(|| kin.iter().find_map(|queue| self.queues[queue.at()].orphans.pop_front()));
        oldest.is_some_and(|entry| {
            self.tell_dropped(&entry, DropReason::Quota, now);
            self.drop_entry(&entry, DropReason::Quota);
            true
        })
    }

    /// Says that a message that waited is dropped for what its target's `spool` settings say.
    fn tell_dropped(&mut self, entry: &Entry, reason: DropReason<'_>, now: Moment) {
        let Some(lines_kept_back) = self.notices.quota.allow(now.at) else { return };
        let Some(route) = self.route_of_ticket(entry.ticket) else { return };
        let target_name = match entry.ticket {
            Ticket::Spooled { queue, .. } => self.spool.key(queue.spool()).target,
            Ticket::Held { .. } | Ticket::Loose { .. } => String::new(),
        };
        tracing::warn!(
            name: "quota_dropped",
            route = &*self.routes[route.at()].name,
            target_name,
            topic = %entry.message.topic.as_str().escape_debug(),
            reason = reason.word(),
            lines_kept_back = (lines_kept_back > 0).then_some(lines_kept_back),
            "a message that waited is dropped and counted"
        );
    }

    /// Drops what has waited for longer than its target wants.
    pub fn drop_old(&mut self, now: Moment) {
        for at in 0..self.queues.len() {
            let Some(age) = self.queues[at].settings.max_age else { continue };
            let before = now.us.saturating_sub(age.as_micros() as u64);
            let old = |entry: &Entry| {
                matches!(entry.ticket, Ticket::Spooled { queue, .. } if queue.at() == at) && entry.received_us < before
            };
            let mut dropped = Vec::new();
            for broker in &mut self.brokers {
                while let Some(entry) = broker.lane.take_front(old) {
                    dropped.push(entry);
                }
            }
            let orphans = &mut self.queues[at].orphans;
            while orphans.front().is_some_and(old) {
                dropped.extend(orphans.pop_front());
            }
            for entry in dropped {
                self.tell_dropped(&entry, DropReason::TooOld, now);
                self.drop_entry(&entry, DropReason::TooOld);
            }
        }
        self.spool.flush();
    }

    /// Whether some target has messages dropped that are too old.
    pub fn has_ages(&self) -> bool {
        self.queues.iter().any(|queue| queue.settings.max_age.is_some())
    }

    /// What waits in the spool for each target, whether it is configured or not.
    pub fn backlogs(&self) -> Vec<Backlog> {
        let mut all: Vec<Backlog> = Vec::new();
        for (waiting, queue) in self.spool.waiting().into_iter().zip(&self.queues) {
            let tidegate_spool::Waiting { key, items, oldest_ms, .. } = waiting;
            match all.iter_mut().find(|known| known.target == key.target) {
                Some(known) => {
                    known.messages += items;
                    known.delivered += queue.delivered;
                    known.oldest_ms = known.oldest_ms.into_iter().chain(oldest_ms).min();
                }
                None => {
                    let (target, delivered) = (key.target, queue.delivered);
                    all.push(Backlog { target, messages: items, oldest_ms, delivered });
                }
            }
        }
        all
    }

    /// The queue of a message for a set that has several, if it is known already.
    pub(crate) fn known_queue_of_part(&self, set: SetId, route: RouteId, message: &Message) -> Option<QueueId> {
        let set = &self.sets[set.at()];
        let part = set.parts.part_of(key_hash(set.key(message)))?;
        part.queue(self.routes[route.at()].class).get()
    }

    /// The same, made if there is none.
    pub(crate) fn queue_of_part(&mut self, at: SetId, route: RouteId, message: &Message) -> Option<QueueId> {
        if let Some(queue) = self.known_queue_of_part(at, route, message) {
            return Some(queue);
        }
        let set = &self.sets[at.at()];
        let class = self.routes[route.at()].class;
        let part = set.parts.part_of(key_hash(set.key(message)))?.name.clone();
        let (target, _) = self.targets.iter().find(|(_, known)| **known == Target::Set(at))?;
        let key = Key { part, ..Key::new(&**target, class as u8) };
        let queue = self.queue_of(&key);
        if let Some(part) = self.sets[at.at()].parts.named(&key.part) {
            part.queue(class).set(Some(queue));
        }
        Some(queue)
    }

    /// A set is to have these parts from now on, or as soon as it can.
    pub(crate) fn want_parts(&mut self, at: SetId, name: &str, wanted: Parts) {
        let is_new = self.sets[at.at()].wanted_parts.is_none();
        if is_new {
            let state = self.spool.state_of(NameKind::Link, name);
            let kept = state.and_then(|keys| Parts::read(keys.get(PARTS)?));
            let since = state.and_then(|keys| std::str::from_utf8(keys.get(PARTS_SINCE)?).ok()?.parse().ok());
            // What an earlier version has filed for it is in one queue.
            self.sets[at.at()].parts = kept.unwrap_or_default();
            self.sets[at.at()].reads_up_to = since;
        }
        self.sets[at.at()].wanted_parts = Some(wanted);
        self.take_parts(at, name);
    }

    /// Gives a set the parts that it is to have, if that changes no order.
    fn take_parts(&mut self, at: SetId, name: &str) {
        let set = &self.sets[at.at()];
        let Some(wanted) = set.wanted_parts.clone().filter(|wanted| *wanted != set.parts) else { return };
        let of_set = |queue: &tidegate_spool::QueueId| self.spool.key(*queue).target == name;
        if self.spool.queues().filter(of_set).any(|queue| self.spool.has_backlog(queue)) {
            return;
        }
        // What waits for room is filed already, and so is what waits until other routes have decided.
        let is_of_set = |queue: QueueId| self.spool.key(queue.spool()).target == name;
        if !self.blocked.is_empty() || self.debts.filed().any(is_of_set) {
            return;
        }
        let plugin = self.spool.name(NameKind::Link, name);
        // The record that says so.
        let since = (self.spool.sequence() + 1).to_string().into_bytes();
        let write = |key: &str, value| StateWrite { plugin, key: key.to_owned(), value: Some(value) };
        let state = vec![write(PARTS, wanted.write()), write(PARTS_SINCE, since)];
        self.spool.append(Transaction { state, ..Transaction::default() });
        self.sets[at.at()].parts = wanted;
    }

    /// The same of all sets.
    pub(crate) fn take_all_parts(&mut self) {
        if self.sets.iter().all(|set| !set.wants_other_parts()) {
            return;
        }
        let sets = self.targets.iter().filter_map(|(name, target)| Some((target.set()?, name.clone())));
        for (set, name) in sets.collect::<Vec<_>>() {
            self.take_parts(set, &name);
        }
    }
}
