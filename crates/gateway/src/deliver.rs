//! The second half of the data path: from a decision to the lanes, from a lane to a session, and back to the source.

use crate::core::{Core, Kind, RouteTarget, Target, Token};
use crate::durable::LATE_US;
use crate::lane::{Entry, NO_ORIGIN, NO_SET, Pushed, SPOOLED, Tag};
use crate::plugins::{Decided, Job, To, Verdict};
use crate::sets::Policy;
use std::time::Instant;
use tidegate_link::Outgoing;
use tidegate_message::{ByteString, Message, Properties, QoS, Topic};
use tidegate_mqtt::{Completion, PublishError};

/// How much the arena for remapped topics takes at a time, in bytes.
const SCRATCH_BYTES: usize = 16 * 1024;

impl Core {
    /// What the plugins of a route have decided.
    pub(crate) fn decided(&mut self, route: u16, decided: Vec<Decided>, now: Instant) {
        // What plugins remember is part of the record of what they decided with it.
        let remembers = decided.iter().any(|one| matches!(one, Decided::Remember(..)));
        if remembers {
            self.begin_record();
        }
        for one in decided {
            match one {
                Decided::Remember(plugin, writes) => self.remember(&plugin, writes),
                Decided::Job(job, verdict) => {
                    self.left_pipeline(route);
                    self.verdict(route, job, verdict, now);
                }
                Decided::Tick(mut job, verdict) => {
                    let counters = &mut self.routes[usize::from(route)].counters;
                    counters.ticked += 1;
                    counters.in_flight += 1;
                    job.received_us = self.now_us(now);
                    self.verdict(route, job, verdict, now);
                }
            }
        }
        if remembers {
            self.end_record();
        }
    }

    fn left_pipeline(&mut self, route: u16) {
        let slot = &mut self.routes[usize::from(route)];
        slot.in_pipeline -= 1;
        if slot.full_since.is_some() && slot.in_pipeline <= crate::core::PIPELINE_JOBS_MAX / 2 {
            slot.full_since = None;
            self.hold_back.notify_one();
        }
    }

    fn verdict(&mut self, route: u16, job: Job, verdict: Verdict, now: Instant) {
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
            if self.routes[usize::from(route)].remap_response
                && let Some(answers) = message.properties.as_ref().and_then(|found| found.response_topic.clone())
                && let Some(answers) = self.remap(route, &answers)
                && let Some(properties) = &mut message.properties
            {
                properties.response_topic = Some(answers);
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
        let class = slot.class;
        let is_durable = slot.spooled && (origin != NO_ORIGIN || slot.persist_qos0 || message.qos > QoS::AtMostOnce);
        if is_durable {
            return self.stash_for(route, target.to, message, origin, received_us);
        }
        if !target.required {
            self.settle_decided(origin);
            origin = NO_ORIGIN;
        }
        let (brokers, set) = match target.to {
            Target::Broker(broker) => ((broker, Vec::new()), NO_SET),
            Target::Set(set) => match self.choose(set, &message.topic, now) {
                Some(brokers) => (brokers, set),
                None => return self.dropped(route, origin, "target_removed"),
            },
        };
        let (first, others) = brokers;
        if !others.is_empty() {
            self.copies(route, origin, others.len() + 1);
        }
        let tag = Tag { origin, route, set };
        for other in others {
            self.hand_over(other, Entry { message: message.clone(), tag, received_us, class }, now);
        }
        self.hand_over(first, Entry { message, tag, received_us, class }, now);
    }

    /// Into the queue of a target; of a set whose members all get everything, into that of each.
    fn stash_for(&mut self, route: u16, target: Target, message: Message, origin: u32, received_us: u64) {
        let members = match target {
            Target::Set(set) if self.sets[usize::from(set)].choice.policy == Policy::All => {
                self.sets[usize::from(set)].members.clone()
            }
            _ => return self.stash(route, target, message, origin, received_us),
        };
        let Some((last, others)) = members.split_last() else {
            return self.dropped(route, origin, "target_removed");
        };
        if !others.is_empty() {
            self.copies(route, origin, members.len());
        }
        for other in others {
            self.stash(route, Target::Broker(*other), message.clone(), origin, received_us);
        }
        self.stash(route, Target::Broker(*last), message, origin, received_us);
    }

    /// Into a lane; the source waits for the delivery.
    fn hand_over(&mut self, broker: u16, entry: Entry, now: Instant) {
        let origin = entry.tag.origin;
        if self.origins.hand_over(origin) == crate::origin::Step::Decided {
            self.commit(origin);
        }
        self.push(broker, entry, now);
    }

    /// To the member of a set whose turn it is.
    pub(crate) fn deliver_to_set(&mut self, set: u16, entry: Entry, now: Instant) {
        match self.choose(set, &entry.message.topic, now) {
            // Of a set whose members all get everything, each has a queue of its own.
            Some((broker, _)) => self.push(broker, entry, now),
            None => self.drop_entry(entry.tag, "target_removed"),
        }
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
            return self.drop_entry(entry.tag, "target_removed");
        }
        let tag = entry.tag;
        match slot.lane.push(entry, now) {
            Pushed::Taken => {}
            Pushed::HoldBack(until) => {
                // Only what is not in the spool can fill a lane.
                let source = self.routes[usize::from(tag.route)].source;
                self.hold_back(source, until);
            }
            Pushed::Dropped(oldest) => self.drop_entry(oldest.tag, "lane_full"),
        }
        self.touch(broker);
    }

