//! The plugin's durable state with an account of its bytes.
//!
//! A `set` beyond the limit `state_size` fails the call, and with it the whole batch. A plugin that keeps an account refuses what does
//! not fit before it comes to that, and says so in its own words.

use crate::{size::Size, state};
use serde::Deserialize;

/// How much of the state may be used. In a configuration `max_state = "960KiB"`; the limit `state_size` must be no smaller.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct MaxState(Size);

impl Default for MaxState {
    /// A little below the default of the limit, which is 1 MiB.
    fn default() -> Self {
        Self(Size { bytes: 960 << 10 })
    }
}

/// The account.
#[derive(Debug)]
pub struct Ledger {
    used: usize,
    max: usize,
}

/// What an entry takes in the state now; nothing if it is not there. Stays with what the entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written(usize);

impl Ledger {
    /// Of a state that holds what it holds.
    #[must_use]
    pub fn new(max: MaxState) -> Self {
        Self { used: 0, max: max.0.bytes }
    }

    /// Keys and values together, in bytes.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether this much more would fit.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used.saturating_add(bytes) <= self.max
    }

    /// An entry that is in the state since before the start. It counts, whether or not it would fit.
    pub fn found(&mut self, key: &str, value: &[u8]) -> Written {
        self.used += key.len() + value.len();
        Written(key.len() + value.len())
    }

    /// Sets the entry; false, and it stays as it was, if that would be too much. What shrinks always fits.
    pub fn set(&mut self, entry: &mut Written, key: &str, value: &[u8]) -> bool {
        let bytes = key.len() + value.len();
        let used = self.used - entry.0 + bytes;
        if bytes > entry.0 && used > self.max {
            return false;
        }
        state::set(key, value);
        (self.used, entry.0) = (used, bytes);
        true
    }

    /// Deletes the entry, if it is there.
    pub fn delete(&mut self, entry: &mut Written, key: &str) {
        if entry.0 > 0 {
            state::delete(key);
            self.used -= std::mem::take(&mut entry.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_leaves_everything_as_it_was() {
        let mut ledger = Ledger::new(serde_json::from_str(r#""10B""#).unwrap());
        let (mut a, mut b) = (Written::default(), Written::default());
        assert!(ledger.set(&mut a, "a", b"1234"));
        assert!(ledger.set(&mut b, "b", b"1234"));
        assert!(!ledger.set(&mut b, "b", b"12345"));
        assert_eq!((ledger.used(), state::get("b")), (10, Some(b"1234".to_vec())));
        assert!(ledger.set(&mut a, "a", b"1"));
        assert!(ledger.has_room(3) && !ledger.has_room(4));
        ledger.delete(&mut b, "b");
        ledger.delete(&mut b, "b");
        assert_eq!((ledger.used(), state::get("b")), (2, None));
    }

    #[test]
    fn what_was_there_counts_and_may_shrink() {
        let mut ledger = Ledger::new(serde_json::from_str(r#""4B""#).unwrap());
        let mut old = ledger.found("old", b"123456");
        assert!(!ledger.set(&mut Written::default(), "x", b""));
        assert!(ledger.set(&mut old, "old", b"12345"), "smaller, though still too much");
        assert_eq!(ledger.used(), 8);
    }
}
