//! Takes keys out of one table by name, and remembers what was asked for, so that what is left is unknown.

#[cfg(test)]
use super::asked::Kind;
use super::context::{At, Context};
use super::value::{Value, kind_of};
use crate::bounds;
use crate::problem::{Span, did_you_mean};
use crate::values;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What words stand in that are beside tables with names.
pub(crate) const BESIDE_NAMES: &str = "beside names";

/// One table, while its keys are taken.
#[derive(Debug)]
pub(crate) struct Section<'r, 'a, 't, 'i> {
    pub(crate) context: &'r Context<'a>,
    /// What kind of section it is, such as `[brokers.<name>]`.
    kind: &'static str,
    /// What messages call it, such as `[brokers.home]`.
    label: String,
    /// Where it begins.
    pub(crate) at: Span,
    table: &'t DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'r, 'a, 't, 'i> Section<'r, 'a, 't, 'i> {
    pub(crate) fn new(
        context: &'r Context<'a>,
        kind: &'static str,
        label: impl Into<String>,
        at: Span,
        table: &'t DeTable<'i>,
    ) -> Self {
        #[cfg(test)]
        context.asked.borrow_mut().section(kind);
        Self { context, kind, label: label.into(), at, table, asked: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'r, 'a, 't, 'i>> {
        self.asked.push(key);
        let found = self.table.get(key);
        #[cfg(test)]
        self.context.asked.borrow_mut().key(self.kind, key, found.map(toml::Spanned::span));
        let section = self.kind;
        found.map(|value| Value { context: self.context, section, key, at: value.span(), value: value.get_ref() })
    }

    /// Like `take`, and a problem if it is not there.
    pub(crate) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'r, 'a, 't, 'i>> {
        #[cfg(test)]
        self.context.asked.borrow_mut().required(self.kind, key);
        let found = self.take(key);
        if found.is_none() {
            let what = format!("{} has no `{key}`", self.label);
            self.context.error(&self.at, what, format!("add `{key} = {example}`"));
        }
        found
    }

    /// What stands at a key, if that is a text, before anybody asks for the key.
    pub(crate) fn written(&self, key: &str) -> Option<&'t str> {
        match self.table.get(key)?.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
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

    /// One of several words that stands beside the tables of [`named`](Self::named); the first is the default.
    pub(crate) fn word_in<T: Copy>(&mut self, key: &'static str, word: &'static str, words: &[(&str, T)]) -> T {
        let table = self.table.get(key).and_then(|value| value.get_ref().as_table());
        let found = table.and_then(|table| table.get(word)).filter(|value| value.get_ref().is_str());
        let value = found.map(|value| Value {
            context: self.context,
            section: BESIDE_NAMES,
            key: word,
            at: value.span(),
            value: value.get_ref(),
        });
        #[cfg(test)]
        self.context.asked.borrow_mut().key(BESIDE_NAMES, word, found.map(toml::Spanned::span));
        value.and_then(|value| value.choice(words)).unwrap_or(words[0].1)
    }

    /// The tables of `[<key>.<name>]`, each with its name.
    pub(crate) fn named(
        &mut self,
        key: &'static str,
        kind: &'static str,
    ) -> Vec<(At<&'t str>, Section<'r, 'a, 't, 'i>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        #[cfg(test)]
        value.asked(Kind::Named(kind));
        let Some(table) = value.table(kind) else { return Vec::new() };
        let mut sections = Vec::new();
        for (name, value) in table {
            let name = At { value: &**name.get_ref(), at: name.span() };
            match value.get_ref() {
                DeValue::Table(table) => {
                    let label = format!("[{key}.{}]", name.value);
                    sections.push((name.clone(), Section::new(self.context, kind, label, name.at, table)));
                }
                // A word that stands beside them.
                DeValue::String(_) if (key, name.value) == ("plugins", "engine") => {}
                other => {
                    let what = format!("`{key}.{}` must be a table, not {}", name.value, kind_of(other));
                    self.context.error(&name.at, what, format!("write it as `{kind}`"));
                }
            }
        }
        sections
    }

    /// Reports what nobody asked for.
    pub(crate) fn finish(self) {
        self.finish_beside_all(&[]);
    }

    /// The same; `elsewhere` are keys that would be known in another kind of section, and `hint` says in which.
    pub(crate) fn finish_beside(self, elsewhere: &[&str], hint: &str) {
        self.finish_beside_all(&[(elsewhere, hint)]);
    }

    /// The same with several other kinds of sections.
    pub(crate) fn finish_beside_all(self, elsewhere: &[(&[&str], &str)]) {
        for (key, _) in self.table {
            let name = &**key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let (what, at) = (format!("unknown key {} in {}", values::shown(name), self.label), key.span());
            if let Some((_, hint)) = elsewhere.iter().find(|(keys, _)| keys.contains(&name)) {
                self.context.error(&at, what, *hint);
            } else if let Some(near) = did_you_mean(name, self.asked.iter().copied()) {
                self.context.error(&at, what, format!("did you mean `{near}`?"));
            } else {
                let known = self.asked.join("`, `");
                self.context.error(&at, what, format!("leave it out; the keys here are `{known}`"));
            }
        }
    }
}

impl<'r, 'a, 't, 'i> Value<'r, 'a, 't, 'i> {
    pub(crate) fn section(&self, kind: &'static str) -> Option<Section<'r, 'a, 't, 'i>> {
        #[cfg(test)]
        self.asked(Kind::Section(kind));
        let table = self.table(kind)?;
        // `[admin]` stands alone; the others are inside of something.
        let label = if kind.starts_with('[') { kind.to_owned() } else { format!("`{}`", self.key) };
        Some(Section::new(self.context, kind, label, self.at.clone(), table))
    }

    /// The elements of `[[<key>]]`.
    pub(crate) fn sections(&self, kind: &'static str) -> Vec<Section<'r, 'a, 't, 'i>> {
        #[cfg(test)]
        self.asked(Kind::Sections(kind));
        let hint = format!("write each as `{kind}`");
        let Some(list) = self.list("tables", &hint) else { return Vec::new() };
        let mut sections = Vec::with_capacity(list.len());
        for element in list.iter() {
            match element.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(self.context, kind, kind, element.span(), table)),
                other => {
                    let what = format!("`{}` must be a list of tables, and this is {}", self.key, kind_of(other));
                    self.context.error(&element.span(), what, hint.clone());
                }
            }
        }
        sections
    }
}
