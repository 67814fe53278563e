//! The second half of the data path: from a decision to the lanes, from a lane to a session, and back to the source.

use crate::core::{Core, Kind, RouteTarget, Target};
use crate::lane::{Entry, NO_ORIGIN, NO_SET, Pushed, Tag};
use crate::parked::Parked;
use crate::pipeline::{Decided, Job, Parking, To, Verdict};
use crate::sets::Policy;
use std::time::Instant;
use tidegate_link::Outgoing;
use tidegate_message::{ByteString, Message, QoS, Topic};
use tidegate_mqtt::{Completion, PublishError, ReasonCode};

/// How much the arena for remapped topics takes at a time, in bytes.
const SCRATCH_BYTES: usize = 16 * 1024;

impl Core {
    /// What the plugins of a route have decided.
    pub(crate) fn decided(&mut self, route: u16, decided: Vec<Decided>, now: Instant) {
        for one in decided {
            match one {
                Decided::Job(job, verdict) => self.verdict(route, job, verdict, now),
                Decided::Tick(outputs) => {
                    let counters = &mut self.routes[usize::from(route)].counters;
                    counters.ticked += outputs.len() as u64;
                    counters.in_flight += outputs.len() as u64;
                    let received_us = self.since_start_us(now);
                    for (to, message) in outputs {
                        self.output(route, to, message, NO_ORIGIN, received_us, now);
                    }
                }
            }
        }
    }

    fn verdict(&mut self, route: u16, job: Job, verdict: Verdict, now: Instant) {
        let slot = &mut self.routes[usize::from(route)];
        slot.in_pipeline -= 1;
        if slot.full_since.is_some() && slot.in_pipeline <= crate::core::PIPELINE_JOBS_MAX / 2 {
            slot.full_since = None;
            self.hold_back.notify_one();
        }
        match verdict {
            Verdict::Onward => self.onward(route, job.message, job.origin, job.received_us, now),
            Verdict::Outputs(outputs) => {
                self.copies(route, job.origin, outputs.len());
                for (to, message) in outputs {
                    self.output(route, to, message, job.origin, job.received_us, now);
                }
            }
            Verdict::Drop(reason) => self.dropped(route, job.origin, &reason),
            Verdict::Failed => self.dropped(route, job.origin, "plugin_failed"),
            Verdict::Park(why) => self.park(route, job, why),
        }
    }

    /// One message has become so many.
    fn copies(&mut self, route: u16, origin: u32, count: usize) {
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.copies += count as u64 - 1;
        counters.in_flight += count as u64 - 1;
        if origin != NO_ORIGIN {
            self.origins.expect(origin, count as u32 - 1);
        }
    }

    fn output(&mut self, route: u16, to: To, message: Message, origin: u32, received_us: u64, now: Instant) {
        match to {
            To::Onward => self.onward(route, message, origin, received_us, now),
            To::Target(name) => match self.targets.get(&name) {
                Some(target) => {
                    let target = RouteTarget { to: *target, required: true };
                    self.deliver(route, &target, message, origin, received_us, now);
                }
                None => self.dropped(route, origin, "target_removed"),
            },
        }
    }

    /// To the route's own targets, under the remapped topic.
    pub(crate) fn onward(&mut self, route: u16, mut message: Message, origin: u32, received_us: u64, now: Instant) {
        let slot = &self.routes[usize::from(route)];
        let targets = slot.targets.clone();
        if !slot.strip.is_empty() || !slot.prefix.is_empty() {
            match self.remap(route, &message.topic) {
                Some(topic) => message.topic = topic,
                None => return self.dropped(route, origin, "remap"),
            }
        }
        let Some((last, others)) = targets.split_last() else {
            return self.dropped(route, origin, "no_target");
        };
        if !others.is_empty() {
            self.copies(route, origin, targets.len());
        }
        for target in others {
            self.deliver(route, target, message.clone(), origin, received_us, now);
        }
        self.deliver(route, last, message, origin, received_us, now);
    }

    /// The topic with one prefix taken off and another put before it; `None` if it has not that prefix or nothing is left.
    fn remap(&mut self, route: u16, topic: &Topic) -> Option<Topic> {
        let slot = &self.routes[usize::from(route)];
        let mut prefix = slot.prefix.as_str();
        let rest = match topic.as_str().strip_prefix(slot.strip.as_str()) {
            Some(rest) => rest,
            // `dev/#` matches `dev` too: see `tidegate_config::Remap`.
            None if slot.strip.strip_suffix('/') == Some(topic.as_str()) => {
                prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                ""
            }
            None => return None,
        };
        if self.scratch.capacity() < prefix.len() + rest.len() {
            self.scratch.reserve(SCRATCH_BYTES);
        }
        self.scratch.extend_from_slice(prefix.as_bytes());
        self.scratch.extend_from_slice(rest.as_bytes());
        let text = ByteString::try_from(self.scratch.split().freeze()).ok()?;
        Topic::new(text).ok()
    }

