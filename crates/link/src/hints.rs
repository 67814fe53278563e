//! Words about connections that fail where people err: what mostly is the reason, and what to do.

use crate::LinkError;
use crate::trust::Refused;
use rustls::{AlertDescription, CertificateError, OtherError};
use std::io::ErrorKind;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::{StatusCode, header};

/// The most of a server's own words that is repeated, in characters.
const SHOWN_CHARS: usize = 120;

/// To go behind the words that a session was taken over, or that connections end soon again and again.
pub(crate) const SAME_CLIENT_ID: &str = "; another client may use the same `client_id`";

/// To go behind the words that a broker closed the connection, or answered nonsense, instead of answering CONNECT.
pub(crate) fn closed_instead_of_connack(port: u16, tls: bool) -> &'static str {
    /// Without TLS.
    const PLAIN_PORT: u16 = 1883;
    /// Where brokers speak TLS as a rule: MQTT's own port, those of public test brokers, those of https.
    const TLS_PORTS: [u16; 6] = [443, 8443, 8883, 8884, 8886, 8887];
    match (tls, port) {
        (false, port) if TLS_PORTS.contains(&port) => {
            "; this port is one for TLS as a rule: write the url with mqtts://, or wss:// for a WebSocket"
        }
        (false, PLAIN_PORT) => "",
        (false, _) => "; if the broker speaks TLS on this port, write the url with mqtts://",
        (true, _) => "; is it a port for a WebSocket (wss://), or does the broker want a client certificate?",
    }
}

/// What the bytes are that something answered instead of CONNACK, if that can be told.
pub(crate) fn not_mqtt(answer: &[u8]) -> Option<&'static str> {
    /// A first byte that no answer to CONNECT has, but TLS's alert (RFC 8446 section 5.1) and its version behind it.
    const TLS_ALERT: [u8; 2] = [0x15, 0x03];
    if answer.starts_with(&TLS_ALERT) {
        return Some("what answers speaks TLS on this port; write the url with mqtts://, or wss:// for a WebSocket");
    }
    answer
        .starts_with(b"HTTP/")
        .then_some("what answers is a web server (HTTP); write the url with ws://, or another port")
}

/// What a TLS connection says that has failed, during the handshake or later.
pub(crate) fn tls_failed(error: &std::io::Error) -> LinkError {
    use rustls::Error;
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hint = match cause {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            if let Some(refused) = other.downcast_ref::<Refused>() {
                return LinkError::Tls(refused.to_string());
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
    LinkError::Tls(format!("{error}{hint}"))
}

/// The same of a handshake; `seen`: the broker has shown a certificate, so what answers speaks TLS.
pub(crate) fn handshake_failed(error: &std::io::Error, seen: bool, websocket: bool) -> LinkError {
    use rustls::Error;
    if seen {
        return tls_failed(error);
    }
    let plain = if websocket { "ws://" } else { "mqtt://" };
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hung_up = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe].contains(&error.kind());
    match cause {
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure)) => LinkError::Tls(format!(
            "{error}; the broker has no key or cipher that is spoken here, which are RSA from 2048 bits, P-256, P-384 and \
             Ed25519, and not P-521"
        )),
        Some(Error::InvalidMessage(_)) => LinkError::Tls(format!(
            "{error}; what answers does not speak TLS on this port: try {plain}, or the port where it does"
        )),
        None if hung_up => LinkError::Tls(format!(
            "{error}; does the broker speak TLS on this port? If not, write the url with {plain}"
        )),
        _ => tls_failed(error),
    }
}

/// What a web server answers that does not make it a WebSocket.
pub(crate) fn websocket_refused(error: &tungstenite::Error, path: &str) -> LinkError {
    let tungstenite::Error::Http(response) = error else {
        let hint = match error {
            tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HttparseError(_)) => {
                "; what answers is no web server: try mqtt://, or the port for WebSockets"
            }
            tungstenite::Error::Io(_)
            | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
                "; it closed the connection instead of answering: is it the port for WebSockets, and with TLS or without?"
            }
            _ => "",
        };
        return LinkError::WebSocket(format!("{error}{hint}"));
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
    LinkError::WebSocket(format!("the server answers {status}; {hint}"))
}

/// A server's own words for a log line.
fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::http::Response;

    #[test]
    fn a_port_for_tls_is_said_to_be_one_and_a_plain_one_is_not() {
        assert!(closed_instead_of_connack(8883, false).contains("mqtts://"));
        assert!(closed_instead_of_connack(12345, false).contains("if the broker speaks TLS"));
        assert_eq!(closed_instead_of_connack(1883, false), "");
        assert!(!closed_instead_of_connack(8883, true).contains("mqtts://"));
        assert!(not_mqtt(&[0x15, 3, 3, 0, 2, 2, 70]).unwrap().contains("mqtts://"));
        assert!(not_mqtt(b"HTTP/1.1 400 Bad Request\r\n").unwrap().contains("ws://"));
        assert_eq!(not_mqtt(&[0x20, 2, 0, 0]), None);
        assert_eq!(not_mqtt(&[]), None);
    }

    #[test]
    fn every_answer_of_a_web_server_says_what_to_do() {
        let refused = |status: u16, location: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header("Location", location);
            }
            let response = response.body(None).unwrap();
            websocket_refused(&tungstenite::Error::Http(Box::new(response)), "/mqtt").to_string()
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
        assert!(handshake_failed(&reset(), false, false).to_string().contains("mqtt://"));
        assert!(handshake_failed(&reset(), false, true).to_string().contains("ws://"));
        assert!(
            !handshake_failed(&reset(), true, false).to_string().contains("speak TLS"),
            "it has shown that it does"
        );
        let alert = |kind| std::io::Error::other(rustls::Error::AlertReceived(kind));
        let none = alert(AlertDescription::HandshakeFailure);
        assert!(handshake_failed(&none, false, false).to_string().contains("P-521"));
        assert!(handshake_failed(&none, true, false).to_string().contains("client certificate"));
        let old = alert(AlertDescription::ProtocolVersion);
        assert!(handshake_failed(&old, false, false).to_string().contains("1.2"));
    }
}
