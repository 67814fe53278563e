//! Words about brokers that do not answer CONNECT as they should, where people err: what mostly is the reason, and what to do.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