    /// To one target, which may be several brokers.
    fn deliver(
        &mut self,
        route: u16,
        target: &RouteTarget,
        mut message: Message,
        mut origin: u32,
        received_us: u64,
        now: Instant,
    ) {
        let slot = &self.routes[usize::from(route)];
        if let Some(qos) = slot.qos {
            message.qos = qos;
        }
        message.retain &= !slot.clear_retain;
        if !target.required {
            self.settle(origin);
            origin = NO_ORIGIN;
        }
        match target.to {
            Target::Broker(broker) => {
                let tag = Tag { origin, route, set: NO_SET };
                self.push(broker, Entry { message, tag, received_us }, now);
            }
            Target::Set(set) => {
                self.deliver_to_set(set, Entry { message, tag: Tag { origin, route, set }, received_us }, now)
            }
        }
    }

    fn deliver_to_set(&mut self, set: u16, entry: Entry, now: Instant) {
        let Some((broker, others)) = self.choose(set, &entry.message.topic, now) else {
            return self.dropped(entry.tag.route, entry.tag.origin, "target_removed");
        };
        if !others.is_empty() {
            self.copies(entry.tag.route, entry.tag.origin, others.len() + 1);
        }
        for other in others {
            let entry = Entry { message: entry.message.clone(), tag: entry.tag, received_us: entry.received_us };
            self.push(other, entry, now);
        }
        self.push(broker, entry, now);
    }

    /// The members of a set that get a message: one, or one and all others.
    fn choose(&mut self, set: u16, topic: &Topic, now: Instant) -> Option<(u16, Vec<u16>)> {
        let slot = &mut self.sets[usize::from(set)];
        let (first, others) = slot.members.split_first()?;
        if slot.choice.policy == Policy::All {
            return Some((*first, others.to_vec()));
        }
        let mut health = [crate::sets::Health::default(); MEMBERS_MAX];
        let count = slot.members.len().min(MEMBERS_MAX);
        for (at, member) in slot.members[..count].iter().enumerate() {
            health[at] = self.brokers[usize::from(*member)].health;
        }
        let hash = self.hasher.hash_one(topic.as_str());
        let at = slot.choice.choose(&health[..count], hash, now);
        slot.members.get(at).map(|broker| (*broker, Vec::new()))
    }

    /// Into the lane of one broker.
    pub(crate) fn push(&mut self, broker: u16, entry: Entry, now: Instant) {
        let slot = &mut self.brokers[usize::from(broker)];
        if slot.is_gone() {
            return self.dropped(entry.tag.route, entry.tag.origin, "target_removed");
        }
        let route = entry.tag.route;
        match slot.lane.push(entry, now) {
            Pushed::Taken => {}
            Pushed::HoldBack(until) => {
                let source = self.routes[usize::from(route)].source;
                self.hold_back(source, until);
            }
            Pushed::Dropped(oldest) => self.dropped(oldest.tag.route, oldest.tag.origin, "lane_full"),
        }
        self.touch(broker);
    }

    /// The next message for a broker.
    pub(crate) fn pull(&mut self, broker: u16, has_room: bool, now: Instant) -> Option<Outgoing> {
        loop {
            let slot = &mut self.brokers[usize::from(broker)];
            let held_back = slot.lane.holds_back(now);
            let Entry { mut message, tag, received_us } = slot.lane.pop(has_room)?;
            if held_back && !slot.lane.holds_back(now) {
                self.hold_back.notify_one();
            }
            let waited_us = self.since_start_us(now).saturating_sub(received_us);
            if let Some(properties) = &mut message.properties
                && let Some(expiry) = &mut properties.message_expiry_seconds
            {
                // Counted down while it waits (MQTT 5.0 section 3.3.2.3.3).
                match u64::from(*expiry).checked_sub(waited_us / 1_000_000).filter(|left| *left > 0) {
                    Some(left) => *expiry = left as u32,
                    None => {
                        self.dropped(tag.route, tag.origin, "expired");
                        continue;
                    }
                }
            }
            if message.qos == QoS::AtMostOnce {
                self.routes[usize::from(tag.route)].counters.latency.record(waited_us);
            }
            return Some(Outgoing { key: tag.key(), message });
        }
    }

    /// Deliveries that are done.
    pub(crate) fn completed(&mut self, broker: u16, completions: &[Completion], now: Instant) {
        let now_us = self.since_start_us(now);
        self.brokers[usize::from(broker)].sent += completions.len() as u64;
        for Completion { key, reason } in completions {
            let tag = Tag::from_key(*key);
            if reason.is_error() {
                self.dropped(tag.route, tag.origin, "refused_by_target");
                continue;
            }
            let received_us = self.origins.received_us(tag.origin);
            let counters = &mut self.routes[usize::from(tag.route)].counters;
            counters.out += 1;
            counters.in_flight -= 1;
            if let Some(received_us) = received_us {
                counters.latency.record(now_us.saturating_sub(received_us));
            }
            self.settle(tag.origin);
        }
    }

