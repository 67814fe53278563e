//! Why there is no stream of bytes, or none any more.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// What lies behind the words; shared, so that a failure can be told more than once.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// Why a stream could not be opened, or broke. The words say what to do; the cause is what the system, TLS or the
/// WebSocket said, where one of them said something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The host name has no address, the port refuses, the network is unreachable, the connection broke.
    #[error("{words}")]
    Io {
        /// What happened, and to which address.
        words: String,
        /// What the system said.
        #[source]
        source: Option<Cause>,
    },
    /// Certificates, names, ciphers.
    #[error("TLS: {words}")]
    Tls {
        /// What happened, and what to do.
        words: String,
        /// What TLS said.
        #[source]
        source: Option<Cause>,
    },
    /// The server does not speak WebSocket, or not the subprotocol of MQTT over it.
    #[error("WebSocket: {words}")]
    WebSocket {
        /// What happened, and what to do.
        words: String,
        /// What the WebSocket said.
        #[source]
        source: Option<Cause>,
    },
}

impl TransportError {
    pub(crate) fn io(words: impl Into<String>, source: io::Error) -> Self {
        Self::Io { words: words.into(), source: Some(Arc::new(source)) }
    }

    /// That nobody but we have noticed.
    pub(crate) fn no_address(words: impl Into<String>) -> Self {
        Self::Io { words: words.into(), source: None }
    }

    pub(crate) fn tls(words: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Tls { words: words.into(), source: Some(Arc::new(source)) }
    }

    pub(crate) fn websocket(words: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::WebSocket { words: words.into(), source: Some(Arc::new(source)) }
    }
}
