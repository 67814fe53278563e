//! The rare control packets, most of them through `rumqttc`'s codec.

use crate::reason::ReasonCode;
use crate::wire::{self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_properties, take_u8};
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
            server_keep_alive_s: None,
            server_reference: None,
        }
    }
}

pub(crate) fn decode_connack(frame: Frame, version: Version) -> Result<ConnAck, ProtocolError> {
    // A broker that does not know MQTT 5 answers with the two bytes of 3.1.1.
    if version != Version::V5 || frame.body.len() == 2 {
        let mut body = frame.body;
        let (flags, code) = (take_u8(&mut body)?, take_u8(&mut body)?);
        return Ok(ConnAck::plain(ReasonCode::from_v3_connack(code), flags & 1 != 0));
    }
    let (flags, code) = match frame.body[..] {
        [flags, code, ..] => (flags, code),
        _ => return Err(ProtocolError::Malformed("CONNACK")),
    };
    let mut ack = ConnAck::plain(ReasonCode(code), flags & 1 != 0);
    let v5::Packet::ConnAck(theirs) = v5::Packet::read(&mut frame.whole(), None)? else {
        return Err(ProtocolError::Malformed("CONNACK"));
    };
    let Some(found) = theirs.properties else { return Ok(ack) };
    if found.receive_max == Some(0) || found.max_packet_size == Some(0) || found.max_qos.is_some_and(|qos| qos > 1) {
        return Err(ProtocolError::Unexpected("a limit in CONNACK that cannot be"));
    }
    let available = |flag: Option<u8>| flag != Some(0);
    ack.words = found.reason_string;
    ack.session_expiry_s = found.session_expiry_interval;
    ack.receive_maximum = found.receive_max.unwrap_or(u16::MAX);
    ack.max_qos = found.max_qos.and_then(QoS::from_u8).unwrap_or(QoS::ExactlyOnce);
    ack.retain_available = available(found.retain_available);
    ack.max_packet_size = found.max_packet_size;
    ack.assigned_client_id = found.assigned_client_identifier;
    ack.topic_alias_max = found.topic_alias_max.unwrap_or(0);
    ack.wildcards_available = available(found.wildcard_subscription_available);
    ack.shared_available = available(found.shared_subscription_available);
    ack.server_keep_alive_s = found.server_keep_alive;
    ack.server_reference = found.server_reference;
    Ok(ack)
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
        properties.put_u8(18);
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
        properties.put_u8(19);
        properties.put_u16(seconds);
    }
    out.put_u8(wire::CONNACK << 4);
    put_varint(out, 2 + wire::varint_len(properties.len()) + properties.len());
    out.extend_from_slice(&[present, ack.reason.0]);
    put_varint(out, properties.len());
    out.extend_from_slice(&properties);
}

/// Writes a SUBSCRIBE. The filters must be valid.
pub(crate) fn encode_subscribe(out: &mut BytesMut, version: Version, pkid: u16, filters: &[SubscribeFilter]) {
    let valid = filters.iter().filter_map(|f| Some((f.filter.as_ref().ok()?.as_str().to_owned(), f)));
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
        v5::Subscribe { pkid, filters, properties: None }.write(out).map(drop).map_err(ProtocolError::from)
    } else {
        let filters = valid.map(|(path, f)| v4::SubscribeFilter { path, qos: v4_qos(f.qos) }).collect();
        v4::Subscribe { pkid, filters }.write(out).map(drop).map_err(ProtocolError::from)
    };
}

pub(crate) fn decode_subscribe(frame: Frame, version: Version) -> Result<Control, ProtocolError> {
    if frame.first & 0x0F != 2 {
        return Err(ProtocolError::Malformed("flags of SUBSCRIBE"));
    }
    let (packet_id, filters, subscription_id) = if version == Version::V5 {
        // The options byte is checked here: the codec reads past its reserved bits (MQTT 5.0 section 3.8.3.1).
        let v5::Packet::Subscribe(found) = v5::Packet::read(&mut frame.whole(), None)? else {
            return Err(ProtocolError::Malformed("SUBSCRIBE"));
        };
        let id = found.properties.and_then(|p| p.id);
        if id == Some(0) {
            return Err(ProtocolError::Unexpected("subscription identifier 0"));
        }
        let filters = found.filters.into_iter().map(|f| SubscribeFilter {
            filter: TopicFilter::new(f.path),
            qos: QoS::from_u8(f.qos as u8).unwrap_or_default(),
            no_local: f.nolocal,
            retain_as_published: f.preserve_retain,
            retain_handling: match f.retain_forward_rule {
                v5::RetainForwardRule::OnEverySubscribe => RetainHandling::Send,
                v5::RetainForwardRule::OnNewSubscribe => RetainHandling::SendIfNew,
                v5::RetainForwardRule::Never => RetainHandling::Never,
            },
        });
        (found.pkid, filters.collect::<Vec<_>>(), id.and_then(|id| u32::try_from(id).ok()))
    } else {
        let v4::Packet::Subscribe(found) = v4::Packet::read(&mut frame.whole(), usize::MAX)? else {
            return Err(ProtocolError::Malformed("SUBSCRIBE"));
        };
        let filters = found.filters.into_iter().map(|f| SubscribeFilter {
            filter: TopicFilter::new(f.path),
            qos: QoS::from_u8(f.qos as u8).unwrap_or_default(),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        });
        (found.pkid, filters.collect(), None)
    };
    if packet_id == 0 {
        return Err(ProtocolError::Malformed("packet id 0"));
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
    let packet_id = wire::take_packet_id(&mut body)?;
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
    if frame.first & 0x0F != 2 {
        return Err(ProtocolError::Malformed("flags of UNSUBSCRIBE"));
    }
    let (packet_id, filters) = if version == Version::V5 {
        match v5::Packet::read(&mut frame.whole(), None)? {
            v5::Packet::Unsubscribe(found) => (found.pkid, found.filters),
            _ => return Err(ProtocolError::Malformed("UNSUBSCRIBE")),
        }
    } else {
        match v4::Packet::read(&mut frame.whole(), usize::MAX)? {
            v4::Packet::Unsubscribe(found) => (found.pkid, found.topics),
            _ => return Err(ProtocolError::Malformed("UNSUBSCRIBE")),
        }
    };
    if packet_id == 0 || filters.is_empty() {
        return Err(ProtocolError::Malformed("UNSUBSCRIBE"));
    }
    Ok(Control::Unsubscribe { packet_id, filters })
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

pub(crate) fn decode_unsuback(frame: Frame) -> Result<u16, ProtocolError> {
    let mut body = frame.body;
    wire::take_packet_id(&mut body)
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
    if frame.first & 0x0F != 0 {
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
