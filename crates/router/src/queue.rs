//! The queues of the spool as the router sees them: which target each is for, and what waits for a target that is not there.

use crate::Router;
use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{QueueId, RouteId};
use crate::lane::Entry;
use crate::route::Target;
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, ids};
use std::collections::VecDeque;
use tidegate_config::{Priority, SpoolSettings};
use tidegate_spool::{Key, NameId};

/// The router's side of one queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// As configured now; `None` while nothing of that name is.
    pub(crate) target: Option<Target>,
    pub(crate) class: Priority,
    pub(crate) name: NameId,
    pub(crate) settings: SpoolSettings,
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
        let queue = QueueId::new(self.spool.queue(&Key { target: target.to_owned(), class: class as u8 }).into());
        self.find_queues();
        queue
    }

    /// Makes a place for each queue there is.
    fn find_queues(&mut self) {
        for queue in self.spool.queues().skip(self.queues.len()) {
            let key = self.spool.key(queue);
            let (class, name) = (class_of(key.class), self.spool.queue_name(queue));
            let target = self.targets.get(key.target.as_str()).copied();
            let settings = self.spool_settings.get(&key.target).copied().unwrap_or_default();
            if let Some(target) = target {
                self.queue_ids.insert((target, class as u8), QueueId::new(queue.into()));
            }
            self.queues.push(Queue {
                target,
                class,
                name,
                settings,
                orphans: VecDeque::new(),
                leaving: None,
                delivered: 0,
            });
        }
    }

    /// Finds the target of each queue anew, after targets have come or gone. What waited for one that is back goes on.
    pub(crate) fn adopt_queues(&mut self, now: Moment) {
        self.find_queues();
        self.queue_ids.clear();
        for at in 0..self.queues.len() {
            let queue = QueueId::new(at);
            let key = self.spool.key(queue.spool());
            let target = self.targets.get(key.target.as_str()).copied();
            let slot = &mut self.queues[at];
            slot.target = target;
            if let Some(settings) = self.spool_settings.get(&key.target) {
                slot.settings = *settings;
            }
            let Some(target) = target else { continue };
            self.queue_ids.insert((target, slot.class as u8), queue);
            for entry in std::mem::take(&mut slot.orphans) {
                self.place(queue, entry, now);
            }
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

    /// Drops the oldest message of a queue that is not being sent. False if there is none in memory.
    pub(crate) fn drop_oldest(&mut self, wanted: QueueId, now: Moment) -> bool {
        let of_queue = |ticket: Ticket| matches!(ticket, Ticket::Spooled { queue, .. } if queue == wanted);
        let oldest = self.brokers.iter_mut().find_map(|broker| broker.lane.take_first(of_queue));
        let oldest = oldest.or_else(|| self.queues[wanted.at()].orphans.pop_front());
        oldest.is_some_and(|entry| {
            self.tell_dropped(&entry, DropReason::Quota, now);
            self.drop_ticket(entry.ticket, DropReason::Quota);
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
            route = &*self.routes[route.at()].name,
            target_name,
            topic = %entry.message.topic.as_str().escape_debug(),
            reason = reason.word(),
            lines_kept_back,
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
                self.drop_ticket(entry.ticket, DropReason::TooOld);
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
}
