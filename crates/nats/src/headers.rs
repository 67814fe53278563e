//! What a message of MQTT bears beside topic and payload, as headers of NATS, and back.
//!
//! | Header | Holds |
//! |---|---|
//! | `Mqtt-Qos` | 0 or 2; absent at 1 |
//! | `Mqtt-Retain` | `1` with the retain flag |
//! | `Mqtt-Content-Type`, `Mqtt-Response-Topic` | the text, escaped |
//! | `Mqtt-Correlation-Data` | base64 |
//! | `Mqtt-Payload-Format` | `1` if the payload is said to be UTF-8 |
//! | `Mqtt-Expiry` | seconds, counted from when the stream got it |
//! | `Mqtt-User-Property` | `name=value`, once for each, in order, escaped |
//!
//! Escaped is a text by [`subject`](crate::subject): `%` and two hexadecimal digits for `%`, control characters, blanks at
//! either end, and `=` in a name. Headers of others become user properties behind those, in the order of their names; what
//! begins with `Nats-` is NATS' own.

use crate::subject::{escaped, unescaped};
use async_nats::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_message::{ByteString, Message, Properties, QoS, Topic};

const QOS: &str = "Mqtt-Qos";
const RETAIN: &str = "Mqtt-Retain";
const CONTENT_TYPE: &str = "Mqtt-Content-Type";
const RESPONSE_TOPIC: &str = "Mqtt-Response-Topic";
const CORRELATION_DATA: &str = "Mqtt-Correlation-Data";
const PAYLOAD_FORMAT: &str = "Mqtt-Payload-Format";
const EXPIRY: &str = "Mqtt-Expiry";
const USER_PROPERTY: &str = "Mqtt-User-Property";
const OURS: &str = "Mqtt-";
const THEIRS: &str = "Nats-";
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The headers of a message on its way out, by which the stream knows it again.
pub(crate) fn headers_of(message: &Message, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, text: String| {
        // What is escaped has no line end, which is all that a value cannot have.
        if let Ok(value) = text.parse::<HeaderValue>() {
            headers.append(name, value);
        }
    };
    add(MESSAGE_ID, escaped(id, &[]));
    if message.qos != QoS::AtLeastOnce {
        add(QOS, (message.qos as u8).to_string());
    }
    if message.retain {
        add(RETAIN, "1".to_owned());
    }
    let Some(properties) = message.properties.as_deref() else { return headers };
    // `key` is for the way through the gateway only.
    let Properties {
        content_type,
        response_topic,
        correlation_data,
        message_expiry_seconds,
        payload_is_utf8,
        user,
        key: _,
    } = properties;
    if let Some(text) = content_type {
        add(CONTENT_TYPE, escaped(text, &[]));
    }
    if let Some(topic) = response_topic {
        add(RESPONSE_TOPIC, escaped(topic.as_str(), &[]));
    }
    if let Some(data) = correlation_data {
        add(CORRELATION_DATA, STANDARD.encode(data));
    }
    if *payload_is_utf8 {
        add(PAYLOAD_FORMAT, "1".to_owned());
    }
    if let Some(seconds) = message_expiry_seconds {
        add(EXPIRY, seconds.to_string());
    }
    for (name, value) in user {
        add(USER_PROPERTY, format!("{}={}", escaped(name, &['=']), escaped(value, &[])));
    }
    headers
}

/// The message of a payload with its headers, which has been in the stream for `age_s`, in seconds.
pub(crate) fn message_of(topic: Topic, payload: bytes::Bytes, headers: Option<&HeaderMap>, age_s: u64) -> Message {
    let mut message = Message::new(topic, payload, QoS::AtLeastOnce);
    let Some(headers) = headers else { return message };
    let text = |name: &'static str| headers.get(name).map(HeaderValue::as_str);
    let qos = text(QOS).and_then(|qos| QoS::from_u8(qos.parse().ok()?));
    message.qos = qos.unwrap_or(QoS::AtLeastOnce);
    message.retain = text(RETAIN) == Some("1");
    let unescaped = |text: &str| ByteString::from(unescaped(text).unwrap_or_else(|| text.to_owned()));
    let properties = Properties {
        content_type: text(CONTENT_TYPE).map(unescaped),
        response_topic: text(RESPONSE_TOPIC).and_then(|text| Topic::new(unescaped(text)).ok()),
        correlation_data: text(CORRELATION_DATA).and_then(|text| STANDARD.decode(text).ok()).map(Into::into),
        message_expiry_seconds: text(EXPIRY)
            .and_then(|text| text.parse::<u32>().ok())
            .map(|seconds| seconds.saturating_sub(u32::try_from(age_s).unwrap_or(u32::MAX))),
        payload_is_utf8: text(PAYLOAD_FORMAT) == Some("1"),
        user: user_properties(headers, unescaped),
        key: None,
    };
    if properties != Properties::default() {
        message.properties = Some(Box::new(properties));
    }
    message
}

