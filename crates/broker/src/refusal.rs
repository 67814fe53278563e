//! Which messages are not taken: what the broker keeps for itself, and what another broker would hang up on.

use crate::authorize;
use crate::sys;
use std::fmt;
use tidegate_message::Message;
use tidegate_message::text::{self, CodePoint};
use tidegate_mqtt::ReasonCode;

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Published where its publisher may not publish.
    Forbidden(ReasonCode),
    /// A text with a character that a receiver may hang up on.
    Character {
        /// Where it is.
        part: Part,
        /// The first of them.
        character: char,
    },
    /// More levels than other brokers take.
    TooDeep,
}

/// Which text of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The topic.
    Topic,
    /// The content type.
    ContentType,
    /// The response topic.
    ResponseTopic,
    /// Name or value of a user property.
    UserProperty,
}

impl Refusal {
    /// What an MQTT 5 client is told; all of these may stand in PUBACK, PUBREC and, for a will, CONNACK.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::Forbidden(reason) => reason,
            Self::Character { part: Part::Topic, .. } | Self::TooDeep => ReasonCode::TOPIC_NAME_INVALID,
            Self::Character { .. } => ReasonCode::PAYLOAD_FORMAT_INVALID,
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(reason) => write!(f, "{reason}; topics under `$SYS` and `$share` are the broker's own"),
            Self::Character { part, character } => {
                let part = match part {
                    Part::Topic => "topic",
                    Part::ContentType => "content type",
                    Part::ResponseTopic => "response topic",
                    Part::UserProperty => "user property",
                };
                let character = CodePoint(*character);
                write!(f, "its {part} has {character}, which other brokers hang up on")?;
                f.write_str("; `control_characters = \"allow\"` in `[gateway]` takes it all the same")
            }
            Self::TooDeep => {
                write!(
                    f,
                    "its topic has more than {} levels, which other brokers hang up on",
                    text::PORTABLE_LEVELS_MAX
                )
            }
        }
    }
}

/// Whether the broker takes this message from a client.
///
/// # Errors
/// Why not.
#[inline]
pub fn check_from_client(message: &Message, allow_control_characters: bool) -> Result<(), Refusal> {
    authorize::publish(&message.topic).map_err(Refusal::Forbidden)?;
    check_portable(message, allow_control_characters)
}

/// Whether the broker takes this message from an in-process client.
///
/// # Errors
/// Why not.
#[inline]
pub fn check_from_local(message: &Message, allow_control_characters: bool) -> Result<(), Refusal> {
    if sys::speaks_on(&message.topic) {
        return Err(Refusal::Forbidden(ReasonCode::NOT_AUTHORIZED));
    }
    check_portable(message, allow_control_characters)
}

/// Whether a message is one that every broker takes.
///
/// # Errors
/// Why not.
pub(crate) fn check_portable(message: &Message, allow_control_characters: bool) -> Result<(), Refusal> {
    if text::has_too_many_levels(message.topic.as_str()) {
        return Err(Refusal::TooDeep);
    }
    if allow_control_characters {
        return Ok(());
    }
    check(Part::Topic, message.topic.as_str())?;
    let Some(properties) = &message.properties else { return Ok(()) };
    if let Some(content_type) = &properties.content_type {
        check(Part::ContentType, content_type)?;
    }
    if let Some(topic) = &properties.response_topic {
        check(Part::ResponseTopic, topic.as_str())?;
    }
    properties.user.iter().try_for_each(|(name, value)| {
        check(Part::UserProperty, name)?;
        check(Part::UserProperty, value)
    })
}

fn check(part: Part, text: &str) -> Result<(), Refusal> {
    match text::unportable(text) {
        None => Ok(()),
        Some(character) => Err(Refusal::Character { part, character }),
    }
}
