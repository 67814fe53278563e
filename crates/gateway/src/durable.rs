//! The way through the spool: from a decision to a record, from a durable record to the lanes and to the source's
//! acknowledgement.
//!
//! A message with a source that waits goes into its origin's stash, delivery by delivery; when all of its routes have
//! decided, the stash becomes one record ([`Core::commit`]). When the record is durable ([`Core::spool_news`]) the source
//! is acknowledged and the deliveries enter the lanes.

use crate::core::{Core, Kind, SourceAck, Target, Token};
use crate::lane::{CLASSES, Entry, NO_ORIGIN, SPOOLED, Tag};
use crate::origin::{Stash, Step};
use crate::plugins::{Job, Parking};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::{SpoolSettings, WhenFull};
use tidegate_message::Message;
use tidegate_spool::{DiskStatus, Key, NameId, NameKind, Parked, Ready, StateWrite, Transaction};

/// How many parked messages are kept, and how many bytes of them. What comes beyond is dropped and counted.
const PARKED_MAX: usize = 10_000;
const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The kind of a parked message that a target hangs up on; `plugin` is the target then.
pub(crate) const PARKED_FOR_TARGET: &str = "refused_by_target";

/// A message that has waited this long is one of a backlog, in microseconds: `drain_rate` is about those.
pub(crate) const LATE_US: u64 = 1_000_000;

/// The gateway's side of one queue of the spool.
#[derive(Debug, Default)]
pub(crate) struct QueueSlot {
    pub(crate) target: Option<Target>,
    pub(crate) class: u8,
    pub(crate) name: NameId,
    pub(crate) settings: SpoolSettings,
    /// What waits for a target that is not configured.
    orphans: VecDeque<Entry>,
}

/// How fast a backlog leaves: so many messages a second, a tenth of a second's worth at a time.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_second), tokens: 1.0, at: now }
    }

    /// True if one more may go now.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        (self.tokens, self.at) = ((self.tokens + gained).min((self.per_second / 10.0).max(1.0)), now);
        self.tokens >= 1.0
    }

    pub(crate) fn take(&mut self) {
        self.tokens -= 1.0;
    }
}

impl Core {
    /// A target is no more: what waits for it waits for one of that name.
    pub(crate) fn forget_target(&mut self, target: Target) {
        self.queue_ids.retain(|(known, _), _| *known != target);
        for slot in self.queues.iter_mut().filter(|slot| slot.target == Some(target)) {
            slot.target = None;
        }
    }

    /// The queue of a target and class, with its settings.
    pub(crate) fn queue_for(&mut self, target: Target, class: u8) -> Option<u16> {
        if let Some(queue) = self.queue_ids.get(&(target, class)) {
            return Some(*queue);
        }
        let name = self.targets.iter().find(|(_, known)| **known == target).map(|(name, _)| name.clone())?;
        let queue = self.spool.queue(&Key { target: name.to_string(), class });
        self.adopt_queues();
        self.queue_ids.insert((target, class), queue);
        Some(queue)
    }

    /// Makes a slot for each queue there is, and finds the target of each. What waited for a target that is back goes on.
    pub(crate) fn adopt_queues(&mut self) {
        for queue in self.spool.queues() {
            let at = usize::from(queue);
            if at >= self.queues.len() {
                let class = self.spool.key(queue).class.min(CLASSES as u8 - 1);
                let name = self.spool.queue_name(queue);
                self.queues.push(QueueSlot { class, name, ..QueueSlot::default() });
            }
            let key = self.spool.key(queue);
            let target = self.targets.get(key.target.as_str()).copied();
            let slot = &mut self.queues[at];
            slot.target = target;
            if let Some(settings) = self.spool_settings.get(key.target.as_str()) {
                slot.settings = *settings;
            }
            if target.is_some() {
                let now = Instant::now();
                for entry in std::mem::take(&mut slot.orphans) {
                    self.place(queue, entry, now);
                }
            }
        }
    }

