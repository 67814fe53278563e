//! Everything one gateway is told: routes, target sets, plugins, and the gateway itself.

use super::admin::Admin;
use super::broker::Broker;
use super::candidate::Candidate;
use super::remap::Remap;
use super::source::{Source, SourceSet};
use super::spool::SpoolSettings;
use super::traces::Traces;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_message::{QoS, TopicFilter};

/// Everything one gateway is told.
///
/// Every name in it that refers to something refers to something that is there, and no name is two of a broker, a source
/// and a target set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who the gateway is and where it keeps things.
    pub gateway: Gateway,
    /// By name.
    pub brokers: BTreeMap<String, Broker>,
    /// By name.
    pub sources: BTreeMap<String, SourceSet>,
    /// By name.
    pub targets: BTreeMap<String, TargetSet>,
    /// By name.
    pub plugins: BTreeMap<String, Plugin>,
    /// In the order of the file; their names differ.
    pub routes: Vec<Route>,
    /// Where metrics and health are served, if anywhere.
    pub admin: Option<Admin>,
    /// Whom traces are sent to, if anybody.
    pub traces: Option<Traces>,
}

impl Config {
    /// The brokers that a name in `to`, in `required` or in a grant stands for: the members of a target set, or the
    /// broker of that name. Empty for a name that is neither.
    pub fn brokers_of<'a>(&'a self, target: &'a str) -> Vec<&'a str> {
        match self.targets.get(target) {
            Some(set) => set.members.iter().map(String::as_str).collect(),
            None => self.brokers.get_key_value(target).map(|(name, _)| name.as_str()).into_iter().collect(),
        }
    }

    /// Whether what this broker has stored is to come once more at a start, though its session has the subscription.
    ///
    /// The box's own broker begins with nothing, and is to have it. Where we publish ourselves, what is stored may be what we
    /// have published, which mosquitto hands back in spite of no-local: an older state would go round once more.
    pub fn fetches_stored(&self, broker: &str) -> bool {
        let is_own = |name: &&str| self.brokers.get(*name).is_some_and(|broker| broker.embedded().is_some());
        let routes = || self.routes.iter().filter(|route| route.from.has(broker));
        let feeds_own = routes().flat_map(|route| &route.to).any(|to| self.brokers_of(to).iter().any(is_own));
        let says_something = self.brokers.get(broker).and_then(Broker::link).is_some_and(|link| {
            link.status.is_some() || link.will.is_some() || link.birth.is_some() || link.farewell.is_some()
        });
        let granted = self.plugins.values().flat_map(|plugin| &plugin.grants.targets);
        let mut targets = self.routes.iter().flat_map(|route| &route.to).chain(granted);
        feeds_own || !(says_something || targets.any(|to| self.brokers_of(to).contains(&broker)))
    }

    /// What waits for a broker or a target set of this name; the default for a name that is neither.
    ///
    /// A target set of policy `all` has none of its own: what is sent to it waits for each of its members.
    pub fn spool_of(&self, target: &str) -> SpoolSettings {
        match self.targets.get(target) {
            Some(set) => set.spool,
            None => self.brokers.get(target).map(Broker::spool).unwrap_or_default(),
        }
    }

    /// Whether a route leads to this broker, by itself or as a member of a set.
    pub(crate) fn leads_to(&self, route: &Route, broker: &str) -> bool {
        route.to.iter().any(|target| self.brokers_of(target).contains(&broker))
    }

    /// Whether a route leads to a broker that the other takes from.
    pub(crate) fn leads_to_source(&self, route: &Route, of: &Source) -> bool {
        of.brokers.iter().any(|broker| self.leads_to(route, broker))
    }

    /// Whether plugins of a route may give messages another topic. An unknown one may; that it is unknown is reported elsewhere.
    pub(crate) fn may_rewrite(&self, route: &Route) -> bool {
        let mut plugins = route.plugins.iter().map(|name| self.plugins.get(name));
        plugins.any(|plugin| plugin.is_none_or(|plugin| !plugin.grants.topics.is_empty()))
    }

    /// The route of this name.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }
}

