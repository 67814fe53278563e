//! The nouns of Tidegate: what a message is and what a topic may be, with no I/O and no async.
//!
//! A [`Message`] is what travels from a source broker through plugins to target brokers. Its [`Topic`] cannot hold
//! a wildcard, a [`TopicFilter`] cannot hold a misplaced one, so nothing behind this crate checks again.
//! [`SubscriptionIndex`] finds everything that subscribed to a topic, [`TopicCache`] remembers it for those that came
//! last.
//!
//! Invariants:
//! - a value of [`Topic`] or [`TopicFilter`] is always valid (MQTT 5.0 section 4.7; MQTT 3.1.1 section 4.7);
//! - cloning any of these never copies bytes, it counts references;
//! - [`SubscriptionIndex::for_each_match`] takes time that depends on the topic's levels, never on how many filters
//!   do not match.
//!
//! Start reading at [`Message`].
#![doc(html_no_source)]

mod filter;
mod index;
pub mod text;
mod topic;
mod topic_cache;

pub use bytestring::ByteString;
pub use filter::{FilterError, ShareName, TopicFilter};
pub use index::SubscriptionIndex;
pub use topic::{MAX_TOPIC_BYTES, Topic, TopicError, TopicId};
pub use topic_cache::TopicCache;

use bytes::Bytes;

/// Quality of service: what the two ends of one hop promise each other (MQTT 5.0 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// Fire and forget.
    #[default]
    AtMostOnce = 0,
    /// Acknowledged by PUBACK; may arrive more than once.
    AtLeastOnce = 1,
    /// Acknowledged in two steps; arrives once while both ends keep their session.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS a number on the wire or in a configuration stands for; `None` above 2.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The MQTT 5 properties of a PUBLISH that belong to the message itself (MQTT 5.0 section 3.3.2.3).
///
/// Topic alias and subscription identifiers belong to one hop and are not here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// MIME type or any other description of the payload.
    pub content_type: Option<ByteString>,
    /// Where the receiver should answer.
    pub response_topic: Option<Topic>,
    /// What the receiver should send along with its answer.
    pub correlation_data: Option<Bytes>,
    /// How long the message is worth delivering, in seconds, counted from when we received it.
    pub message_expiry_seconds: Option<u32>,
    /// The payload format indicator: true when the sender says the payload is UTF-8.
    pub payload_is_utf8: bool,
    /// User properties in the order received; a name may occur more than once.
    pub user: Vec<(ByteString, ByteString)>,
    /// By what a set of brokers chooses its member, in place of the topic. Never sent: a plugin says it, for the message's way
    /// through the gateway.
    pub key: Option<ByteString>,
}

/// One application message.
///
/// Topic and payload are slices of the buffer they were read from until [`detach`](Message::detach)ed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// What was published, any bytes.
    pub payload: Bytes,
    /// The QoS it was received with, or is to be sent with.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// `None` for a message without MQTT 5 properties.
    pub properties: Option<Box<Properties>>,
}

impl Message {
    /// A message without properties, not retained.
    pub fn new(topic: Topic, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self { topic, payload: payload.into(), qos, retain: false, properties: None }
    }

    /// Copies topic and payload out of the read buffer they may be slices of.
    ///
    /// Do this before keeping a message for long: one small payload otherwise keeps its whole buffer alive.
    pub fn detach(&mut self) {
        self.topic = self.topic.detached();
        self.payload = Bytes::copy_from_slice(&self.payload);
        if let Some(properties) = &mut self.properties {
            if let Some(data) = &mut properties.correlation_data {
                *data = Bytes::copy_from_slice(data);
            }
            if let Some(topic) = &mut properties.response_topic {
                *topic = topic.detached();
            }
            if let Some(text) = &mut properties.content_type {
                *text = ByteString::from(&**text);
            }
            for (name, value) in &mut properties.user {
                *name = ByteString::from(&**name);
                *value = ByteString::from(&**value);
            }
            if let Some(key) = &mut properties.key {
                *key = ByteString::from(&**key);
            }
        }
    }

    /// By what a set of brokers chooses the member that gets it.
    pub fn key(&self) -> &str {
        let key = self.properties.as_ref().and_then(|properties| properties.key.as_deref());
        key.unwrap_or(self.topic.as_str())
    }

    /// Whether a plugin has said what [`key`](Self::key) is.
    pub fn has_key(&self) -> bool {
        self.properties.as_ref().is_some_and(|properties| properties.key.is_some())
    }

    /// What the message weighs in memory, in bytes, near enough for a quota.
    #[inline]
    pub fn weight_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 160;
        let properties = self.properties.as_ref().map_or(0, |p| {
            size_of::<Properties>()
                + p.correlation_data.as_ref().map_or(0, Bytes::len)
                + p.user.iter().map(|(n, v)| n.len() + v.len() + 64).sum::<usize>()
        });
        OVERHEAD_BYTES + self.topic.len() + self.payload.len() + properties
    }
}