    /// A delivery is decided: it waits with its origin for the record.
    pub(crate) fn stash(&mut self, route: u16, target: Target, message: Message, origin: u32, received_us: u64) {
        let slot = &self.routes[usize::from(route)];
        let (class, name) = (slot.class, slot.name_id);
        let Some(queue) = self.queue_for(target, class) else {
            return self.dropped(route, origin, "target_removed");
        };
        if is_full(&self.queues[usize::from(queue)].settings, self.spool.pending(queue)) {
            let when_full = self.queues[usize::from(queue)].settings.when_full;
            match when_full {
                WhenFull::DropNewest => return self.dropped(route, origin, "quota"),
                WhenFull::DropOldest if !self.drop_oldest(queue) => return self.dropped(route, origin, "quota"),
                // The record is not written before there is room: see `commit`.
                _ if origin == NO_ORIGIN => return self.dropped(route, origin, "quota"),
                _ => {}
            }
        }
        let origin = if origin != NO_ORIGIN {
            origin
        } else if self.disk != DiskStatus::Good {
            return self.dropped(route, origin, "disk");
        } else {
            self.no_source(Token::Nobody, received_us)
        };
        let queue = self.queues[usize::from(queue)].name;
        if let Some(origin) = self.origins.get_mut(origin) {
            origin.stash.add(name, queue, message);
        }
        self.settle_decided(origin);
    }

    /// Files a message that no broker waits for.
    pub(crate) fn no_source(&mut self, token: Token, received_us: u64) -> u32 {
        self.origins.insert(SourceAck { broker: 0, token }, received_us, 0)
    }

    /// Drops the oldest message of a queue that is not being sent. False if there is none in memory.
    fn drop_oldest(&mut self, queue: u16) -> bool {
        let of_queue = |tag: Tag| tag.is_spooled() && tag.route == queue;
        let oldest = self.brokers.iter_mut().find_map(|slot| slot.lane.take_first(of_queue));
        let oldest = oldest.or_else(|| self.queues[usize::from(queue)].orphans.pop_front());
        oldest.is_some_and(|entry| {
            self.drop_entry(entry.tag, "quota");
            true
        })
    }

    /// A parked message is decided, too.
    pub(crate) fn park(&mut self, route: u16, job: Job, why: Parking) {
        let slot = &self.routes[usize::from(route)];
        let parked = Parked {
            route: slot.name.to_string(),
            plugin: why.plugin.to_string(),
            kind: why.kind.to_owned(),
            reason: why.reason,
            received_ms: job.received_ms,
            message: job.message,
        };
        let Some(number) = self.reserve_parked(&parked) else {
            return self.dropped(route, job.origin, "parking_full");
        };
        let slot = &mut self.routes[usize::from(route)];
        tracing::debug!(number, route = &*slot.name, plugin = parked.plugin, kind = parked.kind, "parked a message");
        slot.counters.parked += 1;
        slot.counters.in_flight -= 1;
        let origin = match job.origin {
            NO_ORIGIN => self.no_source(Token::Nobody, job.received_us),
            origin => origin,
        };
        if let Some(origin) = self.origins.get_mut(origin) {
            origin.stash.parked.push((number, parked));
        }
        self.settle_decided(origin);
    }

    /// Makes room for a parked message, and says under which number it will be; `None` if there is no room.
    pub(crate) fn reserve_parked(&mut self, parked: &Parked) -> Option<u64> {
        let weight = parked_weight(parked);
        if self.spool.parked().len() >= PARKED_MAX || self.parked_bytes + weight > PARKED_BYTES_MAX {
            return None;
        }
        self.parked_bytes += weight;
        let number = self.spool.next_parked().max(self.last_parked + 1);
        self.last_parked = number;
        Some(number)
    }

    /// The route of a message that waits in the spool.
    pub(crate) fn spooled_route(&mut self, tag: Tag) -> Option<u16> {
        let name = self.spool.route(tag.route, tag.origin)?;
        Some(self.route_of(name))
    }

    /// Forgets a parked message. False if there is none of that number.
    pub(crate) fn delete_parked(&mut self, number: u64) -> bool {
        let Some(weight) = self.spool.parked().get(&number).map(parked_weight) else { return false };
        self.parked_bytes = self.parked_bytes.saturating_sub(weight);
        self.spool.append(Transaction { unparked: vec![number], ..Transaction::default() });
        self.spool.flush();
        true
    }