fn user_properties(headers: &HeaderMap, unescaped: impl Fn(&str) -> ByteString) -> Vec<(ByteString, ByteString)> {
    let ours = headers.get_all(USER_PROPERTY).map(|pair| {
        let (name, value) = pair.as_str().split_once('=').unwrap_or((pair.as_str(), ""));
        (unescaped(name), unescaped(value))
    });
    let mut all: Vec<_> = ours.collect();
    let of_others = headers.iter().filter(|(name, _)| {
        let name: &str = name.as_ref();
        !name.starts_with(OURS) && !name.starts_with(THEIRS)
    });
    let mut others: Vec<(&str, &Vec<HeaderValue>)> = of_others.map(|(name, values)| (name.as_ref(), values)).collect();
    others.sort_unstable_by_key(|(name, _)| *name);
    for (name, values) in others {
        all.extend(values.iter().map(|value| (ByteString::from(name), ByteString::from(value.as_str()))));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(text: &str) -> Topic {
        Topic::new(text.to_owned()).unwrap()
    }

    #[test]
    fn headers_of_others_become_user_properties_and_those_of_nats_do_not() {
        let mut headers = HeaderMap::new();
        headers.append("Zone", "north");
        headers.append("Content-Type", "text/plain");
        headers.append("Zone", "south");
        headers.insert("Nats-Expected-Stream", "S");
        let message = message_of(topic("a"), bytes::Bytes::new(), Some(&headers), 0);
        let user: Vec<_> = message.properties.unwrap().user.iter().map(|(n, v)| format!("{n}:{v}")).collect();
        assert_eq!(user, ["Content-Type:text/plain", "Zone:north", "Zone:south"]);
        assert_eq!(message.qos, QoS::AtLeastOnce);
    }

    #[test]
    fn the_time_in_the_stream_counts_for_the_expiry() {
        let mut message = Message::new(topic("a"), "x", QoS::AtLeastOnce);
        message.properties = Some(Box::new(Properties { message_expiry_seconds: Some(60), ..Properties::default() }));
        let headers = headers_of(&message, "g-1");
        let left = |age_s| {
            let back = message_of(topic("a"), "x".into(), Some(&headers), age_s);
            back.properties.unwrap().message_expiry_seconds.unwrap()
        };
        assert_eq!((left(0), left(20), left(60), left(u64::MAX)), (60, 40, 0, 0));
    }

    fn text() -> impl Strategy<Value = ByteString> {
        "\\PC{0,5}|[ \\r\\n%=a]{0,5}".prop_map(ByteString::from)
    }

    prop_compose! {
        fn properties()(
            content_type in prop::option::of(text()),
            response_topic in prop::option::of("[a-c/ %]{1,6}"),
            correlation_data in prop::option::of(prop::collection::vec(any::<u8>(), 0..8)),
            message_expiry_seconds in prop::option::of(any::<u32>()),
            payload_is_utf8: bool,
            user in prop::collection::vec((text(), text()), 0..4),
        ) -> Properties {
            Properties {
                content_type,
                response_topic: response_topic.map(|text| topic(&text)),
                correlation_data: correlation_data.map(Into::into),
                message_expiry_seconds,
                payload_is_utf8,
                user,
                key: None,
            }
        }
    }

    proptest! {
        #[test]
        fn all_that_a_message_bears_comes_back(properties in properties(), qos in 0u8..3, retain: bool) {
            let mut message = Message::new(topic("a"), "payload", QoS::from_u8(qos).unwrap());
            message.retain = retain;
            message.properties = Some(Box::new(properties)).filter(|all| **all != Properties::default());
            let headers = headers_of(&message, "gw\n-1");
            prop_assert_eq!(headers.get(MESSAGE_ID).unwrap().as_str(), "gw%0A-1");
            prop_assert_eq!(message_of(topic("a"), "payload".into(), Some(&headers), 0), message);
        }
    }
}
