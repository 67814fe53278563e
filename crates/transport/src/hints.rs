//! Words about handshakes that fail where people err: what mostly is the reason, and what to do.

use crate::error::TransportError;
use crate::tls::Refused;
use rustls::{AlertDescription, CertificateError, OtherError};
use std::io::{self, ErrorKind};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::{StatusCode, header};

/// The most of a server's own words that is repeated, in characters.
const SHOWN_CHARS: usize = 120;

/// What a TLS connection says that has failed, during the handshake or later.
pub(crate) fn tls_failed(error: io::Error) -> TransportError {
    use rustls::Error;
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hint = match cause {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            if let Some(refused) = other.downcast_ref::<Refused>() {
                return TransportError::tls(refused.to_string(), error);
            }
            "; `ca` must be the issuer of the broker's certificate"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; set `server_name` to a name that the broker's certificate has",
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "; renew the broker's certificate, or set this machine's clock"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "; set this machine's clock, or wait",
        Some(Error::InvalidCertificate(_)) => "; `ca` must be the issuer of the broker's certificate",
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "; the broker speaks only TLS before 1.2, which is not spoken here: let it speak 1.2 or 1.3"
        }
        Some(Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            "; the broker does not know this name: set `server_name` to one that it has"
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "; the broker speaks none of the protocols in `alpn`"
        }
        Some(Error::AlertReceived(_)) => "; it may want a client certificate that it trusts: `cert` and `key`",
        _ => "",
    };
    TransportError::tls(format!("{error}{hint}"), error)
}

/// What a read or write that fails says of a stream that was open.
impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        // With TLS 1.3 a refused certificate is heard of only when reading.
        match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            true => tls_failed(error),
            false => Self::io(error.to_string(), error),
        }
    }
}

/// What a handshake of TLS says that has failed. `seen`: the broker has shown a certificate, so what answers speaks TLS.
pub(crate) fn handshake_failed(error: io::Error, seen: bool, websocket: bool) -> TransportError {
    use rustls::Error;
    if seen {
        return tls_failed(error);
    }
    let plain = if websocket { "ws://" } else { "mqtt://" };
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hung_up = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe].contains(&error.kind());
    let words = match cause {
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure)) => format!(
            "{error}; the broker has no key or cipher that is spoken here, which are RSA from 2048 bits, P-256, P-384 and \
             Ed25519, and not P-521"
        ),
        Some(Error::InvalidMessage(_)) => {
            format!("{error}; what answers does not speak TLS on this port: try {plain}, or the port where it does")
        }
        None if hung_up => {
            format!("{error}; does the broker speak TLS on this port? If not, write the url with {plain}")
        }
        _ => return tls_failed(error),
    };
    TransportError::tls(words, error)
}

/// What a web server answers that does not make it a WebSocket.
pub(crate) fn websocket_refused(error: tungstenite::Error, path: &str) -> TransportError {
    let tungstenite::Error::Http(response) = &error else {
        let hint = match &error {
            tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HttparseError(_)) => {
                "; what answers is no web server: try mqtt://, or the port for WebSockets"
            }
            tungstenite::Error::Io(_)
            | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
                "; it closed the connection instead of answering: is it the port for WebSockets, and with TLS or without?"
            }
            _ => "",
        };
        return TransportError::websocket(format!("{error}{hint}"), error);
    };
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let hint = match status {
        _ if status.is_redirection() => match location {
            Some(location) => {
                format!("it says to go to {}; write that as `url`, with ws:// or wss://", short(location))
            }
            None => "it says to go elsewhere, and not where; ask who runs it for the url".to_owned(),
        },
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "it wants to know who asks, before MQTT: add what it wants to `headers`, such as Authorization".to_owned()
        }
        StatusCode::FORBIDDEN => {
            "it does not let us: check `headers`, and what the server asks of those who connect".to_owned()
        }
        StatusCode::NOT_FOUND => {
            format!("it has nothing at {}; check the path of the url, which is often /mqtt, /ws or /", short(path))
        }
        StatusCode::UPGRADE_REQUIRED | StatusCode::BAD_REQUEST => {
            "it wants another request: check the path of the url, and that a proxy in front passes WebSockets on"
                .to_owned()
        }
        _ if status.is_success() => {
            "it shows a page instead of a WebSocket: check path and port of the url, and that a proxy in front passes \
             WebSockets on"
                .to_owned()
        }
        _ if status.is_server_error() => {
            "the server cannot reach the broker behind it, or is not well; see its log".to_owned()
        }
        _ => "check path and port of the url".to_owned(),
    };
    TransportError::websocket(format!("the server answers {status}; {hint}"), error)
}

/// A server's own words for a log line.
fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;
    use std::error::Error;
    use tokio_tungstenite::tungstenite::http::Response;

    #[test]
    fn every_answer_of_a_web_server_says_what_to_do() {
        let refused = |status: u16, location: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header("Location", location);
            }
            let response = response.body(None).unwrap();
            websocket_refused(tungstenite::Error::Http(Box::new(response)), "/mqtt").to_string()
        };
        for (status, location, part) in [
            (301, Some("https://other/mqtt"), "https://other/mqtt"),
            (302, None, "elsewhere"),
            (401, None, "Authorization"),
            (403, None, "`headers`"),
            (404, None, "nothing at /mqtt"),
            (200, None, "a page"),
            (426, None, "proxy"),
            (502, None, "cannot reach the broker"),
            (418, None, "check path and port"),
        ] {
            let words = refused(status, location);
            assert!(words.contains(part) && words.contains(&status.to_string()), "{words}, not {part}");
        }
    }

    #[test]
    fn a_handshake_says_whether_what_answers_speaks_tls() {
        let reset = || std::io::Error::from(ErrorKind::ConnectionReset);
        assert!(handshake_failed(reset(), false, false).to_string().contains("mqtt://"));
        assert!(handshake_failed(reset(), false, true).to_string().contains("ws://"));
        assert!(!handshake_failed(reset(), true, false).to_string().contains("speak TLS"), "it has shown that it does");
        let alert = |kind| std::io::Error::other(rustls::Error::AlertReceived(kind));
        let none = || alert(AlertDescription::HandshakeFailure);
        assert!(handshake_failed(none(), false, false).to_string().contains("P-521"));
        assert!(handshake_failed(none(), true, false).to_string().contains("client certificate"));
        let old = alert(AlertDescription::ProtocolVersion);
        assert!(handshake_failed(old, false, false).to_string().contains("1.2"));
    }

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
