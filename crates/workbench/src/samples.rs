//! A file of samples: a plugin's configuration and grants, messages that come in, and what must become of each.
//!
//! ```toml
//! config = { field = "temp", from = "fahrenheit", to = "celsius" }
//!
//! [[step]]
//! topic = "dev/1"
//! payload = '{"temp": 212}'
//! forward = [{ payload = '{"temp": 100.0}' }]
//!
//! [[step]]
//! topic = "dev/1"
//! payload = "not JSON"
//! reject = "not JSON"
//! ```
//!
//! The steps of a file are a sequence, decided one after the other by one instance. The reference is docs/plugins/samples.md.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The plugin's `config` table.
    #[serde(default)]
    pub config: toml::Table,
    /// Its grants and limits, as in `[plugins.<name>]`.
    #[serde(default)]
    pub grants: toml::Table,
    /// As above.
    #[serde(default)]
    pub limits: toml::Table,
    /// The broker that the messages come from.
    #[serde(default = "home")]
    pub source: String,
    /// What it remembers before the first step, as text.
    #[serde(default)]
    pub state: BTreeMap<String, String>,
    /// What it must remember after the last one: these keys and no others.
    pub state_after: Option<BTreeMap<String, String>>,
    /// The configuration must be refused, and these texts occur in what is said.
    pub refused: Option<Vec<String>>,
    /// One after the other.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

fn home() -> String {
    "home".to_owned()
}

/// A message, or a tick, and what must become of it: one of `pass`, `forward`, `drop`, `reject`, `retry`, `fails`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Said when it fails.
    pub name: Option<String>,
    /// The time of a tick in milliseconds since the Unix epoch, in place of a message.
    pub tick: Option<u64>,
    /// The message.
    pub topic: Option<String>,
    /// Text; or one of the two below.
    pub payload: Option<String>,
    /// Any bytes.
    pub payload_base64: Option<String>,
    /// JSON, written compactly.
    pub json: Option<toml::Value>,
    /// 1 if nothing is said.
    pub qos: Option<u8>,
    /// The RETAIN flag.
    #[serde(default)]
    pub retain: bool,
    /// Milliseconds since the Unix epoch.
    pub received_ms: Option<u64>,
    /// Its place in the file from 1, if nothing is said.
    pub id: Option<u64>,
    /// That it may have been seen before.
    #[serde(default)]
    pub redelivered: bool,
    /// Its MQTT 5 properties.
    pub properties: Option<Properties>,

    /// It must go onward as it came.
    #[serde(default)]
    pub pass: bool,
    /// These must go out, in this order.
    pub forward: Option<Vec<Sent>>,
    /// It must be dropped, for this reason.
    pub drop: Option<String>,
    /// It must be rejected, for a reason with this in it.
    pub reject: Option<String>,
    /// It must be asked for again, for a reason with this in it.
    pub retry: Option<String>,
    /// The plugin must fail on it, with this in what is said.
    pub fails: Option<String>,
}

/// An output. What is not said must be as it came; of a tick, empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// A broker or target set; onward if nothing is said.
    pub to: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Its payload, to the byte.
    pub payload: Option<String>,
    /// Any bytes.
    pub payload_base64: Option<String>,
    /// Its payload as a value of JSON, however it is written.
    pub json: Option<toml::Value>,
    /// Its QoS.
    pub qos: Option<u8>,
    /// Its RETAIN flag.
    pub retain: Option<bool>,
    /// All its properties.
    pub properties: Option<Properties>,
    /// More user properties, behind those that came.
    #[serde(default)]
    pub user: Vec<(String, String)>,
    /// By what a set chooses its member.
    pub key: Option<String>,
}

/// MQTT 5 properties.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    /// As in the contract.
    pub content_type: Option<String>,
    /// As in the contract.
    pub response_topic: Option<String>,
    /// As text.
    pub correlation_data: Option<String>,
    /// As in the contract.
    pub message_expiry_seconds: Option<u32>,
    /// As in the contract.
    #[serde(default)]
    pub payload_is_utf8: bool,
    /// Pairs of name and value.
    #[serde(default)]
    pub user: Vec<(String, String)>,
}

/// What is wrong with a file, as `file:line:column: what`.
pub(crate) fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}: {}", path.display(), error.message().replace('\n', ", "))
}

impl Samples {
    /// Reads a file.
    ///
    /// # Errors
    /// In words, with the line and the column.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let samples: Self = toml::from_str(&text).map_err(|error| not_toml(path, &text, &error))?;
        for (at, step) in (1..).zip(&samples.steps) {
            step.check().map_err(|problem| format!("{}: step {at}: {problem}", path.display()))?;
        }
        if samples.steps.is_empty() && samples.refused.is_none() {
            return Err(format!("{}: it has no `[[step]]`, and no `refused`: nothing would be tried", path.display()));
        }
        Ok(samples)
    }
}

impl Step {
    fn check(&self) -> Result<(), &'static str> {
        let expected = [
            self.pass,
            self.forward.is_some(),
            self.drop.is_some(),
            self.reject.is_some(),
            self.retry.is_some(),
            self.fails.is_some(),
        ];
        match (self.tick, &self.topic) {
            (Some(_), Some(_)) => return Err("has `tick` and `topic`: it is one or the other"),
            (None, None) => return Err("has neither `topic` nor `tick`"),
            (Some(_), None) if self.forward.is_none() && self.fails.is_none() => {
                return Err("a tick wants `forward = [...]`, which may be empty, or `fails`");
            }
            _ => {}
        }
        match expected.iter().filter(|is| **is).count() {
            1 => {}
            0 => {
                return Err(
                    "says nothing of what must become of it: `pass = true`, `forward`, `drop`, `reject`, `retry` or `fails`",
                );
            }
            _ => return Err("says more than one thing that must become of it"),
        }
        if [self.payload.is_some(), self.payload_base64.is_some(), self.json.is_some()].iter().filter(|is| **is).count()
            > 1
        {
            return Err("has more than one of `payload`, `payload_base64` and `json`");
        }
        if self.qos.is_some_and(|qos| qos > 2) {
            return Err("`qos` is 0, 1 or 2");
        }
        Ok(())
    }
}
