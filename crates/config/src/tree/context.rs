//! What all sections share while a text is read.

use super::uses::{FileKind, FileUse};
use crate::bounds;
use crate::problem::{Findings, Span};
use crate::sources::Sources;
use crate::values;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What all sections share while a text is read.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) findings: Findings<'a>,
    /// Files the configuration names, for `files::check`.
    pub(crate) files: RefCell<Vec<FileUse>>,
    /// Where it says what only a second look can check, under keys such as `brokers.home.tls.ca`.
    pub(crate) places: RefCell<BTreeMap<String, Span>>,
    /// What is worth knowing, and no problem.
    pub(crate) notes: RefCell<Vec<(Span, String)>>,
    /// Every key ever asked for.
    #[cfg(test)]
    pub(crate) asked: RefCell<super::asked::AllAsked>,
}

/// A value and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Span,
}

impl<'a> Context<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self {
            findings: Findings::new(sources),
            files: RefCell::default(),
            places: RefCell::default(),
            notes: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// A path as it is written somewhere: relative ones are relative to the file.
    pub(crate) fn path(&self, written: &str, at: &Span) -> PathBuf {
        self.findings.source(at.start).base.join(written)
    }

    pub(crate) fn error(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.error(at, what, hint);
    }

    pub(crate) fn warning(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.warning(at, what, hint);
    }

    /// Says what follows from what is written, for those who ask.
    pub(crate) fn note(&self, at: &Span, what: String) {
        self.notes.borrow_mut().push((at.clone(), what));
    }

    pub(crate) fn uses_file(&self, kind: FileKind, at: &Span) {
        self.files.borrow_mut().push(FileUse { kind, at: at.clone() });
    }

    /// Notes where a key is, for a second look.
    pub(crate) fn place(&self, key: String, at: &Span) {
        self.places.borrow_mut().insert(key, at.clone());
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
