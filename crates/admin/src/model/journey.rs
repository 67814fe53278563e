//! The way of one message from its receipt to its end.

use super::made::ms;
use super::way::{Message, Said};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The way of one message, through all its routes and to all its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Journey {
    /// They are numbered. One that is told again before its end keeps its number.
    pub number: u64,
    /// When it came.
    pub at_ms: u64,
    /// From this broker.
    pub broker: String,
    /// As it came.
    pub came: Message,
    /// What has happened to it, in order.
    pub steps: Vec<Step>,
    /// Nothing of it is under way any more.
    pub complete: bool,
}

/// One thing that happens to a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// So long after its receipt.
    pub after_ms: f64,
    /// In this route; not there where it is about all of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// On the way to this broker or target set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// It has come.
    Received {
        /// For these; for none if no route wants it.
        routes: Vec<String>,
    },
    /// Another broker of its source has brought it already.
    Twin,
    /// It is held back for a moment, to see whether its route is in a loop.
    HeldBack,
    /// It goes to the plugins of its route.
    Asked,
    /// They have decided.
    Decided {
        /// What each of them has said, in order.
        said: Vec<Said>,
        /// `onward`, `replaced`, `dropped`, `failed` or `parked`.
        outcome: String,
    },
    /// It goes into the spool.
    Filed {
        /// Under this topic.
        topic: String,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// It goes past the spool.
    Passed {
        /// Under this topic.
        topic: String,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// A record of the spool has it, and the disk will.
    Recorded {
        /// The number of that record.
        sequence: u64,
    },
    /// The disk has it, and it waits for its target.
    Durable,
    /// It has been moved to another target.
    Moved,
    /// It has been written to a broker.
    Sent {
        /// Which one: a member, where the target is a set.
        broker: String,
    },
    /// A broker has acknowledged it.
    Acknowledged {
        /// Which one.
        broker: String,
        /// By taking it.
        taken: bool,
    },
    /// It is put aside, for its target hangs up on it.
    Parked {
        /// What it is replayed by.
        number: u64,
    },
    /// It goes no further.
    Ended {
        /// As it is counted.
        reason: String,
    },
    /// Its source has been told that it is taken care of.
    Settled,
}

impl Journey {
    pub(crate) fn of(journey: &tidegate_gateway::Journey, payloads: bool) -> Self {
        Self {
            number: journey.number,
            at_ms: ms(journey.at),
            broker: journey.broker.to_string(),
            came: Message::of(&journey.came, payloads),
            steps: journey.steps.iter().map(|step| Step::of(step, payloads)).collect(),
            complete: journey.is_complete,
        }
    }
}

impl Step {
    fn of(step: &tidegate_gateway::Step, payloads: bool) -> Self {
        Self {
            after_ms: step.after.as_secs_f64() * 1000.0,
            route: step.route.as_ref().map(ToString::to_string),
            target: step.target.as_ref().map(ToString::to_string),
            what: What::of(&step.what, payloads),
        }
    }
}

impl What {
    fn of(what: &tidegate_gateway::What, payloads: bool) -> Self {
        use tidegate_gateway::What as Seen;
        match what {
            Seen::Received { routes } => Self::Received { routes: routes.iter().map(ToString::to_string).collect() },
            Seen::Twin => Self::Twin,
            Seen::HeldBack => Self::HeldBack,
            Seen::Asked => Self::Asked,
            Seen::Decided { said, outcome } => Self::Decided {
                said: said.iter().map(|said| Said::of(said, payloads)).collect(),
                outcome: word(*outcome).to_owned(),
            },
            Seen::Filed { topic, qos } => Self::Filed { topic: topic.to_string(), qos: *qos },
            Seen::Passed { topic, qos } => Self::Passed { topic: topic.to_string(), qos: *qos },
            Seen::Recorded { sequence } => Self::Recorded { sequence: *sequence },
            Seen::Durable => Self::Durable,
            Seen::Moved => Self::Moved,
            Seen::Sent { broker } => Self::Sent { broker: broker.to_string() },
            Seen::Acknowledged { broker, taken } => Self::Acknowledged { broker: broker.to_string(), taken: *taken },
            Seen::Parked { number } => Self::Parked { number: *number },
            Seen::Ended { reason } => Self::Ended { reason: reason.to_string() },
            Seen::Settled => Self::Settled,
        }
    }
}

const fn word(outcome: tidegate_gateway::Outcome) -> &'static str {
    use tidegate_gateway::Outcome;
    match outcome {
        Outcome::Onward => "onward",
        Outcome::Replaced => "replaced",
        Outcome::Dropped => "dropped",
        Outcome::Failed => "failed",
        Outcome::Parked => "parked",
    }
}
