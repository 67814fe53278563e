//! PUBLISH on the wire (MQTT 5.0 section 3.3): the one packet whose cost matters.

use crate::Version;
use crate::known_topics::KnownTopics;
use crate::wire::{
    self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_binary, take_packet_id, take_properties,
    take_string, varint_len,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidegate_message::{ByteString, Message, Properties, QoS, Topic, TopicId};

/// A PUBLISH as received, before its topic alias is resolved.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_id: u16,
    /// `None` when the topic is empty and an alias stands for it.
    pub(crate) topic: Option<Topic>,
    /// Of a topic that was known.
    pub(crate) topic_id: Option<TopicId>,
    pub(crate) alias: Option<u16>,
    pub(crate) payload: Bytes,
    pub(crate) properties: Option<Box<Properties>>,
    /// The lowest of those it bears.
    pub(crate) subscription_id: Option<u32>,
    /// All of those it bears, or-ed.
    pub(crate) subscription_bits: u32,
}

/// A PUBLISH that cannot be taken, and what is needed to answer it all the same.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: ProtocolError,
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    /// 0 if it has none, or none that can be read.
    pub(crate) packet_id: u16,
    /// Where the text can be read at all.
    pub(crate) topic: Option<ByteString>,
}

/// Decodes a PUBLISH; what is wrong with one comes with what can be said of it.
pub(crate) fn decode(
    frame: Frame,
    version: Version,
    mut topics: Option<&mut KnownTopics>,
) -> Result<Decoded, Box<Broken>> {
    let first = frame.first;
    let (dup, retain) = (first & 8 != 0, first & 1 != 0);
    let broken = |error: ProtocolError, qos: QoS, packet_id: u16, topic: Option<ByteString>| {
        Box::new(Broken { error, dup, qos, packet_id, topic })
    };
    let Some(qos) = QoS::from_u8((first >> 1) & 3) else {
        return Err(broken(ProtocolError::Malformed("QoS 3"), QoS::AtMostOnce, 0, None));
    };
    if dup && qos == QoS::AtMostOnce {
        return Err(broken(ProtocolError::Malformed("DUP on QoS 0"), qos, 0, None));
    }
    let mut body = frame.body;
    let known = topics.as_mut().and_then(|topics| topics.find(wire::first_binary(&body)?));
    let text = match &known {
        Some((topic, _)) => {
            body.advance(2 + topic.len());
            Bytes::new()
        }
        None => take_binary(&mut body).map_err(|error| broken(error, qos, 0, None))?,
    };
    let packet_id = match qos {
        QoS::AtMostOnce => 0,
        _ => take_packet_id(&mut body).map_err(|error| broken(error, qos, 0, None))?,
    };
    let text = ByteString::try_from(text)
        .map_err(|_| broken(tidegate_message::TopicError::NotUtf8.into(), qos, packet_id, None))?;
    let found = match version {
        Version::V5 => take_publish_properties(&mut body).map_err(|error| broken(error, qos, packet_id, None))?,
        _ => Found::default(),
    };
    let Found { alias, subscription_id, subscription_bits, properties } = found;
    let (topic, topic_id) = match known {
        Some((topic, id)) => (Some(topic), Some(id)),
        None if text.is_empty() && alias.is_some() => (None, None),
        None => {
            let topic =
                Topic::try_new(text).map_err(|(error, text)| broken(error.into(), qos, packet_id, Some(text)))?;
            if let Some(topics) = topics {
                topics.learn(&topic);
            }
            (Some(topic), None)
        }
    };
    Ok(Decoded {
        dup,
        qos,
        retain,
        packet_id,
        topic,
        topic_id,
        alias,
        payload: body,
        properties,
        subscription_id,
        subscription_bits,
    })
}

/// What the properties of a PUBLISH say.
#[derive(Debug, Default)]
struct Found {
    alias: Option<u16>,
    subscription_id: Option<u32>,
    subscription_bits: u32,
    properties: Option<Box<Properties>>,
}

