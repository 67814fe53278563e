//! The rare control packets.

use crate::reason::ReasonCode;
use crate::wire::{
    self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_packet_id, take_properties, take_string,
    take_u8,
};
use crate::{Control, Version};
use bytes::{BufMut, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tidegate_message::{FilterError, QoS, TopicFilter};

/// Which retained messages a new subscription is sent (MQTT 5.0 section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// Those that match, at every subscribe.
    #[default]
    Send,
    /// Only if the subscription is new.
    SendIfNew,
    /// None.
    Never,
}

/// One filter of a SUBSCRIBE and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// As sent; a server checks it and answers a bad one with its own code.
    pub filter: Result<TopicFilter, FilterError>,
    /// The highest QoS wanted.
    pub qos: QoS,
    /// Not what this client itself published (MQTT 5).
    pub no_local: bool,
    /// Keep the retain flag as the publisher set it (MQTT 5).
    pub retain_as_published: bool,
    /// MQTT 5.
    pub retain_handling: RetainHandling,
    /// What messages for this subscription shall bear (MQTT 5); a client's own choice, at most 268,435,455.
    pub subscription_id: Option<u32>,
}

impl SubscribeFilter {
    /// A plain subscription.
    pub const fn new(filter: TopicFilter, qos: QoS) -> Self {
        Self {
            filter: Ok(filter),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
            subscription_id: None,
        }
    }
}

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
        }
    }
}

pub(crate) fn decode_connack(frame: Frame, version: Version) -> Result<ConnAck, ProtocolError> {
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
            (property::USER | property::RESPONSE_INFO | property::AUTH_METHOD | property::AUTH_DATA, _) => {}
            _ => return Err(ProtocolError::Unexpected("property of CONNACK, or a limit that cannot be")),
        }
        Ok(())
    })?;
    match body.is_empty() {
        true => Ok(ack),
        false => Err(ProtocolError::Malformed("bytes behind CONNACK")),
    }
}

pub(crate) fn encode_connack(out: &mut BytesMut, version: Version, ack: &ConnAck) {
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
    out.put_u8(wire::CONNACK << 4);
    put_varint(out, 2 + wire::varint_len(properties.len()) + properties.len());
    out.extend_from_slice(&[present, ack.reason.0]);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// The identifier of a SUBSCRIBE: all its filters have the same.
fn filters_id(filters: &[SubscribeFilter]) -> Option<u32> {
    filters.first().and_then(|first| first.subscription_id)
}

/// Writes a SUBSCRIBE. The filters must be valid and have the same subscription identifier.
pub(crate) fn encode_subscribe(
    out: &mut BytesMut,
    version: Version,
    pkid: u16,
    filters_asked: &[SubscribeFilter],
    with_id: bool,
) {
    let valid = filters_asked.iter().filter_map(|f| Some((f.filter.as_ref().ok()?.as_str().to_owned(), f)));
    // Writing fails only for lengths that a checked filter cannot have.
    let _ = if version == Version::V5 {
        let filters = valid
            .map(|(path, f)| v5::Filter {
                path,
                qos: v5_qos(f.qos),
                nolocal: f.no_local,
                preserve_retain: f.retain_as_published,
                retain_forward_rule: match f.retain_handling {
                    RetainHandling::Send => v5::RetainForwardRule::OnEverySubscribe,
                    RetainHandling::SendIfNew => v5::RetainForwardRule::OnNewSubscribe,
                    RetainHandling::Never => v5::RetainForwardRule::Never,
                },
            })
            .collect();
        let id = filters_id(filters_asked).filter(|_| with_id);
        let properties = id.map(|id| v5::SubscribeProperties { id: Some(id as usize), user_properties: Vec::new() });
        v5::Subscribe { pkid, filters, properties }.write(out).map(drop).map_err(ProtocolError::from)
    } else {
        let filters = valid.map(|(path, f)| v4::SubscribeFilter { path, qos: v4_qos(f.qos) }).collect();
        v4::Subscribe { pkid, filters }.write(out).map(drop).map_err(ProtocolError::from)
    };
}

pub(crate) fn decode_subscribe(frame: Frame, version: Version) -> Result<Control, ProtocolError> {
    if !frame.has_flags(2, version) {
        return Err(ProtocolError::Malformed("flags of SUBSCRIBE"));
    }
    let mut body = frame.body;
    let packet_id = take_packet_id(&mut body)?;
    let mut subscription_id = None;
    if version == Version::V5 {
        take_properties(&mut body, |id, value| match (id, value) {
            (property::SUBSCRIPTION_ID, Value::Varint(id @ 1..)) if subscription_id.is_none() => {
                subscription_id = u32::try_from(id).ok();
                Ok(())
            }
            (property::USER, _) => Ok(()),
            _ => Err(ProtocolError::Unexpected("property of SUBSCRIBE")),
        })?;
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        let filter = TopicFilter::new(take_string(&mut body)?);
        let options = take_u8(&mut body)?;
        // 3.x has nothing but the QoS here (MQTT 3.1.1 section 3.8.3, MQTT 5.0 section 3.8.3.1).
        if options & if version == Version::V5 { 0xC0 } else { 0xFC } != 0 {
            return Err(ProtocolError::Malformed("reserved options of SUBSCRIBE"));
        }
        filters.push(SubscribeFilter {
            filter,
            qos: QoS::from_u8(options & 3).ok_or(ProtocolError::Malformed("QoS 3"))?,
            no_local: options & 0x04 != 0,
            retain_as_published: options & 0x08 != 0,
            retain_handling: match options >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::Never,
                _ => return Err(ProtocolError::Unexpected("retain handling 3")),
            },
            subscription_id,
        });
    }
    if filters.is_empty() {
        return Err(ProtocolError::Unexpected("SUBSCRIBE without filters"));
    }
    if filters.iter().any(|f| f.no_local && f.filter.as_ref().is_ok_and(|filter| filter.share().is_some())) {
        return Err(ProtocolError::Unexpected("no-local on a shared subscription"));
    }
    Ok(Control::Subscribe { packet_id, filters, subscription_id })
}

