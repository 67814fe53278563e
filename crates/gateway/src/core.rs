//! The data path: from what a broker sent to what another is sent. One thread owns all of this.
//!
//! Reads like the walk of a message: [`Core::received`] finds the routes, plugins decide on their own threads,
//! [`Core::decided`] takes their verdicts, `deliver.rs` resolves targets and fills lanes, [`Core::pull`] empties them,
//! [`Core::completed`] acknowledges the source.

use crate::capabilities::{Echo, Ring};
use crate::counters::RouteCounters;
use crate::durable::{Merged, Pace, QueueSlot};
use crate::lane::{Lane, NO_ORIGIN};
use crate::links::Troubles;
use crate::origin::Origins;
use crate::plugins::{Decided, Inbox, Job, Outbox};
use crate::sets::{Choice, Health};
use ahash::{AHashMap, AHashSet, RandomState};
use bytes::BytesMut;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_broker::{Local, LocalAck, LocalReceived};
use tidegate_config::SpoolSettings;
use tidegate_link::LinkHandle;
use tidegate_message::{Message, QoS, SubscriptionIndex, Topic, TopicFilter};
use tidegate_mqtt::{AckToken, Received};
use tidegate_spool::{DiskStatus, NameId, NameKind, News, Spool, StateWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How many jobs a route's plugins may have before them. Beyond, sources hold back, then the oldest that nobody waits for
/// is dropped.
pub(crate) const PIPELINE_JOBS_MAX: usize = 8 * 1024;

/// How much of one source's messages may wait for delivery, in bytes; beyond, it is read only once a second.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a source that is held back waits at most before it is read again.
pub(crate) const HOLD_BACK: Duration = Duration::from_secs(1);

/// How many topics a broker's route cache holds.
const CACHED_TOPICS: usize = 1024;

/// A few messages are waited for, for so long, before this thread goes to sleep: waking it again would cost more.
const AWAITED_JOBS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_micros(60);

/// After a wait in vain so many chances to wait are passed over, then twice as many, up to the last.
const VAIN_MIN: u32 = 8;
const VAIN_MAX: u32 = 1024;

/// Whether waiting for plugins has paid lately. A slow plugin costs the data path one short wait in a thousand batches.
#[derive(Debug, Default)]
struct Patience {
    pass_over: u32,
    next: u32,
}

impl Patience {
    fn admits(&mut self) -> bool {
        let admits = self.pass_over == 0;
        self.pass_over = self.pass_over.saturating_sub(1);
        admits
    }

    fn learn(&mut self, came: bool) {
        if came {
            self.next = VAIN_MIN;
        } else {
            self.pass_over = self.next.max(VAIN_MIN);
            self.next = (self.pass_over * 2).min(VAIN_MAX);
        }
    }
}

/// How a source is told that a message is taken care of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceAck {
    pub(crate) broker: u16,
    pub(crate) token: Token,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    Link(AckToken),
    Embedded(LocalAck),
    /// A parked message that enters its route again.
    Replayed,
    /// Nobody waits, and it goes into the spool all the same.
    Nobody,
}

/// What a broker is.
pub(crate) enum Kind {
    Link(LinkHandle),
    Embedded {
        local: Local,
        /// What we are subscribed to there.
        subscribed: Vec<(TopicFilter, QoS)>,
        /// Acknowledgements and messages wait for the broker's own turn: it may be in the middle of one now.
        acks: Vec<LocalAck>,
        wake: Rc<Notify>,
    },
    /// Not configured any more.
    Gone,
}

impl Kind {
    /// Stops taking messages from it, or goes on.
    fn pause(&self, paused: bool) {
        match self {
            Self::Link(handle) => handle.pause(paused),
            Self::Embedded { local, .. } => local.pause(paused),
            Self::Gone => {}
        }
    }
}

/// One broker.
pub(crate) struct BrokerSlot {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    pub(crate) index: SubscriptionIndex<u16>,
    cache: Vec<Option<(Topic, Rc<[u16]>)>>,
    pub(crate) health: Health,
    pub(crate) down_since: Option<Instant>,
    pub(crate) last_error: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) held_back_until: Option<Instant>,
    /// Weight of its messages that wait for delivery.
    pub(crate) held_bytes: usize,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) unrouted: u64,
    /// Copies that it sent because several of our subscriptions overlap.
    pub(crate) copies: u64,
    /// The last message that bore a subscription identifier, and which it and its copies bore.
    last_with_id: Option<(Message, Vec<u32>)>,
    pub(crate) connects: u64,
    pub(crate) sessions_lost: u64,
    /// In the log, as a source and as a link; `None` for the box's own broker, whose sessions end with the process.
    pub(crate) source_id: Option<NameId>,
    pub(crate) link_id: Option<NameId>,
    /// What must be durable before the link may write what it has in its buffer.
    pub(crate) gate: u64,
    /// How fast a backlog may leave.
    pub(crate) pace: Option<Pace>,
    /// A backlog waits for `pace`.
    pub(crate) paced: bool,
    /// What its link tells of it.
    pub(crate) troubles: Troubles,
    pub(crate) echo: Echo,
    dirty: bool,
}

