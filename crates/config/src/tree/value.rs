//! The value of a key, as one of the kinds that are asked for, or a problem at its place.

#[cfg(test)]
use super::asked::Kind;
use super::context::{At, Context};
use super::json::to_json;
use crate::bounds;
use crate::problem::{Span, did_you_mean};
use crate::values;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeArray, DeTable, DeValue};

/// What [`Value::entry`]s stand in.
pub(crate) const ENTRIES: &str = "entries";

/// The value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Value<'r, 'a, 't, 'i> {
    pub(crate) context: &'r Context<'a>,
    /// What kind of section it stands in.
    #[cfg_attr(not(test), allow(dead_code))] // the tests' schema
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) at: Span,
    pub(crate) value: &'t DeValue<'i>,
}

impl<'r, 'a, 't, 'i> Value<'r, 'a, 't, 'i> {
    /// An element of a list.
    fn element(&self, at: Span, value: &'t DeValue<'i>) -> Self {
        Self { at, value, ..*self }
    }

    /// What stands under a name in a table that has any names.
    pub(crate) fn entry(&self, at: Span, value: &'t DeValue<'i>) -> Self {
        Self { section: ENTRIES, at, value, ..*self }
    }

    #[cfg(test)]
    pub(crate) fn asked(&self, kind: Kind) {
        self.context.asked.borrow_mut().kind(self.section, self.key, kind);
    }

    pub(crate) fn error(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.context.error(&self.at, what, hint);
    }

    fn wrong_kind(&self, expected: &str, hint: &str) {
        self.error(format!("`{}` must be {expected}, not {}", self.key, kind_of(self.value)), hint);
    }

    pub(crate) fn text(&self) -> Option<At<&'t str>> {
        #[cfg(test)]
        self.asked(Kind::Text);
        match self.value {
            DeValue::String(text) => Some(At { value: &**text, at: self.at.clone() }),
            _ => {
                self.wrong_kind("a string", "put it in double quotes");
                None
            }
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        #[cfg(test)]
        self.asked(Kind::Flag);
        if let DeValue::Boolean(flag) = self.value {
            return Some(*flag);
        }
        self.wrong_kind("true or false", "write `true` or `false`, without quotes");
        None
    }

    /// For a key that takes values of several kinds: a problem is for the caller to say.
    pub(crate) fn any(&self) -> &'t DeValue<'i> {
        #[cfg(test)]
        match self.value {
            DeValue::Boolean(_) => self.asked(Kind::Flag),
            DeValue::String(word) => self.asked(Kind::Words(vec![word.to_string()])),
            _ => {}
        }
        self.value
    }