    /// The next message for a broker.
    pub(crate) fn pull(&mut self, broker: u16, mut has_room: bool, now: Instant) -> Option<Outgoing> {
        has_room &= !self.brokers[usize::from(broker)].troubles.rests(now);
        loop {
            let now_us = self.now_us(now);
            let slot = &mut self.brokers[usize::from(broker)];
            let held_back = slot.lane.holds_back(now);
            let late = now_us.saturating_sub(LATE_US);
            let may_drain = slot.pace.as_mut().is_none_or(|pace| pace.admits(now));
            slot.paced = !may_drain;
            let Entry { mut message, tag, received_us, .. } = slot.lane.pop(has_room, (!may_drain).then_some(late))?;
            if let Some(pace) = slot.pace.as_mut().filter(|_| received_us < late) {
                pace.take();
            }
            if held_back && !slot.lane.holds_back(now) {
                self.hold_back.notify_one();
            }
            let waited_us = now_us.saturating_sub(received_us);
            if let Some(properties) = &mut message.properties
                && let Some(expiry) = &mut properties.message_expiry_seconds
            {
                // Counted down while it waits (MQTT 5.0 section 3.3.2.3.3).
                match u64::from(*expiry).checked_sub(waited_us / 1_000_000).filter(|left| *left > 0) {
                    Some(left) => *expiry = left as u32,
                    None => {
                        self.drop_entry(tag, "expired");
                        continue;
                    }
                }
            }
            if tag.is_spooled() {
                let settings = &self.queues[usize::from(tag.route)].settings;
                if settings.max_age.is_some_and(|age| u128::from(waited_us) >= age.as_micros()) {
                    self.drop_entry(tag, "too_old");
                    continue;
                }
                if settings.mark_late.is_some_and(|late| u128::from(waited_us) >= late.as_micros()) {
                    mark_late(&mut message, waited_us / 1_000_000);
                }
            } else if message.qos == QoS::AtMostOnce {
                self.routes[usize::from(tag.route)].counters.latency.record(waited_us);
            }
            if self.brokers[usize::from(broker)].echo.in_ring {
                self.note_sent(broker, &message, now);
            }
            return Some(Outgoing { key: tag.key(), message });
        }
    }

    /// Deliveries that are done.
    pub(crate) fn completed(&mut self, broker: u16, completions: &[Completion], now: Instant) {
        let slot = &mut self.brokers[usize::from(broker)];
        slot.sent += completions.len() as u64;
        slot.troubles.well();
        for Completion { key, reason } in completions {
            let tag = Tag::from_key(*key);
            if reason.is_error() {
                self.drop_entry(tag, "refused_by_target");
            } else {
                self.completed_one(tag, now);
            }
        }
        self.spool.flush();
    }

    /// One delivery is done.
    pub(crate) fn completed_one(&mut self, tag: Tag, now: Instant) {
        let now_us = self.now_us(now);
        let (route, received_us) = if tag.is_spooled() {
            let Some((route, received_us)) = self.spool_done(tag) else { return };
            (route, Some(received_us))
        } else {
            (tag.route, self.origins.received_us(tag.origin))
        };
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.out += 1;
        counters.in_flight -= 1;
        if let Some(received_us) = received_us {
            counters.latency.record(now_us.saturating_sub(received_us));
        }
        if !tag.is_spooled() {
            self.settle_delivered(tag.origin);
        }
    }

    /// A message that a broker can never take.
    pub(crate) fn refused(&mut self, key: u64, error: &PublishError) {
        let reason = match error {
            PublishError::TooLarge { .. } => "too_large_for_target",
            PublishError::Full => "target_full",
        };
        self.drop_entry(Tag::from_key(key), reason);
    }

    /// A message that waited in a lane or a session ends here.
    pub(crate) fn drop_entry(&mut self, tag: Tag, reason: &str) {
        let route = if tag.is_spooled() {
            let Some((route, _)) = self.spool_done(tag) else { return };
            route
        } else {
            tag.route
        };
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.dropped(reason);
        counters.in_flight -= 1;
        if !tag.is_spooled() {
            self.settle_delivered(tag.origin);
        }
    }

    /// A message, or one copy of it, ends here before it is on its way to a target.
    pub(crate) fn dropped(&mut self, route: u16, origin: u32, reason: &str) {
        let counters = &mut self.routes[usize::from(route)].counters;
        counters.dropped(reason);
        counters.in_flight -= 1;
        self.settle_decided(origin);
    }

