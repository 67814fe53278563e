//! What a script keeps from one message to the next: `keep(key, value)` and `kept(key)`.
//!
//! It lives in the plugin's memory: durable state would be an import, which every user of the plugin would have to grant. What a
//! script keeps in an evaluation that fails is forgotten.

use crate::{
    json,
    language::{Outcome, wrong},
};
use rhai::{Dynamic, Engine, ImmutableString};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

/// Of all keys and values; the default limit of a plugin's memory is 16 MiB.
const MAX_BYTES: usize = 2 << 20;
const MAX_KEYS: usize = 10_000;

/// What an entry takes beside its key and value.
const ENTRY_BYTES: usize = 96;

#[derive(Clone, Default)]
pub(crate) struct Kept(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    /// Values as JSON, so that they are bounded in bytes, and nothing is shared with a running script.
    entries: HashMap<String, Vec<u8>>,
    bytes: usize,
    /// What this evaluation has changed, as it was before.
    before: BTreeMap<String, Option<Vec<u8>>>,
}

impl Kept {
    pub(crate) fn register(&self, engine: &mut Engine) {
        let kept = self.clone();
        engine.register_fn("keep", move |key: ImmutableString, value: Dynamic| kept.set(&key, &value));
        let kept = self.clone();
        engine.register_fn("kept", move |key: ImmutableString| kept.get(&key));
        let kept = self.clone();
        engine.register_fn("forget", move |key: ImmutableString| kept.0.borrow_mut().put(&key, None));
    }

    /// What was kept is kept.
    pub(crate) fn commit(&self) {
        self.0.borrow_mut().before.clear();
    }

    /// What was kept since the last time is as it was.
    pub(crate) fn undo(&self) {
        let mut inner = self.0.borrow_mut();
        for (key, value) in std::mem::take(&mut inner.before) {
            inner.put(&key, value);
        }
        inner.before.clear();
    }

    fn get(&self, key: &str) -> Outcome<Dynamic> {
        match self.0.borrow().entries.get(key) {
            Some(value) => json::read(value).map_err(wrong),
            None => Ok(Dynamic::UNIT),
        }
    }

    fn set(&self, key: &str, value: &Dynamic) -> Outcome<()> {
        let value = json::written(value).map_err(wrong)?;
        let mut inner = self.0.borrow_mut();
        let old = inner.entries.get(key).map_or(0, |old| size_of(key, old));
        if inner.bytes - old + size_of(key, &value) > MAX_BYTES {
            return Err(wrong(format!("more than {MAX_BYTES} bytes would be kept: forget some")));
        }
        if old == 0 && inner.entries.len() >= MAX_KEYS {
            return Err(wrong(format!("more than {MAX_KEYS} keys would be kept: forget some")));
        }
        inner.put(key, Some(value));
        Ok(())
    }
}

impl Inner {
    fn put(&mut self, key: &str, value: Option<Vec<u8>>) {
        let added = value.as_ref().map_or(0, |value| size_of(key, value));
        let old = match value {
            Some(value) => self.entries.insert(key.to_owned(), value),
            None => self.entries.remove(key),
        };
        self.bytes = self.bytes + added - old.as_ref().map_or(0, |old| size_of(key, old));
        self.before.entry(key.to_owned()).or_insert(old);
    }
}

fn size_of(key: &str, value: &[u8]) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}
