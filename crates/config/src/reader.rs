//! Takes keys out of TOML tables by name, and remembers what was asked for, so that what is left is unknown.
//!
//! Deserializing into structs would stop at the first value of the wrong kind. This goes on: a value that cannot be
//! used is reported at its place, and the caller continues without it.

use crate::bounds;
use crate::problem::{Findings, Span, did_you_mean};
use crate::values;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// What all sections share while a text is read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) findings: Findings<'a>,
    /// What relative paths are relative to.
    pub(crate) base: &'a Path,
    /// Files the configuration names, for `files::check`.
    pub(crate) files: RefCell<Vec<FileUse>>,
    /// Where brokers say what only a second look can check: by broker and key.
    pub(crate) places: RefCell<BTreeMap<(String, &'static str), Span>>,
    /// Every key ever asked for, with its section's kind: together, the schema.
    #[cfg(test)]
    pub(crate) schema: RefCell<BTreeMap<(&'static str, &'static str), bool>>,
}

/// A file the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileUse {
    pub(crate) kind: FileKind,
    pub(crate) at: Span,
}

/// What it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A component, and the digest it must have.
    Plugin { path: PathBuf, digest: Option<String> },
    /// Certificates: anyone may read them.
    Certificates(PathBuf),
    /// A secret, a list of them or a private key: nobody else may read it.
    Private { what: &'static str, path: PathBuf },
    /// A variable that must be set.
    Env(String),
    /// A systemd credential.
    Credential(String),
}

/// A value and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Span,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, file: &'a Path, base: &'a Path) -> Self {
        Self {
            findings: Findings::new(file, text),
            base,
            files: RefCell::default(),
            places: RefCell::default(),
            #[cfg(test)]
            schema: RefCell::default(),
        }
    }

    pub(crate) fn error(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.error(at, what, hint);
    }

    pub(crate) fn warning(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.warning(at, what, hint);
    }

    pub(crate) fn uses_file(&self, kind: FileKind, at: &Span) {
        self.files.borrow_mut().push(FileUse { kind, at: at.clone() });
    }

    /// Remembers where a broker says this.
    pub(crate) fn place(&self, broker: &str, key: &'static str, at: &Span) {
        self.places.borrow_mut().insert((broker.to_owned(), key), at.clone());
    }

    /// Reports a name that cannot be one.
    pub(crate) fn check_name(&self, what: &str, name: &str, at: &Span) {
        if !values::is_name(name) {
            let most = bounds::MAX_NAME_BYTES;
            let shown = values::shown(name);
            self.error(
                at,
                format!("{shown} cannot be the name of a {what}"),
                format!("use 1 to {most} letters, digits, `-` and `_`, the first a letter or digit"),
            );
        }
    }
}

/// One table, while its keys are taken.
#[derive(Debug)]
pub(crate) struct Section<'r, 'a, 't, 'i> {
    pub(crate) reader: &'r Reader<'a>,
    /// What kind of section it is, such as `[brokers.<name>]`.
    #[cfg_attr(not(test), allow(dead_code))] // the tests' schema
    kind: &'static str,
    /// What messages call it, such as `[brokers.home]`.
    label: String,
    /// Where it begins.
    pub(crate) at: Span,
    table: &'t DeTable<'i>,
    asked: Vec<&'static str>,
}

/// The value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Value<'r, 'a, 't, 'i> {
    pub(crate) reader: &'r Reader<'a>,
    pub(crate) key: &'static str,
    pub(crate) at: Span,
    pub(crate) value: &'t DeValue<'i>,
}

