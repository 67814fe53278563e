//! The box's own broker, checked.

use super::broker::Scheme;
use super::spool::SpoolSettings;
use super::status::Status;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    /// How clients speak.
    pub scheme: ListenScheme,
    /// Port 0 takes a free one.
    pub addr: SocketAddr,
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ListenScheme::Mqtt => Scheme::Mqtt,
            ListenScheme::Mqtts => Scheme::Mqtts,
            ListenScheme::Ws => Scheme::Ws,
            ListenScheme::Wss => Scheme::Wss,
        };
        write!(f, "{scheme}://{}", self.addr)
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

impl ListenScheme {
    /// Whether it is with TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }
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
    /// Messages that wait for one client.
    pub session_queue_max: u32,
    /// Retained messages in all.
    pub retained_max: u32,
    /// How many unacknowledged messages of one client we take; at least 1.
    pub receive_maximum: u16,
}
