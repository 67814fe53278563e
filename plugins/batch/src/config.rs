//! From the `config` table to what the plugin works with: one of two modes, each with keys of its own.

use crate::format::Format;
use serde::Deserialize;
use tidegate_sdk::{
    Destination, MessageKey, Problems, Qos, config::Interval, ledger::MaxState, missing::OnMissing, size::Size,
    template::Template,
};

/// Two batches may go out for one message, and the default limit `output_size` is 1 MiB.
const MAX_JOINED_BYTES: usize = 448 << 10;

/// The pieces of one message, and what is inflated: the same limit.
const MAX_SPLIT_BYTES: usize = 8 << 20;

const MAX_MESSAGES: usize = 10_000;
const MAX_KEYS: usize = 10_000;

/// What a template may name beside the topic.
pub(crate) const NAMES: [&str; 1] = ["key"];

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    mode: Mode,
    #[serde(default)]
    format: FormatName,
    #[serde(default)]
    envelope: bool,
    #[serde(default)]
    gzip: bool,
    by: Option<MessageKey>,
    max_messages: Option<usize>,
    max_bytes: Option<Size>,
    max_age: Option<Interval>,
    max_keys: Option<usize>,
    max_state: Option<MaxState>,
    topic: Option<String>,
    #[serde(default = "onward")]
    to: String,
    qos: Option<u8>,
    retain: Option<bool>,
    content_type: Option<String>,
    #[serde(default)]
    on_missing: OnMissing,
    #[serde(default = "default_max_outputs")]
    max_outputs: usize,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Join,
    Split,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormatName {
    #[default]
    JsonArray,
    Lines,
}

fn onward() -> String {
    "onward".to_owned()
}

fn default_max_outputs() -> usize {
    64
}

/// How messages are joined.
pub(crate) struct Join {
    pub(crate) format: Format,
    pub(crate) gzip: bool,
    pub(crate) by: MessageKey,
    pub(crate) max_messages: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_age_ms: u64,
    pub(crate) max_keys: usize,
    pub(crate) max_state: MaxState,
    pub(crate) topic: Template,
    pub(crate) to: Destination,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) content_type: String,
    pub(crate) on_missing: OnMissing,
    pub(crate) max_outputs: usize,
}

/// How a message is split.
pub(crate) struct Split {
    pub(crate) format: Format,
    pub(crate) gzip: bool,
    pub(crate) max_bytes: usize,
    /// None: the topic is in the envelope.
    pub(crate) topic: Option<Template>,
    pub(crate) to: Destination,
    pub(crate) qos: Option<Qos>,
    pub(crate) retain: Option<bool>,
    pub(crate) content_type: Option<String>,
    pub(crate) on_missing: OnMissing,
    pub(crate) max_outputs: usize,
}

pub(crate) enum Checked {
    Join(Join),
    Split(Split),
}

impl Config {
    pub(crate) fn check(self) -> Result<Checked, Problems> {
        let mut problems = Problems::none();
        let format = match self.format {
            FormatName::JsonArray => Format { lines: false, envelope: self.envelope },
            FormatName::Lines => Format { lines: true, envelope: self.envelope },
        };
        if self.mode == Mode::Split {
            let of_join = [
                ("by", self.by.is_some()),
                ("max_messages", self.max_messages.is_some()),
                ("max_age", self.max_age.is_some()),
                ("max_keys", self.max_keys.is_some()),
                ("max_state", self.max_state.is_some()),
            ];
            for (key, _) in of_join.into_iter().filter(|(_, is_set)| *is_set) {
                problems.add(key, "is for `mode = \"join\"`");
            }
            if self.envelope && self.topic.is_some() {
                problems.add("topic", "is in the envelope: take away one of the two");
            }
        }
        let topic = self.topic.as_deref().unwrap_or("{topic}");
        let names: &[&str] = if self.mode == Mode::Join { &NAMES } else { &[] };
        let topic = Template::parse(topic, names).map_err(|problem| problems.add("topic", problem)).ok();
        if self.to.is_empty() {
            problems.add("to", "must be \"onward\" or the name of a target");
        }
        let to = if self.to == "onward" { Destination::Onward } else { Destination::Target(self.to) };
        let qos = self.qos.map(|qos| {
            let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].get(usize::from(qos)).copied();
            if qos.is_none() {
                problems.add("qos", "must be 0, 1 or 2");
            }
            qos.unwrap_or(Qos::AtLeastOnce)
        });
        if self.content_type.as_ref().is_some_and(|text| text.is_empty() || text.chars().any(char::is_control)) {
            problems.add("content_type", "must be a text such as \"application/json\"");
        }
        let mut within = |key: &str, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                problems.add(key, format!("must be from {least} to {most}"));
            }
            value
        };
        let max_outputs = within("max_outputs", self.max_outputs, 1, 65_536);
        let max_bytes = self.max_bytes.map(|size| size.bytes);
        let max_bytes = match self.mode {
            Mode::Join => within("max_bytes", max_bytes.unwrap_or(64 << 10), 64, MAX_JOINED_BYTES),
            Mode::Split => within("max_bytes", max_bytes.unwrap_or(768 << 10), 64, MAX_SPLIT_BYTES),
        };
        let max_messages = within("max_messages", self.max_messages.unwrap_or(64), 1, MAX_MESSAGES);
        let max_keys = within("max_keys", self.max_keys.unwrap_or(1_000), 1, MAX_KEYS);
        let max_age_ms = self.max_age.map_or(10_000, |age| age.ms);
        if max_age_ms == 0 {
            problems.add("max_age", "must be longer than nothing");
        }
        let Some(topic) = topic else { return Err(problems) };
        let (gzip, on_missing) = (self.gzip, self.on_missing);
        problems.or(|| match self.mode {
            Mode::Join => Checked::Join(Join {
                format,
                gzip,
                by: self.by.unwrap_or_default(),
                max_messages,
                max_bytes,
                max_age_ms,
                max_keys,
                max_state: self.max_state.unwrap_or_default(),
                topic,
                to,
                qos: qos.unwrap_or(Qos::AtLeastOnce),
                retain: self.retain.unwrap_or_default(),
                content_type: self.content_type.unwrap_or_else(|| format.content_type().to_owned()),
                on_missing,
                max_outputs,
            }),
            Mode::Split => Checked::Split(Split {
                format,
                gzip,
                max_bytes,
                topic: (!format.envelope).then_some(topic),
                to,
                qos,
                retain: self.retain,
                content_type: self.content_type,
                on_missing,
                max_outputs,
            }),
        })
    }
}
