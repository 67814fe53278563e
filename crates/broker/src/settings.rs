//! What a broker needs to know.

use crate::access::Access;
use crate::users::Users;
use ipnet::IpNet;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;
use tidegate_transport::{ListenTls, PeerNames};

/// Everything about one broker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker's name, for logs.
    pub name: String,
    /// Who may connect with which password.
    pub users: Option<Users>,
    /// What listeners with TLS have; connections that are there keep what they began with.
    pub tls: Option<ListenTls>,
    /// What of a client's certificate is its user name, in place of what it says. Who has such a name is asked for no password; who has
    /// shown a certificate without it is not let in.
    pub identity: Option<IdentityFrom>,
    /// Who may publish and hear what; `None`: everybody everything.
    pub access: Option<Access>,
    /// Whether clients that give no user name may connect; without `users`, whether any client may.
    /// Whoever builds the settings sees to it that this is so only where all listeners are on loopback.
    pub allow_anonymous: bool,
    /// How long a socket may take until its CONNECT is answered.
    pub connect_timeout: Duration,
    /// How long a client that has failed to log in waits to be told so; twice as long each further time from its address,
    /// up to five seconds.
    pub failed_login_delay: Duration,
    /// Proxies: what connects from these addresses begins with who it is, by the PROXY protocol.
    pub proxies: Vec<IpNet>,
    /// Another server that clients are to use: those of MQTT 5 are told, and nobody is let in.
    pub server_reference: Option<String>,
    /// What a client is told that asks where answers to it may be sent (MQTT 5.0 section 3.2.2.3.15): in it a level `%u` is its user
    /// name and `%c` its client identifier. `None`: nothing.
    pub response_information: Option<String>,
    /// How many unacknowledged messages are taken from a client at a time.
    pub receive_maximum: u16,
    /// The largest packet taken from a client, in bytes.
    pub max_packet_size: u32,
    /// How many topic aliases are taken from a client (MQTT 5).
    pub topic_alias_max: u16,
    /// How long a session outlives its connection at most, in seconds; in 3.x as long as this if not clean.
    /// `u32::MAX`: for ever.
    pub session_expiry_max_s: u32,
    /// The longest keep-alive, in seconds, for clients that can be told (MQTT 5); `None` takes what they ask for.
    pub keep_alive_max_s: Option<u16>,
    /// Whether control characters and non-characters are taken in topics and in texts of MQTT 5. A broker that the
    /// message is sent on to may hang up on them; see [`tidegate_message::text`].
    pub allow_control_characters: bool,
    /// How often what has changed of the broker's own `$SYS` topics is published. A new subscriber is told at once.
    pub sys_interval: Duration,
    /// How much is kept.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "broker".to_owned(),
            users: None,
            tls: None,
            identity: None,
            access: None,
            allow_anonymous: false,
            connect_timeout: Duration::from_secs(10),
            failed_login_delay: Duration::from_millis(250),
            proxies: Vec::new(),
            server_reference: None,
            response_information: None,
            receive_maximum: 1000,
            max_packet_size: 1024 * 1024,
            topic_alias_max: 64,
            session_expiry_max_s: 7 * 24 * 3600,
            keep_alive_max_s: None,
            allow_control_characters: false,
            sys_interval: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Which name in a client's certificate is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityFrom {
    /// The common name of the subject.
    CommonName,
    /// The whole subject, as RFC 2253 writes it.
    Subject,
    /// The first DNS name.
    Dns,
    /// The first address of mail.
    Email,
    /// The first URI.
    Uri,
}

impl IdentityFrom {
    /// That name, if it is there.
    pub(crate) fn of(self, names: &PeerNames) -> Option<String> {
        let first = |names: &[String]| names.first().cloned();
        match self {
            Self::CommonName => names.common_name.clone(),
            Self::Subject => Some(names.subject.clone()).filter(|subject| !subject.is_empty()),
            Self::Dns => first(&names.dns),
            Self::Email => first(&names.emails),
            Self::Uri => first(&names.uris),
        }
    }
}

/// How often in a second a client is read from that may publish only so many messages in it, at most.
const TURNS_A_SECOND: u32 = 10;

/// How much a broker keeps; what is beyond is refused or dropped, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at a time; others are told that the server is busy.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Messages waiting for one client. QoS 0 gets at most half of it.
    pub queue_messages: usize,
    /// What they weigh, in bytes.
    pub queue_bytes: usize,
    /// What all waiting messages weigh, in bytes.
    pub queue_bytes_total: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// What they weigh, in bytes.
    pub retained_bytes: usize,
    /// Messages that one client may publish in a second, and as many at once.
    pub message_rate: Option<NonZeroU32>,
    /// Bytes that one client may publish in a second.
    pub byte_rate: Option<NonZeroU64>,
    /// Connections from one address, or one IPv6 network of 64 bits, at a time.
    pub connections_per_address: Option<NonZeroU32>,
    /// And new ones in a second, and as many at once.
    pub connect_rate: Option<NonZeroU32>,
}

/// In messages and in bytes a second; `None`: as fast as they like.
pub(crate) type Rates = (Option<NonZeroU32>, Option<NonZeroU64>);

impl Limits {
    /// How many packets are taken from a client at a time: of one that may publish so many messages a second, a part of that.
    pub(crate) fn frames_max(&self) -> usize {
        self.message_rate.map_or(usize::MAX, |rate| (rate.get() / TURNS_A_SECOND).max(1) as usize)
    }

    /// How fast clients may publish.
    pub(crate) const fn rates(&self) -> Rates {
        (self.message_rate, self.byte_rate)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            sessions: 4096,
            subscriptions: 1024,
            queue_messages: 10_000,
            queue_bytes: 8 * 1024 * 1024,
            queue_bytes_total: 64 * 1024 * 1024,
            retained_messages: 100_000,
            retained_bytes: 64 * 1024 * 1024,
            message_rate: None,
            byte_rate: None,
            connections_per_address: None,
            connect_rate: None,
        }
    }
}
