//! `json-schema` lets only payloads through that a JSON Schema allows (draft 2020-12, draft 7 and those between).
//!
//! The schema stands in the configuration and is compiled once; references beyond it are refused, for nothing is fetched.
//! A message that it allows goes onward with the bytes it came with. One that it does not is rejected, dropped, or sent to a
//! target with what is wrong as user properties.
//!
//! Invariants: what is nested too deep or too large for the plugin's memory is refused before a tree is built of it. Patterns
//! take time that grows with the text alone (the crate `regex`). Bounds of numbers are compared as decimals.
//!
//! Start reading at [`JsonSchema::handle`]; `schema.rs` compiles, `number.rs` has the bounds of numbers, `errors.rs` tells.

mod errors;
mod number;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod random;
mod read;
mod schema;

use errors::Failing;
use schema::Schema;
use serde::Deserialize;
use serde_json::Value;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems};

/// The user property that says what is wrong, once for each place; and how often at most.
const PROPERTY: &str = "schema-error";
const MAX_TOLD: usize = 8;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A table, or a text with JSON in it.
    schema: Value,
    /// Of a schema that does not say it with `$schema`.
    #[serde(default)]
    draft: DraftName,
    #[serde(default)]
    on_invalid: OnInvalid,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum DraftName {
    #[default]
    #[serde(rename = "2020-12")]
    V2020_12,
    #[serde(rename = "2019-09")]
    V2019_09,
    #[serde(rename = "7")]
    V7,
}

impl DraftName {
    fn draft(self) -> boon::Draft {
        match self {
            Self::V2020_12 => boon::Draft::V2020_12,
            Self::V2019_09 => boon::Draft::V2019_09,
            Self::V7 => boon::Draft::V7,
        }
    }
}

/// `"reject"`, `"drop"` or `{ target = "quarantine" }`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnInvalid {
    #[default]
    Reject,
    Drop,
    Target(String),
}

/// The plugin.
pub struct JsonSchema {
    schema: Schema,
    on_invalid: OnInvalid,
}

impl Plugin for JsonSchema {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { schema, draft, on_invalid } = config;
        if matches!(&on_invalid, OnInvalid::Target(name) if name.is_empty()) {
            return Err(Problems::one("on_invalid.target", "must be the name of a target"));
        }
        Ok(Self { schema: Schema::new(schema, draft.draft())?, on_invalid })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let failing = match read::read(&message.payload) {
            Ok(value) => match self.schema.errors(&value, MAX_TOLD) {
                None => return Ok(Decision::pass()),
                Some(failing) => failing,
            },
            Err(failing) => failing,
        };
        let Failing { reason, told } = failing;
        match &self.on_invalid {
            OnInvalid::Reject => Err(Failure::reject(told.into_iter().next().unwrap_or_else(|| reason.to_owned()))),
            OnInvalid::Drop => Ok(Decision::drop(reason)),
            OnInvalid::Target(name) => {
                let output = Output::target(name);
                Ok(told.into_iter().fold(output, |output, error| output.user_property(PROPERTY, error)).into())
            }
        }
    }
}

tidegate_sdk::plugin!(JsonSchema);

#[cfg(test)]
mod tests;