    /// What plugins remember becomes part of the log.
    pub(crate) fn remember(&mut self, plugin: &str, writes: Vec<(String, Option<Vec<u8>>)>) {
        let plugin = self.spool.name(NameKind::Plugin, plugin);
        self.state_writes.extend(writes.into_iter().map(|(key, value)| StateWrite { plugin, key, value }));
    }

    /// Everything about a message is decided: it is written, unless a queue is full or something before it waits.
    pub(crate) fn commit(&mut self, origin: u32) {
        let Some(filed) = self.origins.get_mut(origin) else { return };
        let SourceAck { broker, token } = filed.ack;
        let holds = !matches!(token, Token::Nobody | Token::Replayed);
        if holds && !self.blocked.is_empty() && self.blocked.iter().any(|(waits, _)| *waits == broker) {
            return self.blocked.push_back((broker, origin));
        }
        if holds && self.must_wait(origin) {
            return self.blocked.push_back((broker, origin));
        }
        self.write(origin);
    }

    /// Whether a queue that a message is for is full, and says that its sources wait.
    fn must_wait(&mut self, origin: u32) -> bool {
        let Self { origins, queues, spool, .. } = self;
        let Some(filed) = origins.get_mut(origin) else { return false };
        let blocks = |name: &NameId| {
            let at = queues.iter().position(|slot| slot.name == *name);
            at.is_some_and(|at| {
                let settings = &queues[at].settings;
                settings.when_full == WhenFull::Block && is_full(settings, spool.pending(at as u16))
            })
        };
        filed.stash.deliveries.iter().any(|delivery| delivery.queues.iter().any(blocks))
    }

    fn write(&mut self, origin: u32) {
        let Some((stash, alone)) = self.origins.take_stash(origin) else { return };
        let Some(filed) = self.origins.get_mut(origin) else { return };
        let ack = filed.ack;
        let Stash { deliveries, parked, unparked } = stash;
        let received_ms = filed.received_us / 1000;
        for number in &unparked {
            let weight = self.spool.parked().get(number).map_or(0, parked_weight);
            self.parked_bytes = self.parked_bytes.saturating_sub(weight);
            self.replaying.remove(number);
        }
        let mut transaction = Transaction { received_ms, deliveries, parked, unparked, ..Transaction::default() };
        if let SourceAck { broker, token: Token::Link(token) } = ack
            && token.exactly_once()
            // Otherwise the source has to send it again if a target it waits for does not get it.
            && alone
            && let Some(source) = self.brokers[usize::from(broker)].source_id
        {
            transaction.taken.push((source, token.packet_id()));
        }
        self.in_spool += transaction.items() as u64;
        if self.batching {
            self.batch.merge(transaction);
            self.batch_origins.push(origin);
            return;
        }
        let sequence = self.spool.append(transaction);
        self.written.push_back((sequence, origin));
    }

    /// What follows goes into one record with what the plugins of a batch remember, until `end_record`.
    pub(crate) fn begin_record(&mut self) {
        self.batching = true;
    }

    pub(crate) fn end_record(&mut self) {
        self.batching = false;
        let mut transaction = std::mem::take(&mut self.batch).0;
        transaction.state.append(&mut self.state_writes);
        let is_empty = transaction.state.is_empty() && self.batch_origins.is_empty();
        if is_empty {
            return;
        }
        let sequence = self.spool.append(transaction);
        for origin in std::mem::take(&mut self.batch_origins) {
            self.written.push_back((sequence, origin));
        }
    }

    /// Something has become durable, or was read, or the disk is another than before.
    pub(crate) fn spool_news(&mut self, now: Instant) {
        let before = self.spool.durable();
        let mut news = std::mem::take(&mut self.news);
        self.spool.poll(&mut news);
        while let Some((sequence, origin)) = self.written.front().copied() {
            if sequence > news.durable {
                break;
            }
            self.written.pop_front();
            self.settle_delivered(origin);
        }
        for ready in news.ready.drain(..) {
            self.ready(ready, now);
        }
        if news.durable > before {
            for slot in &self.brokers {
                if let Kind::Link(handle) = &slot.kind
                    && slot.gate > before
                {
                    handle.wake();
                }
            }
        }
        self.news = news;
        self.unblock();
        self.look_at_disk();
        self.flush(now);
    }

