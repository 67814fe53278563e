//! The box's own broker, checked.

use super::broker::Scheme;
use super::spool::SpoolSettings;
use super::status::Status;
use crate::secret::Secret;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

/// The box's own broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedBroker {
    /// At least one, all different.
    pub listen: Vec<ListenAddr>,
    /// `Some` exactly when it listens with TLS somewhere.
    pub tls: Option<ListenTls>,
    /// The password file, as `mosquitto_passwd` writes it. Absolute. `None`: anyone may connect, and every listener is on loopback.
    pub users: Option<PathBuf>,
    /// Who may publish and hear what; nothing in it: everybody everything.
    pub lists: AccessLists,
    /// How much of everything its clients may use.
    pub limits: EmbeddedLimits,
    /// Whether sessions, what waits for them and retained messages outlive the process.
    pub persistence: bool,
    /// What connects from these addresses is a proxy, and begins with who its client is.
    pub proxies: Vec<IpNet>,
    /// Another server that clients are to use: nobody is let in.
    pub server_reference: Option<String>,
    /// What clients are told that ask where answers to them may be sent; a level `%u` or `%c` is the client's own name.
    pub response_information: Option<String>,
    /// What waits for it, as a target. What waits for its clients is in `limits`.
    pub spool: SpoolSettings,
    /// What its clients are told of the gateway's own state.
    pub status: Option<Status>,
}

/// TLS of the box's own broker. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// At least one: a client that names a host gets the first that is for it, everybody else the first.
    pub certificates: Vec<ServerCertificate>,
    /// Who signs certificates of clients; `None`: they are asked for none.
    pub client_ca: Option<PathBuf>,
    /// Certificates of clients that are not good any more.
    pub client_crl: Option<PathBuf>,
    /// A client may come without one.
    pub client_optional: bool,
    /// Which name in it is the client's user name.
    pub identity: Option<Identity>,
}

/// A certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The passphrase of that.
    pub key_password: Option<Secret>,
}

/// A name in a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
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

impl Identity {
    /// Each with the word for it.
    pub const ALL: [(&'static str, Self); 5] = [
        ("common_name", Self::CommonName),
        ("subject", Self::Subject),
        ("dns", Self::Dns),
        ("email", Self::Email),
        ("uri", Self::Uri),
    ];

    /// As written.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}

/// Access lists of the box's own broker: a file, or rules. Once there is either, what nobody allows is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLists {
    /// As mosquitto has it. Absolute.
    pub acl_file: Option<PathBuf>,
    /// Users by a name for several of them.
    pub groups: BTreeMap<String, Vec<String>>,
    /// In the order of the file.
    pub rules: Vec<AccessEntry>,
}

/// One `[[brokers.<name>.access]]`: for who fits all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessEntry {
    /// These users, and those of these groups; neither: any, and who gives no name.
    pub users: Vec<String>,
    /// As above.
    pub groups: Vec<String>,
    /// These client identifiers; none: any.
    pub client_ids: Vec<String>,
    /// Those whose certificate has one of these names; none: with any, or without one.
    pub certificates: Vec<String>,
    /// What they may do.
    pub allow: AccessTopics,
    /// What they may not, whatever allows it.
    pub deny: AccessTopics,
}

/// Topic filters, in which a level `%u` is the user's name and `%c` the client identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTopics {
    /// To publish to.
    pub publish: Vec<String>,
    /// To subscribe with.
    pub subscribe: Vec<String>,
    /// To be given.
    pub receive: Vec<String>,
}

/// Where the box's own broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// At an address and a port; port 0 takes a free one.
    Ip {
        /// How clients speak.
        scheme: ListenScheme,
        /// Where.
        addr: SocketAddr,
    },
    /// At a Unix socket. Absolute.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Whether nobody else can listen there at the same time.
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::Ip { addr, .. } if addr.port() == 0)
    }

    /// Whether it is the same port of an address that may be the same.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip { addr: one, .. }, Self::Ip { addr: other, .. }) => {
                let (ip, with) = (one.ip(), other.ip());
                one.port() == other.port() && (ip == with || ip.is_unspecified() || with.is_unspecified())
            }
            _ => self == other,
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip { addr, .. } => addr.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether it is with TLS.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Ip { scheme: ListenScheme::Mqtts | ListenScheme::Wss, .. })
    }

    /// Where, however clients speak there.
    pub fn place(&self) -> String {
        match self {
            Self::Ip { addr, .. } => addr.to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

impl std::str::FromStr for ListenAddr {
    type Err = String;

    /// As `listen` of a broker has it.
    fn from_str(text: &str) -> Result<Self, String> {
        crate::listening::listen_addr(text).map_err(|(what, hint)| format!("{what}; {hint}"))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self {
            Self::Ip { scheme: ListenScheme::Mqtt, .. } => Scheme::Mqtt,
            Self::Ip { scheme: ListenScheme::Mqtts, .. } => Scheme::Mqtts,
            Self::Ip { scheme: ListenScheme::Ws, .. } => Scheme::Ws,
            Self::Ip { scheme: ListenScheme::Wss, .. } => Scheme::Wss,
            Self::Unix(_) => Scheme::Unix,
        };
        write!(f, "{scheme}://{}", self.place())
    }
}

/// How clients speak to the box's own broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenScheme {
    /// TCP.
    Mqtt,
    /// TLS.
    Mqtts,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

/// How much of everything the clients of the box's own broker may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedLimits {
    /// The largest packet a client may send, in bytes.
    pub max_packet_size: u32,
    /// Clients connected at a time.
    pub max_connections: u32,
    /// The longest a session outlives its connection, whatever the client asks.
    pub session_expiry_max: Duration,
    /// The longest keep-alive, in whole seconds; `None`: what the client asks.
    pub keep_alive_max: Option<Duration>,
    /// Subscriptions of one client.
    pub session_subscriptions_max: u32,
    /// Messages that wait for one client.
    pub session_queue_max: u32,
    /// What they weigh, in bytes.
    pub session_queue_size: u64,
    /// What waits for all of them weighs, in bytes.
    pub queues_size: u64,
    /// Retained messages in all.
    pub retained_max: u32,
    /// What they weigh, in bytes.
    pub retained_size: u64,
    /// Messages that one client may publish in a second.
    pub message_rate: Option<NonZeroU32>,
    /// Bytes that one client may send in a second.
    pub byte_rate: Option<NonZeroU64>,
    /// Connections from one address at a time.
    pub connections_per_address: Option<NonZeroU32>,
    /// New connections from one address in a second.
    pub connect_rate: Option<NonZeroU32>,
    /// How many unacknowledged messages of one client we take; at least 1.
    pub receive_maximum: u16,
}
