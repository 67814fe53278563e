//! What became of a message, and every way in which a plugin can fail.

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;
use std::time::Duration;
use tidegate_message::text::{CodePoint, PORTABLE_LEVELS_MAX};
use tidegate_message::{Message, Properties, QoS, Topic, TopicError};

/// What is to be done with one message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Onward, unchanged.
    Pass,
    /// Each of these in this order; at least one.
    Forward(Outputs),
    /// Nowhere, for this reason.
    Drop(ByteString),
    /// The plugin will never decide it, for this reason.
    Reject(String),
    /// Try again later, for this reason. Said by the plugin, or by the host of the messages it did not come to because
    /// the plugin failed too often in a row.
    Retry(String),
    /// The plugin failed on this message.
    Fault(Fault),
}

/// The outputs of one message; one of them is the common case and needs no allocation.
pub type Outputs = SmallVec<[Output; 1]>;

/// One message that goes out. A field that is `None` is taken from the message that came in.
///
/// Of a tick nothing came in: there `topic` is always given, and what else is `None` means an empty payload, QoS 0,
/// not retained, without properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Where it goes.
    pub to: Destination,
    /// Its topic, within the plugin's grants.
    pub topic: Option<Topic>,
    /// Its payload.
    pub payload: Option<Bytes>,
    /// Its QoS.
    pub qos: Option<QoS>,
    /// Its RETAIN flag.
    pub retain: Option<bool>,
    /// Its MQTT 5 properties, all of them.
    pub properties: Option<Box<Properties>>,
}

impl Output {
    /// The message that goes out for the one that came in. Copies no payload.
    pub fn applied_to(self, input: &Message) -> Message {
        Message {
            topic: self.topic.unwrap_or_else(|| input.topic.clone()),
            payload: self.payload.unwrap_or_else(|| input.payload.clone()),
            qos: self.qos.unwrap_or(input.qos),
            retain: self.retain.unwrap_or(input.retain),
            properties: self.properties.or_else(|| input.properties.clone()),
        }
    }

    /// The message of a tick; `None` without a topic, which [`Instance::tick`](crate::Instance::tick) never returns.
    pub fn by_itself(self) -> Option<Message> {
        Some(Message {
            topic: self.topic?,
            payload: self.payload.unwrap_or_default(),
            qos: self.qos.unwrap_or_default(),
            retain: self.retain.unwrap_or_default(),
            properties: self.properties,
        })
    }
}

/// Where an output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the route's next plugin, after the last one to the route's own targets.
    Onward,
    /// To the target at this place of [`Grants::targets`](crate::Grants::targets).
    Target(u16),
}

/// How a plugin failed. Each is the plugin's own doing; the gateway is well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It trapped: panicked, divided by zero, left its memory, exited.
    #[error("the plugin trapped: {0}")]
    Trap(String),
    /// It computed or slept past its deadline.
    #[error("the plugin was cut at its deadline of {} ms", .0.as_millis())]
    Deadline(Duration),
    /// It trapped after more memory or table elements were refused.
    #[error("the plugin needed more memory than its limit of {limit_bytes} bytes")]
    Memory {
        /// [`Limits::memory_bytes`](crate::Limits::memory_bytes).
        limit_bytes: usize,
    },
    /// It has not failed: after a call its memory was so near to its limit, and still growing, that the next would have. It is only
    /// ever a reason to begin anew, and no message's.
    #[error("its memory grows and has {bytes} of {limit_bytes} bytes: it would soon have failed")]
    MemoryNear {
        /// What it had, in bytes.
        bytes: usize,
        /// [`Limits::memory_bytes`](crate::Limits::memory_bytes).
        limit_bytes: usize,
    },
    /// More outputs than it may have for one message or tick.
    #[error("{got} outputs, at most {limit} are allowed")]
    TooManyOutputs {
        /// What it returned.
        got: usize,
        /// [`Limits::outputs`](crate::Limits::outputs).
        limit: u32,
    },
    /// It returned, or handed to an import, more bytes than may cross in one call or for one message.
    #[error("more than {limit_bytes} bytes of output")]
    TooLarge {
        /// What was allowed.
        limit_bytes: usize,
    },
    /// A topic that cannot be one.
    #[error("not a topic to publish to: {0}")]
    BadTopic(#[from] TopicError),
    /// A topic with more levels than other brokers take.
    #[error("a topic with more than {PORTABLE_LEVELS_MAX} levels, which other brokers hang up on")]
    TooDeep,
    /// A text with a character on which the next broker may hang up.
    #[error(
        "{name} has {}, which other brokers hang up on; `control_characters = \"allow\"` in `[gateway]` takes it all \
         the same",
        CodePoint(*character)
    )]
    Unportable {
        /// As in the contract, such as `topic` or `content-type`.
        name: &'static str,
        /// The first of them.
        character: char,
    },
    /// An output of a tick without a topic, which has no message to take it from.
    #[error("an output of `tick` has no topic")]
    NoTopic,
    /// A property that MQTT 5 cannot carry.
    #[error("property {name} {problem}")]
    BadProperty {
        /// As in the contract, such as `response-topic`.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A target it was not granted.
    #[error("target `{0}` is not among its grants")]
    ForeignTarget(String),
    /// A topic it was not granted.
    #[error("topic `{0}` is not within its grants")]
    ForeignTopic(Topic),
    /// Not one result for each message.
    #[error("{got} results for {expected} messages")]
    WrongCount {
        /// Messages in the call.
        expected: usize,
        /// Results it returned.
        got: usize,
    },
    /// A decision that bears a reason, without one.
    #[error("a `drop`, `reject` or `retry` without a reason, say why")]
    NoReason,
    /// `forward` of nothing; the contract has `drop` for that.
    #[error("`forward` without outputs, say `drop`")]
    EmptyForward,
    /// It wrote more state than it may hold.
    #[error("its state would exceed its limit of {limit_bytes} bytes")]
    State {
        /// [`Limits::state_bytes`](crate::Limits::state_bytes).
        limit_bytes: usize,
    },
    /// After a fault no fresh instance could be had.
    #[error("no fresh instance: {0}")]
    Restart(String),
}

