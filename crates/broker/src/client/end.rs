//! How a client's connection ended.

use crate::disconnect::Leaving;
use std::fmt;
use std::io;
use tidegate_mqtt::{ProtocolError, ReasonCode};
use tidegate_transport::Lost;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye { reason: ReasonCode, expiry_s: Option<u32> },
    /// The client closed without a word.
    Closed,
    /// The socket, or what lies between it and MQTT.
    Broken(io::Error),
    /// What lies below MQTT did not come about: TLS, WebSocket.
    Handshake(io::Error),
    /// It speaks something else.
    OtherProtocol(&'static str),
    /// The client broke the protocol or was silent.
    Protocol(ProtocolError),
    /// The client was not let in.
    Refused(ReasonCode),
    /// No CONNECT in time.
    TooLate,
    /// The client does not read.
    Stuck,
    /// The broker stops, or another connection took the session over.
    ToldToGo,
}

impl End {
    /// What it means for the session.
    pub(crate) fn leaving(&self) -> Leaving {
        match self {
            Self::Goodbye { reason, expiry_s } => {
                Leaving::Goodbye { with_will: *reason != ReasonCode::SUCCESS, expiry_s: *expiry_s }
            }
            _ => Leaving::Lost,
        }
    }

    /// An error if somebody should know.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        match self {
            Self::Goodbye { .. } | Self::ToldToGo => Ok(()),
            other => Err(other),
        }
    }
}

/// What the first bytes of a connection show of somebody who does not speak MQTT.
pub(crate) fn recognised(first: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 5] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI"];
    match first {
        // A record of TLS with a handshake in it (RFC 8446 section 5.1).
        [0x16, 0x03, ..] => {
            Some("a TLS handshake, and this listener has no TLS: listen on mqtts://, or have the client speak none")
        }
        first if HTTP.contains(&first) => {
            Some("HTTP, and this listener is for MQTT over TCP: for MQTT over WebSocket listen on ws://")
        }
        _ => None,
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye { reason, .. } => write!(f, "the client said goodbye: {reason}"),
            Self::Closed => f.write_str("the client closed the connection"),
            Self::Broken(error) | Self::Handshake(error) => error.fmt(f),
            Self::OtherProtocol(what) => f.write_str(what),
            Self::Protocol(error) => error.fmt(f),
            Self::Refused(reason) => write!(f, "not let in: {reason}"),
            Self::TooLate => f.write_str("no CONNECT in time"),
            Self::Stuck => f.write_str("the client does not read what it asked for"),
            Self::ToldToGo => f.write_str("the broker ended the connection"),
        }
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Closed => Self::Closed,
            Lost::Broken(error) => Self::Broken(error),
        }
    }
}
