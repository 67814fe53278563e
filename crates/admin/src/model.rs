//! What is shown of a gateway, the same to everybody: the page, the terminal, programs.
//!
//! [`Status`] is how everything does now; [`Layout`] what there is and what it is meant to do, which changes with a reload
//! only. Both name things as the configuration does. Times are in seconds, or in milliseconds where the name ends in `_ms`;
//! points in time in seconds since the epoch, or milliseconds where it ends in `_at_ms`.

mod client;
mod edit;
mod journey;
mod layout;
mod link;
mod made;
mod plugin;
mod problems;
mod way;

pub use client::{Client, ClientConnection, ClientDetails, ClientSubscription, Clients, FailedLogins};
pub use edit::{Applied, Checked, Configuration, Problem, Touched};
pub use journey::{Journey, Step, What};
pub use layout::{BrokerLayout, Layout, PluginLayout, PluginUse, RouteLayout, SetLayout, SourceLayout, TargetUse};
pub use link::{ConnectionDetails, LinkDetails, SubscriptionDetails};
pub(crate) use made::ms;
pub use plugin::{Candidate, Difference, Differing, PluginDetails, PluginVersion, Recent, StateKey};
pub use problems::Problems;
pub use way::{Ending, Message, Out, Said, Way};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How everything does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The gateway itself.
    pub gateway: About,
    /// Everything that is needed is there.
    pub ready: bool,
    /// What is not as it should be, a line each.
    pub problems: Vec<String>,
    /// How the last reloads went.
    pub reload: Reload,
    /// All routes together.
    pub totals: Account,
    /// Messages that wait in the spool.
    pub waiting: u64,
    /// Messages that are kept aside.
    pub parked: u64,
    /// Each broker.
    pub brokers: Vec<BrokerStatus>,
    /// Each target set.
    pub sets: Vec<SetStatus>,
    /// Each source of several brokers.
    pub sources: Vec<SourceStatus>,
    /// Each route, in the order of the configuration.
    pub routes: Vec<RouteStatus>,
    /// What waits in the spool, by target and class of priority.
    pub queues: Vec<QueueStatus>,
    /// The disk under the spool.
    pub disk: Disk,
    /// The process.
    pub process: Process,
}

/// The gateway itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// As in the configuration.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// When it started.
    pub started_at_ms: u64,
    /// When this was looked at.
    pub now_ms: u64,
    /// Changes whenever [`Layout`] may have.
    pub generation: u64,
}

/// How the last reloads went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// Applied since the start.
    pub applied: u64,
    /// Refused since the start.
    pub refused: u64,
    /// When one was last applied, or the gateway started.
    pub applied_at_ms: Option<u64>,
    /// When one was last refused.
    pub refused_at_ms: Option<u64>,
    /// The last one was refused: what runs is not what the file says.
    pub is_refused: bool,
    /// Why the last that was refused was, a line each.
    pub reasons: Vec<String>,
    /// What the last that was applied has changed.
    pub changes: Vec<String>,
    /// What of the file waits for the next start.
    pub next_start: Vec<String>,
}

/// What became of messages. `received + replayed + ticked + recovered + copies` is
/// `delivered + dropped + parked + in_flight` at any time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Messages that entered the route.
    pub received: u64,
    /// Parked messages that entered it again.
    pub replayed: u64,
    /// Messages that plugins made on a tick.
    pub ticked: u64,
    /// Found in the spool at the start, from an earlier run.
    pub recovered: u64,
    /// What a fan-out or a plugin made of a message beyond the first.
    pub copies: u64,
    /// QoS 0 written, QoS 1 and 2 acknowledged by the target.
    pub delivered: u64,
    /// Ended without being delivered.
    pub dropped: u64,
    /// Put aside, ever.
    pub parked: u64,
    /// With plugins, in the spool, on their way.
    pub in_flight: u64,
}

impl Account {
    /// Whether every message is accounted for.
    pub const fn is_balanced(&self) -> bool {
        let came = self.received + self.replayed + self.ticked + self.recovered + self.copies;
        came == self.delivered + self.dropped + self.parked + self.in_flight
    }
}

/// Messages a second, over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Of a route: that entered it. Of a broker: that it sent.
    pub received: f64,
    /// Of a route: delivered. Of a broker: sent to it.
    pub delivered: f64,
    /// Dropped on the way.
    pub dropped: f64,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BrokerStatus {
    /// As in the configuration.
    pub name: String,
    /// Connected, or the box's own.
    pub up: bool,
    /// Up, and nothing is wrong with it.
    pub ready: bool,
    /// An operator has said that nothing is to be sent to it.
    pub paused: bool,
    /// The gateway is not ready without it.
    pub needed: bool,
    /// What is spoken with it: `5`, `3.1.1`, `embedded`.
    pub version: String,
    /// Why it is down.
    pub error: Option<String>,
    /// What is wrong while it is up, a line each.
    pub problems: Vec<String>,
    /// What is known of what it does not do.
    pub notes: Vec<String>,
    /// Messages from it.
    pub received: u64,
    /// Messages sent to it.
    pub sent: u64,
    /// Messages from it that no route wanted.
    pub unrouted: u64,
    /// Messages a second; not there at the first look.
    pub rates: Option<Rates>,
    /// Messages that wait for it in memory.
    pub queued: u64,
    /// How long the slowest message in a hundred took of late to be acknowledged.
    pub slowest_s: Option<f64>,
    /// Connections that were made.
    pub connects: u64,
    /// Times that it had forgotten our session.
    pub sessions_lost: u64,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
    /// Clients of the box's own broker.
    pub clients: Option<u64>,
}

