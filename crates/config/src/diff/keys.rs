//! Keys and values of a configuration, as they are compared and told.

use crate::values::size_text;
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::time::Duration;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// People may read it.
    Told(String),
    /// It is compared only.
    Kept(String),
}

/// Keys as they are laid out, section by section.
#[derive(Default)]
pub(super) struct Keys {
    /// The section, with a dot at its end; empty for the file.
    within: String,
    pub(super) all: BTreeMap<String, Value>,
}

impl Keys {
    pub(super) fn section(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        let outer = self.within.len();
        self.within = format!("{}{key}.", self.within);
        fill(self);
        self.within.truncate(outer);
    }

    pub(super) fn told(&mut self, key: &str, value: impl Display) {
        self.all.insert(format!("{}{key}", self.within), Value::Told(value.to_string()));
    }

    pub(super) fn kept(&mut self, key: &str, value: impl Into<String>) {
        self.all.insert(format!("{}{key}", self.within), Value::Kept(value.into()));
    }

    /// A word of an enum, as it is in the file but for its case.
    pub(super) fn word(&mut self, key: &str, value: impl Debug) {
        let mut word = String::new();
        for c in format!("{value:?}").chars() {
            if c.is_ascii_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(c.to_ascii_lowercase());
        }
        self.told(key, word);
    }

    pub(super) fn size(&mut self, key: &str, bytes: u64) {
        self.told(key, size_text(bytes));
    }

    pub(super) fn time(&mut self, key: &str, time: Duration) {
        self.told(key, humantime::format_duration(time));
    }

    pub(super) fn list(&mut self, key: &str, list: impl IntoIterator<Item = impl Display>) {
        let list: Vec<String> = list.into_iter().map(|one| format!("\"{one}\"")).collect();
        self.told(key, format!("[{}]", list.join(", ")));
    }
}

/// A key as TOML has it.
pub(super) fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}