/// Who the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Unique among gateways: it names client ids.
    pub name: String,
    /// Spool, compile cache, plugin state, parked messages. Absolute.
    pub data_dir: PathBuf,
    /// How long a flush to disk waits for more messages; zero: not at all.
    pub commit_delay: Duration,
    /// How long a file of the spool grows, in bytes.
    pub segment_size: u64,
    /// Whether topics and texts may hold characters that a broker may hang up on (MQTT 5.0 section 1.5.4).
    pub allow_control_characters: bool,
    /// How often gateways may hand a message on; zero: messages are not marked, and marks are not read.
    pub hop_limit: u32,
    /// So many versions of each plugin are kept.
    pub keep_versions: usize,
    /// So many of the last messages are kept in memory, for a plan to decide again; zero: none.
    pub recent_messages: usize,
    /// Whether plugins are interpreted, not compiled to machine code (`plugins.engine`).
    pub interpreter: bool,
}

impl Gateway {
    /// The client id at a broker that is given none: a gateway and a broker by their names.
    pub fn default_client_id(gateway: &str, broker: &str) -> String {
        format!("tidegate-{gateway}-{broker}")
    }
}

/// A name for several brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSet {
    /// Which of them gets a message.
    pub policy: Policy,
    /// Broker names in order of preference; at least one, all different.
    pub members: Vec<String>,
    /// How long a member that was given up must be well before it gets messages again.
    pub failback: Duration,
    /// How long a member that is connected may acknowledge nothing, or refuse all, before it is given up.
    pub takeover_after: Duration,
    /// With policy `balance`: of members that are not to get as much as others. At least 1.
    pub weights: BTreeMap<String, u32>,
    /// With policy `balance`: the level of the topic that is the key, from 0; the whole topic without one, and where the
    /// topic has no such level.
    pub level: Option<usize>,
    /// With policy `balance`: from where on a member is strained, and gets less. `None`: never.
    pub relief: Option<Relief>,
    /// With policy `all`: how many members must have acknowledged a message before its source is, with `ack = "delivered"`.
    /// At least 1, and at most all; `None`: all of them.
    pub require: Option<usize>,
    /// What waits for the set. The default with policy `all`: there the members have theirs.
    pub spool: SpoolSettings,
}

impl TargetSet {
    /// How much a member gets, measured against the others.
    pub fn weight_of(&self, member: &str) -> f64 {
        self.weights.get(member).copied().map_or(1.0, f64::from)
    }
}

/// From where on a member of a set is strained. One key at least is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relief {
    /// Messages that wait for it in memory.
    pub queue: Option<usize>,
    /// How long it takes to acknowledge a message, the slowest in a hundred.
    pub latency: Option<Duration>,
}

/// Which members of a target set get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The first that is well.
    Failover,
    /// One of those that are well; the same one for the same topic.
    Balance,
    /// All of them.
    All,
}

/// A WebAssembly component and what it may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// The component. Absolute.
    pub path: PathBuf,
    /// Handed to `configure` as JSON; an object.
    pub config: serde_json::Value,
    /// What it may do beyond passing and dropping.
    pub grants: Grants,
    /// How much of everything it may use.
    pub limits: Limits,
    /// SHA-256 of the component as 64 lower-case hexadecimal digits: nothing else is loaded.
    pub digest: Option<String>,
    /// How a version that was saved is watched at first; `None`: it stays, whatever it does.
    pub probation: Option<Probation>,
    /// Another version that is tried beside it.
    pub candidate: Option<Box<Candidate>>,
}

impl Plugin {
    /// Its candidate, as it is in its place.
    pub fn as_candidate(&self) -> Option<Self> {
        let candidate = self.candidate.as_deref()?;
        let config = candidate.config.clone().unwrap_or_else(|| self.config.clone());
        let (path, digest) = (candidate.path.clone(), candidate.digest.clone());
        Some(Self { path, config, digest, candidate: None, ..self.clone() })
    }
}

/// How a version of a plugin is watched at first. One that fails goes, and the one before runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probation {
    /// For so long at least, and 24 h at most.
    pub lasts: Duration,
    /// And until it has been asked about so many messages.
    pub messages: u64,
    /// So many messages in a million may fail; and twice as many as of the version before.
    pub failures_per_million: u32,
    /// So many times as long as the version before it may take for a message; zero: as long as it likes.
    pub slower: u32,
    /// What it refuses and the version before would have decided counts as failed.
    pub rejects: bool,
    /// Messages that it has put aside enter their routes again, once the version before runs.
    pub replay_parked: bool,
}

