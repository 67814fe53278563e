//! The plugin's `config` table, as it is written.

use crate::path::Path;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most that `max_outputs` may say.
pub(crate) const MAX_OUTPUTS: usize = 1024;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is done, in this order.
    pub(crate) steps: Vec<StepConfig>,
    /// What becomes of a message whose payload is not JSON.
    #[serde(default)]
    pub(crate) on_not_json: OnNotJson,
    /// What becomes of a message that a step does not fit.
    #[serde(default)]
    pub(crate) on_error: OnError,
    /// So many messages are made of one: the limit `outputs` of the plugin.
    #[serde(default = "default_max_outputs")]
    pub(crate) max_outputs: usize,
}

fn default_max_outputs() -> usize {
    64
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnNotJson {
    #[default]
    Reject,
    Pass,
    Drop,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnError {
    #[default]
    Reject,
    Pass,
    Drop,
}

/// One step; its key says which.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepConfig {
    Pick(Vec<Path>),
    Remove(Vec<Path>),
    Rename(BTreeMap<Path, Path>),
    Set(BTreeMap<Path, Value>),
    Default(BTreeMap<Path, Value>),
    Merge(Map<String, Value>),
    Flatten(String),
    Unflatten(String),
    Template(Value),
    Jq(String),
    Compute(BTreeMap<Path, String>),
    DropIf(Condition),
    DropUnless(Condition),
    Topic(String),
}

/// `".temp > 30"`, or with a reason of its own: `{ when = ".temp > 30", reason = "too hot" }`.
#[derive(Deserialize)]
#[serde(from = "ConditionText")]
pub(crate) struct Condition {
    pub(crate) when: String,
    pub(crate) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an expression, or { when = \"an expression\", reason = \"a text\" }")]
enum ConditionText {
    Alone(String),
    Told(ConditionTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionTable {
    when: String,
    reason: String,
}

impl From<ConditionText> for Condition {
    fn from(text: ConditionText) -> Self {
        match text {
            ConditionText::Alone(when) => Self { when, reason: None },
            ConditionText::Told(ConditionTable { when, reason }) => Self { when, reason: Some(reason) },
        }
    }
}
