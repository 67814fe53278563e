//! What a connection needs to know.

use std::time::Duration;
use tidegate_transport::TlsSettings;

/// Everything about one connection.
#[derive(Clone, Default)]
pub struct Settings {
    /// `host:port` of each server of the cluster that is known beforehand; at least one.
    pub servers: Vec<String>,
    /// With TLS. The names in the servers' certificates are those in `servers`.
    pub tls: Option<TlsSettings>,
    /// The stream that messages are published to, or come from.
    pub stream: String,
    /// What the stream is made for if it is missing; empty: it is not made.
    pub subjects: Vec<String>,
    /// How many servers keep a copy of a stream that is made.
    pub replicas: u8,
    /// The name of the connection, and of the durable consumer.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// The password, or without a user name a token.
    pub password: Option<String>,
    /// How many messages of the stream the owner has unacknowledged at most; at least 1.
    pub receive_maximum: u16,
    /// The bound of the wait after the first failure.
    pub reconnect_min: Duration,
    /// The bound of the wait after any number of failures.
    pub reconnect_max: Duration,
    /// For connecting to one server, with all handshakes.
    pub connect_timeout: Duration,
}
