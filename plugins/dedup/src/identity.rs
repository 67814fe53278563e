//! By what a message is known again.

use blake2::{Blake2b, Digest as _, digest::consts::U16};
use serde::Deserialize;
use std::borrow::Cow;
use tidegate_sdk::{
    Message,
    json::{self, NotJson, Path},
};

/// Of 128 bits: that two messages have the same by chance, or because somebody looked for two, is out of reach.
pub(crate) type Digest = [u8; 16];

/// In a configuration: `by = "payload"`, `"correlation-data"`, `{ field = "id" }` or `{ user_property = "message-id" }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Identity {
    /// All of the payload.
    #[default]
    Payload,
    /// The correlation data of MQTT 5.
    CorrelationData,
    /// A field of the JSON payload: the text of a string, anything else as it is written.
    Field(Path),
    /// The first MQTT 5 user property of this name.
    #[serde(rename = "user_property")]
    UserProperty(String),
}

/// Why a message has no identity.
pub(crate) enum Missing {
    NotJson(NotJson),
    NoIdentity,
}

impl Identity {
    /// The digest of what the message is known by, and of its topic if that counts.
    pub(crate) fn digest(&self, message: &Message, with_topic: bool) -> Result<Digest, Missing> {
        let text = self.text(message)?;
        let mut digest = Blake2b::<U16>::new();
        let topic = if with_topic { message.topic.as_bytes() } else { b"" };
        digest.update([self.kind(), u8::from(with_topic)]);
        digest.update((topic.len() as u64).to_le_bytes()); // so that no topic and text run into each other
        digest.update(topic);
        digest.update(text);
        Ok(digest.finalize().into())
    }

    fn text<'m>(&self, message: &'m Message) -> Result<Cow<'m, [u8]>, Missing> {
        let text = match self {
            // An empty payload is one like any other.
            Self::Payload => return Ok(Cow::Borrowed(&message.payload)),
            Self::CorrelationData => message.properties.correlation_data.as_deref().map(Cow::Borrowed),
            Self::UserProperty(name) => message.user_property(name).map(|text| Cow::Borrowed(text.as_bytes())),
            Self::Field(path) => {
                let field = json::find(&message.payload, path).map_err(Missing::NotJson)?;
                // What is null in every message would make them all the same.
                let field = field.filter(|field| &message.payload[field.value.clone()] != b"null");
                field.map(|field| match field.text(&message.payload) {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                })
            }
        };
        text.filter(|text| !text.is_empty()).ok_or(Missing::NoIdentity)
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Payload => 0,
            Self::CorrelationData => 1,
            Self::Field(_) => 2,
            Self::UserProperty(_) => 3,
        }
    }
}