    /// A parked message enters its route again. It stays parked until it is taken care of.
    ///
    /// One that a target did not take goes to that target again.
    pub(crate) fn replay(&mut self, number: u64, now: Instant) -> Result<(), ReplayError> {
        let target = self.parked_for(number)?;
        self.replay_parked(number, target, now)
    }

    pub(crate) fn replay_parked(
        &mut self,
        number: u64,
        target: Option<Target>,
        now: Instant,
    ) -> Result<(), ReplayError> {
        let parked = self.spool.parked().get(&number).ok_or(ReplayError::Unknown)?.clone();
        let found = self.routes.iter().position(|route| *route.name == *parked.route && !route.removed);
        let Some(route) = found.map(|at| at as u16) else { return Err(ReplayError::NoRoute(parked.route)) };
        if !self.replaying.insert(number) {
            return Err(ReplayError::Unknown);
        }
        let (id, received_us) = (self.new_id(), self.now_us(now));
        let origin = self.no_source(Token::Replayed, received_us);
        if let Some(origin) = self.origins.get_mut(origin) {
            origin.stash.unparked.push(number);
        }
        let slot = &mut self.routes[usize::from(route)];
        slot.counters.replayed += 1;
        slot.counters.in_flight += 1;
        let tidegate_spool::Parked { message, received_ms, .. } = parked;
        if let Some(to) = target {
            let target = RouteTarget { to, required: true };
            self.deliver(route, &target, message, origin, received_us, now);
        } else if slot.has_stages {
            let job = Job { message, origin, id, received_ms, received_us, redelivered: true };
            self.queue_job(route, job, now);
        } else {
            self.onward(route, message, origin, received_us, now);
        }
        self.flush(now);
        Ok(())
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
        let sets: Vec<Option<u16>> = (0..self.queues.len() as u16)
            .map(|queue| self.set_of(Tag { origin: 0, route: queue, set: SPOOLED }))
            .collect();
        let is_movable = |tag: Tag| {
            let set = if tag.is_spooled() { sets[usize::from(tag.route)] } else { Some(tag.set) };
            set.is_some_and(|set| movable.contains(&set))
        };
        let slot = &mut self.brokers[usize::from(broker)];
        let mut moved = Vec::new();
        if let Kind::Link(handle) = &slot.kind {
            let handle = handle.clone();
            // What was sent and not acknowledged may have arrived: at least once is what is left of QoS 2 here.
            for (key, message) in handle.take_back(|key| is_movable(Tag::from_key(key))) {
                let tag = Tag::from_key(key);
                moved.push(self.entry(tag, message));
            }
        }
        moved.extend(self.brokers[usize::from(broker)].lane.take(is_movable));
        let count = moved.len();
        for entry in moved {
            match self.set_of(entry.tag) {
                Some(set) => self.deliver_to_set(set, entry, now),
                None => self.drop_entry(entry.tag, "target_removed"),
            }
        }
        self.flush(now);
        count
    }

    /// A broker is no longer configured: what waits for it ends here.
    pub(crate) fn remove_broker(&mut self, broker: u16) {
        let now = Instant::now();
        let slot = &mut self.brokers[usize::from(broker)];
        let kind = std::mem::replace(&mut slot.kind, Kind::Gone);
        let mut waiting = Vec::new();
        let mut released = Vec::new();
        if let Kind::Link(handle) = kind {
            let (unfinished, done) = handle.abandon();
            waiting.extend(unfinished.into_iter().map(|(key, message)| self.entry(Tag::from_key(key), message)));
            released = done;
        }
        waiting.extend(self.brokers[usize::from(broker)].lane.take(|_| true));
        for entry in waiting {
            if entry.tag.is_spooled() {
                // It is durable: it waits for the broker to come back, or goes to another of its set.
                self.forget_target(Target::Broker(broker));
                self.place(entry.tag.route, entry, now);
            } else {
                self.drop_entry(entry.tag, "target_removed");
            }
        }
        for key in released {
            self.completed_one(Tag::from_key(key), now);
        }
    }

    /// A message that was in a session, as an entry again.
    pub(crate) fn entry(&self, tag: Tag, message: Message) -> Entry {
        let (received_us, class) = if tag.is_spooled() {
            let received_ms = self.spool.received_ms(tag.route, tag.origin).unwrap_or_default();
            (received_ms * 1000, self.queues[usize::from(tag.route)].class)
        } else {
            let class = self.routes[usize::from(tag.route)].class;
            (self.origins.received_us(tag.origin).unwrap_or_default(), class)
        };
        Entry { message, tag, received_us, class }
    }
}

/// The user property that says how late a message is, in seconds.
const LATE: ByteString = ByteString::from_static("tidegate-late");

fn mark_late(message: &mut Message, seconds: u64) {
    let properties = message.properties.get_or_insert_with(|| Box::new(Properties::default()));
    properties.user.push((LATE, ByteString::from(seconds.to_string())));
}

/// How many members of a set are looked at.
pub(crate) const MEMBERS_MAX: usize = 16;

/// Why a parked message was not replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplayError {
    Unknown,
    NoRoute(String),
    NoTarget(String),
}
