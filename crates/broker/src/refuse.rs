//! Messages that are not taken: what the broker keeps for itself, and what another broker would hang up on.
//!
//! A publisher is told as far as its protocol can say it (MQTT 5), is acknowledged where it cannot (3.x), and never
//! hung up on: it would come back with the same message. Each one is counted, and named in the log within bounds.

use crate::access;
use crate::log_limit::LogLimit;
use crate::publish::Source;
use crate::session::SessionKey;
use crate::state::State;
use crate::sys;
use std::fmt;
use std::time::{Duration, Instant};
use tidegate_message::text::{self, CodePoint, Escaped};
use tidegate_message::{Message, Topic};
use tidegate_mqtt::{ReasonCode, Skipped};

/// A publisher is named once in this time.
const NAMED_EVERY: Duration = Duration::from_secs(60);

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
    access::publish(&message.topic).map_err(Refusal::Forbidden)?;
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

/// What the log was told of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Named {
    last: Option<Instant>,
    /// Refused since then, and not named.
    untold: u64,
}

impl Named {
    /// Whether this publisher is to be named now; if so, how often it was not since the last time.
    fn allow(&mut self, limit: &mut LogLimit, now: Instant) -> Option<u64> {
        let is_recent = self.last.is_some_and(|last| now.saturating_duration_since(last) < NAMED_EVERY);
        if is_recent || limit.allow(now).is_none() {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl State {
    /// Counts a message that is not taken, and names it in the log.
    pub(crate) fn refuse(&mut self, source: Source, topic: &Topic, refusal: Refusal, now: Instant) {
        let dropped = &mut self.stats.dropped;
        match refusal {
            Refusal::Forbidden(_) => dropped.forbidden += 1,
            Refusal::Character { .. } => dropped.control_characters += 1,
            Refusal::TooDeep => dropped.too_deep += 1,
        }
        self.name_refused(source, topic.as_str(), &refusal, now);
    }

    /// Counts a packet that the session has read past and answered, and names it in the log.
    pub(crate) fn on_skipped(&mut self, key: SessionKey, skipped: &Skipped, now: Instant) {
        self.stats.dropped.unusable += 1;
        let reason = format_args!("{} ({} bytes)", skipped.error, skipped.size_bytes);
        self.name_refused(Source::Session(key.slot), skipped.topic.as_deref().unwrap_or_default(), &reason, now);
    }

    fn name_refused(&mut self, source: Source, topic: &str, reason: &dyn fmt::Display, now: Instant) {
        let Self { sessions, locals, settings, refusals_log, .. } = self;
        let (client, named) = match source {
            Source::Session(slot) => match sessions.get_mut(slot) {
                Some(session) => (&*session.client_id, &mut session.named),
                None => return,
            },
            Source::Local(local) => match locals.get_mut(local as usize) {
                Some(Some(slot)) => ("(the gateway)", &mut slot.named),
                _ => return,
            },
            Source::Broker => return,
        };
        if let Some(untold) = named.allow(refusals_log, now) {
            tracing::warn!(
                broker = %settings.name,
                client = %Escaped(client),
                topic = %Escaped(topic),
                %reason,
                refused_before = untold,
                "a message was refused"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_named_once_a_minute_and_many_publishers_within_the_limit_of_the_log() {
        let now = Instant::now();
        let mut limit = LogLimit::new(now);
        let mut one = Named::default();
        assert_eq!(one.allow(&mut limit, now), Some(0));
        for _ in 0..1000 {
            assert_eq!(one.allow(&mut limit, now), None);
        }
        let others = (0..1000).filter(|_| Named::default().allow(&mut limit, now).is_some()).count();
        assert!((1..20).contains(&others), "{others}");
        assert_eq!(one.allow(&mut limit, now + NAMED_EVERY), Some(1000));
    }
}
