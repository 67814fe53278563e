//! `[admin]`: who may look at a running gateway, and who may operate it.

use crate::secret::Secret;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a gateway is looked at and operated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: AdminAddr,
    /// Whoever has the token, or may open the Unix socket, may change something.
    pub control: bool,
    /// What has to be shown for that.
    pub token: Option<Secret>,
    /// What has to be shown to look at anything; `None` if everybody on this machine may.
    pub read_token: Option<Secret>,
    /// It speaks TLS.
    pub tls: Option<AdminTls>,
    /// Names under which it may be asked, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// The certificate of the admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// Its chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The passphrase of that.
    pub key_password: Option<Secret>,
}

/// Where the admin server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddr {
    /// Address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket. Absolute.
    Unix(PathBuf),
}

impl FromStr for AdminAddr {
    type Err = String;

    /// As `listen` of `[admin]` has it.
    fn from_str(text: &str) -> Result<Self, String> {
        crate::listening::admin_addr(text).map_err(|(what, hint)| format!("{what}; {hint}"))
    }
}

impl Display for AdminAddr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