impl<'r, 'a, 't, 'i> Section<'r, 'a, 't, 'i> {
    pub(crate) fn new(
        reader: &'r Reader<'a>,
        kind: &'static str,
        label: impl Into<String>,
        at: Span,
        table: &'t DeTable<'i>,
    ) -> Self {
        Self { reader, kind, label: label.into(), at, table, asked: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'r, 'a, 't, 'i>> {
        self.asked.push(key);
        let found = self.table.get(key);
        #[cfg(test)]
        {
            *self.reader.schema.borrow_mut().entry((self.kind, key)).or_default() |= found.is_some();
        }
        found.map(|value| Value { reader: self.reader, key, at: value.span(), value: value.get_ref() })
    }

    /// Like `take`, and a problem if it is not there.
    pub(crate) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'r, 'a, 't, 'i>> {
        let found = self.take(key);
        if found.is_none() {
            let what = format!("{} has no `{key}`", self.label);
            self.reader.error(&self.at, what, format!("add `{key} = {example}`"));
        }
        found
    }

    /// The key was named; its value may still be of the wrong kind.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<At<&'t str>> {
        self.take(key)?.text()
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<At<&'t str>>> {
        self.take(key)?.texts()
    }

    /// A path, relative ones resolved.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<At<PathBuf>> {
        self.take(key)?.path()
    }

    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(|value| value.flag()).unwrap_or(default)
    }

    pub(crate) fn number(&mut self, key: &'static str, bounds: bounds::Number) -> u64 {
        self.take(key).and_then(|value| value.number(bounds)).unwrap_or(bounds.default)
    }

    pub(crate) fn size(&mut self, key: &'static str, bounds: bounds::Number) -> u64 {
        self.take(key).and_then(|value| value.size(bounds)).unwrap_or(bounds.default)
    }

    pub(crate) fn duration(&mut self, key: &'static str, bounds: bounds::Period) -> Duration {
        self.take(key).and_then(|value| value.duration(bounds)).unwrap_or(bounds.default)
    }

    /// One of several words; the first is the default.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> T {
        self.take(key).and_then(|value| value.choice(words)).unwrap_or(words[0].1)
    }

    /// A table within this one.
    pub(crate) fn section(&mut self, key: &'static str, kind: &'static str) -> Option<Section<'r, 'a, 't, 'i>> {
        self.take(key)?.section(kind)
    }

    /// The tables of `[<key>.<name>]`, each with its name.
    pub(crate) fn named(
        &mut self,
        key: &'static str,
        kind: &'static str,
    ) -> Vec<(At<&'t str>, Section<'r, 'a, 't, 'i>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(table) = value.table(kind) else { return Vec::new() };
        let mut sections = Vec::new();
        for (name, value) in table {
            let name = At { value: &**name.get_ref(), at: name.span() };
            match value.get_ref() {
                DeValue::Table(table) => {
                    let label = format!("[{key}.{}]", name.value);
                    sections.push((name.clone(), Section::new(self.reader, kind, label, name.at, table)));
                }
                other => {
                    let what = format!("`{key}.{}` must be a table, not {}", name.value, kind_of(other));
                    self.reader.error(&name.at, what, format!("write it as `{kind}`"));
                }
            }
        }
        sections
    }

    /// Reports what nobody asked for.
    pub(crate) fn finish(self) {
        self.finish_beside(&[], "");
    }

    /// The same; `elsewhere` are keys that would be known in another kind of section, and `hint` says in which.
    pub(crate) fn finish_beside(self, elsewhere: &[&str], hint: &str) {
        for (key, _) in self.table {
            let name = &**key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let (what, at) = (format!("unknown key {} in {}", values::shown(name), self.label), key.span());
            if elsewhere.contains(&name) {
                self.reader.error(&at, what, hint);
            } else if let Some(near) = did_you_mean(name, self.asked.iter().copied()) {
                self.reader.error(&at, what, format!("did you mean `{near}`?"));
            } else {
                let known = self.asked.join("`, `");
                self.reader.error(&at, what, format!("leave it out; the keys here are `{known}`"));
            }
        }
    }
}

impl<'r, 'a, 't, 'i> Value<'r, 'a, 't, 'i> {
    pub(crate) fn error(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.reader.error(&self.at, what, hint);
    }

    fn wrong_kind(&self, expected: &str, hint: &str) {
        self.error(format!("`{}` must be {expected}, not {}", self.key, kind_of(self.value)), hint);
    }

