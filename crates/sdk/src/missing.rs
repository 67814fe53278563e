//! What becomes of a message from which a plugin cannot read what it needs.

use crate::json::NotJson;
use crate::{Decision, Failure};
use serde::Deserialize;
use std::borrow::Cow;

/// In a configuration: `on_missing = "pass"`, `"drop"` or `"reject"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// Onward, as if the plugin were not there.
    #[default]
    Pass,
    /// Nowhere.
    Drop,
    /// The route's `on_failure`.
    Reject,
}

impl OnMissing {
    /// What becomes of the message: `reason` is what drops are counted by, so there are few different ones; `told` is for who looks
    /// at one that was rejected, and may have the place.
    ///
    /// # Errors
    /// [`Failure::Reject`] for [`Self::Reject`].
    pub fn decide<T: Into<String>>(self, reason: &str, told: impl FnOnce() -> T) -> Result<Decision, Failure> {
        match self {
            Self::Pass => Ok(Decision::pass()),
            Self::Drop => Ok(Decision::drop(reason)),
            Self::Reject => Err(Failure::reject(told())),
        }
    }
}

/// Why there is no reading in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReading {
    /// Nothing tells it apart from others.
    NoKey,
    /// What tells it apart is longer than the plugin takes, in these words.
    LongKey(&'static str),
    /// The payload is not JSON.
    NotJson(NotJson),
    /// The payload has no such field.
    NoField,
    /// The field, or the payload, is something else.
    NoNumber,
}

impl NoReading {
    /// To count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoKey => "no key",
            Self::LongKey(words) => words,
            Self::NotJson(_) => "not JSON",
            Self::NoField => "no such field",
            Self::NoNumber => "not a number",
        }
    }

    /// With its place in the payload, for who looks at the message.
    #[must_use]
    pub fn told(self, payload: &[u8]) -> Cow<'static, str> {
        match self {
            Self::NotJson(at) => at.told(payload).into(),
            other => other.reason().into(),
        }
    }

    /// What becomes of the message that has this payload.
    ///
    /// # Errors
    /// As [`OnMissing::decide`].
    pub fn decide(self, on_missing: OnMissing, payload: &[u8]) -> Result<Decision, Failure> {
        on_missing.decide(self.reason(), || self.told(payload))
    }
}
