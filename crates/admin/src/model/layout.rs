//! What there is, and what it is meant to do: the configuration in force without its secrets.

use serde::{Deserialize, Serialize};
use tidegate_config::{Ack, Broker, Config, Policy, SourcePolicy, Version};
use utoipa::ToSchema;

/// What there is, and what it is meant to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Layout {
    /// The gateway's name.
    pub gateway: String,
    /// The file of the configuration.
    pub file: String,
    /// Somebody with a token may change something here.
    pub takes_control: bool,
    /// Each broker.
    pub brokers: Vec<BrokerLayout>,
    /// Each target set.
    pub sets: Vec<SetLayout>,
    /// Each source of several brokers.
    pub sources: Vec<SourceLayout>,
    /// Each plugin.
    pub plugins: Vec<PluginLayout>,
    /// Each route, in the order of the file.
    pub routes: Vec<RouteLayout>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BrokerLayout {
    /// Its name.
    pub name: String,
    /// `link`, `nats` or `embedded`.
    pub kind: String,
    /// Where it is, or where it listens.
    pub urls: Vec<String>,
    /// Which version of MQTT is to be spoken: `auto`, `3.1`, `3.1.1` or `5`.
    pub version: Option<String>,
    /// What the gateway calls itself there.
    pub client_id: Option<String>,
    /// As whom it logs in.
    pub username: Option<String>,
    /// The way there is encrypted.
    pub tls: bool,
    /// How long the broker keeps our session.
    pub session_expiry_s: Option<u64>,
}

/// One target set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetLayout {
    /// Its name.
    pub name: String,
    /// `failover`, `balance` or `all`.
    pub policy: String,
    /// In order of preference.
    pub members: Vec<String>,
}

/// One source of several brokers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceLayout {
    /// Its name.
    pub name: String,
    /// `failover` or `merge`.
    pub policy: String,
    /// In order of preference.
    pub brokers: Vec<String>,
}

/// One plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginLayout {
    /// Its name.
    pub name: String,
    /// The component.
    pub path: String,
    /// What it is configured with.
    #[schema(value_type = Object)]
    pub config: serde_json::Value,
    /// Targets that it may send to.
    pub targets: Vec<String>,
    /// Topics that it may choose.
    pub topics: Vec<String>,
    /// It may remember something.
    pub state: bool,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteLayout {
    /// Its name.
    pub name: String,
    /// The broker or source that it takes from.
    pub from: String,
    /// Filters of topics.
    pub topics: Vec<String>,
    /// Plugins in order.
    pub plugins: Vec<PluginUse>,
    /// Where what they let pass goes.
    pub to: Vec<TargetUse>,
    /// When the source is acknowledged: `spooled` or `delivered`.
    pub ack: String,
    /// The topic of what goes on is changed.
    pub remaps: bool,
}

/// A plugin in a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginUse {
    /// Its name.
    pub name: String,
    /// Targets that it may send to by itself.
    pub sends_to: Vec<String>,
}

/// A target of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetUse {
    /// A broker or a target set.
    pub name: String,
    /// The source waits for it.
    pub required: bool,
}

impl Layout {
    /// Of the configuration in force.
    pub(crate) fn of(config: &Config, file: &str, takes_control: bool) -> Self {
        Self {
            gateway: config.gateway.name.clone(),
            file: file.to_owned(),
            takes_control,
            brokers: config.brokers.iter().map(|(name, broker)| BrokerLayout::of(name, broker)).collect(),
            sets: config
                .targets
                .iter()
                .map(|(name, set)| SetLayout {
                    name: name.clone(),
                    policy: match set.policy {
                        Policy::Failover => "failover",
                        Policy::Balance => "balance",
                        Policy::All => "all",
                    }
                    .to_owned(),
                    members: set.members.clone(),
                })
                .collect(),
            sources: config
                .sources
                .iter()
                .map(|(name, source)| SourceLayout {
                    name: name.clone(),
                    policy: match source.policy {
                        SourcePolicy::Failover { .. } => "failover",
                        SourcePolicy::Merge { .. } => "merge",
                    }
                    .to_owned(),
                    brokers: source.brokers.clone(),
                })
                .collect(),
            plugins: config
                .plugins
                .iter()
                .map(|(name, plugin)| PluginLayout {
                    name: name.clone(),
                    path: plugin.path.display().to_string(),
                    config: plugin.config.clone(),
                    targets: plugin.grants.targets.clone(),
                    topics: plugin.grants.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
                    state: plugin.grants.state.is_granted(),
                })
                .collect(),
            routes: config.routes.iter().map(|route| RouteLayout::of(config, route)).collect(),
        }
    }
}

impl BrokerLayout {
    fn of(name: &str, broker: &Broker) -> Self {
        let none = Self {
            name: name.to_owned(),
            kind: String::new(),
            urls: Vec::new(),
            version: None,
            client_id: None,
            username: None,
            tls: false,
            session_expiry_s: None,
        };
        match broker {
            Broker::Link(link) => Self {
                kind: "link".to_owned(),
                urls: vec![link.url.to_string()],
                version: Some(
                    match link.version {
                        Version::Auto => "auto",
                        Version::V31 => "3.1",
                        Version::V311 => "3.1.1",
                        Version::V5 => "5",
                    }
                    .to_owned(),
                ),
                client_id: Some(link.client_id.clone()),
                username: link.username.clone(),
                tls: link.tls.is_some(),
                session_expiry_s: Some(link.session_expiry.as_secs()),
                ..none
            },
            Broker::Nats(nats) => Self {
                kind: "nats".to_owned(),
                urls: nats.servers.iter().map(|server| format!("{}://{server}", nats.scheme())).collect(),
                client_id: Some(nats.client_id.clone()),
                username: nats.username.clone(),
                tls: nats.tls.is_some(),
                ..none
            },
            Broker::Embedded(embedded) => Self {
                kind: "embedded".to_owned(),
                urls: embedded.listen.iter().map(ToString::to_string).collect(),
                ..none
            },
        }
    }
}

impl RouteLayout {
    fn of(config: &Config, route: &tidegate_config::Route) -> Self {
        let sends_to = |name: &String| config.plugins.get(name).map(|plugin| plugin.grants.targets.clone());
        let uses = |name: &String| PluginUse { name: name.clone(), sends_to: sends_to(name).unwrap_or_default() };
        let target = |name: &String| TargetUse { name: name.clone(), required: route.required().contains(name) };
        Self {
            name: route.name.clone(),
            from: route.from.name().to_owned(),
            topics: route.from.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            plugins: route.plugins.iter().map(uses).collect(),
            to: route.to.iter().map(target).collect(),
            ack: match route.ack {
                Ack::Spooled => "spooled",
                Ack::Delivered => "delivered",
            }
            .to_owned(),
            remaps: route.remap.is_some(),
        }
    }
}
