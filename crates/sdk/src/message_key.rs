//! What a message is told apart by: its topic, a level of it, or a field of its JSON payload.

use crate::{Message, json};
use serde::Deserialize;
use std::borrow::Cow;

/// In a configuration: `by = "topic"`, `by = { level = 1 }` (from 0) or `by = { field = "device.id" }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKey {
    /// The whole topic.
    #[default]
    Topic,
    /// One level of the topic, from 0.
    Level(usize),
    /// A field of the payload: the text of a string, anything else as it is written.
    Field(json::Path),
}

impl MessageKey {
    /// The key of a message; none if it has no such level or field, or its payload is not JSON.
    #[must_use]
    pub fn key<'m>(&self, message: &'m Message) -> Option<Cow<'m, str>> {
        match self {
            Self::Topic => Some(Cow::Borrowed(&message.topic)),
            Self::Level(index) => message.level(*index).map(Cow::Borrowed),
            Self::Field(path) => {
                let field = json::find(&message.payload, path).ok()??;
                Some(field.text(&message.payload))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_key_it_is_asked_for() {
        let message = Message::new("dev/7/temp", r#"{"id": "x\ny", "n": 1.0}"#);
        let key = |json: &str| serde_json::from_str::<MessageKey>(json).unwrap().key(&message).map(Cow::into_owned);
        assert_eq!(key(r#""topic""#).as_deref(), Some("dev/7/temp"));
        assert_eq!(key(r#"{"level": 1}"#).as_deref(), Some("7"));
        assert_eq!(key(r#"{"level": 3}"#), None);
        assert_eq!(key(r#"{"field": "id"}"#).as_deref(), Some("x\ny"));
        assert_eq!(key(r#"{"field": "n"}"#).as_deref(), Some("1.0"));
        assert_eq!(key(r#"{"field": "other"}"#), None);
    }
}