#[inline]
fn take_publish_properties(body: &mut Bytes) -> Result<Found, ProtocolError> {
    let (mut alias, mut subscription_id, mut subscription_bits, mut properties) = (None, None::<u32>, 0, None);
    // One byte of zero is the common case: no properties.
    if body.first() == Some(&0) {
        body.advance(1);
    } else {
        let mut found = Properties::default();
        let mut any = false;
        take_properties(body, |id, value| match (id, value) {
            (property::TOPIC_ALIAS, Value::Two(number)) => {
                alias = Some(number);
                Ok(())
            }
            (property::SUBSCRIPTION_ID, Value::Varint(id)) => {
                let id = id as u32;
                subscription_id = Some(subscription_id.map_or(id, |lowest| lowest.min(id)));
                subscription_bits |= id;
                Ok(())
            }
            (id, value) => {
                any = true;
                take_message_property(&mut found, id, value, "property of a PUBLISH")
            }
        })?;
        properties = any.then(|| Box::new(found));
    }
    Ok(Found { alias, subscription_id, subscription_bits, properties })
}

/// A property that is a message's own, in a PUBLISH and in a will; `otherwise` is what else it is.
#[inline]
fn take_message_property(
    found: &mut Properties,
    id: u8,
    value: Value,
    otherwise: &'static str,
) -> Result<(), ProtocolError> {
    match (id, value) {
        (property::PAYLOAD_FORMAT, Value::Byte(byte @ 0..=1)) => found.payload_is_utf8 = byte == 1,
        (property::MESSAGE_EXPIRY, Value::Four(seconds)) => found.message_expiry_seconds = Some(seconds),
        (property::CONTENT_TYPE, Value::Text(text)) => found.content_type = Some(text),
        (property::RESPONSE_TOPIC, Value::Text(text)) => found.response_topic = Some(Topic::new(text)?),
        (property::CORRELATION_DATA, Value::Binary(data)) => found.correlation_data = Some(data),
        (property::USER, Value::Pair(name, value)) => found.user.push((name, value)),
        _ => return Err(ProtocolError::Unexpected(otherwise)),
    }
    Ok(())
}

/// What a PUBLISH says beside its message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hop<'a> {
    pub(crate) packet_id: u16,
    pub(crate) dup: bool,
    pub(crate) alias: Option<u16>,
    /// Leave the topic empty: the peer knows the alias.
    pub(crate) topic_known: bool,
    pub(crate) subscription_ids: &'a [u32],
    /// One more property, as it stands on the wire (MQTT 5).
    pub(crate) mark: &'a [u8],
}

/// Appends a PUBLISH to `out`, unless it would be larger than `max_bytes`.
pub(crate) fn encode(
    out: &mut BytesMut,
    version: Version,
    message: &Message,
    hop: &Hop<'_>,
    max_bytes: usize,
) -> Result<(), usize> {
    let topic = if hop.topic_known { "" } else { message.topic.as_str() };
    let mut remaining = 2 + topic.len() + message.payload.len();
    if message.qos != QoS::AtMostOnce {
        remaining += 2;
    }
    let mut properties_len = 0;
    if version == Version::V5 {
        properties_len = self::properties_len(message.properties.as_deref(), hop);
        remaining += varint_len(properties_len) + properties_len;
    }
    let size = 1 + varint_len(remaining) + remaining;
    if remaining > wire::MAX_REMAINING_LENGTH || size > max_bytes {
        return Err(size);
    }
    out.reserve(size);
    let flags = u8::from(hop.dup) << 3 | (message.qos as u8) << 1 | u8::from(message.retain);
    out.put_u8(wire::PUBLISH << 4 | flags);
    put_varint(out, remaining);
    put_binary(out, topic.as_bytes());
    if message.qos != QoS::AtMostOnce {
        out.put_u16(hop.packet_id);
    }
    if version == Version::V5 {
        put_varint(out, properties_len);
        if properties_len > 0 {
            put_properties(out, message.properties.as_deref(), hop);
        }
    }
    out.extend_from_slice(&message.payload);
    Ok(())
}

