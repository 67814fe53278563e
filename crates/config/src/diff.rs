//! What an edit changes, key by key as the file writes them, for people to read.
//!
//! [`Difference`](crate::Difference) says what a reload has to do; this says what its author did. Both configurations are
//! laid out as lists of keys and values, and the lists are compared. A value that may be a secret, or is a text for others
//! than the gateway, is compared but never told.

mod lay_out;

use crate::model::{Config, Policy};
use lay_out::{Value, lay_out};
use std::collections::{BTreeMap, BTreeSet};
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
    let (before, after) = (lay_out(old), lay_out(new));
    let mut changes = BTreeMap::new();
    for (key, value) in &before {
        match after.get(key) {
            None => drop(changes.insert(whole(key, &before, &after), ChangeKind::Removed)),
            Some(now) if now == value => {}
            Some(now) => {
                let values = match (value, now) {
                    (Value::Told(from), Value::Told(to)) => Some((from.clone(), to.clone())),
                    _ => None,
                };
                changes.insert(key.clone(), ChangeKind::Changed { values });
            }
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        changes.insert(whole(key, &after, &before), ChangeKind::Added);
    }
    let order = |config: &Config, other: &Config| -> Vec<String> {
        let others: BTreeSet<&String> = other.routes.iter().map(|route| &route.name).collect();
        let names = config.routes.iter().map(|route| &route.name);
        names.filter(|name| others.contains(name)).cloned().collect()
    };
    if order(old, new) != order(new, old) {
        changes.insert("routes".to_owned(), ChangeKind::Reordered);
    }
    changes.into_iter().map(|(key, kind)| Change { key, kind }).collect()
}

/// The section of a key if all of that section is `here` and nothing of it is `there`.
fn whole(key: &str, here: &BTreeMap<String, Value>, there: &BTreeMap<String, Value>) -> String {
    debug_assert!(here.contains_key(key));
    let ends = key.match_indices('.').map(|(at, _)| at);
    let section = ends.map(|end| &key[..end]).find(|section| {
        // `brokers` and `routes` are no sections by themselves: it says which one came.
        let is_list = ["brokers", "targets", "plugins", "routes"].contains(section);
        let within = format!("{section}.");
        let next = there.range(within.clone()..).next();
        !is_list && !there.contains_key(*section) && !next.is_some_and(|(key, _)| key.starts_with(&within))
    });
    section.unwrap_or(key).to_owned()
}

/// The names under which messages may wait for `old` and under which none can for `new`, sorted.
///
/// Messages wait for a broker, and for a target set of which one member gets each; a set of policy `all` has nothing
/// waiting for itself.
pub fn removed_targets(old: &Config, new: &Config) -> Vec<String> {
    let waits = |config: &Config| -> BTreeSet<String> {
        let sets = config.targets.iter().filter(|(_, set)| set.policy != Policy::All).map(|(name, _)| name);
        config.brokers.keys().chain(sets).cloned().collect()
    };
    waits(old).difference(&waits(new)).cloned().collect()
}