    pub(crate) fn number(&self, bounds: bounds::Number) -> Option<u64> {
        #[cfg(test)]
        self.asked(Kind::number(bounds));
        let range = format!("from {} to {}", bounds.min, bounds.max);
        let DeValue::Integer(number) = self.value else {
            self.wrong_kind("a whole number", &format!("write a number {range}, without quotes"));
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let fits = parsed.filter(|number| (bounds.min..=bounds.max).contains(number));
        if fits.is_none() {
            self.error(format!("`{}` cannot be {number}", self.key), format!("write a number {range}"));
        }
        fits
    }

    /// Bytes: `"1MiB"`, or a plain number.
    pub(crate) fn size(&self, bounds: bounds::Number) -> Option<u64> {
        #[cfg(test)]
        self.asked(Kind::size(bounds));
        let range = format!("from {} to {}", values::size_text(bounds.min), values::size_text(bounds.max));
        let (parsed, written) = match self.value {
            DeValue::Integer(number) => (u64::from_str_radix(number.as_str(), number.radix()).ok(), number.to_string()),
            DeValue::String(text) => (values::size(text), values::shown(text)),
            _ => {
                self.wrong_kind("a size", "write it with a unit, such as \"1MiB\"");
                return None;
            }
        };
        let fits = parsed.filter(|bytes| (bounds.min..=bounds.max).contains(bytes));
        if parsed.is_none() {
            self.error(
                format!("`{}` cannot be {written}, which is not a size", self.key),
                "write a whole number of B, KiB, MiB, GiB, kB, MB or GB, such as \"1MiB\"",
            );
        } else if let (Some(bytes), None) = (parsed, fits) {
            // A plain number is bytes, which somebody who meant another unit has to be told.
            let (unit, hint) = match self.value {
                DeValue::Integer(_) => (" bytes", ", with its unit and in quotes"),
                _ => ("", ""),
            };
            let which = if bytes < bounds.min { "too small" } else { "too large" };
            let what = format!("`{}` cannot be {written}{unit}, which is {which}", self.key);
            self.error(what, format!("write a size {range}{hint}"));
        }
        fits
    }

    /// `"30s"`, `"1h 30m"`, or a plain 0.
    pub(crate) fn duration(&self, bounds: bounds::Period) -> Option<Duration> {
        #[cfg(test)]
        self.asked(Kind::Duration);
        let (parsed, written) = match self.value {
            DeValue::String(text) => (humantime::parse_duration(text).ok(), values::shown(text)),
            DeValue::Integer(number) if number.as_str() == "0" => (Some(Duration::ZERO), "0".to_owned()),
            _ => {
                self.wrong_kind("a duration", "write it with a unit and in quotes, such as \"30s\"");
                return None;
            }
        };
        let Some(duration) = parsed else {
            self.error(
                format!("`{}` cannot be {written}, which is not a duration", self.key),
                "write numbers with units ms, s, m, h or d, such as \"30s\" or \"1h 30m\"",
            );
            return None;
        };
        if duration.is_zero() && bounds.zero {
            return Some(duration);
        }
        if duration < bounds.min || duration > bounds.max {
            let zero = if bounds.zero { ", or 0" } else { "" };
            let (min, max) = (humantime::format_duration(bounds.min), humantime::format_duration(bounds.max));
            self.error(
                format!("`{}` cannot be {written}", self.key),
                format!("write a duration from \"{min}\" to \"{max}\"{zero}"),
            );
            return None;
        }
        if bounds.whole_seconds && duration.subsec_nanos() > 0 {
            let what = format!("`{}` cannot be {written}: MQTT counts it in seconds", self.key);
            self.error(what, "write whole seconds, such as \"30s\"");
            return None;
        }
        Some(duration)
    }

    pub(crate) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        #[cfg(test)]
        self.asked(Kind::Words(words.iter().map(|(word, _)| (*word).to_owned()).collect()));
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let DeValue::String(text) = self.value else {
            self.wrong_kind("a word in quotes", &format!("write one of {all}"));
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let what = format!("`{}` cannot be {}", self.key, values::shown(text));
            match did_you_mean(text, words.iter().map(|(word, _)| *word)) {
                Some(near) => self.error(what, format!("did you mean \"{near}\"? It is one of {all}")),
                None => self.error(what, format!("write one of {all}")),
            }
        }
        found
    }

    pub(crate) fn path(&self) -> Option<At<PathBuf>> {
        let text = self.text()?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.error(format!("`{}` cannot be an empty path", self.key), "write a path");
            return None;
        }
        if text.value.starts_with("~/") {
            self.error(format!("`{}` begins with `~`, which is not expanded", self.key), "write the whole path");
            return None;
        }
        Some(At { value: self.context.path(text.value, &text.at), at: text.at })
    }

    /// A list of strings. Elements that are something else are reported and left out.
    pub(crate) fn texts(&self) -> Option<Vec<At<&'t str>>> {
        #[cfg(test)]
        self.asked(Kind::Texts);
        if let DeValue::String(text) = self.value {
            self.error(format!("`{}` must be a list, not a string", self.key), "put it in brackets: `[\"...\"]`");
            return Some(vec![At { value: &**text, at: self.at.clone() }]);
        }
        let list = self.list("strings", "write it as `[\"...\", \"...\"]`")?;
        let mut texts = Vec::with_capacity(list.len());
        for element in list.iter() {
            let value = self.element(element.span(), element.get_ref());
            match value.value {
                DeValue::String(text) => texts.push(At { value: &**text, at: value.at }),
                other => value.error(
                    format!("`{}` must be a list of strings, and this is {}", self.key, kind_of(other)),
                    "put it in double quotes",
                ),
            }
        }
        Some(texts)
    }

    pub(crate) fn list(&self, of: &str, hint: &str) -> Option<&'t DeArray<'i>> {
        let list = self.value.as_array();
        if list.is_none() {
            self.wrong_kind(&format!("a list of {of}"), hint);
        }
        list
    }

    pub(crate) fn table(&self, kind: &str) -> Option<&'t DeTable<'i>> {
        #[cfg(test)]
        self.asked(Kind::Table);
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_kind("a table", &format!("write it as `{kind}`"));
        }
        table
    }

    /// A table as JSON, for plugins; `place` is what its place is noted under.
    pub(crate) fn json(&self, place: &str) -> Option<serde_json::Value> {
        self.table("config = { key = \"value\" }")?;
        self.context.place(place.to_owned(), &self.at);
        to_json(self.context, &self.at, self.value, place)
    }
}

/// A kind of value with its article.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