/// The bytes of a message's own properties, also those of a will.
pub(crate) fn message_properties_len(properties: &Properties) -> usize {
    let text = |text: &str| 3 + text.len();
    usize::from(properties.payload_is_utf8) * 2
        + properties.message_expiry_seconds.map_or(0, |_| 5)
        + properties.content_type.as_deref().map_or(0, text)
        + properties.response_topic.as_ref().map_or(0, |topic| text(topic.as_str()))
        + properties.correlation_data.as_ref().map_or(0, |data| 3 + data.len())
        + properties.user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum::<usize>()
}

fn properties_len(properties: Option<&Properties>, hop: &Hop<'_>) -> usize {
    properties.map_or(0, message_properties_len)
        + hop.alias.map_or(0, |_| 3)
        + hop.subscription_ids.iter().map(|id| 1 + varint_len(*id as usize)).sum::<usize>()
        + hop.mark.len()
}

pub(crate) fn put_message_properties(out: &mut BytesMut, properties: &Properties) {
    if properties.payload_is_utf8 {
        out.extend_from_slice(&[property::PAYLOAD_FORMAT, 1]);
    }
    if let Some(seconds) = properties.message_expiry_seconds {
        out.put_u8(property::MESSAGE_EXPIRY);
        out.put_u32(seconds);
    }
    if let Some(text) = &properties.content_type {
        out.put_u8(property::CONTENT_TYPE);
        put_binary(out, text.as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        out.put_u8(property::RESPONSE_TOPIC);
        put_binary(out, topic.as_str().as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        out.put_u8(property::CORRELATION_DATA);
        put_binary(out, data);
    }
    for (name, value) in &properties.user {
        out.put_u8(property::USER);
        put_binary(out, name.as_bytes());
        put_binary(out, value.as_bytes());
    }
}

fn put_properties(out: &mut BytesMut, properties: Option<&Properties>, hop: &Hop<'_>) {
    if let Some(alias) = hop.alias {
        out.put_u8(property::TOPIC_ALIAS);
        out.put_u16(alias);
    }
    for id in hop.subscription_ids {
        out.put_u8(property::SUBSCRIPTION_ID);
        put_varint(out, *id as usize);
    }
    if let Some(properties) = properties {
        put_message_properties(out, properties);
    }
    out.extend_from_slice(hop.mark);
}

/// Reads the properties of a will message, which are a message's own and a delay.
pub(crate) fn take_will_properties(body: &mut Bytes) -> Result<(Option<Box<Properties>>, u32), ProtocolError> {
    let (mut found, mut any, mut delay_s) = (Properties::default(), false, 0);
    take_properties(body, |id, value| match (id, value) {
        (property::WILL_DELAY, Value::Four(seconds)) => {
            delay_s = seconds;
            Ok(())
        }
        (id, value) => {
            any = true;
            take_message_property(&mut found, id, value, "property of a will")
        }
    })?;
    Ok((any.then(|| Box::new(found)), delay_s))
}

/// Reads a topic written as a string, for wills.
pub(crate) fn take_topic(body: &mut Bytes) -> Result<Topic, ProtocolError> {
    Ok(Topic::new(take_string(body)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;
    use proptest::prelude::*;
    use rumqttc::{mqttbytes::v4, v5::mqttbytes::v5};

    fn text() -> impl Strategy<Value = ByteString> {
        "[a-zäß ]{0,12}".prop_map(ByteString::from)
    }

    fn properties() -> impl Strategy<Value = Properties> {
        (
            prop::option::of(text()),
            prop::option::of("[a-z]{1,9}"),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            prop::option::of(any::<u32>()),
            any::<bool>(),
            prop::collection::vec((text(), text()), 0..4),
        )
            .prop_map(
                |(content_type, response, correlation, message_expiry_seconds, payload_is_utf8, user)| Properties {
                    content_type,
                    response_topic: response.map(|text| Topic::new(text).unwrap()),
                    correlation_data: correlation.map(Bytes::from),
                    message_expiry_seconds,
                    payload_is_utf8,
                    user,
                    key: None,
                },
            )
    }

    prop_compose! {
        fn message()(topic in "[a-z/]{1,20}", payload in prop::collection::vec(any::<u8>(), 0..300), qos in 0u8..3,
                     retain: bool, properties in prop::option::of(properties())) -> Message {
            Message {
                topic: Topic::new(topic).unwrap(),
                payload: payload.into(),
                qos: QoS::from_u8(qos).unwrap(),
                retain,
                properties: properties.filter(|p| *p != Properties::default()).map(Box::new),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// What we write, rumqttc reads as the same message, and we read back.
        #[test]
        fn agrees_with_rumqttc(message in message(), packet_id in 1u16.., dup: bool, v5: bool,
                               alias in prop::option::of(1u16..), ids in prop::collection::vec(1u32..100_000, 0..3)) {
            let version = if v5 { Version::V5 } else { Version::V311 };
            let dup = dup && message.qos != QoS::AtMostOnce;
            let hop = Hop { packet_id, dup, alias: alias.filter(|_| v5), topic_known: false,
                            subscription_ids: if v5 { &ids } else { &[] }, mark: &[] };
            let mut bytes = BytesMut::new();
            encode(&mut bytes, version, &message, &hop, usize::MAX).unwrap();
            let ours = decode(Frames::cut(&mut bytes.clone(), usize::MAX, 1).next().unwrap().unwrap(), version, None).unwrap();
            prop_assert_eq!(ours.topic.as_ref(), Some(&message.topic));
            prop_assert_eq!(&ours.payload, &message.payload);
            prop_assert_eq!((ours.qos, ours.retain, ours.dup, ours.alias), (message.qos, message.retain, dup, hop.alias));
            prop_assert_eq!(ours.packet_id, if message.qos == QoS::AtMostOnce { 0 } else { packet_id });
            if v5 {
                prop_assert_eq!(&ours.properties, &message.properties);
                let v5::Packet::Publish(theirs) = v5::Packet::read(&mut bytes, None).unwrap() else { panic!() };
                prop_assert_eq!(&theirs.topic[..], message.topic.as_str().as_bytes());
                // rumqttc 0.25.1 counts a subscription identifier one byte too long: with more than one it stops early.
                if ids.len() < 2 {
                    prop_assert_eq!(&theirs.payload, &message.payload);
                    let found = theirs.properties.unwrap_or_default();
                    prop_assert_eq!(found.topic_alias, hop.alias);
                    prop_assert_eq!(found.user_properties.len(), message.properties.as_ref().map_or(0, |p| p.user.len()));
                }
            } else {
                let v4::Packet::Publish(theirs) = v4::Packet::read(&mut bytes, usize::MAX).unwrap() else { panic!() };
                prop_assert_eq!(&theirs.topic, message.topic.as_str());
                prop_assert_eq!((&theirs.payload, theirs.dup, theirs.retain), (&message.payload, dup, message.retain));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x30u8..0x40) {
            for version in [Version::V311, Version::V5] {
                let _ = decode(Frame { first, body: bytes.clone().into() }, version, None);
            }
        }
    }

    #[test]
    fn a_packet_above_the_limit_is_not_written() {
        let message = Message::new(Topic::new("a").unwrap(), vec![0; 100], QoS::AtMostOnce);
        let mut out = BytesMut::new();
        assert_eq!(encode(&mut out, Version::V311, &message, &Hop::default(), 104), Err(105));
        assert!(out.is_empty());
        assert_eq!(encode(&mut out, Version::V311, &message, &Hop::default(), 105), Ok(()));
        assert_eq!(out.len(), 105);
    }
}
