//! Checked brokers: those at the end of a link, and the box's own.

use super::embedded::EmbeddedBroker;
use super::nats::NatsBroker;
use super::spool::SpoolSettings;
use super::status::Status;
use crate::secret::Secret;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_message::{QoS, Topic};

/// Where messages come from and go to.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // there are a few of them, and they stay where they are
pub enum Broker {
    /// Another process, at the end of a link.
    Link(LinkBroker),
    /// A stream of a NATS JetStream.
    Nats(NatsBroker),
    /// The box's own.
    Embedded(EmbeddedBroker),
}

impl Broker {
    /// The link, if it is one.
    pub fn link(&self) -> Option<&LinkBroker> {
        match self {
            Self::Link(link) => Some(link),
            Self::Nats(_) | Self::Embedded(_) => None,
        }
    }

    /// The NATS JetStream, if it is one.
    pub fn nats(&self) -> Option<&NatsBroker> {
        match self {
            Self::Nats(nats) => Some(nats),
            Self::Link(_) | Self::Embedded(_) => None,
        }
    }

    /// The box's own broker, if it is that.
    pub fn embedded(&self) -> Option<&EmbeddedBroker> {
        match self {
            Self::Link(_) | Self::Nats(_) => None,
            Self::Embedded(embedded) => Some(embedded),
        }
    }

    /// What waits for it.
    pub fn spool(&self) -> SpoolSettings {
        match self {
            Self::Link(link) => link.spool,
            Self::Nats(nats) => nats.spool,
            Self::Embedded(embedded) => embedded.spool,
        }
    }

    /// What it is told of the gateway's own state.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Link(link) => link.status.as_ref(),
            Self::Embedded(embedded) => embedded.status.as_ref(),
            // A stream has neither wills nor retained messages.
            Self::Nats(_) => None,
        }
    }

    /// Whether nothing differs but `spool` and what is published of the gateway's state, so that connections and listeners
    /// can stay as they are. The topic of that state is part of a connection: its will names it.
    pub fn keeps_connections(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link(before), Self::Link(after)) => {
                let topic = |link: &LinkBroker| link.status.as_ref().map(|status| status.topic.clone());
                let status = after.status.clone();
                topic(before) == topic(after) && LinkBroker { spool: after.spool, status, ..before.clone() } == *after
            }
            (Self::Nats(before), Self::Nats(after)) => NatsBroker { spool: after.spool, ..before.clone() } == *after,
            (Self::Embedded(before), Self::Embedded(after)) => {
                let same = EmbeddedBroker {
                    spool: after.spool,
                    status: after.status.clone(),
                    lists: after.lists.clone(),
                    tls: after.tls.clone(),
                    limits: after.limits.clone(),
                    proxies: after.proxies.clone(),
                    server_reference: after.server_reference.clone(),
                    response_information: after.response_information.clone(),
                    ..before.clone()
                };
                same == *after
            }
            _ => false,
        }
    }
}

/// A broker that is connected to.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkBroker {
    /// Where it is.
    pub url: BrokerUrl,
    /// Which MQTT to speak.
    pub version: Version,
    /// Unique on that broker; `tidegate-<gateway>-<broker>` unless set.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Where the password is. Without a user name only if `version` is [`Version::V5`] or [`Version::Auto`]; then
    /// nothing but MQTT 5 can be spoken (MQTT 3.1.1 section 3.1.2.9).
    pub password: Option<Secret>,
    /// The most that messages are sent with; what is above is lowered to it.
    pub max_qos: QoS,
    /// What the request for a WebSocket says beside the usual; empty for other schemes. The names differ.
    pub headers: Vec<Header>,
    /// Whole seconds, at most 65,535; zero is off.
    pub keep_alive: Duration,
    /// How many unacknowledged messages we take; at least 1.
    pub receive_maximum: u16,
    /// The largest packet we take, in bytes.
    pub max_packet_size: u32,
    /// How long the broker keeps our session, in whole seconds.
    pub session_expiry: Duration,
    /// True exactly when `session_expiry` is zero: every connection starts clean.
    pub clean_start: bool,
    /// Waits between attempts to connect.
    pub reconnect: Reconnect,
    /// For connecting and all handshakes together.
    pub connect_timeout: Duration,
    /// `Some` exactly when the scheme is `mqtts` or `wss`.
    pub tls: Option<Tls>,
    /// Whether to tell a broker of MQTT 3.1.1 that we are a bridge.
    pub bridge: BridgeMode,
    /// How many topic aliases we take.
    pub topic_alias_max: u16,
    /// What the broker publishes when it loses us.
    pub will: Option<Will>,
    /// What is published at each connecting.
    pub birth: Option<Announcement>,
    /// What is published before a goodbye that was planned.
    pub farewell: Option<Announcement>,
    /// What it is told of the gateway's own state. Never with `will`, `birth` or `farewell`.
    pub status: Option<Status>,
    /// By which it is seen whether it passes on what it takes.
    pub probe: Option<Probe>,
    /// What waits for it.
    pub spool: SpoolSettings,
}