impl Fault {
    /// A stable word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline(_) => "deadline",
            Self::Memory { .. } => "memory",
            Self::MemoryNear { .. } => "memory_near",
            Self::TooManyOutputs { .. } => "too_many_outputs",
            Self::TooLarge { .. } => "too_large",
            Self::BadTopic(_) | Self::NoTopic | Self::TooDeep | Self::Unportable { name: Self::TOPIC, .. } => {
                "bad_topic"
            }
            Self::BadProperty { .. } | Self::Unportable { .. } => "bad_property",
            Self::ForeignTarget(_) => "foreign_target",
            Self::ForeignTopic(_) => "foreign_topic",
            Self::WrongCount { .. } => "wrong_count",
            Self::EmptyForward => "empty_forward",
            Self::NoReason => "no_reason",
            Self::State { .. } => "state",
            Self::Restart(_) => "restart",
        }
    }

    /// The [`name`](Self::Unportable::name) of a topic; all others are properties.
    pub(crate) const TOPIC: &'static str = "topic";

    /// Every word [`kind`](Self::kind) can say, for counters that start at zero.
    pub const KINDS: [&'static str; 15] = [
        "trap",
        "deadline",
        "memory",
        "memory_near",
        "too_many_outputs",
        "too_large",
        "bad_topic",
        "bad_property",
        "foreign_target",
        "foreign_topic",
        "wrong_count",
        "empty_forward",
        "no_reason",
        "state",
        "restart",
    ];

    /// Whether what earlier calls left behind may be the cause, so that a fresh instance deserves the message once
    /// more. A guest that hangs is not given a second deadline.
    pub(crate) fn may_be_inherited(&self) -> bool {
        !matches!(self, Self::Deadline(_) | Self::Restart(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_output_does_not_say_is_taken_from_the_input() {
        let mut input = Message::new(Topic::new("dev/1").unwrap(), "21", QoS::AtLeastOnce);
        input.retain = true;
        let to = Destination::Onward;
        let same = Output { to, topic: None, payload: None, qos: None, retain: None, properties: None };
        assert_eq!(same.clone().applied_to(&input), input);
        assert_eq!(same.clone().by_itself(), None);
        let other = Output { topic: Topic::new("a").ok(), payload: Some("22".into()), retain: Some(false), ..same };
        let out = other.clone().applied_to(&input);
        assert_eq!((out.topic.as_str(), &out.payload[..], out.qos, out.retain), ("a", &b"22"[..], input.qos, false));
        assert_eq!(other.by_itself().map(|message| message.qos), Some(QoS::AtMostOnce));
    }

    #[test]
    fn every_kind_is_listed_once() {
        assert!(Fault::KINDS.contains(&Fault::NoTopic.kind()));
        let unique: std::collections::BTreeSet<_> = Fault::KINDS.into_iter().collect();
        assert_eq!(unique.len(), Fault::KINDS.len());
    }
}
