//! What the gateway has done so far, for people and for monitoring.

use crate::report::LastReloads;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tidegate_router::Account;

/// The state of everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The gateway's name.
    pub name: String,
    /// When it started.
    pub started_at: Option<SystemTime>,
    /// Per route, in the order of the configuration.
    pub routes: Vec<RouteSnapshot>,
    /// Per broker.
    pub brokers: Vec<BrokerSnapshot>,
    /// Routes in loops: they carry nothing twice.
    pub looping_routes: Vec<String>,
    /// Routes that hold what comes for them, for their plugins are still being compiled.
    pub waiting_routes: Vec<String>,
    /// Sources of several brokers.
    pub sources: Vec<SourceSnapshot>,
    /// Those of which no broker is subscribed to.
    pub sources_down: Vec<String>,
    /// Target sets.
    pub sets: Vec<SetSnapshot>,
    /// Target sets of which no member takes messages.
    pub sets_down: Vec<String>,
    /// Messages kept aside now.
    pub parked_now: usize,
    /// What waits on disk, by target and class of priority.
    pub queues: Vec<QueueSnapshot>,
    /// How the disk is doing, as the metric says it: 0 good, 1 full, 2 failed.
    /// See [`DiskStatus`](tidegate_spool::DiskStatus).
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
    /// How often a version of each plugin failed on probation, and the one before runs again.
    pub rollbacks: BTreeMap<String, u64>,
    /// What is tried beside plugins, by plugin.
    pub candidates: BTreeMap<String, CandidateSnapshot>,
    /// How the last ones went.
    pub last_reloads: LastReloads,
    /// Messages that a collector of traces was told of, and those that it was not; `None` without one.
    pub traces: Option<(u64, u64)>,
}

/// One route.
#[derive(Debug, Clone, Default)]
pub struct RouteSnapshot {
    /// Its name.
    pub name: String,
    /// What became of its messages.
    pub account: Account,
    /// Messages that another broker of its source had brought already.
    pub twins: u64,
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
    /// Guests that were thrown away, by kind of what they did; a second chance may have healed it.
    pub restarts: Vec<(&'static str, u64)>,
    /// Linear memory of its instances, in bytes.
    pub memory_bytes: u64,
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
    /// Its circuit is open: it is not asked.
    pub is_open: bool,
    /// Messages by what it said of them.
    pub outcomes: Vec<(&'static str, u64)>,
    /// How long it has been asked for, in seconds.
    pub asked_s: f64,
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
    /// How much of the target's quota is used, from 0 to 1; `None` without a quota.
    pub used: Option<f64>,
}

/// One source of several brokers.
#[derive(Debug, Clone, Default)]
pub struct SourceSnapshot {
    /// Its name.
    pub name: String,
    /// In order of preference.
    pub brokers: Vec<SourceBrokerSnapshot>,
    /// How often another broker was subscribed to in place of the one before.
    pub changes: u64,
}

/// One broker of a source.
#[derive(Debug, Clone, Default)]
pub struct SourceBrokerSnapshot {
    /// Its name.
    pub broker: String,
    /// The source is to be subscribed to there.
    pub is_subscribed: bool,
}

/// One target set.
#[derive(Debug, Clone, Default)]
pub struct SetSnapshot {
    /// Its name.
    pub name: String,
    /// In order of preference.
    pub members: Vec<MemberSnapshot>,
    /// How often members have got another share.
    pub changes: u64,
}

/// One member of a target set.
#[derive(Debug, Clone, Default)]
pub struct MemberSnapshot {
    /// The broker's name.
    pub broker: String,
    /// How much it gets of all topics, from 0 to 1.
    pub share: f64,
    /// It was given up, and has not been well for long enough since.
    pub is_out: bool,
    /// How much of its weight it gets: less than 1 while it is strained.
    pub relieved_to: f64,
}

/// One connection to a broker.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Since when it stood.
    pub since: SystemTime,
    /// What was spoken.
    pub version: String,
    /// The broker still had our session.
    pub session_present: bool,
    /// When it ended, and why; `None` while it stands.
    pub ended: Option<(SystemTime, String)>,
}

/// What one broker was asked to send.
#[derive(Debug, Clone)]
pub struct SubscriptionSnapshot {
    /// As asked for.
    pub filter: String,
    /// With this QoS.
    pub qos: u8,
    /// Why it is not there, or not yet; `None`: it is granted.
    pub problem: Option<String>,
}

/// More of one broker than everybody looks at.
#[derive(Debug, Clone, Default)]
pub struct LinkSnapshot {
    /// The last ones, the newest last.
    pub connections: Vec<Connection>,
    /// In the order in which they are asked for.
    pub subscriptions: Vec<SubscriptionSnapshot>,
}

/// One broker.
#[derive(Debug, Clone, Default)]
pub struct BrokerSnapshot {
    /// Its name.
    pub name: String,
    /// Connected, or the box's own.
    pub up: bool,
    /// An operator has said that nothing is to be sent to it.
    pub paused: bool,
    /// Up, and subscribed to everything that its routes want.
    pub ready: bool,
    /// What is spoken: `5`, `3.1.1 bridge`, `embedded`.
    pub version: String,
    /// The gateway is not ready without it: it is a source or a target by itself, or the box's own. Of a set, one is enough.
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
    /// If it has probes: how long the last that came back was away, and how many have not come back.
    pub probe: Option<(Option<Duration>, u64)>,
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
    /// Messages of ours that it sent back.
    pub echoed: u64,
    /// Messages from it that had been here before, or in too many gateways.
    pub looped: u64,
    /// Messages that wait for it.
    pub queued: usize,
    /// The same in bytes.
    pub queued_bytes: usize,
    /// How long the slowest message in a hundred took of late to be acknowledged, in seconds.
    pub slowest_s: Option<f64>,
    /// Connections that reached CONNACK.
    pub connects: u64,
    /// Times it had forgotten our session.
    pub sessions_lost: u64,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
}

/// A version that is tried beside a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CandidateSnapshot {
    /// The first digits of its component's digest.
    pub version: String,
    /// It decides some messages for real.
    pub is_canary: bool,
    /// Messages that it decided.
    pub messages: u64,
    /// Of these, those that it failed on, or refused.
    pub failures: u64,
    /// Of these, those that a shadow decided otherwise.
    pub differ: u64,
    /// Messages that a shadow did not see.
    pub missed: u64,
}
