//! `[traces]`: which messages a collector of traces is told of.

use super::broker::{Header, Tls};
use std::fmt::{self, Display, Formatter};

/// A collector of traces (OTLP over HTTP), and which messages it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Where it is.
    pub endpoint: CollectorUrl,
    /// What a request says beside the usual.
    pub headers: Vec<Header>,
    /// For an endpoint with TLS.
    pub tls: Option<Tls>,
    /// One message in so many, of those that have no `traceparent`; zero: none of them.
    pub one_in: u32,
    /// And no more messages a second, whatever they have.
    pub rate: u32,
}

/// Where a collector is. No user name, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl {
    /// `https`.
    pub is_tls: bool,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// With its slash.
    pub path: String,
}

impl CollectorUrl {
    /// What a request says in `Host`.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Display for CollectorUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.is_tls { "s" } else { "" }, self.authority(), self.path)
    }
}