impl BrokerSlot {
    pub(crate) fn new(name: Arc<str>, kind: Kind) -> Self {
        Self {
            name,
            kind,
            lane: Lane::default(),
            index: SubscriptionIndex::new(),
            cache: vec![None; CACHED_TOPICS],
            health: Health::default(),
            down_since: None,
            last_error: None,
            version: None,
            held_back_until: None,
            held_bytes: 0,
            received: 0,
            sent: 0,
            unrouted: 0,
            copies: 0,
            last_with_id: None,
            connects: 0,
            sessions_lost: 0,
            source_id: None,
            link_id: None,
            gate: 0,
            pace: None,
            paced: false,
            troubles: Troubles::default(),
            echo: Echo::default(),
            dirty: false,
        }
    }

    /// Whether a message is another copy of the last one, sent for another subscription that matches too: a broker may
    /// send one for each (MQTT 5.0 section 3.3.4), one behind the other. Only subscriptions that overlap have identifiers.
    fn is_copy(&mut self, message: &Message, id: u32) -> bool {
        if let Some((last, ids)) = &mut self.last_with_id
            && !ids.contains(&id)
            && (&last.topic, &last.payload, &last.properties) == (&message.topic, &message.payload, &message.properties)
        {
            ids.push(id);
            self.copies += 1;
            return true;
        }
        self.last_with_id = Some((message.clone(), vec![id]));
        false
    }

    /// The routes of a topic, from the cache or the index.
    fn routes(&mut self, topic: &Topic, hasher: &RandomState) -> Rc<[u16]> {
        let at = hasher.hash_one(topic.as_str()) as usize % CACHED_TOPICS;
        if let Some((cached, routes)) = &self.cache[at]
            && cached == topic
        {
            return routes.clone();
        }
        let mut routes = Vec::new();
        self.index.for_each_match(topic, |route| {
            // A route with two filters that both match gets the message once.
            if !routes.contains(route) {
                routes.push(*route);
            }
        });
        let routes: Rc<[u16]> = routes.into();
        self.cache[at] = Some((topic.detached(), routes.clone()));
        routes
    }

    pub(crate) fn forget_cache(&mut self) {
        self.cache.fill(None);
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone)
    }
}

/// Where a route's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteTarget {
    pub(crate) to: Target,
    /// The source waits for it.
    pub(crate) required: bool,
}

/// A broker or a set of them, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Broker(u16),
    Set(u16),
}

/// A name for several brokers.
pub(crate) struct SetSlot {
    pub(crate) choice: Choice,
    pub(crate) members: Vec<u16>,
}

/// One route.
pub(crate) struct RouteSlot {
    pub(crate) name: Arc<str>,
    pub(crate) source: u16,
    pub(crate) targets: Rc<[RouteTarget]>,
    pub(crate) strip: String,
    pub(crate) prefix: String,
    pub(crate) qos: Option<QoS>,
    pub(crate) clear_retain: bool,
    /// What its plugins wait on; `None` while it has never had any.
    pub(crate) inbox: Option<Arc<Inbox>>,
    pub(crate) has_stages: bool,
    pub(crate) jobs: Vec<Job>,
    /// Jobs in `jobs`, in the inbox and on the plugins' thread.
    pub(crate) in_pipeline: usize,
    pub(crate) full_since: Option<Instant>,
    pub(crate) counters: RouteCounters,
    pub(crate) plugins: Vec<PluginInfo>,
    pub(crate) removed: bool,
    /// It would feed itself: what comes for it is dropped.
    pub(crate) paused: bool,
    /// The response topic of what goes out is remapped as its topic is.
    pub(crate) remap_response: bool,
    /// What a source waits for goes through the spool.
    pub(crate) spooled: bool,
    /// What nobody waits for does, too.
    pub(crate) persist_qos0: bool,
    pub(crate) class: u8,
    /// In the log.
    pub(crate) name_id: NameId,
    dirty: bool,
}

