//! What became of a message in one route, as it is seen through a tap.

use super::made::ms;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of a message in one route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Way {
    /// They are numbered, for all who look.
    pub number: u64,
    /// When it came.
    pub at_ms: u64,
    /// From this broker.
    pub broker: String,
    /// Into this route; not there if none wants it.
    pub route: Option<String>,
    /// As it came.
    pub came: Message,
    /// What each plugin said of it, in order.
    pub said: Vec<Said>,
    /// What went on, and where to.
    pub out: Vec<Out>,
    /// How it ended.
    pub ending: Ending,
    /// From its receipt until then.
    pub took_ms: f64,
}

/// What a message was, or has become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// It is to be retained.
    pub retain: bool,
    /// How long its payload is.
    pub payload_bytes: u64,
    /// The first KiB of that, if payloads are asked for and it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The same in base64, if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// What a plugin said of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// Which one.
    pub plugin: String,
    /// Which version of it: the beginning of its component's digest.
    pub version: String,
    /// How long the call took in which it was asked.
    pub took_ms: f64,
    /// Of how many messages it was asked in that call.
    pub of: u32,
    /// In words.
    pub words: String,
    /// What it has made of it, if anything.
    pub made: Vec<Message>,
}

/// What went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Out {
    /// As it went.
    pub message: Message,
    /// To these brokers and target sets.
    pub targets: Vec<String>,
}

/// How a message left its route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ending {
    /// On, as `out` says.
    Onward,
    /// No route wants it.
    Unrouted,
    /// It was dropped.
    Dropped {
        /// As it is counted.
        reason: String,
        /// By a plugin, for a reason of its own.
        by_plugin: bool,
    },
    /// It is kept aside.
    Parked {
        /// The plugin that could not decide it.
        plugin: String,
        /// What kind of failure.
        kind: String,
        /// In words.
        reason: String,
    },
    /// It is held back for a moment, to see whether its route is in a loop.
    HeldBack,
}

impl Said {
    pub(super) fn of(said: &tidegate_gateway::Said, payloads: bool) -> Self {
        Self {
            plugin: said.plugin.to_string(),
            version: said.version.to_string(),
            took_ms: said.took.as_secs_f64() * 1000.0,
            of: said.of,
            words: said.words.clone(),
            made: said.made.iter().map(|shown| Message::of(shown, payloads)).collect(),
        }
    }
}

impl Message {
    pub(super) fn of(shown: &tidegate_gateway::Shown, with_payload: bool) -> Self {
        let text = text(&shown.payload, shown.payload_bytes);
        Self {
            topic: shown.topic.to_string(),
            qos: shown.qos,
            retain: shown.retain,
            payload_bytes: shown.payload_bytes as u64,
            payload: text.filter(|_| with_payload).map(str::to_owned),
            payload_base64: (with_payload && text.is_none()).then(|| BASE64.encode(&shown.payload)),
        }
    }
}

/// The beginning of a payload, if it is text: it may end within a character.
fn text(payload: &[u8], bytes: usize) -> Option<&str> {
    match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && bytes > payload.len() => {
            std::str::from_utf8(&payload[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

impl Way {
    pub(crate) fn of(way: &tidegate_gateway::Way, payloads: bool) -> Self {
        let message = |shown: &tidegate_gateway::Shown| Message::of(shown, payloads);
        Self {
            number: way.number,
            at_ms: ms(way.at),
            broker: way.broker.to_string(),
            route: way.route.as_ref().map(ToString::to_string),
            came: message(&way.came),
            said: way.said.iter().map(|said| Said::of(said, payloads)).collect(),
            out: way
                .out
                .iter()
                .map(|(shown, targets)| Out {
                    message: message(shown),
                    targets: targets.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            ending: match &way.ending {
                tidegate_gateway::Ending::Onward => Ending::Onward,
                tidegate_gateway::Ending::Unrouted => Ending::Unrouted,
                tidegate_gateway::Ending::Dropped { reason, by_plugin } => {
                    Ending::Dropped { reason: reason.to_string(), by_plugin: *by_plugin }
                }
                tidegate_gateway::Ending::Parked { plugin, kind, reason } => {
                    Ending::Parked { plugin: plugin.to_string(), kind: (*kind).to_owned(), reason: reason.to_string() }
                }
                tidegate_gateway::Ending::HeldBack => Ending::HeldBack,
            },
            took_ms: way.took.as_secs_f64() * 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_cut_within_a_character_is_text() {
        assert_eq!(text("abc".as_bytes(), 3), Some("abc"));
        assert_eq!(text(&"abü".as_bytes()[..3], 100), Some("ab"));
        assert_eq!(text(&"abü".as_bytes()[..3], 3), None, "all of it");
        assert_eq!(text(&[0xff, 0x61], 100), None);
    }
}