/// One target set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetStatus {
    /// As in the configuration.
    pub name: String,
    /// No member takes messages.
    pub down: bool,
    /// In order of preference.
    pub members: Vec<MemberStatus>,
    /// How often members have got another share.
    pub changes: u64,
}

/// One member of a target set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberStatus {
    /// The broker.
    pub broker: String,
    /// How much it gets of all topics, from 0 to 1.
    pub share: f64,
    /// It was given up, and has not been well for long enough since.
    pub is_out: bool,
    /// How much of its weight it gets: less than 1 while it is strained.
    pub relieved_to: f64,
}

/// One source of several brokers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// As in the configuration.
    pub name: String,
    /// No broker of it is subscribed to.
    pub down: bool,
    /// The brokers that are subscribed to.
    pub subscribed: Vec<String>,
    /// How often another broker was subscribed to in place of the one before.
    pub changes: u64,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteStatus {
    /// As in the configuration.
    pub name: String,
    /// What became of its messages.
    pub account: Account,
    /// Messages a second; not there at the first look.
    pub rates: Option<Rates>,
    /// Dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// From the receipt of a message to its delivery: half took no longer than this, in milliseconds.
    pub p50_ms: Option<f64>,
    /// And 99 in a hundred.
    pub p99_ms: Option<f64>,
    /// It is in a loop: it carries nothing twice.
    pub looping: bool,
    /// It holds what comes, for its plugins are still being compiled.
    pub waiting: bool,
    /// Its plugins, in order.
    pub plugins: Vec<PluginStatus>,
}

/// One plugin in one route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginStatus {
    /// As in the configuration.
    pub name: String,
    /// The first digits of the component's SHA-256.
    pub version: String,
    /// Messages that it was asked about and did not decide: faults and rejects.
    pub failures: u64,
    /// Faults, by kind, without those that have not been.
    pub faults: BTreeMap<String, u64>,
    /// Messages that it was not asked about, for it kept failing.
    pub circuit_open: u64,
    /// It is not asked now, for it keeps failing.
    pub is_open: bool,
    /// Messages by what it said of them: `passed`, `changed`, `dropped`.
    pub outcomes: BTreeMap<String, u64>,
    /// How long it took for one message, on the average since the start, in microseconds.
    pub mean_us: Option<f64>,
    /// Linear memory of its instances.
    pub memory_bytes: u64,
}

/// One queue of the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// A broker or a target set.
    pub target: String,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// Messages in it, those being sent included.
    pub messages: u64,
    /// What they weigh.
    pub bytes: u64,
    /// How long the oldest has waited.
    pub oldest_s: f64,
    /// How much of its quota is used, from 0 to 1; not there without a quota.
    pub used: Option<f64>,
}

/// The disk under the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Disk {
    /// `good`, `full` or `failed`.
    pub state: String,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// How often data was made durable.
    pub syncs: u64,
    /// Files of the log.
    pub segments: u64,
    /// Pieces of the log that did not match their checksum.
    pub damaged: u64,
}

/// The process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Memory that it has in use.
    pub memory_bytes: u64,
    /// Time of all its threads on the processor.
    pub cpu_s: f64,
    /// Open files and sockets.
    pub open_files: u64,
    /// As many may be open.
    pub open_files_max: u64,
}

/// A message that is kept aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Parked {
    /// By which it is asked for.
    pub number: u64,
    /// The route that it was in.
    pub route: String,
    /// The plugin that could not decide it, or nothing.
    pub plugin: String,
    /// The target that did not take it, or nothing.
    pub target: String,
    /// What kind of failure that was.
    pub kind: String,
    /// In words.
    pub reason: String,
    /// As it came, or as it was sent.
    pub topic: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// It is to be retained.
    pub retain: bool,
    /// When it came, in milliseconds since the epoch.
    pub received_ms: u64,
    /// How long its payload is.
    pub payload_bytes: u64,
    /// The beginning of it, as text.
    pub payload: String,
    /// The same in base64, where one message is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// The last messages that ended without being delivered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// How many there have been since the start.
    pub total: u64,
    /// Some of each reason of each route, the oldest first.
    pub kept: Vec<Dropped>,
}

/// A message that ended without being delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dropped {
    /// They are numbered; between two there may be some that are not kept.
    pub number: u64,
    /// When.
    pub at_ms: u64,
    /// In this route.
    pub route: String,
    /// Its topic then, or the first 256 bytes of a long one; not there if it is not known any more.
    pub topic: Option<String>,
    /// As it is counted.
    pub reason: String,
}

/// The first bytes of a payload, as text.
pub(crate) fn beginning(payload: &[u8], most: usize) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(most)]).into_owned()
}

/// A message to be explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// The broker that it comes from.
    pub broker: String,
    /// Its topic.
    pub topic: String,
    /// Its payload.
    #[serde(default)]
    pub payload: String,
    /// 0, 1 or 2.
    #[serde(default)]
    pub qos: u8,
    /// It is a retained message.
    #[serde(default)]
    pub retain: bool,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// How many routes take it.
    pub routes: u64,
    /// In words: each line with how far it is to be indented.
    pub lines: Vec<(usize, String)>,
    /// What would be sent.
    pub deliveries: Vec<Delivery>,
}

/// A message that would be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// To this broker or target set.
    pub target: String,
    /// Under this topic.
    pub topic: String,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Lines are numbered from the start of the process.
    pub number: u64,
    /// When it was said.
    pub at_ms: u64,
    /// `ERROR`, `WARN` or `INFO`.
    pub level: String,
    /// What it says.
    pub message: String,
    /// What it is about, such as `broker`, `route` or `plugin`.
    pub fields: BTreeMap<String, String>,
    /// What has happened, by a name that stays; not there where it is no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}
