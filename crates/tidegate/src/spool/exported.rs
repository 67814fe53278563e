//! A message that waits, as `spool export` writes it and `spool import` reads it: one line of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_spool::{ExportedItem, Key};

/// By their numbers in the spool.
const PRIORITIES: [&str; 3] = ["high", "normal", "low"];

/// What a class is called.
pub(crate) fn priority(class: u8) -> &'static str {
    PRIORITIES.get(usize::from(class)).copied().unwrap_or("low")
}

/// One message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exported {
    pub(super) target: String,
    priority: String,
    pub(super) route: String,
    pub(super) received_ms: u64,
    topic: String,
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    payload_base64: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<ExportedProperties>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExportedProperties {
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_data_base64: Option<String>,
    message_expiry_seconds: Option<u32>,
    payload_is_utf8: bool,
    user: Vec<(String, String)>,
    key: Option<String>,
}

impl Exported {
    pub(super) fn of(item: &ExportedItem<'_>) -> Self {
        let message = item.message;
        let properties = message.properties.as_deref().map(|own| ExportedProperties {
            content_type: own.content_type.as_deref().map(str::to_owned),
            response_topic: own.response_topic.as_ref().map(|topic| topic.as_str().to_owned()),
            correlation_data_base64: own.correlation_data.as_ref().map(|data| BASE64.encode(data)),
            message_expiry_seconds: own.message_expiry_seconds,
            payload_is_utf8: own.payload_is_utf8,
            user: own.user.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            key: own.key.as_deref().map(str::to_owned),
        });
        Self {
            target: item.key.target.clone(),
            priority: priority(item.key.class).to_owned(),
            route: item.route.to_owned(),
            received_ms: item.received_ms,
            topic: message.topic.as_str().to_owned(),
            qos: message.qos as u8,
            retain: message.retain,
            payload_base64: BASE64.encode(&message.payload),
            properties,
        }
    }

    /// Where it waits.
    pub(super) fn key(&self) -> Result<Key, String> {
        let class = PRIORITIES.iter().position(|word| *word == self.priority);
        let class = class.ok_or_else(|| format!("`priority` is one of {}", PRIORITIES.join(", ")))?;
        Ok(Key::new(self.target.clone(), class as u8))
    }

    /// What it is.
    pub(super) fn message(&self) -> Result<Message, String> {
        let topic = |text: &str| Topic::new(text.to_owned()).map_err(|error| format!("`{text}`: {error}"));
        let bytes = |text: &str| BASE64.decode(text).map_err(|error| format!("base64: {error}"));
        let qos = QoS::from_u8(self.qos).ok_or("`qos` is 0, 1 or 2")?;
        let mut message = Message::new(topic(&self.topic)?, bytes(&self.payload_base64)?, qos);
        message.retain = self.retain;
        if let Some(own) = &self.properties {
            message.properties = Some(Box::new(Properties {
                content_type: own.content_type.as_deref().map(Into::into),
                response_topic: own.response_topic.as_deref().map(topic).transpose()?,
                correlation_data: own.correlation_data_base64.as_deref().map(bytes).transpose()?.map(Into::into),
                message_expiry_seconds: own.message_expiry_seconds,
                payload_is_utf8: own.payload_is_utf8,
                user: own.user.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
                key: own.key.as_deref().map(Into::into),
            }));
        }
        Ok(message)
    }
}