pub(crate) fn encode_suback(out: &mut BytesMut, version: Version, packet_id: u16, codes: &[ReasonCode]) {
    let v5 = version == Version::V5;
    out.put_u8(wire::SUBACK << 4);
    put_varint(out, 2 + usize::from(v5) + codes.len());
    out.put_u16(packet_id);
    if v5 {
        out.put_u8(0);
    }
    // 3.1.1 knows one error only.
    out.extend(codes.iter().map(|code| if code.is_error() && !v5 { 0x80 } else { code.0 }));
}

pub(crate) fn decode_suback(frame: Frame, version: Version) -> Result<(u16, Vec<ReasonCode>), ProtocolError> {
    let mut body = frame.body;
    let packet_id = take_packet_id(&mut body)?;
    if version == Version::V5 {
        take_properties(&mut body, |id, _| match id {
            property::REASON_STRING | property::USER => Ok(()),
            _ => Err(ProtocolError::Unexpected("property of SUBACK")),
        })?;
    }
    if body.is_empty() {
        return Err(ProtocolError::Malformed("SUBACK without codes"));
    }
    Ok((packet_id, body.iter().map(|code| ReasonCode(*code)).collect()))
}

pub(crate) fn encode_unsubscribe(out: &mut BytesMut, version: Version, pkid: u16, filters: &[TopicFilter]) {
    let topics = filters.iter().map(|filter| filter.as_str().to_owned()).collect();
    let _ = if version == Version::V5 {
        v5::Unsubscribe { pkid, filters: topics, properties: None }.write(out).map(drop).map_err(ProtocolError::from)
    } else {
        v4::Unsubscribe { pkid, topics }.write(out).map(drop).map_err(ProtocolError::from)
    };
}

pub(crate) fn decode_unsubscribe(frame: Frame, version: Version) -> Result<Control, ProtocolError> {
    if !frame.has_flags(2, version) {
        return Err(ProtocolError::Malformed("flags of UNSUBSCRIBE"));
    }
    let mut body = frame.body;
    let packet_id = take_packet_id(&mut body)?;
    if version == Version::V5 {
        take_properties(&mut body, |id, _| match id {
            property::USER => Ok(()),
            _ => Err(ProtocolError::Unexpected("property of UNSUBSCRIBE")),
        })?;
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(take_string(&mut body)?.to_string());
    }
    match filters.is_empty() {
        true => Err(ProtocolError::Unexpected("UNSUBSCRIBE without filters")),
        false => Ok(Control::Unsubscribe { packet_id, filters }),
    }
}

