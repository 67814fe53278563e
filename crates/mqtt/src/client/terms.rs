//! What a client brings to a connection, and what the broker grants it.

use crate::Version;
use crate::connect::Will;
use bytes::Bytes;
use tidegate_message::{ByteString, QoS};

/// How a client introduces itself, and what it takes.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Protocol version.
    pub version: Version,
    /// Set mosquitto's bridge bit in the protocol level (3.x).
    pub bridge: bool,
    /// Client id.
    pub client_id: ByteString,
    /// Forget the session the broker may have.
    pub clean_start: bool,
    /// In seconds; 0 is off.
    pub keep_alive_s: u16,
    /// User name.
    pub username: Option<ByteString>,
    /// Password.
    pub password: Option<Bytes>,
    /// What the broker publishes when we vanish.
    pub will: Option<Will>,
    /// How long the broker keeps our session, in seconds (MQTT 5).
    pub session_expiry_s: u32,
    /// How many unacknowledged messages we take (MQTT 5; at least 1), and send to a broker of 3.x, which cannot say.
    pub receive_maximum: u16,
    /// The largest packet we take, in bytes; announced in MQTT 5, enforced always.
    pub max_packet_size: u32,
    /// How many topic aliases we take (MQTT 5).
    pub topic_alias_max: u16,
    /// What the broker takes, beyond what it says itself.
    pub limits: BrokerLimits,
    /// A user property that each message gets that has none of its name (MQTT 5). A message that is too large with it goes
    /// without.
    pub mark: Option<(ByteString, ByteString)>,
}

/// What is known of a broker beside what it says in CONNACK: configured, or learned from what it hung up on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerLimits {
    /// The highest QoS it is sent.
    pub max_qos: QoS,
    /// The largest packet it is sent, in bytes.
    pub max_packet_size: Option<u32>,
    /// Whether it is sent the retain flag.
    pub retain: bool,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self { max_qos: QoS::ExactlyOnce, max_packet_size: None, retain: true }
    }
}

/// What the broker granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    /// The broker still had our session: subscriptions are in place.
    pub session_present: bool,
    /// The highest QoS it takes.
    pub max_qos: QoS,
    /// Whether it keeps retained messages.
    pub retain_available: bool,
    /// How many unacknowledged messages it takes.
    pub receive_maximum: u16,
    /// The largest packet it takes, in bytes.
    pub max_packet_size: Option<u32>,
    /// The client id it chose for us.
    pub assigned_client_id: Option<String>,
    /// The keep-alive in force, in seconds.
    pub keep_alive_s: u16,
    /// Whether wildcards in filters are taken.
    pub wildcards_available: bool,
    /// Whether shared subscriptions are taken.
    pub shared_available: bool,
    /// Whether subscription identifiers are taken.
    pub subscription_ids_available: bool,
    /// How long it keeps our session, in seconds, if that is not what was asked for (MQTT 5).
    pub session_expiry_s: Option<u32>,
}