    fn look_at_disk(&mut self) {
        let status = self.spool.status();
        if status == self.disk {
            return;
        }
        match &status {
            DiskStatus::Good => tracing::info!("the disk has room again: going on"),
            DiskStatus::Full => {
                tracing::error!("the disk is full: nothing is acknowledged until there is room; free some space");
            }
            DiskStatus::Failed(error) => {
                tracing::error!(error, "the disk failed: nothing is acknowledged any more");
                self.disk_failed.cancel();
            }
        }
        self.disk = status;
    }

    fn unblock(&mut self) {
        if self.blocked.is_empty() {
            return;
        }
        let mut kept: Vec<u16> = Vec::new();
        for (broker, origin) in std::mem::take(&mut self.blocked) {
            if kept.contains(&broker) || self.must_wait(origin) {
                kept.push(broker);
                self.blocked.push_back((broker, origin));
            } else {
                self.write(origin);
            }
        }
    }

    pub(crate) fn ready(&mut self, ready: Ready, now: Instant) {
        if ready.recovered {
            self.count_recovered(ready.route);
        }
        let queue = ready.queue;
        if usize::from(queue) >= self.queues.len() {
            self.adopt_queues();
        }
        let class = self.queues[usize::from(queue)].class;
        let tag = Tag { origin: ready.ordinal, route: queue, set: SPOOLED };
        let entry = Entry { message: ready.message, tag, received_us: ready.received_ms * 1000, class };
        self.place(queue, entry, now);
    }

    /// A message of an earlier run is in the accounts from here on.
    pub(crate) fn count_recovered(&mut self, route: NameId) {
        self.in_spool += 1;
        let route = self.route_of(route);
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.recovered += 1;
        counters.in_flight += 1;
    }

    /// Into the lane of the broker it is for, or of the member that is to get it.
    pub(crate) fn place(&mut self, queue: u16, entry: Entry, now: Instant) {
        let slot = &mut self.queues[usize::from(queue)];
        match slot.target {
            None => slot.orphans.push_back(entry),
            Some(Target::Broker(broker)) => self.push(broker, entry, now),
            Some(Target::Set(set)) => self.deliver_to_set(set, entry, now),
        }
    }

    /// The route of a name in the log; one that is not configured any more gets a place, too.
    fn route_of(&mut self, name: NameId) -> u16 {
        if let Some(at) = self.routes_by_id.get(&name) {
            return *at;
        }
        let text: Arc<str> = self.spool.text(name).into();
        let found = self.routes.iter().position(|route| route.name == text);
        let at = found.unwrap_or_else(|| {
            let mut slot = crate::core::RouteSlot::new(text);
            slot.removed = true;
            self.routes.push(slot);
            self.routes.len() - 1
        }) as u16;
        self.routes_by_id.insert(name, at);
        at
    }

    /// A message of the spool needs no more care. Returns its route, and when it was received in microseconds.
    pub(crate) fn spool_done(&mut self, tag: Tag) -> Option<(u16, u64)> {
        let done = self.spool.done(tag.route, tag.origin)?;
        self.in_spool = self.in_spool.saturating_sub(1);
        Some((self.route_of(done.route), done.received_ms * 1000))
    }

    /// The set that a message waits for, if it waits for one.
    pub(crate) fn set_of(&self, tag: Tag) -> Option<u16> {
        if !tag.is_spooled() {
            return Some(tag.set);
        }
        match self.queues.get(usize::from(tag.route))?.target {
            Some(Target::Set(set)) => Some(set),
            _ => None,
        }
    }

    /// Wakes the links whose backlog leaves at a pace.
    pub(crate) fn wake_paced(&mut self) {
        for broker in 0..self.brokers.len() as u16 {
            if self.brokers[usize::from(broker)].paced {
                self.touch(broker);
            }
        }
    }

