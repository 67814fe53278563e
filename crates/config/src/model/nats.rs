//! A checked broker that is a NATS JetStream.

use super::broker::{Reconnect, Tls};
use super::spool::SpoolSettings;
use crate::secret::Secret;
use std::fmt;
use std::time::Duration;

/// A stream of a NATS JetStream, and a consumer of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NatsBroker {
    /// The servers that are known beforehand: that of `url`, then those of `servers`. All different.
    pub servers: Vec<NatsServer>,
    /// `Some` exactly when the scheme is `tls`. Without a server name and ALPN.
    pub tls: Option<Tls>,
    /// The stream's name.
    pub stream: String,
    /// What the stream is made for if it is missing; empty: it is not made.
    pub subjects: Vec<String>,
    /// How many servers keep a copy of a stream that is made; 1 to 5.
    pub replicas: u8,
    /// The name of the connection and of the durable consumer, which gateways may share; `tidegate-<gateway>-<broker>`
    /// unless set.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Where the password is, or without a user name the token.
    pub password: Option<Secret>,
    /// How many unacknowledged messages we take; at least 1.
    pub receive_maximum: u16,
    /// Waits between attempts to connect.
    pub reconnect: Reconnect,
    /// For connecting to one server, with all handshakes.
    pub connect_timeout: Duration,
    /// What waits for it.
    pub spool: SpoolSettings,
}

impl NatsBroker {
    /// The scheme of its url.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "tls" } else { "nats" }
    }
}

/// Where a server is; shown as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsServer {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// 4222 unless written.
    pub port: u16,
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
