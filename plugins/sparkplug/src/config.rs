//! The plugin's `config` table, and what is checked of it before any message comes.

use crate::births;
use crate::json::{LargeIntegers, NotFinite, Style};
use crate::topic::{Kind, Pattern, Template};
use serde::Deserialize;
use tidegate_sdk::{Problems, Qos, config::Interval};

/// The gateway's own limit of what a message may be turned into is 1 MiB, topics and all.
const DEFAULT_OUTPUT_BYTES: usize = 960 << 10;

/// The most that `max_births_bytes` may say.
const MAX_BIRTHS_BYTES: usize = 64 << 20;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A message for each metric, or for each payload.
    #[serde(default)]
    pub(crate) output: Shape,
    /// Where JSON goes; a level with nothing to stand in it is left out.
    topic: Option<Template>,
    /// The types of messages that go on as JSON; of the others births are learnt all the same.
    #[serde(default = "all_but_commands")]
    pub(crate) types: Vec<Kind>,
    /// What becomes of data whose metrics no birth has named.
    #[serde(default)]
    pub(crate) unknown: Unknown,
    /// What becomes of the death of an edge node whose `bdSeq` is not that of its birth.
    #[serde(default)]
    pub(crate) stale_deaths: StaleDeaths,
    /// Ask an edge node whose birth was missed for it, at most once in this time.
    pub(crate) rebirth_every: Option<Interval>,
    /// By this broker; the one that the message came from if nothing is said.
    pub(crate) rebirth_to: Option<String>,
    #[serde(default)]
    not_finite: NotFinite,
    #[serde(default)]
    large_integers: LargeIntegers,
    /// Whether a number of `seq` that was not due is noted.
    #[serde(default = "yes")]
    pub(crate) note_gaps: bool,
    #[serde(default = "default_max_metrics")]
    pub(crate) max_metrics: usize,
    /// The limit `outputs` of the plugin.
    #[serde(default = "default_max_outputs")]
    pub(crate) max_outputs: usize,
    /// The limit `output_size` of the plugin, less room for topics.
    #[serde(default = "default_max_output_bytes")]
    pub(crate) max_output_bytes: usize,
    /// Births take no more of the plugin's state.
    #[serde(default = "default_max_births_bytes")]
    pub(crate) max_births_bytes: usize,
    /// The way back.
    pub(crate) write: Option<Write>,
}

/// From JSON to Sparkplug.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    /// Topics that JSON comes from; the first that fits.
    pub(crate) topics: Vec<Pattern>,
    /// What is written where the JSON has no `type`.
    #[serde(default)]
    pub(crate) kind: Written,
    /// The broker whose births say what a metric is.
    pub(crate) births_of: Option<String>,
    /// Metrics that have an alias are named by it.
    #[serde(default)]
    pub(crate) aliases: bool,
    #[serde(default)]
    dialect: Dialect,
    /// In place of the dialect's own.
    uint32: Option<IntegerField>,
    negative: Option<Negative>,
    /// The specification wants 0.
    #[serde(default)]
    qos: u8,
    /// A tree of JSON takes up to a hundred times as much memory.
    #[serde(default = "default_max_json_bytes")]
    pub(crate) max_json_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    #[default]
    Metric,
    Payload,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unknown {
    #[default]
    Reject,
    Drop,
    Pass,
}

/// A will that comes late belongs to a session before that of the birth; but there are encoders that write another number
/// into each birth than into the will of its own session.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StaleDeaths {
    #[default]
    Mark,
    Drop,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Written {
    #[default]
    Command,
    Data,
}

/// Which readers are written for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Dialect {
    /// What pysparkplug, mqtt-spb-wrapper and tahutils write.
    #[default]
    Python,
    /// What sparkplug-payload writes.
    Javascript,
}

/// The field that a UInt32 is written to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IntegerField {
    Int,
    Long,
}

/// How an Int8 or Int16 below zero is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum Negative {
    /// Cut to its own 8 or 16 bits.
    #[serde(rename = "own-width")]
    OwnWidth,
    /// Extended to the 32 bits of the field.
    #[serde(rename = "32-bit")]
    Extended,
}

/// Where encoders differ, one of their ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integers {
    pub(crate) uint32: IntegerField,
    pub(crate) negative: Negative,
}