    /// A message that a broker can never take.
    pub(crate) fn refused(&mut self, key: u64, error: &PublishError) {
        let tag = Tag::from_key(key);
        let reason = match error {
            PublishError::TooLarge { .. } => "too_large_for_target",
            PublishError::Full => "target_full",
        };
        self.dropped(tag.route, tag.origin, reason);
    }

    /// A message, or one copy of it, ends here.
    pub(crate) fn dropped(&mut self, route: u16, origin: u32, reason: &str) {
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.dropped(reason);
        counters.in_flight -= 1;
        self.settle(origin);
    }

    fn park(&mut self, route: u16, job: Job, why: Parking) {
        let slot = &mut self.routes[usize::from(route)];
        let parked = Parked { route: slot.name.clone(), why, message: job.message, received_ms: job.received_ms };
        let (origin, plugin, kind) = (job.origin, parked.why.plugin.clone(), parked.why.kind);
        match self.parked.park(parked) {
            Some(number) => {
                tracing::debug!(number, route = &*slot.name, plugin = &*plugin, kind, "parked a message");
                slot.counters.parked += 1;
                slot.counters.in_flight -= 1;
                self.settle(origin);
            }
            None => self.dropped(route, origin, "parking_full"),
        }
    }

    /// A parked message enters its route again.
    pub(crate) fn replay(&mut self, number: u64, now: Instant) -> Result<(), ReplayError> {
        let parked = self.parked.take(number).ok_or(ReplayError::Unknown)?;
        let found = self.routes.iter().position(|route| route.name == parked.route && !route.removed);
        let Some(route) = found.map(|at| at as u16) else {
            let name = parked.route.to_string();
            // There was room for it before.
            let _ = self.parked.park(parked);
            return Err(ReplayError::NoRoute(name));
        };
        let (id, received_us) = (self.new_id(), self.since_start_us(now));
        let slot = &mut self.routes[usize::from(route)];
        slot.counters.replayed += 1;
        slot.counters.in_flight += 1;
        if slot.has_stages {
            let Parked { message, received_ms, .. } = parked;
            let job = Job { message, origin: NO_ORIGIN, id, received_ms, received_us, redelivered: true };
            self.queue_job(route, job, now);
        } else {
            self.onward(route, parked.message, NO_ORIGIN, received_us, now);
        }
        self.flush(now);
        Ok(())
    }

    /// One delivery of a source's message is done; the last one acknowledges it.
    pub(crate) fn settle(&mut self, origin: u32) {
        if let Some(done) = self.origins.done(origin) {
            let slot = &mut self.brokers[usize::from(done.ack.broker)];
            slot.held_bytes = slot.held_bytes.saturating_sub(done.weight_bytes);
            self.ack(done.ack);
        }
    }

    /// A broker has been away for too long: what waits for it as a member of a set goes to the others.
    /// Returns how many messages moved.
    pub(crate) fn give_up(&mut self, broker: u16, now: Instant) -> usize {
        self.brokers[usize::from(broker)].health.given_up = true;
        let movable: Vec<u16> = (0..self.sets.len() as u16)
            .filter(|set| {
                let set = &self.sets[usize::from(*set)];
                set.choice.policy != Policy::All && set.members.len() > 1 && set.members.contains(&broker)
            })
            .collect();
        let slot = &mut self.brokers[usize::from(broker)];
        let mut moved = Vec::new();
        if let Kind::Link(handle) = &slot.kind {
            // What was sent and not acknowledged may have arrived: at least once is what is left of QoS 2 here.
            for (key, message) in handle.take_back(|key| movable.contains(&Tag::from_key(key).set)) {
                let tag = Tag::from_key(key);
                let received_us = self.origins.received_us(tag.origin).unwrap_or_default();
                moved.push(Entry { message, tag, received_us });
            }
        }
        moved.extend(slot.lane.take(|tag| movable.contains(&tag.set)));
        let count = moved.len();
        for entry in moved {
            self.deliver_to_set(entry.tag.set, entry, now);
        }
        self.flush(now);
        count
    }

    /// A broker is no longer configured: what waits for it ends here.
    pub(crate) fn remove_broker(&mut self, broker: u16) {
        let slot = &mut self.brokers[usize::from(broker)];
        let kind = std::mem::replace(&mut slot.kind, Kind::Gone);
        let waiting: Vec<Tag> = slot.lane.take(|_| true).into_iter().map(|entry| entry.tag).collect();
        for tag in waiting {
            self.dropped(tag.route, tag.origin, "target_removed");
        }
        if let Kind::Link(handle) = kind {
            let (unfinished, released) = handle.abandon();
            for (key, _) in unfinished {
                let tag = Tag::from_key(key);
                self.dropped(tag.route, tag.origin, "target_removed");
            }
            let done: Vec<Completion> =
                released.into_iter().map(|key| Completion { key, reason: ReasonCode::SUCCESS }).collect();
            self.completed(broker, &done, Instant::now());
        }
    }
}

/// How many members of a set are looked at.
pub(crate) const MEMBERS_MAX: usize = 16;

/// Why a parked message was not replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplayError {
    Unknown,
    NoRoute(String),
}