/// What is running in a route, for people.
#[derive(Debug, Clone)]
pub(crate) struct PluginInfo {
    pub(crate) name: Arc<str>,
    pub(crate) digest: String,
    pub(crate) counters: Arc<crate::counters::StageCounters>,
}

impl RouteSlot {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            source: 0,
            targets: Rc::new([]),
            strip: String::new(),
            prefix: String::new(),
            qos: None,
            clear_retain: false,
            inbox: None,
            has_stages: false,
            jobs: Vec::new(),
            in_pipeline: 0,
            full_since: None,
            counters: RouteCounters::default(),
            plugins: Vec::new(),
            removed: false,
            paused: false,
            remap_response: false,
            spooled: false,
            persist_qos0: false,
            class: crate::lane::NORMAL,
            name_id: 0,
            dirty: false,
        }
    }

    /// Whether a message may go straight to the targets: without plugins, and with none before it that is with them.
    fn is_direct(&self) -> bool {
        !self.has_stages && (self.in_pipeline == 0 || self.inbox.is_none())
    }
}

/// Everything the data path owns.
pub(crate) struct Core {
    pub(crate) started: Instant,
    pub(crate) brokers: Vec<BrokerSlot>,
    pub(crate) sets: Vec<SetSlot>,
    pub(crate) routes: Vec<RouteSlot>,
    /// Brokers and sets by name.
    pub(crate) targets: AHashMap<Arc<str>, Target>,
    pub(crate) origins: Origins<SourceAck>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) spool: Spool,
    pub(crate) news: News,
    /// Origins whose record is written and not durable, with its sequence.
    pub(crate) written: VecDeque<(u64, u32)>,
    /// Origins that wait for room in a queue, with their source, in order.
    pub(crate) blocked: VecDeque<(u16, u32)>,
    pub(crate) queues: Vec<QueueSlot>,
    pub(crate) queue_ids: AHashMap<(Target, u8), u16>,
    pub(crate) spool_settings: HashMap<String, SpoolSettings>,
    pub(crate) routes_by_id: AHashMap<NameId, u16>,
    /// Messages in the spool that the routes' accounts know of.
    pub(crate) in_spool: u64,
    pub(crate) parked_bytes: usize,
    pub(crate) last_parked: u64,
    /// Parked messages that are in their routes again.
    pub(crate) replaying: AHashSet<u64>,
    pub(crate) disk: DiskStatus,
    /// Cancelled when the disk has failed: only a restart finds out what is durable.
    pub(crate) disk_failed: CancellationToken,
    /// What plugins want remembered with the record that is being made.
    pub(crate) state_writes: Vec<StateWrite>,
    pub(crate) batching: bool,
    pub(crate) batch: Merged,
    pub(crate) batch_origins: Vec<u32>,
    started_us: u64,
    pub(crate) draining: bool,
    pub(crate) rings: Vec<Ring>,
    patience: Patience,
    decided: Vec<(u16, Vec<Decided>)>,
    /// Somebody is held back: the supervisor looks again soon.
    pub(crate) hold_back: Rc<Notify>,
    pub(crate) hasher: RandomState,
    pub(crate) scratch: BytesMut,
    next_id: u64,
    dirty_brokers: Vec<u16>,
    dirty_routes: Vec<u16>,
}