/// A message that is published again and again, and is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where; nothing else is to be published there.
    pub topic: Topic,
    /// How often.
    pub every: Duration,
}

/// Where a broker is: `scheme://host:port/path`, or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Name or address, IPv6 without brackets and perhaps with `%` and a zone; empty for a Unix socket.
    pub host: String,
    /// The scheme's own unless written; 0 for a Unix socket.
    pub port: u16,
    /// Of a WebSocket, with its slash, or of a Unix socket; otherwise empty.
    pub path: String,
}

impl std::str::FromStr for BrokerUrl {
    type Err = String;

    /// Reads it as `[brokers.NAME]` does.
    ///
    /// # Errors
    /// What is wrong and what to do, without the text itself: there may be a password in it.
    fn from_str(text: &str) -> Result<Self, String> {
        crate::values::broker_url(text).map_err(|(what, hint)| format!("{what}; {hint}"))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match self.scheme {
            Scheme::Unix => {}
            _ if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port)?,
            _ => write!(f, "{}:{}", self.host, self.port)?,
        }
        f.write_str(&self.path)
    }
}

/// What carries MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS.
    Mqtts,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Scheme {
    /// As written in a url.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// The port a url without one means; 0 for a Unix socket.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    /// Whether TLS is spoken.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether a WebSocket is spoken.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which MQTT to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 5, then 3.1.1 if the broker does not know that.
    Auto,
    /// MQTT 3.1.
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// Whether to set mosquitto's bridge bit on MQTT 3.x, which stops echo and keeps the retain flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeMode {
    /// With it, then without if the broker refuses.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How long to wait between attempts to connect: the longest wait doubles with each failure, from `min` to `max`, and
/// the wait itself is between half of that and all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The longest wait after the first failure.
    pub min: Duration,
    /// The longest wait after any number of failures; not less than `min`.
    pub max: Duration,
}

/// What TLS needs to know. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust, in PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, in PEM. Never without `key`.
    pub cert: Option<PathBuf>,
    /// Its key, in PEM. Never without `cert`.
    pub key: Option<PathBuf>,
    /// Where the passphrase of `key` is. Never without `key`.
    pub key_password: Option<Secret>,
    /// The only certificate to trust, by the SHA-256 of its DER; its name and issuer are not looked at then. Never with `ca`.
    pub fingerprint: Option<[u8; 32]>,
    /// The name the broker's certificate must have; `None`: the url's host.
    pub server_name: Option<String>,
    /// Protocols to offer (RFC 7301); empty: none.
    pub alpn: Vec<String>,
}

/// What a broker publishes when it loses us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where and what.
    pub message: Announcement,
    /// How long the broker waits for us to come back, in whole seconds; only MQTT 5 can say so.
    pub delay: Duration,
}

/// What a WebSocket's request says under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As written.
    pub name: String,
    /// What it says.
    pub value: HeaderValue,
}

/// What a header says, or where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// This.
    Text(String),
    /// A secret.
    Secret(Secret),
}

/// A message that says how the gateway is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where.
    pub topic: Topic,
    /// What.
    pub payload: Vec<u8>,
    /// With which QoS.
    pub qos: QoS,
    /// With the retain flag.
    pub retain: bool,
}
