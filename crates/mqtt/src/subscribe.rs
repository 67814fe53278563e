//! SUBSCRIBE, UNSUBSCRIBE and their answers (MQTT 5.0 sections 3.8 to 3.11).

use crate::reason::ReasonCode;
use crate::wire::{
    self, Frame, ProtocolError, Value, property, put_varint, take_packet_id, take_properties, take_string, take_u8,
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
