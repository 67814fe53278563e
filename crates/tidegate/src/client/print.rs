//! How a message looks: a line of text, or a line of JSON.

use super::session::Received;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The topic, a space, the payload as it is.
    Text,
    /// One JSON object a line, for any payload.
    Json,
}

/// One line with its end. On a terminal, control characters of a payload are written out, so that nobody who can publish
/// rules the screen.
pub(crate) fn line(message: &Received, format: Format, terminal: bool, now: SystemTime) -> Vec<u8> {
    let mut line = match format {
        Format::Json => json_of(message, now).to_string().into_bytes(),
        Format::Text => {
            let mut line = visible(&message.topic).into_bytes();
            line.push(b' ');
            if terminal {
                line.extend(visible(&String::from_utf8_lossy(&message.payload)).into_bytes());
            } else {
                line.extend_from_slice(&message.payload);
            }
            line
        }
    };
    line.push(b'\n');
    line
}

/// Without control characters but tabs.
fn visible(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

fn json_of(message: &Received, now: SystemTime) -> Value {
    let mut object = Map::new();
    object.insert("time".to_owned(), json!(humantime::format_rfc3339_millis(now).to_string()));
    object.insert("topic".to_owned(), json!(message.topic));
    match std::str::from_utf8(&message.payload) {
        Ok(text) => object.insert("payload".to_owned(), json!(text)),
        Err(_) => object.insert("payload_base64".to_owned(), json!(BASE64.encode(&message.payload))),
    };
    object.insert("qos".to_owned(), json!(message.qos));
    object.insert("retain".to_owned(), json!(message.retain));
    let properties = properties(message);
    if !properties.is_empty() {
        object.insert("properties".to_owned(), Value::Object(properties));
    }
    Value::Object(object)
}

/// Those of a PUBLISH that are there (MQTT 5.0 section 3.3.2.3), under the names of the specification.
fn properties(message: &Received) -> Map<String, Value> {
    let Some(all) = &message.properties else { return Map::new() };
    let user: Vec<_> = all.user_properties.iter().map(|(name, value)| json!([name, value])).collect();
    let found = [
        ("payload_format_indicator", all.payload_format_indicator.map(|value| json!(value))),
        ("message_expiry_interval", all.message_expiry_interval.map(|value| json!(value))),
        ("content_type", all.content_type.as_ref().map(|value| json!(value))),
        ("response_topic", all.response_topic.as_ref().map(|value| json!(value))),
        ("correlation_data_base64", all.correlation_data.as_ref().map(|value| json!(BASE64.encode(value)))),
        ("user_properties", (!user.is_empty()).then_some(Value::Array(user))),
    ];
    found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5::PublishProperties;

    fn message(payload: &[u8]) -> Received {
        Received { topic: "a/b".into(), payload: payload.to_vec().into(), qos: 1, retain: false, properties: None }
    }

    fn shown(message: &Received, format: Format, terminal: bool) -> String {
        String::from_utf8_lossy(&line(message, format, terminal, SystemTime::UNIX_EPOCH)).into_owned()
    }

    #[test]
    fn text_is_the_payload_as_it_is_but_rules_no_terminal() {
        assert_eq!(line(&message(b"\xff\x1b[2J"), Format::Text, false, SystemTime::now()), b"a/b \xff\x1b[2J\n");
        assert_eq!(shown(&message(b"1\n\x1b[2J\t2"), Format::Text, true), "a/b 1\\n\\u{1b}[2J\t2\n");
    }

    #[test]
    fn json_holds_any_payload_and_what_mqtt_5_has_with_it() {
        let plain = r#"{"payload":"x\ny","qos":1,"retain":false,"time":"1970-01-01T00:00:00.000Z","topic":"a/b"}"#;
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&shown(&message(b"x\ny"), Format::Json, false)), parsed(plain));
        let bytes = parsed(&shown(&message(b"\xff\x00"), Format::Json, false));
        assert_eq!((&bytes["payload_base64"], &bytes["payload"]), (&json!("/wA="), &Value::Null));
        let properties = PublishProperties {
            content_type: Some("application/json".into()),
            correlation_data: Some(b"7"[..].into()),
            user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
            ..PublishProperties::default()
        };
        let with = Received { properties: Some(properties), ..message(b"") };
        let wanted = json!({"content_type": "application/json", "correlation_data_base64": "Nw==",
            "user_properties": [["k", "1"], ["k", "2"]]});
        assert_eq!(parsed(&shown(&with, Format::Json, false))["properties"], wanted);
        let none = Received { properties: Some(PublishProperties::default()), ..message(b"") };
        assert_eq!(parsed(&shown(&none, Format::Json, false))["properties"], Value::Null);
    }
}