pub(crate) fn encode_unsuback(out: &mut BytesMut, version: Version, packet_id: u16, codes: &[ReasonCode]) {
    out.put_u8(wire::UNSUBACK << 4);
    if version == Version::V5 {
        put_varint(out, 3 + codes.len());
        out.put_u16(packet_id);
        out.put_u8(0);
        out.extend(codes.iter().map(|code| code.0));
    } else {
        out.put_u8(2);
        out.put_u16(packet_id);
    }
}

pub(crate) fn decode_unsuback(frame: Frame, version: Version) -> Result<(u16, Vec<ReasonCode>), ProtocolError> {
    let mut body = frame.body;
    let packet_id = take_packet_id(&mut body)?;
    if version == Version::V5 && !body.is_empty() {
        take_properties(&mut body, |id, _| match id {
            property::REASON_STRING | property::USER => Ok(()),
            _ => Err(ProtocolError::Unexpected("property of UNSUBACK")),
        })?;
    }
    Ok((packet_id, body.iter().map(|code| ReasonCode(*code)).collect()))
}

/// Writes a DISCONNECT. In MQTT 3.x there is only the plain one, and only a client may send it.
pub(crate) fn encode_disconnect(out: &mut BytesMut, version: Version, reason: ReasonCode) {
    if version == Version::V5 && reason != ReasonCode::SUCCESS {
        out.extend_from_slice(&[wire::DISCONNECT << 4, 1, reason.0]);
    } else {
        out.extend_from_slice(&[wire::DISCONNECT << 4, 0]);
    }
}

pub(crate) fn decode_disconnect(frame: Frame, version: Version) -> Result<Control, ProtocolError> {
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

fn v4_qos(qos: QoS) -> rumqttc::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::mqttbytes::QoS::ExactlyOnce,
    }
}

fn v5_qos(qos: QoS) -> rumqttc::v5::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::v5::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::v5::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::v5::mqttbytes::QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;

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
            ..ConnAck::plain(ReasonCode::SUCCESS, true)
        };
        let mut bytes = BytesMut::new();
        encode_connack(&mut bytes, Version::V5, &ack);
        assert_eq!(decode_connack(frame(&bytes), Version::V5).unwrap(), ack);
        let v5::Packet::ConnAck(theirs) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
        let found = theirs.properties.clone().unwrap();
        assert_eq!((theirs.session_present, found.receive_max, found.max_packet_size), (true, Some(9), Some(1000)));
        assert_eq!((found.topic_alias_max, found.server_keep_alive), (Some(3), Some(5)));
        theirs.write(&mut bytes).unwrap();
        assert_eq!(decode_connack(frame(&bytes), Version::V5).unwrap(), ack);
    }

    #[test]
    fn rumqttc_reads_our_answers_and_our_goodbye() {
        let codes = [ReasonCode::GRANTED_QOS_1, ReasonCode::NOT_AUTHORIZED];
        let mut bytes = BytesMut::new();
        encode_suback(&mut bytes, Version::V5, 7, &codes);
        assert_eq!(decode_suback(frame(&bytes), Version::V5).unwrap(), (7, codes.to_vec()));
        let v5::Packet::SubAck(theirs) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
        assert_eq!((theirs.pkid, theirs.return_codes.len()), (7, 2));
        encode_suback(&mut bytes, Version::V311, 7, &codes);
        assert_eq!(bytes[..], [0x90, 4, 0, 7, 1, 0x80], "3.1.1 knows one error");
        bytes.clear();
        encode_unsuback(&mut bytes, Version::V5, 8, &[ReasonCode::SUCCESS]);
        assert_eq!(decode_unsuback(frame(&bytes), Version::V5).unwrap(), (8, vec![ReasonCode::SUCCESS]));
        let v5::Packet::UnsubAck(theirs) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
        assert_eq!(theirs.pkid, 8);
    }
}
