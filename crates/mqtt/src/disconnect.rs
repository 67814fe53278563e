//! DISCONNECT: the goodbye of either side (MQTT 5.0 section 3.14).

use crate::reason::ReasonCode;
use crate::wire::{self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_properties, take_u8};
use crate::{Control, Version};
use bytes::{BufMut, BytesMut};

/// Writes a DISCONNECT. In MQTT 3.x there is only the plain one, and only a client may send it.
pub(crate) fn encode(out: &mut BytesMut, version: Version, reason: ReasonCode) {
    if version == Version::V5 && reason != ReasonCode::SUCCESS {
        out.extend_from_slice(&[wire::DISCONNECT << 4, 1, reason.0]);
    } else {
        out.extend_from_slice(&[wire::DISCONNECT << 4, 0]);
    }
}

/// Writes the DISCONNECT of a server (MQTT 5) that says where to go instead.
pub(crate) fn encode_elsewhere(out: &mut BytesMut, reason: ReasonCode, server_reference: &str) {
    let mut properties = BytesMut::new();
    properties.put_u8(property::SERVER_REFERENCE);
    put_binary(&mut properties, server_reference.as_bytes());
    out.put_u8(wire::DISCONNECT << 4);
    put_varint(out, 1 + wire::varint_len(properties.len()) + properties.len());
    out.put_u8(reason.0);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

pub(crate) fn decode(frame: Frame, version: Version) -> Result<Control, ProtocolError> {
    if !frame.has_flags(0, version) {
        return Err(ProtocolError::Malformed("flags of DISCONNECT"));
    }
    let mut body = frame.body;
    let (mut reason, mut words, mut server_reference, mut session_expiry_s) = (ReasonCode::SUCCESS, None, None, None);
    if version == Version::V5 && !body.is_empty() {
        reason = ReasonCode(take_u8(&mut body)?);
        if !body.is_empty() {
            take_properties(&mut body, |id, value| {
                match (id, value) {
                    (property::REASON_STRING, Value::Text(text)) => words = Some(text.to_string()),
                    (property::SERVER_REFERENCE, Value::Text(text)) => server_reference = Some(text.to_string()),
                    (property::SESSION_EXPIRY, Value::Four(seconds)) => session_expiry_s = Some(seconds),
                    (property::USER, _) => {}
                    _ => return Err(ProtocolError::Unexpected("property of DISCONNECT")),
                }
                Ok(())
            })?;
        }
    }
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("bytes behind DISCONNECT"));
    }
    Ok(Control::Disconnected { reason, words, server_reference, session_expiry_s })
}