fn yes() -> bool {
    true
}

fn all_but_commands() -> Vec<Kind> {
    use Kind::{DBirth, DData, DDeath, NBirth, NData, NDeath};
    vec![NBirth, NDeath, NData, DBirth, DDeath, DData]
}

fn default_max_metrics() -> usize {
    1000
}

fn default_max_outputs() -> usize {
    64
}

fn default_max_output_bytes() -> usize {
    DEFAULT_OUTPUT_BYTES
}

fn default_max_births_bytes() -> usize {
    // Of the 1 MiB that a plugin's state may take.
    960 << 10
}

fn default_max_json_bytes() -> usize {
    64 << 10
}

impl Config {
    /// All that is wrong with it.
    pub(crate) fn problems(&self) -> Problems {
        let mut problems = Problems::none();
        if self.output == Shape::Payload && self.topic.as_ref().is_some_and(Template::has_metric) {
            problems.add("topic", "a payload has many metrics: take {metric} away, or set `output = \"metric\"`");
        }
        if self.types.is_empty() {
            problems.add("types", "is empty: nothing would go on; name types such as \"NDATA\"");
        }
        if self.rebirth_every.is_some() && self.unknown == Unknown::Reject {
            let message = "a message that is rejected sends nothing: set `unknown = \"drop\"` or `\"pass\"`";
            problems.add("rebirth_every", message);
        }
        if self.rebirth_every.is_some_and(|every| every.ms == 0) {
            problems.add("rebirth_every", "must be longer than nothing");
        }
        if self.rebirth_to.is_some() && self.rebirth_every.is_none() {
            problems.add("rebirth_to", "says where, but not how often: set `rebirth_every`");
        }
        if self.rebirth_to.as_deref() == Some("") {
            problems.add("rebirth_to", "must be the name of a target");
        }
        if !(1..=births::MAX_METRICS).contains(&self.max_metrics) {
            problems.add("max_metrics", format!("must be from 1 to {}", births::MAX_METRICS));
        }
        if self.max_outputs < 2 {
            problems.add("max_outputs", "must be at least 2");
        }
        if self.max_output_bytes < 1024 {
            problems.add("max_output_bytes", "must be at least 1024");
        }
        if !(1024..=MAX_BIRTHS_BYTES).contains(&self.max_births_bytes) {
            problems.add("max_births_bytes", format!("must be from 1024 to {MAX_BIRTHS_BYTES}"));
        }
        if let Some(write) = &self.write {
            write.add_problems(&mut problems);
        }
        problems
    }

    /// Where JSON goes.
    pub(crate) fn topic(&self) -> Template {
        let default = match self.output {
            Shape::Metric => "sparkplug/{group}/{edge}/{device}/{metric}",
            Shape::Payload => "sparkplug/{group}/{type}/{edge}/{device}",
        };
        self.topic.clone().unwrap_or_else(|| Template::parse(default).expect("the defaults are topics"))
    }

    pub(crate) fn style(&self) -> Style {
        Style { not_finite: self.not_finite, large_integers: self.large_integers }
    }
}

impl Write {
    fn add_problems(&self, problems: &mut Problems) {
        if self.topics.is_empty() {
            problems.add("write.topics", "is empty: name topics such as \"command/{group}/{edge}/{device}/{metric}\"");
        }
        if self.births_of.as_deref() == Some("") {
            problems.add("write.births_of", "must be the name of a broker");
        }
        if self.aliases && self.births_of.is_none() {
            problems.add("write.aliases", "come from births: set `births_of`");
        }
        if self.max_json_bytes == 0 {
            problems.add("write.max_json_bytes", "must be at least 1");
        }
        if self.qos > 2 {
            problems.add("write.qos", "must be 0, 1 or 2; the specification wants 0");
        }
    }

    pub(crate) fn qos(&self) -> Qos {
        match self.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }

    pub(crate) fn integers(&self) -> Integers {
        let (uint32, negative) = match self.dialect {
            Dialect::Python => (IntegerField::Int, Negative::OwnWidth),
            Dialect::Javascript => (IntegerField::Long, Negative::Extended),
        };
        Integers { uint32: self.uint32.unwrap_or(uint32), negative: self.negative.unwrap_or(negative) }
    }
}
