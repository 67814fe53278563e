//! Why there is no stream of bytes, or none any more.

use crate::hints;
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

/// What a read or write that fails says of a stream that was open.
impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        // With TLS 1.3 a refused certificate is heard of only when reading.
        match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            true => hints::tls_failed(error),
            false => Self::io(error.to_string(), error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stay_what_they_were_and_the_cause_is_behind_them() {
        let broken = TransportError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(broken.to_string(), "connection reset");
        let cause = broken.source().and_then(|cause| cause.downcast_ref::<Cause>()).unwrap();
        let cause = cause.downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let refused = TransportError::from(io::Error::other(alert));
        assert!(matches!(&refused, TransportError::Tls { words, .. } if words.contains("client certificate")));
        assert!(refused.source().is_some());
    }
}