    /// How many messages could still be delivered: those in the spool only while their broker is connected.
    pub(crate) fn under_way(&self) -> u64 {
        let up = |broker: u16| self.brokers[usize::from(broker)].health.up_since.is_some();
        let spooled = self.queues.iter().enumerate().map(|(at, slot)| {
            let waits = match slot.target {
                Some(Target::Broker(broker)) => up(broker),
                Some(Target::Set(set)) => self.sets[usize::from(set)].members.iter().any(|member| up(*member)),
                None => false,
            };
            if waits { self.spool.pending(at as u16).0 } else { 0 }
        });
        self.not_durable() + spooled.sum::<u64>()
    }

    /// How many messages are lost if the process ends now, but for those that their sources send again.
    pub(crate) fn not_durable(&self) -> u64 {
        let in_flight = self.routes.iter().map(|route| route.counters.in_flight).sum::<u64>();
        in_flight.saturating_sub(self.in_spool)
    }

    /// Writes the last of it. Returns how many messages wait in the spool.
    pub(crate) fn close_spool(&mut self, patience: std::time::Duration) -> u64 {
        let waiting = self.spool.waiting().iter().map(|queue| queue.items).sum();
        if !self.spool.finish(patience) {
            tracing::error!("the spool could not be written to the end; what was not acknowledged may come again");
        }
        waiting
    }

    /// Drops what has waited for longer than its target wants.
    pub(crate) fn drop_old(&mut self, now: Instant) {
        let now_us = self.now_us(now);
        for queue in 0..self.queues.len() as u16 {
            let Some(age) = self.queues[usize::from(queue)].settings.max_age else { continue };
            let before = now_us.saturating_sub(age.as_micros() as u64);
            let old = |entry: &Entry| entry.tag.is_spooled() && entry.tag.route == queue && entry.received_us < before;
            let mut dropped = Vec::new();
            for slot in &mut self.brokers {
                while let Some(entry) = slot.lane.take_front(old) {
                    dropped.push(entry.tag);
                }
            }
            let orphans = &mut self.queues[usize::from(queue)].orphans;
            while orphans.front().is_some_and(old) {
                dropped.extend(orphans.pop_front().map(|entry| entry.tag));
            }
            for tag in dropped {
                self.drop_entry(tag, "too_old");
            }
        }
        self.spool.flush();
    }

    pub(crate) fn settle_decided(&mut self, origin: u32) {
        match self.origins.decided(origin) {
            Step::Decided => self.commit(origin),
            Step::Done => self.finish(origin),
            Step::Waits => {}
        }
    }

    pub(crate) fn settle_delivered(&mut self, origin: u32) {
        if self.origins.delivered(origin) == Step::Done {
            self.finish(origin);
        }
    }

    /// Nothing is due any more: the source is told.
    pub(crate) fn finish(&mut self, origin: u32) {
        let Some(done) = self.origins.remove(origin) else { return };
        if matches!(done.ack.token, Token::Nobody | Token::Replayed) {
            return;
        }
        let slot = &mut self.brokers[usize::from(done.ack.broker)];
        slot.held_bytes = slot.held_bytes.saturating_sub(done.weight_bytes);
        self.ack(done.ack);
    }
}

/// Whether so many messages, and bytes of them, are all that a queue may hold.
fn is_full(settings: &SpoolSettings, (items, bytes): (u64, u64)) -> bool {
    bytes >= settings.max_bytes || settings.max_messages.is_some_and(|max| items >= max)
}

pub(crate) fn parked_weight(parked: &Parked) -> usize {
    parked.message.weight_bytes() + parked.reason.len()
}

/// Several transactions on their way to become one record.
#[derive(Debug, Default)]
pub(crate) struct Merged(Transaction);

impl Merged {
    fn merge(&mut self, mut other: Transaction) {
        let all = &mut self.0;
        all.received_ms = if all.received_ms == 0 { other.received_ms } else { all.received_ms.min(other.received_ms) };
        all.taken.append(&mut other.taken);
        all.deliveries.append(&mut other.deliveries);
        all.parked.append(&mut other.parked);
        all.unparked.append(&mut other.unparked);
    }
}
