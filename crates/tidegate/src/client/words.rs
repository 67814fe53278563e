//! What a broker refuses and how a connection fails, in words that say what to do.

use crate::Failure;
use rumqttc::v5;
use std::fmt::Debug;

/// Why something did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// In words.
    pub(crate) words: String,
    /// The broker does not let this client: another user name or other rights would help, trying again would not.
    pub(crate) not_permitted: bool,
}

impl Wrong {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), not_permitted: false }
    }

    /// With what it is about in front.
    pub(crate) fn about(self, what: &str) -> Self {
        Self { words: format!("{what}: {}", self.words), ..self }
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        if wrong.not_permitted { Self::NotPermitted(wrong.words) } else { Self::Unavailable(wrong.words) }
    }
}

/// A refusal by its reason code, with the broker's own words if it has some (MQTT 5.0 section 2.4, and 3.1.2.11.7).
pub(crate) fn refused(reason: impl Debug, said: Option<&str>) -> Wrong {
    let reason = format!("{reason:?}");
    let not_permitted = ["NotAuthorized", "BadUserNamePassword", "Banned", "Failure"].contains(&reason.as_str());
    let hint = match reason.as_str() {
        "UnsupportedProtocolVersion" | "RefusedProtocolVersion" => "; try another --mqtt-version",
        _ => "",
    };
    let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
    // The only thing that a SUBACK of MQTT 3.1.1 can say.
    let reason = if reason == "Failure" { "no reason given".to_owned() } else { spelled_out(&reason) };
    Wrong { words: format!("the broker refuses it: {reason}{said}{hint}"), not_permitted }
}

/// `NotAuthorized` becomes `not authorized`.
fn spelled_out(name: &str) -> String {
    let mut out = String::new();
    for c in name.replace("QoS", "Qos").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// What a broker that closes the connection may mean by it.
const CLOSED: &str = "the broker closed the connection";

/// Of a connection with MQTT 3.1.1. `connected` is whether the broker had answered CONNECT.
pub(crate) fn of_v311(error: &rumqttc::ConnectionError, connected: bool) -> Wrong {
    use rumqttc::{ConnectionError as Error, StateError};
    match error {
        Error::ConnectionRefused(code) => refused(code, None),
        Error::NetworkTimeout | Error::FlushTimeout => Wrong::new(SILENT),
        Error::MqttState(StateError::ConnectionAborted) => closed(connected),
        Error::MqttState(StateError::AwaitPingResp) => Wrong::new("the broker does not answer PINGREQ"),
        other => transport(&other.to_string(), connected),
    }
}

/// Of a connection with MQTT 5.
pub(crate) fn of_v5(error: &v5::ConnectionError, connected: bool) -> Wrong {
    use v5::{ConnectionError as Error, StateError};
    match error {
        Error::ConnectionRefused(code) => refused(code, None),
        Error::Timeout(_) => Wrong::new(SILENT),
        Error::MqttState(StateError::ConnectionAborted) => closed(connected),
        Error::MqttState(StateError::AwaitPingResp) => Wrong::new("the broker does not answer PINGREQ"),
        Error::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let wrong = refused(reason_code, reason_string.as_deref());
            Wrong { words: wrong.words.replacen("the broker refuses it", "the broker says goodbye", 1), ..wrong }
        }
        other => transport(&other.to_string(), connected),
    }
}

const SILENT: &str = "no answer in time; see --timeout";

fn closed(connected: bool) -> Wrong {
    Wrong::new(match connected {
        true => CLOSED.to_owned(),
        false => format!("{CLOSED} instead of answering CONNECT; is it the right port, and the right scheme in --url?"),
    })
}

/// Sockets, TLS and WebSockets; rumqttc's words go from the outside in.
fn transport(words: &str, connected: bool) -> Wrong {
    // A broker that misses a certificate says so when TLS 1.3 has begun; rumqttc takes it for MQTT.
    let alert = words.contains("fatal alert");
    let tls = alert || words.contains("TLS");
    let ended = ["Connection reset by peer", "Broken pipe", "eof"].iter().any(|end| words.contains(end));
    if ended && !tls {
        return closed(connected);
    }
    let hint = if words.contains("UnknownIssuer") {
        "; --ca must be the issuer of the broker's certificate"
    } else if alert {
        "; does the broker want --cert, or another one?"
    } else if tls && (ended || words.contains("corrupt message")) {
        "; is it a port for TLS, and does the broker want --cert?"
    } else {
        ""
    };
    // The last of rumqttc's layers says it; those before it say where that was in rumqttc.
    let layers = ["Mqtt state: ", "Mqtt serialization/deserialization error: ", "TLS: ", "I/O: ", "IO: "];
    let mut said = words;
    while let Some(inner) = layers.iter().find_map(|layer| said.strip_prefix(layer)) {
        said = inner;
    }
    Wrong::new(format!("{}{said}{hint}", if tls { "TLS: " } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn reasons_are_spelled_out_and_rights_are_told_from_trouble() {
        let wrong = refused(v5::mqttbytes::v5::PubAckReason::NotAuthorized, Some("no such topic for you"));
        assert_eq!(wrong.words, "the broker refuses it: not authorized (no such topic for you)");
        assert!(wrong.not_permitted);
        let wrong = refused(v5::mqttbytes::v5::ConnectReturnCode::QoSNotSupported, None);
        assert_eq!((wrong.words.as_str(), wrong.not_permitted), ("the broker refuses it: qos not supported", false));
        assert!(refused(rumqttc::ConnectReturnCode::RefusedProtocolVersion, None).words.contains("--mqtt-version"));
        assert!(refused(rumqttc::SubscribeReasonCode::Failure, None).words.ends_with("no reason given"));
    }

    #[test]
    fn a_connection_that_fails_says_what_to_look_at() {
        let error = v5::ConnectionError::Io(io::Error::from_raw_os_error(111));
        assert_eq!(of_v5(&error, false).words, "Connection refused (os error 111)");
        let aborted = rumqttc::ConnectionError::MqttState(rumqttc::StateError::ConnectionAborted);
        assert!(of_v311(&aborted, false).words.contains("the right port"));
        assert_eq!(of_v311(&aborted, true).words, CLOSED);
        let invalid = io::Error::other("invalid peer certificate: UnknownIssuer");
        let words = of_v5(&v5::ConnectionError::Tls(rumqttc::TlsError::Io(invalid)), false).words;
        assert_eq!(
            words,
            "TLS: invalid peer certificate: UnknownIssuer; --ca must be the issuer of the broker's certificate"
        );
    }
}
