//! AUTH: enhanced authentication, when a client connects and as often as it likes afterwards (MQTT 5.0 sections 3.15, 4.12).

use crate::Control;
use crate::reason::ReasonCode;
use crate::wire::{self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_properties, take_u8};
use bytes::{BufMut, BytesMut};

pub(crate) fn encode(out: &mut BytesMut, reason: ReasonCode, method: &str, data: &[u8]) {
    let mut properties = BytesMut::new();
    properties.put_u8(property::AUTH_METHOD);
    put_binary(&mut properties, method.as_bytes());
    properties.put_u8(property::AUTH_DATA);
    put_binary(&mut properties, data);
    out.put_u8(wire::AUTH << 4);
    put_varint(out, 1 + wire::varint_len(properties.len()) + properties.len());
    out.put_u8(reason.0);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// That of a client.
pub(crate) fn decode(frame: Frame) -> Result<Control, ProtocolError> {
    if frame.first & 0x0F != 0 {
        return Err(ProtocolError::Malformed("flags of AUTH"));
    }
    let mut body = frame.body;
    let reason = if body.is_empty() { ReasonCode::SUCCESS } else { ReasonCode(take_u8(&mut body)?) };
    let (mut method, mut data) = (None, Default::default());
    if !body.is_empty() {
        take_properties(&mut body, |id, value| {
            match (id, value) {
                (property::AUTH_METHOD, Value::Text(name)) => method = Some(name),
                (property::AUTH_DATA, Value::Binary(bytes)) => data = bytes,
                (property::REASON_STRING | property::USER, _) => {}
                _ => return Err(ProtocolError::Unexpected("property of AUTH")),
            }
            Ok(())
        })?;
    }
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("bytes behind AUTH"));
    }
    let method = method.ok_or(ProtocolError::Unexpected("AUTH without an authentication method"))?;
    match reason {
        ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::RE_AUTHENTICATE => {
            Ok(Control::Auth { again: reason == ReasonCode::RE_AUTHENTICATE, method, data })
        }
        _ => Err(ProtocolError::Unexpected("reason code of a client's AUTH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

    fn read(bytes: &[u8]) -> Result<Control, ProtocolError> {
        decode(Frames::cut(&mut BytesMut::from(bytes), 1000, 1).next().unwrap().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = BytesMut::new();
        encode(&mut bytes, ReasonCode::CONTINUE_AUTHENTICATION, "m", b"\0data");
        assert_eq!(&bytes[..], b"\xF0\x0e\x18\x0c\x15\0\x01m\x16\0\x05\0data");
        let expected = Control::Auth { again: false, method: "m".into(), data: "\0data".into() };
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bytes in [
            &b"\xF0\x00"[..],                          // success, from a client
            b"\xF0\x01\x18",                           // no method
            b"\xF0\x06\x00\x04\x15\0\x01m",            // success
            b"\xF0\x06\x87\x04\x15\0\x01m",            // a refusal
            b"\xF0\x06\x18\x02\x0b\x01\x00\x00",       // a property of another packet
            b"\xF1\x06\x18\x04\x15\0\x01m",            // flags
            b"\xF0\x07\x18\x04\x15\0\x01mx",           // bytes behind it
            b"\xF0\x0a\x18\x08\x15\0\x01m\x15\0\x01m", // twice
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
