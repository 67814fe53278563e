//! What can be wrong with TLS: with the files it is made of, or with a broker's certificate.

use std::error::Error;
use std::path::{Path, PathBuf};

/// What lies behind the words.
type Cause = Box<dyn Error + Send + Sync>;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, not readable, or holds something else.
    #[error("{what} {}: {words}", .path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        words: String,
        /// What the system or TLS said of it, if one of them did.
        #[source]
        source: Option<Cause>,
    },
    /// The operating system has no root certificates.
    #[error("no root certificates found on this system: name a file with `ca`, or install ca-certificates")]
    NoRoots,
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("client certificate and key: {0}")]
    ClientAuth(String),
    /// The machinery does not start.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] Cause),
}

// What the files of `ca`, `cert` and `key` are called in words.
pub(super) const CA: &str = "CA certificate";
pub(super) const CERT: &str = "certificate";
pub(super) const KEY: &str = "private key";
pub(super) const CRL: &str = "list of revoked certificates";

impl TlsError {
    /// A file that is not what it should be.
    pub(super) fn file(what: &'static str, path: &Path, words: String) -> Self {
        Self::File { what, path: path.to_owned(), words, source: None }
    }

    /// A file about which somebody else says what is wrong.
    pub(super) fn caused(what: &'static str, path: &Path, error: impl Error + Send + Sync + 'static) -> Self {
        Self::explained(what, path, error, "")
    }

    /// The same, with what to do about it.
    pub(super) fn explained(
        what: &'static str,
        path: &Path,
        error: impl Error + Send + Sync + 'static,
        hint: &str,
    ) -> Self {
        let (words, path) = (format!("{error}{hint}"), path.to_owned());
        Self::File { what, path, words, source: Some(Box::new(error)) }
    }

    /// The key of the configuration that it is about: `ca`, `cert`, `key` or `crl`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::File { what, .. } if *what == CA => "ca",
            Self::File { what, .. } if *what == CERT => "cert",
            Self::File { what, .. } if *what == CRL => "crl",
            Self::File { .. } | Self::ClientAuth(_) => "key",
            Self::NoRoots | Self::Setup(_) => "ca",
        }
    }
}

/// A broker's certificate that is not trusted, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(super) String);
