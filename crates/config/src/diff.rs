//! What an edit changes, key by key as the file writes them, for people to read.
//!
//! [`Difference`](crate::Difference) says what a reload has to do; this says what its author did. Both configurations are
//! laid out as lists of keys and values, and the lists are compared. A value that may be a secret, or is a text for others
//! than the gateway, is compared but never told.

mod access;
mod embedded;
mod keys;
mod lay_out;
mod outline;
mod tls;
mod touched;

pub use outline::{Key, Outline, Shown, hash_kept};
pub use touched::{Fate, Touched};

use crate::model::Config;
use std::fmt;

/// One key that differs, printed as `brokers.office.url changed from mqtt://a:1883 to mqtt://b:1883` or `routes.back added`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As the file has it, names of routes in place of their numbers: `brokers.office.url`, `routes.back`,
    /// `plugins.calm.config.every`.
    pub key: String,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new configuration has it. Of a whole section, the section alone is named.
    Added,
    /// Only the old configuration has it.
    Removed,
    /// Both have it, and they differ.
    Changed {
        /// What it was and what it is, for people; `None` where that is not to be told.
        values: Option<(String, String)>,
    },
    /// The routes that both have stand in another order, which changes nothing but how they are listed.
    Reordered,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.kind {
            ChangeKind::Added => write!(f, "{key} added"),
            ChangeKind::Removed => write!(f, "{key} removed"),
            ChangeKind::Reordered => write!(f, "{key} reordered"),
            ChangeKind::Changed { values: None } => write!(f, "{key} changed"),
            ChangeKind::Changed { values: Some((from, to)) } => write!(f, "{key} changed from {from} to {to}"),
        }
    }
}

/// Every key that differs between two configurations, in the order of the keys; empty exactly when they are equal.
///
/// A default that is written out is no change. A section that came or went is one change.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = Outline::of_both(old, new);
    old.changes(&new)
}
