//! Where the messages of a route come from: one broker, or several under one name.

use std::time::Duration;
use tidegate_message::{QoS, TopicFilter};

/// Which messages a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Names of brokers, all different: one, or, with `set`, those of the set, the preferred first.
    pub brokers: Vec<String>,
    /// The set of brokers that it takes from, if it is one.
    pub set: Option<String>,
    /// At least one, all different.
    pub topics: Vec<TopicFilter>,
    /// What to subscribe with: the most a message is delivered with.
    pub qos: QoS,
    /// Whether what the broker has stored comes with a subscription.
    pub retained: Retained,
}

impl Source {
    /// As the route writes it: a broker's name, or that of a set of brokers.
    pub fn name(&self) -> &str {
        self.set.as_ref().or(self.brokers.first()).map_or("", String::as_str)
    }

    /// Whether messages come from this broker.
    pub fn has(&self, broker: &str) -> bool {
        self.brokers.iter().any(|known| known == broker)
    }
}

/// A name for several brokers that messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSet {
    /// Broker names in order of preference; at least two, all different.
    pub brokers: Vec<String>,
    /// Which of them are subscribed to.
    pub policy: SourcePolicy,
}

/// Which brokers of a source are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePolicy {
    /// One: the first that is well.
    Failover {
        /// How long the one that is subscribed to may be away before the next is.
        takeover_after: Duration,
        /// How long a preferred one must have been well before it is subscribed to again.
        failback: Duration,
    },
    /// All: they bring the same, which is taken once.
    Merge {
        /// How long a message of one waits for its twins of the others.
        window: Duration,
        /// What makes twins of two messages of one topic.
        key: TwinKey,
    },
}

impl SourceSet {
    /// For how long twins are known and by what, if it merges.
    pub fn merge(&self) -> Option<(Duration, &TwinKey)> {
        match &self.policy {
            SourcePolicy::Failover { .. } => None,
            SourcePolicy::Merge { window, key } => Some((*window, key)),
        }
    }

    /// After which absence another takes over, and after which time a preferred one is subscribed to again, if one is at a
    /// time.
    pub fn failover(&self) -> Option<(Duration, Duration)> {
        match self.policy {
            SourcePolicy::Failover { takeover_after, failback } => Some((takeover_after, failback)),
            SourcePolicy::Merge { .. } => None,
        }
    }
}

/// What makes twins of two messages of one topic. Of a message that has no such thing it is the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TwinKey {
    /// The same payload.
    #[default]
    Payload,
    /// The same value of the first user property of this name (MQTT 5.0 section 3.3.2.3.7).
    UserProperty(String),
    /// The same value at this place in the JSON payload (RFC 6901).
    Json(String),
}

/// Whether what a broker has stored comes with a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retained {
    /// At each start of the gateway, and with each new subscription.
    #[default]
    Forward,
    /// With a new subscription only.
    New,
    /// Never.
    Never,
}

impl Retained {
    /// A bit of its own, to make sets of.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}
