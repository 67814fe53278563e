//! What was asked for while texts were read: together, the schema of the configuration. For tests alone, one of which makes
//! `config/tidegate.schema.json` of it.

use crate::bounds;
use crate::problem::Span;
use std::collections::BTreeMap;

/// As what a key is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Text,
    Texts,
    Flag,
    Number {
        min: u64,
        max: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Duration,
    /// One of these words.
    Words(Vec<String>),
    /// A table whose keys are another kind of section's.
    Section(&'static str),
    /// A table with such a section for each name.
    Named(&'static str),
    /// A list of such sections.
    Sections(&'static str),
    /// A table that says what it likes.
    Table,
}

impl Kind {
    pub(crate) const fn number(bounds: bounds::Number) -> Self {
        Self::Number { min: bounds.min, max: bounds.max }
    }

    pub(crate) const fn size(bounds: bounds::Number) -> Self {
        Self::Size { min: bounds.min, max: bounds.max }
    }
}

/// One key of one kind of section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Where it stood first.
    pub(crate) found: Option<Span>,
    pub(crate) kinds: Vec<Kind>,
    /// How many sections cannot be without it.
    pub(crate) required: usize,
}

/// By kind of section and key.
#[derive(Debug, Default)]
pub(crate) struct AllAsked {
    pub(crate) keys: BTreeMap<(&'static str, &'static str), Asked>,
    /// How many sections there were of each kind.
    pub(crate) sections: BTreeMap<&'static str, usize>,
}

impl AllAsked {
    pub(crate) fn section(&mut self, kind: &'static str) {
        *self.sections.entry(kind).or_default() += 1;
    }

    pub(crate) fn key(&mut self, section: &'static str, key: &'static str, found: Option<Span>) {
        let asked = self.keys.entry((section, key)).or_default();
        asked.found = asked.found.take().or(found);
    }

    pub(crate) fn required(&mut self, section: &'static str, key: &'static str) {
        self.keys.entry((section, key)).or_default().required += 1;
    }

    pub(crate) fn kind(&mut self, section: &'static str, key: &'static str, kind: Kind) {
        let kinds = &mut self.keys.entry((section, key)).or_default().kinds;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
}
