//! What a plugin decides, and words for it, so that a plugin reads like that.

use crate::bindings::tidegate::gateway::types as wit;
use crate::{Message, Properties, Qos};

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Onward, unchanged.
    Pass,
    /// Each of these, in this order.
    Forward(Vec<Output>),
    /// Nowhere, for this reason.
    Drop(String),
}

/// Why a plugin could not decide. What happens next is the route's `on_failure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This message will never be decided.
    Reject(String),
    /// Try again later, within the route's bounds.
    Retry(String),
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To the route's next plugin; after the last one, to the route's own targets.
    Onward,
    /// Straight to this broker or target set.
    Target(String),
}

/// What goes out. What is `None` is taken from the message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Where it goes.
    pub to: Destination,
    /// Its topic.
    pub topic: Option<String>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Its QoS.
    pub qos: Option<Qos>,
    /// Its RETAIN flag.
    pub retain: Option<bool>,
    /// All its MQTT 5 properties, in place of those that came.
    pub properties: Option<Box<Properties>>,
    /// More user properties, behind those that are there.
    pub user: Vec<(String, String)>,
    /// By what a set of policy `balance` chooses its member, in place of the topic.
    pub key: Option<String>,
}

impl Message {
    /// A message as the gateway would hand it over: QoS 1, not retained, no properties. For tests.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            id: 0,
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::none(),
            received_ms: 0,
            redelivered: false,
        }
    }

    /// The same message, received at this time (milliseconds since the Unix epoch). For tests.
    #[must_use]
    pub fn at(mut self, received_ms: u64) -> Self {
        self.received_ms = received_ms;
        self
    }

    /// The payload as text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }

    /// The topic's levels: `a/b/c` has three.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.topic.split('/')
    }

    /// One level of the topic, from 0.
    #[must_use]
    pub fn level(&self, index: usize) -> Option<&str> {
        self.levels().nth(index)
    }

    /// The first MQTT 5 user property of this name.
    #[must_use]
    pub fn user_property(&self, name: &str) -> Option<&str> {
        self.properties.user.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Properties {
    /// No properties at all; add with the fields.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            content_type: None,
            response_topic: None,
            correlation_data: None,
            message_expiry_seconds: None,
            payload_is_utf8: false,
            user: Vec::new(),
        }
    }
}

impl Decision {
    /// Onward, unchanged.
    #[must_use]
    pub fn pass() -> Self {
        Self::Pass
    }

    /// Each of these, in this order. An empty list is refused by the gateway: say [`Decision::drop`].
    pub fn forward(outputs: impl Into<Vec<Output>>) -> Self {
        Self::Forward(outputs.into())
    }

    /// Nowhere, for this reason; the gateway counts drops by reason, so use few different ones.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self::Drop(reason.into())
    }
}

impl From<Output> for Decision {
    fn from(output: Output) -> Self {
        Self::Forward(vec![output])
    }
}

impl Output {
    /// Onward: to the route's next plugin, after the last one to the route's targets. What is not set is taken from the
    /// message that came in.
    #[must_use]
    pub fn onward() -> Self {
        Self {
            to: Destination::Onward,
            topic: None,
            payload: None,
            qos: None,
            retain: None,
            properties: None,
            user: Vec::new(),
            key: None,
        }
    }

    /// Straight to the target of this name, which the plugin must have been granted.
    pub fn target(name: impl Into<String>) -> Self {
        Self { to: Destination::Target(name.into()), ..Self::onward() }
    }

    /// With this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// With this payload.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// With this QoS.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = Some(qos);
        self
    }

    /// Retained by the broker, or not.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = Some(retain);
        self
    }

    /// With these MQTT 5 properties in place of those that came in.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = Some(Box::new(properties));
        self
    }

    /// With one more user property, behind those that are there.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.push((name.into(), value.into()));
        self
    }

    /// A set of policy `balance` chooses its member by this text in place of the topic.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Each difference to the message that came in, in the order of the contract's list.
    #[inline]
    pub(crate) fn changes(&self, mut say: impl FnMut(Change<'_>)) {
        let Self { to: _, topic, payload, qos, retain, properties, user, key } = self;
        if let Some(topic) = topic {
            say(Change::Topic(topic));
        }
        if let Some(payload) = payload {
            say(Change::Payload(payload));
        }
        if let Some(qos) = qos {
            say(Change::Qos(*qos));
        }
        if let Some(retain) = retain {
            say(Change::Retain(*retain));
        }
        if let Some(properties) = properties {
            properties.instead(&mut say);
        }
        for (name, value) in user {
            say(Change::UserProperty(name, value));
        }
        if let Some(key) = key {
            say(Change::Key(key));
        }
    }

    /// As the contract has it.
    pub(crate) fn into_wit(self) -> wit::Output {
        let mut changes = Vec::new();
        self.changes(|change| changes.push(change.into_wit()));
        wit::Output {
            to: match self.to {
                Destination::Onward => wit::Destination::Onward,
                Destination::Target(name) => wit::Destination::Target(name),
            },
            changes,
        }
    }
}

/// A difference to the message that came in.
pub(crate) enum Change<'a> {
    Topic(&'a str),
    Payload(&'a [u8]),
    Qos(Qos),
    Retain(bool),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    MessageExpirySeconds(f64),
    PayloadIsUtf8(bool),
    UserProperty(&'a str, &'a str),
    RemoveEvery,
    Key(&'a str),
}

impl Change<'_> {
    fn into_wit(self) -> wit::Change {
        match self {
            Self::Topic(topic) => wit::Change::Topic(topic.to_owned()),
            Self::Payload(payload) => wit::Change::Payload(payload.to_vec()),
            Self::Qos(qos) => wit::Change::Qos(qos),
            Self::Retain(retain) => wit::Change::Retain(retain),
            Self::ContentType(text) => wit::Change::ContentType(text.to_owned()),
            Self::ResponseTopic(topic) => wit::Change::ResponseTopic(topic.to_owned()),
            Self::CorrelationData(data) => wit::Change::CorrelationData(data.to_vec()),
            Self::MessageExpirySeconds(seconds) => wit::Change::MessageExpirySeconds(seconds),
            Self::PayloadIsUtf8(is) => wit::Change::PayloadIsUtf8(is),
            Self::UserProperty(name, value) => wit::Change::UserProperty((name.to_owned(), value.to_owned())),
            Self::RemoveEvery => wit::Change::Remove(wit::Property::Every),
            Self::Key(key) => wit::Change::Key(key.to_owned()),
        }
    }
}

impl Properties {
    /// All of them, in place of those that came.
    #[cold]
    fn instead(&self, say: &mut impl FnMut(Change<'_>)) {
        let Self { content_type, response_topic, correlation_data, message_expiry_seconds, payload_is_utf8, user } =
            self;
        say(Change::RemoveEvery);
        if let Some(text) = content_type {
            say(Change::ContentType(text));
        }
        if let Some(topic) = response_topic {
            say(Change::ResponseTopic(topic));
        }
        if let Some(data) = correlation_data {
            say(Change::CorrelationData(data));
        }
        if let Some(seconds) = message_expiry_seconds {
            say(Change::MessageExpirySeconds(f64::from(*seconds)));
        }
        if *payload_is_utf8 {
            say(Change::PayloadIsUtf8(true));
        }
        for (name, value) in user {
            say(Change::UserProperty(name, value));
        }
    }
}

impl Failure {
    /// This message will never be decided: do not try again.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// Try again later, within the route's bounds.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(reason.into())
    }
}
