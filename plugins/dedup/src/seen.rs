//! The messages that passed and are remembered, the oldest first.

use crate::identity::Digest;
use std::collections::{HashMap, VecDeque};
use tidegate_sdk::{
    ledger::{Ledger, Written},
    state,
};

/// So many that are over are forgotten with each message, so that a call after a pause is not a long one.
const FORGOTTEN_AT_ONCE: usize = 64;

pub(crate) struct Seen {
    passed: HashMap<Digest, Passed>,
    /// In the order in which they passed. Of a digest that passed again the earlier entry is void.
    order: VecDeque<(Digest, u64)>,
    max: usize,
    /// None: in memory alone.
    ledger: Option<Ledger>,
    /// Keys of the state that mean nothing, to be deleted by the next call.
    orphans: Vec<String>,
}

/// A message that passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Passed {
    pub(crate) at_ms: u64,
    /// Its `id`: delivered again, it passes again.
    pub(crate) id: u64,
    written: Written,
}

impl Seen {
    /// As the state has them, or none.
    pub(crate) fn restored(max: usize, ledger: Option<Ledger>) -> Self {
        let mut seen = Self { passed: HashMap::new(), order: VecDeque::new(), max, ledger, orphans: Vec::new() };
        for key in state::keys("") {
            let value = state::get(&key).unwrap_or_default();
            let entry = seen.ledger.as_mut().zip(parse(&key, &value));
            match entry {
                Some((ledger, (digest, at_ms, id))) => {
                    let passed = Passed { at_ms, id, written: ledger.found(&key, &value) };
                    seen.passed.insert(digest, passed);
                }
                None => seen.orphans.push(key),
            }
        }
        let mut order: Vec<(u64, u64, Digest)> =
            seen.passed.iter().map(|(digest, p)| (p.at_ms, p.id, *digest)).collect();
        order.sort_unstable();
        seen.order = order.into_iter().map(|(at_ms, _, digest)| (digest, at_ms)).collect();
        seen
    }

    /// When and as what this passed last, if that is remembered.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Passed> {
        self.passed.get(digest).copied()
    }

    /// Remembers that this passes now; says how long ago one passed that had to be forgotten for it, if that is less than `within`.
    pub(crate) fn insert(&mut self, digest: Digest, at_ms: u64, id: u64, within_ms: u64) -> Option<u64> {
        self.delete_orphans();
        let mut forgotten_ms = None;
        let mut forget_oldest = |seen: &mut Self| {
            let oldest_ms = seen.forget_oldest()?;
            let age_ms = at_ms.abs_diff(oldest_ms);
            forgotten_ms = (age_ms < within_ms).then_some(age_ms).or(forgotten_ms);
            Some(())
        };
        let mut written = self.passed.remove(&digest).map_or_else(Written::default, |passed| passed.written);
        // Void entries go with the time, but a clock that is set back and forth may keep them.
        if self.passed.len() >= self.max || self.order.len() >= 2 * self.max {
            forget_oldest(self);
        }
        if self.ledger.is_some() {
            let (key, value) = (hex(&digest), format!("{at_ms} {id}"));
            // One at least is kept, in memory if need be.
            while let Some(ledger) = &mut self.ledger
                && !ledger.set(&mut written, &key, value.as_bytes())
                && forget_oldest(self).is_some()
            {}
        }
        self.passed.insert(digest, Passed { at_ms, id, written });
        self.order.push_back((digest, at_ms));
        forgotten_ms
    }

    /// Forgets what passed so long ago that it may pass again.
    pub(crate) fn forget_over(&mut self, now_ms: u64, within_ms: u64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.order.front() {
                Some((_, at_ms)) if now_ms.abs_diff(*at_ms) >= within_ms => {
                    self.forget_first();
                }
                _ => break,
            }
        }
    }

    /// When it passed.
    fn forget_oldest(&mut self) -> Option<u64> {
        loop {
            if let Some(at_ms) = self.forget_first()? {
                return Some(at_ms);
            }
        }
    }

    /// The first of the order, and when it passed if it was not void.
    fn forget_first(&mut self) -> Option<Option<u64>> {
        let (digest, at_ms) = self.order.pop_front()?;
        if self.passed.get(&digest).is_none_or(|passed| passed.at_ms != at_ms) {
            return Some(None);
        }
        let mut passed = self.passed.remove(&digest)?;
        if let Some(ledger) = &mut self.ledger {
            ledger.delete(&mut passed.written, &hex(&digest));
        }
        Some(Some(at_ms))
    }

    /// Not in `configure`, which may be no more than a question.
    fn delete_orphans(&mut self) {
        for key in self.orphans.drain(..) {
            state::delete(&key);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.passed.len(), self.order.len())
    }
}

fn hex(digest: &Digest) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn parse(key: &str, value: &[u8]) -> Option<(Digest, u64, u64)> {
    let (at_ms, id) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let mut digest = Digest::default();
    if key.len() != 2 * digest.len() || !key.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(key.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some((digest, at_ms.parse().ok()?, id.parse().ok()?))
}
