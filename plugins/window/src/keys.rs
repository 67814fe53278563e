//! What is remembered of all keys, in memory and in the durable state.

use crate::panes::{Pane, Panes, Past};
use std::collections::HashMap;
use tidegate_sdk::{
    json::write_string,
    ledger::{Ledger, Written},
    state,
};

/// Keys and topics may take this much in memory, beside the statistics.
const MAX_TEXT_BYTES: usize = 2 << 20;

/// What the state was written for: with other lengths or fields it means nothing.
const MADE_FOR: &str = "made for";
const NOW: &str = "now:";
const PAST: &str = "past:";

pub(crate) struct Keys {
    pub(crate) entries: HashMap<String, Entry>,
    pub(crate) ledger: Ledger,
    text_bytes: usize,
    max_keys: usize,
    made_for: String,
    made_for_written: Written,
    /// Keys of the state that mean nothing, to be deleted by the next call.
    orphans: Vec<String>,
    /// Something did not fit into the state.
    pub(crate) unwritten: bool,
}

pub(crate) struct Entry {
    pub(crate) panes: Panes,
    /// Of the first message of the key.
    pub(crate) topic: String,
    now_written: Written,
    past_written: Written,
}

impl Keys {
    /// As the state has them. `made_for` says for which lengths and fields.
    pub(crate) fn restored(max_keys: usize, ledger: Ledger, made_for: String) -> Self {
        let (made_for_written, orphans) = (Written::default(), Vec::new());
        let (entries, text_bytes, unwritten) = (HashMap::new(), 0, false);
        let mut keys = Self { entries, ledger, text_bytes, max_keys, made_for, made_for_written, orphans, unwritten };
        let found = state::get(MADE_FOR);
        if found.as_deref() != Some(keys.made_for.as_bytes()) {
            keys.orphans = state::keys("");
            return keys;
        }
        keys.made_for_written = keys.ledger.found(MADE_FOR, keys.made_for.as_bytes());
        for state_key in state::keys("") {
            let value = state::get(&state_key).unwrap_or_default();
            if state_key != MADE_FOR && !keys.restore(&state_key, &value) {
                keys.orphans.push(state_key);
            }
        }
        keys
    }

    fn restore(&mut self, state_key: &str, value: &[u8]) -> bool {
        let (key, now, past) = match (state_key.strip_prefix(NOW), state_key.strip_prefix(PAST)) {
            (Some(key), _) => (key, serde_json::from_slice::<(String, Pane)>(value).ok(), None),
            (_, Some(key)) => (key, None, serde_json::from_slice::<(String, Past)>(value).ok()),
            _ => return false,
        };
        if now.is_none() && past.is_none() {
            return false;
        }
        let written = self.ledger.found(state_key, value);
        let boundary_ms = now.as_ref().map_or(0, |(_, pane)| pane.start_ms);
        let entry = self.open(key, "", boundary_ms);
        let before = entry.topic.len();
        if let Some((topic, pane)) = now {
            (entry.topic, entry.panes.now, entry.now_written) = (topic, Some(pane), written);
        } else if let Some((topic, past)) = past {
            (entry.topic, entry.panes.past, entry.past_written) = (topic, past, written);
        }
        let after = entry.topic.len();
        self.text_bytes = self.text_bytes + after - before;
        true
    }

    /// Whether there is no room for another key.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.max_keys || self.text_bytes >= MAX_TEXT_BYTES
    }

    /// The entry of a key, a new one if there is none.
    pub(crate) fn open(&mut self, key: &str, topic: &str, boundary_ms: u64) -> &mut Entry {
        if !self.entries.contains_key(key) {
            self.text_bytes += key.len() + topic.len();
            let (panes, topic) = (Panes::new(boundary_ms), topic.to_owned());
            let entry = Entry { panes, topic, now_written: Written::default(), past_written: Written::default() };
            self.entries.insert(key.to_owned(), entry);
        }
        self.entries.get_mut(key).expect("it was there or is now")
    }

    /// Writes down what has changed of a key; forgets it if nothing is left.
    pub(crate) fn write(&mut self, key: &str, past_too: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Entry { panes, topic, now_written, past_written } = entry;
        let fits = match &panes.now {
            Some(pane) => put(&mut self.ledger, now_written, [NOW, key], topic, |text| pane.keep(text)),
            None => {
                self.ledger.delete(now_written, &format!("{NOW}{key}"));
                true
            }
        };
        let past_fits = match past_too {
            true if panes.past.panes.is_empty() => {
                self.ledger.delete(past_written, &format!("{PAST}{key}"));
                true
            }
            true => put(&mut self.ledger, past_written, [PAST, key], topic, |text| panes.past.keep(text)),
            false => true,
        };
        self.unwritten |= !fits || !past_fits;
        if panes.now.is_none() && panes.past.panes.is_empty() {
            self.text_bytes -= key.len() + topic.len();
            self.entries.remove(key);
        }
    }

    /// The first call has begun: to be configured may have been no more than a question.
    pub(crate) fn begin(&mut self) -> usize {
        let orphans = std::mem::take(&mut self.orphans);
        for key in &orphans {
            state::delete(key);
        }
        if self.made_for_written == Written::default() {
            self.unwritten |= !self.ledger.set(&mut self.made_for_written, MADE_FOR, self.made_for.as_bytes());
        }
        orphans.len()
    }
}

/// Sets an entry to its topic and what is kept.
fn put(
    ledger: &mut Ledger,
    written: &mut Written,
    key: [&str; 2],
    topic: &str,
    keep: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let mut text = Vec::with_capacity(256);
    text.push(b'[');
    write_string(topic, &mut text);
    text.push(b',');
    keep(&mut text);
    text.push(b']');
    ledger.set(written, &key.concat(), &text)
}