/// What a plugin may do beyond saying `pass`, `drop`, or `onward` with the topic the message came with.
///
/// - An output straight to a target needs that target's name in `targets`.
/// - A topic the plugin *chooses* must match one of `topics`, wherever it goes. A topic it leaves alone, by `none` or
///   by saying the same text again, is not its choice and needs no grant. All outputs of `tick` choose.
/// - Payload, QoS, retain and properties need no grant.
/// - `state` lets it import `tidegate:gateway/state`; shared, several instances of a route may hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Brokers or target sets it may send to by name; the plugin host knows them by their places here.
    pub targets: Vec<String>,
    /// Topics it may publish to. No filter of it is shared.
    pub topics: Vec<TopicFilter>,
    /// Whether it may hold state.
    pub state: StateGrant,
}

/// Whether a plugin may hold state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateGrant {
    /// None.
    #[default]
    Refused,
    /// One instance in each route.
    Granted,
    /// Several instances in a route too: what it writes for one message it writes under keys that belong to that message's
    /// topic, or level.
    Shared,
}

impl StateGrant {
    /// Whether it may.
    pub fn is_granted(self) -> bool {
        self != Self::Refused
    }
}

/// How much of everything a plugin may use. Each instance has these for itself, except `state_bytes` and the log,
/// which all instances of a plugin share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in all, in bytes.
    pub memory_bytes: usize,
    /// Elements of all tables together; one takes 8 bytes of ours.
    pub table_elements: usize,
    /// How long one call may take, whatever the size of its batch. A guest is cut at most 5 ms later.
    pub deadline: Duration,
    /// How long instantiating may take, and `configure`, each.
    pub configure_deadline: Duration,
    /// Outputs for one message, or for one tick.
    pub outputs: u32,
    /// Bytes of all outputs for one message: topics, payloads and properties that are its own.
    pub output_bytes: usize,
    /// Lines of log in a second; the rest is counted.
    pub log_lines_per_second: u32,
    /// Keys and values of its state together, in bytes.
    pub state_bytes: usize,
}

/// From a broker through plugins to targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique among routes.
    pub name: String,
    /// Which messages.
    pub from: Source,
    /// Plugin names in the order they decide; empty: a plain bridge.
    pub plugins: Vec<String>,
    /// Brokers or target sets where `onward` ends; more than one is a fan-out. Empty only if a plugin may send.
    pub to: Vec<String>,
    /// Those of `to` whose acknowledgement the source waits for. `None`: all.
    pub required: Option<Vec<String>>,
    /// The topic of what goes onward to `to`.
    pub remap: Option<Remap>,
    /// When the source is acknowledged.
    pub ack: Ack,
    /// What becomes of a message that a plugin cannot decide.
    pub on_failure: OnFailure,
    /// How often a plugin is asked again first.
    pub retry: Retry,
    /// How often plugins that export `timer` are called. `None`: never. Never with more than one worker.
    pub tick: Option<Duration>,
    /// How many instances of its plugins decide at the same time, and which message is whose.
    pub workers: Workers,
    /// The QoS of what goes out, in place of the one it came with.
    pub qos: Option<QoS>,
    /// What becomes of the retain flag.
    pub retain: Retain,
    /// Whether messages of QoS 0 are spooled too. Never with `Ack::Delivered`.
    pub persist_qos0: bool,
    /// Which of what is spooled leaves first.
    pub priority: Priority,
}

impl Route {
    /// The targets whose acknowledgement the source waits for.
    pub fn required(&self) -> &[String] {
        self.required.as_deref().unwrap_or(&self.to)
    }
}

/// How the messages of a route are dealt out among instances of its plugins. Those with the same key keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// At least one.
    pub count: usize,
    /// The level of the topic that is the key, from 0; the whole topic without one, and where the topic has no such level.
    pub level: Option<usize>,
}

/// When the source of a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Once it is durable in the spool.
    Spooled,
    /// Once the required targets have acknowledged.
    Delivered,
}

/// What leaves first of what is spooled for a target: all of a class before any of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before the others.
    High,
    /// In between.
    Normal,
    /// After the others.
    Low,
}

/// What becomes of a message that a plugin cannot decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Kept with its reason, for the operator to list, replay or delete.
    Park,
    /// Dropped and counted.
    Drop,
    /// Onward as it came.
    Pass,
    /// Asked again until it is decided; everything behind it waits.
    Block,
}

/// How often a plugin is asked again about a message it could not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first time; 0: never.
    pub attempts: u32,
    /// The wait before the first; it doubles.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
}

/// What becomes of the retain flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// As it came.
    Keep,
    /// Always off.
    Clear,
}