impl Core {
    pub(crate) fn new(outbox: Arc<Outbox>, spool: Spool) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Self {
            started: Instant::now(),
            brokers: Vec::new(),
            sets: Vec::new(),
            routes: Vec::new(),
            targets: AHashMap::new(),
            origins: Origins::default(),
            outbox,
            spool,
            news: News::default(),
            written: VecDeque::new(),
            blocked: VecDeque::new(),
            queues: Vec::new(),
            queue_ids: AHashMap::new(),
            spool_settings: HashMap::new(),
            routes_by_id: AHashMap::new(),
            in_spool: 0,
            parked_bytes: 0,
            last_parked: 0,
            replaying: AHashSet::new(),
            disk: DiskStatus::Good,
            disk_failed: CancellationToken::new(),
            state_writes: Vec::new(),
            batching: false,
            batch: Merged::default(),
            batch_origins: Vec::new(),
            started_us: since_epoch,
            draining: false,
            rings: Vec::new(),
            patience: Patience::default(),
            decided: Vec::new(),
            hold_back: Rc::new(Notify::new()),
            hasher: RandomState::new(),
            scratch: BytesMut::new(),
            // Numbers of different runs do not meet: a microsecond a message, since the epoch.
            next_id: since_epoch,
            dirty_brokers: Vec::new(),
            dirty_routes: Vec::new(),
        }
    }

    /// In microseconds since the epoch, by a clock that was right at the start and never jumps afterwards.
    pub(crate) fn now_us(&self, now: Instant) -> u64 {
        self.started_us + now.saturating_duration_since(self.started).as_micros() as u64
    }

    /// Writes down what a broker, or a route, is called.
    pub(crate) fn name_broker(&mut self, broker: u16) {
        let slot = &mut self.brokers[usize::from(broker)];
        if matches!(slot.kind, Kind::Link(_)) {
            slot.source_id = Some(self.spool.name(NameKind::Source, &slot.name));
            slot.link_id = Some(self.spool.name(NameKind::Link, &slot.name));
        }
    }

    /// A batch from a broker at the end of a link.
    pub(crate) fn received(&mut self, broker: u16, messages: &mut Vec<Received>, now: Instant) {
        let arrival = self.arrival(now);
        for Received { message, ack, dup, subscription_id } in messages.drain(..) {
            if let Some(id) = subscription_id
                && self.brokers[usize::from(broker)].is_copy(&message, id)
            {
                if let Some(token) = ack {
                    self.ack(SourceAck { broker, token: Token::Link(token) });
                }
                continue;
            }
            self.route(broker, message, ack.map(Token::Link), dup, arrival);
        }
        self.after_batch(broker, now);
    }

    /// A batch from the box's own broker.
    pub(crate) fn received_locally(&mut self, broker: u16, messages: &mut Vec<LocalReceived>, now: Instant) {
        let arrival = self.arrival(now);
        for LocalReceived { message, ack, .. } in messages.drain(..) {
            self.route(broker, message, ack.map(Token::Embedded), false, arrival);
        }
        self.after_batch(broker, now);
    }

    fn arrival(&self, now: Instant) -> Arrival {
        let received_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Arrival { now, received_us: self.now_us(now), received_ms }
    }

    fn route(&mut self, broker: u16, message: Message, token: Option<Token>, redelivered: bool, arrival: Arrival) {
        if self.brokers[usize::from(broker)].echo.in_ring {
            self.note_received(broker, &message, arrival.now);
        }
        let slot = &mut self.brokers[usize::from(broker)];
        slot.received += 1;
        if self.draining {
            // Not acknowledged: a broker that keeps our session sends it again after the restart.
            return;
        }
        let routes = slot.routes(&message.topic, &self.hasher);
        let Some((last, others)) = routes.split_last() else {
            slot.unrouted += 1;
            if slot.unrouted == 1 {
                tracing::warn!(
                    broker = &*slot.name,
                    topic = %message.topic.as_str().escape_debug(),
                    "a message that no route wants: the broker's session has a subscription that is not ours any more, \
                     or never was; counted as tidegate_broker_unrouted_total"
                );
            }
            if let Some(token) = token {
                self.ack(SourceAck { broker, token });
            }
            return;
        };
        let origin = match token {
            Some(token) => {
                let weight = message.weight_bytes();
                slot.held_bytes += weight;
                let origin = self.origins.insert(SourceAck { broker, token }, arrival.received_us, weight);
                self.origins.expect(origin, others.len() as u32);
                origin
            }
            None => NO_ORIGIN,
        };
        for route in others {
            self.enter(*route, message.clone(), origin, redelivered, arrival);
        }
        self.enter(*last, message, origin, redelivered, arrival);
    }

    /// A message enters a route.
    fn enter(&mut self, route: u16, message: Message, origin: u32, redelivered: bool, arrival: Arrival) {
        let slot = &mut self.routes[usize::from(route)];
        slot.counters.received += 1;
        slot.counters.in_flight += 1;
        if slot.paused {
            return self.dropped(route, origin, "ring");
        }
        if slot.is_direct() {
            self.onward(route, message, origin, arrival.received_us, arrival.now);
            return;
        }
        self.next_id += 1;
        let Arrival { received_ms, received_us, .. } = arrival;
        let job = Job { message, origin, id: self.next_id, received_ms, received_us, redelivered };
        self.queue_job(route, job, arrival.now);
    }

    /// A message enters the pipeline of its route.
    pub(crate) fn queue_job(&mut self, route: u16, job: Job, now: Instant) {
        let slot = &mut self.routes[usize::from(route)];
        slot.in_pipeline += 1;
        slot.jobs.push(job);
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty_routes.push(route);
        }
        if slot.in_pipeline > PIPELINE_JOBS_MAX {
            let until = *slot.full_since.get_or_insert(now) + HOLD_BACK;
            if now < until {
                let source = slot.source;
                self.hold_back(source, until);
            }
        }
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn after_batch(&mut self, broker: u16, now: Instant) {
        if self.brokers[usize::from(broker)].held_bytes > HELD_BYTES_MAX {
            self.hold_back(broker, now + HOLD_BACK);
        }
        self.flush(now);
    }

    /// Marks a broker whose lane has something new.
    pub(crate) fn touch(&mut self, broker: u16) {
        if !std::mem::replace(&mut self.brokers[usize::from(broker)].dirty, true) {
            self.dirty_brokers.push(broker);
        }
    }

    /// Wakes everybody who was given something, once.
    pub(crate) fn flush(&mut self, now: Instant) {
        let seen = self.outbox.pushed();
        let mut few = !self.dirty_routes.is_empty();
        while let Some(route) = self.dirty_routes.pop() {
            let slot = &mut self.routes[usize::from(route)];
            slot.dirty = false;
            let Some(inbox) = &slot.inbox else { continue };
            few &= slot.in_pipeline <= AWAITED_JOBS_MAX;
            let over = slot.full_since.is_some_and(|since| now >= since + HOLD_BACK);
            // While sources hold back, what they had read already must go somewhere.
            let max = if over { PIPELINE_JOBS_MAX } else { 4 * PIPELINE_JOBS_MAX };
            let dropped = inbox.push(&mut slot.jobs, max);
            slot.in_pipeline -= dropped.len();
            for job in dropped {
                self.dropped(route, job.origin, "pipeline_full");
            }
        }
        if few && self.patience.admits() {
            let came = self.outbox.wait(seen, PATIENCE);
            self.patience.learn(came);
            if came {
                self.take_decided(now);
            }
        }
        self.spool.flush();
        while let Some(broker) = self.dirty_brokers.pop() {
            let slot = &mut self.brokers[usize::from(broker)];
            slot.dirty = false;
            match &slot.kind {
                Kind::Link(handle) => handle.wake(),
                Kind::Embedded { wake, .. } => wake.notify_one(),
                Kind::Gone => {}
            }
        }
    }

    /// Takes what the plugins have decided so far.
    pub(crate) fn take_decided(&mut self, now: Instant) {
        let mut decided = std::mem::take(&mut self.decided);
        self.outbox.take(&mut decided);
        for (route, decided) in decided.drain(..) {
            self.decided(route, decided, now);
        }
        self.decided = decided;
    }

    /// Stops reading from a source for a while.
    pub(crate) fn hold_back(&mut self, source: u16, until: Instant) {
        let slot = &mut self.brokers[usize::from(source)];
        if slot.held_back_until.is_none() {
            slot.kind.pause(true);
            slot.held_back_until = Some(until);
            self.hold_back.notify_one();
        }
    }

    /// Reads on from sources whose time is up, or from all when nothing is full any more. Returns when to look again.
    pub(crate) fn release(&mut self, now: Instant) -> Option<Instant> {
        let full = self.brokers.iter().any(|b| b.lane.holds_back(now) || b.held_bytes > HELD_BYTES_MAX)
            || self.routes.iter().any(|r| r.full_since.is_some_and(|since| now < since + HOLD_BACK));
        let mut next: Option<Instant> = None;
        for slot in &mut self.brokers {
            let Some(until) = slot.held_back_until else { continue };
            if full && now < until {
                next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            slot.held_back_until = None;
            slot.kind.pause(false);
        }
        next
    }

    /// Tells a source that its message is taken care of.
    pub(crate) fn ack(&mut self, ack: SourceAck) {
        match (&mut self.brokers[usize::from(ack.broker)].kind, ack.token) {
            (Kind::Link(handle), Token::Link(token)) => handle.ack(token),
            (Kind::Embedded { acks, wake, .. }, Token::Embedded(token)) => {
                acks.push(token);
                wake.notify_one();
            }
            // The broker is gone, or is another one by now.
            _ => {}
        }
    }
}

/// When a batch came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    now: Instant,
    received_us: u64,
    received_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_vain_become_rare_and_one_that_pays_makes_them_common_again() {
        let mut patience = Patience::default();
        let mut waits = 0;
        for _ in 0..10_000 {
            if patience.admits() {
                waits += 1;
                patience.learn(false);
            }
        }
        assert!(waits < 20, "{waits}");
        while !patience.admits() {}
        patience.learn(true);
        assert!(patience.admits());
    }
}
