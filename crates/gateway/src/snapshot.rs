//! What the gateway has done so far, for people and for monitoring.

use crate::core::{BrokerSlot, Core, Kind, Target};
use crate::prepare::short;
use crate::report::LastReloads;
use tidegate_spool::DiskStatus;

/// The state of everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Per route, in the order of the configuration.
    pub routes: Vec<RouteSnapshot>,
    /// Per broker.
    pub brokers: Vec<BrokerSnapshot>,
    /// Routes that would feed themselves, and are paused.
    pub paused_routes: Vec<String>,
    /// Target sets of which no member takes messages.
    pub sets_down: Vec<String>,
    /// Messages kept aside now.
    pub parked_now: usize,
    /// What waits on disk, by target and class of priority.
    pub queues: Vec<QueueSnapshot>,
    /// How the disk is doing: 0 good, 1 full, 2 failed.
    pub disk_status: u8,
    /// What was done to it.
    pub disk: tidegate_spool::DiskStats,
    /// Files of the log.
    pub segments: usize,
    /// Pieces of the log that did not match their checksum.
    pub damaged: u64,
    /// Received messages that wait for room in a full queue.
    pub blocked: usize,
    /// Received messages whose source waits for its acknowledgement.
    pub unacknowledged: usize,
    /// Reloads that were applied.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// How the last ones went.
    pub last_reloads: LastReloads,
}

/// The accounts of a route: `received + replayed + ticked + recovered + copies = out + dropped + parked + in_flight`.
#[derive(Debug, Clone, Default)]
pub struct RouteSnapshot {
    /// Its name.
    pub name: String,
    /// Messages that entered.
    pub received: u64,
    /// Parked messages that entered again.
    pub replayed: u64,
    /// Messages that plugins made on a tick.
    pub ticked: u64,
    /// Found in the spool at the start, from an earlier run.
    pub recovered: u64,
    /// What fan-out and plugins made of a message beyond the first.
    pub copies: u64,
    /// Delivered.
    pub out: u64,
    /// Kept aside, ever.
    pub parked: u64,
    /// Under way now.
    pub in_flight: u64,
    /// By reason.
    pub dropped: Vec<(String, u64)>,
    /// How far the accounts are off; 0 unless there is a bug.
    pub imbalance: i64,
    /// Half of the messages took less, in microseconds.
    pub p50_us: Option<u64>,
    /// 99 of 100 took less, in microseconds.
    pub p99_us: Option<u64>,
    /// Cumulative latency buckets: upper bound in microseconds, count.
    pub latency: Vec<(u64, u64)>,
    /// Sum of all latencies in microseconds, and their number.
    pub latency_sum: (u64, u64),
    /// Its plugins, in order.
    pub plugins: Vec<PluginSnapshot>,
}

/// One plugin in one route.
#[derive(Debug, Clone, Default)]
pub struct PluginSnapshot {
    /// Its name.
    pub name: String,
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// Faults by kind.
    pub faults: Vec<(&'static str, u64)>,
    /// Messages it rejected.
    pub rejects: u64,
    /// Times it was asked again.
    pub retries: u64,
    /// Messages it was not asked about because its circuit was open.
    pub circuit_open: u64,
    /// Times its circuit opened.
    pub circuit_opened: u64,
    /// Faults and rejects together.
    pub failures: u64,
}

/// One queue of the spool.
#[derive(Debug, Clone, Default)]
pub struct QueueSnapshot {
    /// A broker or a target set.
    pub target: String,
    /// `high`, `normal` or `low`.
    pub priority: &'static str,
    /// Messages in it, those being sent included.
    pub messages: u64,
    /// What they weigh in memory, in bytes.
    pub bytes: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_s: f64,
}

/// One broker.
#[derive(Debug, Clone, Default)]
pub struct BrokerSnapshot {
    /// Its name.
    pub name: String,
    /// Connected, or the box's own.
    pub up: bool,
    /// Up, and subscribed to everything that its routes want.
    pub ready: bool,
    /// What is spoken: `5`, `3.1.1 bridge`, `embedded`.
    pub version: String,
    /// The gateway is not ready without it: it is a source, a target by itself, or the box's own. Of a set, one member is
    /// enough.
    pub needed: bool,
    /// Why it is down.
    pub error: Option<String>,
    /// Wanted subscriptions that it has refused, or hangs up on.
    pub subscriptions_refused: u64,
    /// Messages that it has left unanswered for a minute or longer.
    pub unanswered: u64,
    /// What keeps it from being ready while it is up, a line each.
    pub problems: Vec<String>,
    /// Messages from it that cannot be taken, by reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// Of the box's own broker.
    pub own: Option<tidegate_broker::Stats>,
    /// Exchanges of QoS 2 that were taken as done without its answer.
    pub taken_as_done: u64,
    /// What is known of what it does not do.
    pub notes: Vec<String>,
    /// Messages received from it.
    pub received: u64,
    /// Messages it has been sent.
    pub sent: u64,
    /// Messages from it that no route wanted.
    pub unrouted: u64,
    /// Copies it sent because our subscriptions overlap.
    pub copies: u64,
    /// Messages that wait for it.
    pub queued: usize,
    /// The same in bytes.
    pub queued_bytes: usize,
    /// Connections that reached CONNACK.
    pub connects: u64,
    /// Times it had forgotten our session.
    pub sessions_lost: u64,
    /// Bytes read and written.
    pub bytes: (u64, u64),
}

impl RouteSnapshot {
    /// All drops.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }
}

impl Core {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let routes = self.routes.iter().filter(|route| !route.removed).map(|route| {
            let c = &route.counters;
            RouteSnapshot {
                name: route.name.to_string(),
                received: c.received,
                replayed: c.replayed,
                ticked: c.ticked,
                recovered: c.recovered,
                copies: c.copies,
                out: c.out,
                parked: c.parked,
                in_flight: c.in_flight,
                dropped: c.dropped.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
                imbalance: c.imbalance(),
                p50_us: c.latency.quantile_us(0.5),
                p99_us: c.latency.quantile_us(0.99),
                latency: c.latency.cumulative().collect(),
                latency_sum: (c.latency.sum_us, c.latency.count),
                plugins: route.plugins.iter().map(plugin_snapshot).collect(),
            }
        });
        let live = self.brokers.iter().enumerate().filter(|(_, broker)| !broker.is_gone());
        let brokers = live.map(|(at, broker)| self.broker_snapshot(at as u16, broker));
        let now_ms = self.now_us(std::time::Instant::now()) / 1000;
        let queues = self.spool.waiting().into_iter().map(|queue| QueueSnapshot {
            target: queue.key.target,
            priority: ["high", "normal", "low"].get(usize::from(queue.key.class)).copied().unwrap_or("low"),
            messages: queue.items,
            bytes: queue.bytes,
            oldest_s: queue.oldest_ms.map_or(0.0, |since| now_ms.saturating_sub(since) as f64 / 1000.0),
        });
        Snapshot {
            queues: queues.collect(),
            disk_status: match self.disk {
                DiskStatus::Good => 0,
                DiskStatus::Full => 1,
                DiskStatus::Failed(_) => 2,
            },
            disk: self.spool.stats(),
            segments: self.spool.segments(),
            damaged: self.spool.damaged(),
            blocked: self.blocked.len(),
            routes: routes.collect(),
            brokers: brokers.collect(),
            parked_now: self.spool.parked().len(),
            paused_routes: self.routes.iter().filter(|r| r.paused && !r.removed).map(|r| r.name.to_string()).collect(),
            sets_down: self.sets_down(),
            unacknowledged: self.origins.len(),
            ..Snapshot::default()
        }
    }
}

