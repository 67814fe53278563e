//! A configuration as a list of keys and values that can be compared, and shown to another process.

use super::keys::Value;
use super::lay_out::lay_out;
use super::{Change, ChangeKind, Touched, touched};
use crate::model::{Config, Route};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What values that are not told are hashed with, to be shown to another process: whoever does not have it learns nothing of
/// them, and cannot try values either.
pub type Key = [u8; 32];

/// So many bytes of a hash are shown.
const HASH_BYTES: usize = 16;

/// All keys of a configuration with their values, names of routes in place of their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    keys: BTreeMap<String, Value>,
    /// The names of the routes, in the order of the file.
    routes: Vec<String>,
}

/// An [`Outline`] that may leave the process: what may be a secret is hashed, or left out. Two can be compared that were
/// made with the same key, or both without one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown(Outline);

impl Outline {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        Self::but(config, &HashSet::new())
    }

    /// Of two configurations, without the routes that are the same in both: of 10,000 an edit touches a few.
    pub fn of_both(old: &Config, new: &Config) -> (Self, Self) {
        let before: HashMap<&str, &Route> = old.routes.iter().map(|route| (route.name.as_str(), route)).collect();
        let same = new.routes.iter().filter(|route| before.get(route.name.as_str()).is_some_and(|old| old == route));
        let same: HashSet<&str> = same.map(|route| route.name.as_str()).collect();
        (Self::but(old, &same), Self::but(new, &same))
    }

    /// Without the keys of some routes.
    fn but(config: &Config, left_out: &HashSet<&str>) -> Self {
        let routes = config.routes.iter().map(|route| route.name.clone()).collect();
        Self { keys: lay_out(config, left_out), routes }
    }

    /// Every key that differs, in the order of the keys; empty exactly when nothing does.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (before, after) = (&self.keys, &new.keys);
        let mut changes = BTreeMap::new();
        for (key, value) in before {
            match after.get(key) {
                None => drop(changes.insert(whole(key, before, after), ChangeKind::Removed)),
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
            changes.insert(whole(key, after, before), ChangeKind::Added);
        }
        let order = |ours: &Self, others: &Self| -> Vec<String> {
            let others: BTreeSet<&String> = others.routes.iter().collect();
            ours.routes.iter().filter(|name| others.contains(name)).cloned().collect()
        };
        if order(self, new) != order(new, self) {
            changes.insert("routes".to_owned(), ChangeKind::Reordered);
        }
        changes.into_iter().map(|(key, kind)| Change { key, kind }).collect()
    }

    /// What the way from here to `new` does to the messages that wait, by the name that they wait for, sorted.
    /// `changes` are the [`changes`](Self::changes) of that way.
    pub fn touched(&self, new: &Self, changes: &[Change], waiting: &BTreeMap<String, u64>) -> Vec<Touched> {
        touched::touched(self, new, changes, waiting)
    }

    /// What may be shown of it; without a key, what may be a secret is left out.
    pub fn shown(mut self, key: Option<&Key>) -> Shown {
        for (name, value) in &mut self.keys {
            let Value::Kept(text) = value else { continue };
            *text = key.map(|key| hash_kept(key, name, text)).unwrap_or_default();
        }
        Shown(self)
    }

    /// The value of a key, if it may be told.
    pub(super) fn told(&self, key: &str) -> Option<&str> {
        match self.keys.get(key) {
            Some(Value::Told(text)) => Some(text),
            Some(Value::Kept(_)) | None => None,
        }
    }
}

impl Shown {
    /// To compare it.
    pub const fn outline(&self) -> &Outline {
        &self.0
    }

    /// The value of a key, if it may be told.
    pub fn told(&self, key: &str) -> Option<&str> {
        self.0.told(key)
    }

    /// `keys` with what is told, `kept` with the hashes of what is not, `routes` in their order.
    pub fn to_json(&self) -> serde_json::Value {
        let (mut told, mut kept) = (serde_json::Map::new(), serde_json::Map::new());
        for (key, value) in &self.0.keys {
            match value {
                Value::Told(text) => told.insert(key.clone(), json!(text)),
                Value::Kept(hash) => kept.insert(key.clone(), json!(hash)),
            };
        }
        json!({ "keys": told, "kept": kept, "routes": self.0.routes })
    }

    /// What [`to_json`](Self::to_json) has made; `None` if it is something else.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let list = |of: &str, kind: fn(String) -> Value| {
            let entries = value.get(of)?.as_object()?.iter();
            entries.map(|(key, value)| Some((key.clone(), kind(text(value)?)))).collect::<Option<Vec<_>>>()
        };
        let keys = list("keys", Value::Told)?.into_iter().chain(list("kept", Value::Kept)?).collect();
        let routes = value.get("routes")?.as_array()?.iter().map(text).collect::<Option<_>>()?;
        Some(Self(Outline { keys, routes }))
    }

    /// How many keys both have whose values are not told.
    pub fn kept_in_both(&self, other: &Self) -> usize {
        let is_kept = |(key, value): &(&String, &Value)| {
            matches!((value, other.0.keys.get(*key)), (Value::Kept(_), Some(Value::Kept(_))))
        };
        self.0.keys.iter().filter(is_kept).count()
    }

    /// Without the hashes, to be compared with one that was made without a key.
    pub fn left_out(self) -> Self {
        self.0.shown(None)
    }
}

/// A value that is not told: HMAC-SHA-256 (RFC 2104) of its key and itself, the first digits in hexadecimal.
pub fn hash_kept(key: &Key, name: &str, text: &str) -> String {
    const BLOCK: usize = 64;
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        block.iter_mut().zip(key).for_each(|(one, other)| *one ^= other);
        block
    };
    // The length keeps a name and a value from being another pair of the same letters.
    let length = (name.len() as u64).to_le_bytes();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(length).chain_update(name).chain_update(text);
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner.finalize()).finalize();
    outer.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
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