    pub(crate) fn text(&self) -> Option<At<&'t str>> {
        match self.value {
            DeValue::String(text) => Some(At { value: &**text, at: self.at.clone() }),
            _ => {
                self.wrong_kind("a string", "put it in double quotes");
                None
            }
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        if let DeValue::Boolean(flag) = self.value {
            return Some(*flag);
        }
        self.wrong_kind("true or false", "write `true` or `false`, without quotes");
        None
    }

    pub(crate) fn number(&self, bounds: bounds::Number) -> Option<u64> {
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
        } else if fits.is_none() {
            self.error(format!("`{}` cannot be {written}", self.key), format!("write a size {range}"));
        }
        fits
    }

    /// `"30s"`, `"1h 30m"`, or a plain 0.
    pub(crate) fn duration(&self, bounds: bounds::Period) -> Option<Duration> {
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
        Some(At { value: self.reader.base.join(text.value), at: text.at })
    }

    /// A list of strings. Elements that are something else are reported and left out.
    pub(crate) fn texts(&self) -> Option<Vec<At<&'t str>>> {
        if let DeValue::String(text) = self.value {
            self.error(format!("`{}` must be a list, not a string", self.key), "put it in brackets: `[\"...\"]`");
            return Some(vec![At { value: &**text, at: self.at.clone() }]);
        }
        let list = self.list("strings", "write it as `[\"...\", \"...\"]`")?;
        let mut texts = Vec::with_capacity(list.len());
        for element in list.iter() {
            let value = Value { reader: self.reader, key: self.key, at: element.span(), value: element.get_ref() };
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
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_kind("a table", &format!("write it as `{kind}`"));
        }
        table
    }

    pub(crate) fn section(&self, kind: &'static str) -> Option<Section<'r, 'a, 't, 'i>> {
        let table = self.table(kind)?;
        // `[admin]` stands alone; the others are inside of something.
        let label = if kind.starts_with('[') { kind.to_owned() } else { format!("`{}`", self.key) };
        Some(Section::new(self.reader, kind, label, self.at.clone(), table))
    }

    /// The elements of `[[<key>]]`.
    pub(crate) fn sections(&self, kind: &'static str) -> Vec<Section<'r, 'a, 't, 'i>> {
        let hint = format!("write each as `{kind}`");
        let Some(list) = self.list("tables", &hint) else { return Vec::new() };
        let mut sections = Vec::with_capacity(list.len());
        for element in list.iter() {
            match element.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(self.reader, kind, kind, element.span(), table)),
                other => {
                    let what = format!("`{}` must be a list of tables, and this is {}", self.key, kind_of(other));
                    self.reader.error(&element.span(), what, hint.clone());
                }
            }
        }
        sections
    }

    /// A table as JSON, for plugins.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        self.table("config = { key = \"value\" }")?;
        to_json(self.reader, &self.at, self.value)
    }
}

/// Depth is bounded by the TOML parser's own limit.
fn to_json(reader: &Reader<'_>, at: &Span, value: &DeValue<'_>) -> Option<serde_json::Value> {
    let inner = |value: &Spanned<DeValue<'_>>| to_json(reader, &value.span(), value.get_ref());
    match value {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Boolean(flag) => Some((*flag).into()),
        DeValue::Datetime(datetime) => Some(datetime.to_string().into()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            if parsed.is_none() {
                reader.error(at, format!("{number} does not fit into 64 bits"), "write it as a string");
            }
            parsed.map(Into::into)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            if parsed.is_none() {
                reader.error(at, format!("{number} has no place in JSON"), "write a finite number, or a string");
            }
            parsed.map(Into::into)
        }
        DeValue::Array(list) => list.iter().map(inner).collect::<Option<Vec<_>>>().map(Into::into),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| Some((key.get_ref().to_string(), inner(value)?)));
            entries.collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
        }
    }
}

/// A kind of value with its article.
fn kind_of(value: &DeValue<'_>) -> &'static str {
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