impl Core {
    fn broker_snapshot(&self, at: u16, broker: &BrokerSlot) -> BrokerSnapshot {
        let (mut problems, mut subscriptions_refused, mut unanswered, mut taken_as_done) = (Vec::new(), 0, 0, 0);
        let (mut ready, mut bytes) = (broker.health.up_since.is_some() && broker.last_error.is_none(), (0, 0));
        if let Kind::Link(handle) = &broker.kind {
            let subscriptions = handle.subscription_problems();
            let overdue = handle.overdue();
            subscriptions_refused = subscriptions.iter().filter(|problem| problem.refused).count() as u64;
            unanswered = overdue.as_ref().map_or(0, |overdue| overdue.count as u64);
            taken_as_done = handle.taken_as_done();
            problems =
                crate::links::problems(&subscriptions, overdue.as_ref(), &broker.troubles, std::time::Instant::now());
            ready = handle.is_settled() && problems.is_empty();
            bytes = (handle.stats().bytes_in, handle.stats().bytes_out);
        }
        let mut skipped: Vec<_> = broker.troubles.skipped.iter().map(|(reason, count)| (*reason, *count)).collect();
        let mut own = None;
        if let Kind::Embedded { local, .. } = &broker.kind {
            let stats = local.stats();
            skipped.extend(stats.dropped.refused());
            own = Some(stats);
        }
        BrokerSnapshot {
            name: broker.name.to_string(),
            up: broker.health.up_since.is_some(),
            ready,
            needed: self.is_needed(at),
            version: broker.version.clone().unwrap_or_default(),
            error: broker.last_error.clone(),
            subscriptions_refused,
            unanswered,
            problems,
            skipped,
            own,
            taken_as_done,
            notes: broker.troubles.notes.clone(),
            received: broker.received,
            sent: broker.sent,
            unrouted: broker.unrouted,
            copies: broker.copies,
            queued: broker.lane.len(),
            queued_bytes: broker.lane.bytes(),
            connects: broker.connects,
            sessions_lost: broker.sessions_lost,
            bytes,
        }
    }

    /// Whether the gateway is not ready without a broker. One that only sets name is needed when it is the last of one.
    fn is_needed(&self, broker: u16) -> bool {
        let routes = || self.routes.iter().filter(|route| !route.removed);
        let alone = Target::Broker(broker);
        let in_set = self.sets.iter().any(|set| set.members.contains(&broker));
        !in_set
            || !matches!(self.brokers[usize::from(broker)].kind, Kind::Link(_))
            || routes().any(|route| route.source == broker)
            || routes().flat_map(|route| route.targets.iter()).any(|target| target.to == alone)
    }

    /// Target sets of which no member takes messages.
    fn sets_down(&self) -> Vec<String> {
        let takes = |member: &u16| self.brokers[usize::from(*member)].health.up_since.is_some();
        let down = |set: u16| {
            let members = &self.sets[usize::from(set)].members;
            !members.is_empty() && !members.iter().any(takes)
        };
        let sets = self.targets.iter().filter_map(|(name, target)| match target {
            Target::Set(set) if down(*set) => Some(name.to_string()),
            _ => None,
        });
        let mut sets: Vec<String> = sets.collect();
        sets.sort_unstable();
        sets
    }
}

fn plugin_snapshot(plugin: &crate::core::PluginInfo) -> PluginSnapshot {
    let counters = &plugin.counters;
    PluginSnapshot {
        name: plugin.name.to_string(),
        version: short(&plugin.digest).to_owned(),
        faults: counters.faults().collect(),
        rejects: counters.rejects.get(),
        retries: counters.retries.get(),
        circuit_open: counters.circuit_open.get(),
        circuit_opened: counters.circuit_opened.get(),
        failures: counters.failures(),
    }
}
