//! CONNACK: what a broker answers to CONNECT (MQTT 5.0 section 3.2).

use crate::Version;
use crate::reason::ReasonCode;
use crate::wire::{self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_properties, take_u8};
use bytes::{BufMut, Bytes, BytesMut};
use tidegate_message::QoS;

/// What a broker granted in CONNACK; the defaults of MQTT 5 where it says nothing, and for 3.x.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    pub(crate) reason: ReasonCode,
    pub(crate) words: Option<String>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) max_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) max_packet_size: Option<u32>,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) topic_alias_max: u16,
    pub(crate) wildcards_available: bool,
    pub(crate) shared_available: bool,
    pub(crate) subscription_ids_available: bool,
    pub(crate) server_keep_alive_s: Option<u16>,
    pub(crate) server_reference: Option<String>,
    pub(crate) response_info: Option<String>,
    /// Of enhanced authentication, and what is said last in it.
    pub(crate) auth_method: Option<String>,
    pub(crate) auth_data: Option<Bytes>,
}

impl ConnAck {
    pub(crate) fn plain(reason: ReasonCode, session_present: bool) -> Self {
        Self {
            session_present,
            reason,
            words: None,
            session_expiry_s: None,
            receive_maximum: u16::MAX,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            max_packet_size: None,
            assigned_client_id: None,
            topic_alias_max: 0,
            wildcards_available: true,
            shared_available: true,
            subscription_ids_available: true,
            server_keep_alive_s: None,
            server_reference: None,
            response_info: None,
            auth_method: None,
            auth_data: None,
        }
    }
}

pub(crate) fn decode(frame: Frame, version: Version) -> Result<ConnAck, ProtocolError> {
    let mut body = frame.body;
    let (flags, code) = (take_u8(&mut body)?, take_u8(&mut body)?);
    let session_present = flags & 1 != 0;
    if version != Version::V5 {
        return Ok(ConnAck::plain(ReasonCode::from_v3_connack(code), session_present));
    }
    if body.is_empty() {
        // The form of 3.1.1, from a broker that does not know MQTT 5, even if it means to say yes.
        let reason = match code {
            0 => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            0x80.. => ReasonCode(code),
            _ => ReasonCode::from_v3_connack(code),
        };
        return Ok(ConnAck::plain(reason, false));
    }
    let mut ack = ConnAck::plain(ReasonCode(code), session_present);
    take_properties(&mut body, |id, value| {
        match (id, value) {
            (property::SESSION_EXPIRY, Value::Four(seconds)) => ack.session_expiry_s = Some(seconds),
            (property::RECEIVE_MAXIMUM, Value::Two(count @ 1..)) => ack.receive_maximum = count,
            (property::MAXIMUM_QOS, Value::Byte(0)) => ack.max_qos = QoS::AtMostOnce,
            (property::MAXIMUM_QOS, Value::Byte(1)) => ack.max_qos = QoS::AtLeastOnce,
            (property::RETAIN_AVAILABLE, Value::Byte(flag @ 0..=1)) => ack.retain_available = flag == 1,
            (property::MAXIMUM_PACKET_SIZE, Value::Four(size @ 1..)) => ack.max_packet_size = Some(size),
            (property::ASSIGNED_CLIENT_ID, Value::Text(id)) => ack.assigned_client_id = Some(id.to_string()),
            (property::TOPIC_ALIAS_MAXIMUM, Value::Two(count)) => ack.topic_alias_max = count,
            (property::REASON_STRING, Value::Text(text)) => ack.words = Some(text.to_string()),
            (property::WILDCARDS_AVAILABLE, Value::Byte(flag @ 0..=1)) => ack.wildcards_available = flag == 1,
            (property::SHARED_AVAILABLE, Value::Byte(flag @ 0..=1)) => ack.shared_available = flag == 1,
            (property::SUBSCRIPTION_IDS_AVAILABLE, Value::Byte(flag @ 0..=1)) => {
                ack.subscription_ids_available = flag == 1
            }
            (property::SERVER_KEEP_ALIVE, Value::Two(seconds)) => ack.server_keep_alive_s = Some(seconds),
            (property::SERVER_REFERENCE, Value::Text(text)) => ack.server_reference = Some(text.to_string()),
            (property::AUTH_METHOD, Value::Text(method)) => ack.auth_method = Some(method.to_string()),
            (property::AUTH_DATA, Value::Binary(data)) => ack.auth_data = Some(data),
            (property::RESPONSE_INFO, Value::Text(text)) => ack.response_info = Some(text.to_string()),
            (property::USER, _) => {}
            _ => return Err(ProtocolError::Unexpected("property of CONNACK, or a limit that cannot be")),
        }
        Ok(())
    })?;
    match body.is_empty() {
        true => Ok(ack),
        false => Err(ProtocolError::Malformed("bytes behind CONNACK")),
    }
}

