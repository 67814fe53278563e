//! From the `config` table to what the plugin works with.

use crate::{
    panes::{Lengths, MAX_CLOSINGS},
    stats::Aggregate,
};
use serde::Deserialize;
use tidegate_sdk::{
    Destination, MessageKey, Problems, Qos, config::Interval, json::Path, ledger::MaxState, missing::OnMissing,
    template::Template,
};

/// So many fields, and so many panes in a window.
const MAX_FIELDS: usize = 16;
const MAX_PANES: u64 = 60;

/// What the statistics of all keys may take; the default limit of a plugin's memory is 16 MiB.
const MAX_STATS_BYTES: usize = 6 << 20;

/// Those of one field in one pane.
const STATS_BYTES: usize = 208;

/// The most that `max_keys` may say.
const MAX_KEYS: usize = 10_000;

const DEFAULT_MAX_KEYS: usize = 1_000;

/// What a template may name beside the topic.
pub(crate) const NAMES: [&str; 1] = ["key"];

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    every: Interval,
    over: Option<Interval>,
    #[serde(default)]
    pub(crate) by: MessageKey,
    field: Option<Path>,
    #[serde(default)]
    fields: Vec<Path>,
    #[serde(default = "default_compute")]
    pub(crate) compute: Vec<Aggregate>,
    pub(crate) round: Option<u32>,
    #[serde(default = "onward")]
    to: String,
    #[serde(default = "default_topic")]
    topic: String,
    #[serde(default = "one")]
    qos: u8,
    #[serde(default)]
    pub(crate) retain: bool,
    #[serde(default)]
    pub(crate) pass: bool,
    #[serde(default)]
    pub(crate) on_missing: OnMissing,
    max_keys: Option<usize>,
    #[serde(default = "default_max_outputs")]
    pub(crate) max_outputs: usize,
    #[serde(default)]
    pub(crate) max_state: MaxState,
}

fn default_compute() -> Vec<Aggregate> {
    vec![Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Count]
}

fn onward() -> String {
    "onward".to_owned()
}

fn default_topic() -> String {
    "{topic}".to_owned()
}

fn one() -> u8 {
    1
}

fn default_max_outputs() -> usize {
    64
}

/// What is made of the parts that need checking.
pub(crate) struct Checked {
    pub(crate) lengths: Lengths,
    /// None: the whole payload is the number.
    pub(crate) fields: Vec<Path>,
    pub(crate) to: Destination,
    pub(crate) topic: Template,
    pub(crate) qos: Qos,
    pub(crate) max_keys: usize,
}

impl Config {
    pub(crate) fn check(&mut self) -> Result<Checked, Problems> {
        let mut problems = Problems::none();
        let every_ms = self.every.ms;
        let over_ms = self.over.map_or(every_ms, |over| over.ms);
        if every_ms == 0 {
            problems.add("every", "must be longer than nothing");
        } else if over_ms == 0 || !over_ms.is_multiple_of(every_ms) || over_ms / every_ms > MAX_PANES {
            problems.add("over", format!("must be a multiple of `every`, at most {MAX_PANES} of them"));
        }
        let mut fields = std::mem::take(&mut self.fields);
        match self.field.take() {
            Some(_) if !fields.is_empty() => problems.add("fields", "either `field` or `fields`"),
            field => fields.extend(field),
        }
        if fields.len() > MAX_FIELDS {
            problems.add("fields", format!("at most {MAX_FIELDS} fields"));
        }
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|other| other.to_string() == field.to_string()) {
                problems.add(format!("fields[{i}]"), "is there twice");
            }
        }
        for (i, aggregate) in self.compute.iter().enumerate() {
            if self.compute[..i].contains(aggregate) {
                problems.add(format!("compute[{i}]"), "is there twice");
            }
        }
        if self.compute.is_empty() {
            problems.add("compute", "must have one at least, such as \"mean\"");
        }
        if self.round.is_some_and(|round| round > 15) {
            problems.add("round", "at most 15 decimals");
        }
        if self.to.is_empty() {
            problems.add("to", "must be \"onward\" or the name of a target");
        }
        // After a pause a key may have so many windows at once.
        let overlapping = usize::try_from(over_ms / every_ms.max(1)).unwrap_or(usize::MAX);
        if self.max_outputs < overlapping.max(1) {
            problems.add("max_outputs", "must be at least 1, and at least `over` / `every`");
        }
        let topic = Template::parse(&self.topic, &NAMES).map_err(|problem| problems.add("topic", problem)).ok();
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].get(usize::from(self.qos)).copied();
        if qos.is_none() {
            problems.add("qos", "must be 0, 1 or 2");
        }
        // Some panes more than a window has, for the messages that closed the last ones may come again.
        let key_bytes =
            overlapping.saturating_add(MAX_CLOSINGS).saturating_mul(fields.len().max(1)).saturating_mul(STATS_BYTES);
        let most = (MAX_STATS_BYTES / key_bytes).clamp(1, MAX_KEYS);
        let max_keys = self.max_keys.unwrap_or(DEFAULT_MAX_KEYS.min(most));
        if !(1..=most).contains(&max_keys) {
            problems.add("max_keys", format!("must be from 1 to {most}, with so many fields and so long an `over`"));
        }
        let to = match std::mem::take(&mut self.to) {
            to if to == "onward" => Destination::Onward,
            name => Destination::Target(name),
        };
        let lengths = Lengths { every_ms, over_ms };
        match (topic, qos) {
            (Some(topic), Some(qos)) => problems.or(|| Checked { lengths, fields, to, topic, qos, max_keys }),
            _ => Err(problems),
        }
    }
}