pub(crate) fn encode(out: &mut BytesMut, version: Version, ack: &ConnAck) {
    let present = u8::from(ack.session_present && !ack.reason.is_error());
    if version != Version::V5 {
        // 3.1 has no session present flag.
        let present = if version == Version::V31 { 0 } else { present };
        out.extend_from_slice(&[wire::CONNACK << 4, 2, present, ack.reason.to_v3_connack()]);
        return;
    }
    let mut properties = BytesMut::new();
    if let Some(seconds) = ack.session_expiry_s {
        properties.put_u8(property::SESSION_EXPIRY);
        properties.put_u32(seconds);
    }
    if ack.receive_maximum < u16::MAX {
        properties.put_u8(property::RECEIVE_MAXIMUM);
        properties.put_u16(ack.receive_maximum);
    }
    if let Some(size) = ack.max_packet_size {
        properties.put_u8(property::MAXIMUM_PACKET_SIZE);
        properties.put_u32(size);
    }
    if let Some(id) = &ack.assigned_client_id {
        properties.put_u8(property::ASSIGNED_CLIENT_ID);
        put_binary(&mut properties, id.as_bytes());
    }
    if ack.topic_alias_max > 0 {
        properties.put_u8(property::TOPIC_ALIAS_MAXIMUM);
        properties.put_u16(ack.topic_alias_max);
    }
    if let Some(words) = &ack.words {
        properties.put_u8(property::REASON_STRING);
        put_binary(&mut properties, words.as_bytes());
    }
    if let Some(seconds) = ack.server_keep_alive_s {
        properties.put_u8(property::SERVER_KEEP_ALIVE);
        properties.put_u16(seconds);
    }
    if let Some(elsewhere) = &ack.server_reference {
        properties.put_u8(property::SERVER_REFERENCE);
        put_binary(&mut properties, elsewhere.as_bytes());
    }
    if let Some(text) = &ack.response_info {
        properties.put_u8(property::RESPONSE_INFO);
        put_binary(&mut properties, text.as_bytes());
    }
    if let Some(method) = &ack.auth_method {
        properties.put_u8(property::AUTH_METHOD);
        put_binary(&mut properties, method.as_bytes());
    }
    if let Some(data) = &ack.auth_data {
        properties.put_u8(property::AUTH_DATA);
        put_binary(&mut properties, data);
    }
    out.put_u8(wire::CONNACK << 4);
    put_varint(out, 2 + wire::varint_len(properties.len()) + properties.len());
    out.extend_from_slice(&[present, ack.reason.0]);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;
    use rumqttc::v5::mqttbytes::v5;

    fn frame(bytes: &[u8]) -> Frame {
        Frames::cut(&mut BytesMut::from(bytes), usize::MAX, 1).next().unwrap().unwrap()
    }

    #[test]
    fn rumqttc_and_we_read_each_others_connack() {
        let ack = ConnAck {
            session_expiry_s: Some(7),
            receive_maximum: 9,
            max_packet_size: Some(1000),
            assigned_client_id: Some("box".into()),
            topic_alias_max: 3,
            words: Some("well met".into()),
            server_keep_alive_s: Some(5),
            server_reference: Some("other.example:8883".into()),
            response_info: Some("answers/box".into()),
            auth_method: Some("SCRAM-SHA-256".into()),
            auth_data: Some(Bytes::from_static(b"v=x")),
            ..ConnAck::plain(ReasonCode::SUCCESS, true)
        };
        let mut bytes = BytesMut::new();
        encode(&mut bytes, Version::V5, &ack);
        assert_eq!(decode(frame(&bytes), Version::V5).unwrap(), ack);
        let v5::Packet::ConnAck(theirs) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
        let found = theirs.properties.clone().unwrap();
        assert_eq!((theirs.session_present, found.receive_max, found.max_packet_size), (true, Some(9), Some(1000)));
        assert_eq!((found.topic_alias_max, found.server_keep_alive), (Some(3), Some(5)));
        theirs.write(&mut bytes).unwrap();
        assert_eq!(decode(frame(&bytes), Version::V5).unwrap(), ack);
    }
}
