//! What a guest says when it fails: the lines that it prints on standard error, or logs as errors, in one call.
//!
//! A traceback of Python names its error in the last line, a panic of Go or Rust in the first, and hundreds of lines may stand
//! between: some of the first and some of the last are kept, each cut at a length.

use crate::log::clean;
use std::collections::VecDeque;

/// So many lines are kept from the beginning, and as many as this from the end.
const FIRST: usize = 4;
const LAST: usize = 6;

/// The longest line, in bytes; the rest is cut off.
const LINE_BYTES: usize = 240;

/// The lines of one call.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: u64,
}

impl LastWords {
    /// Takes lines; blank ones say nothing.
    pub(crate) fn push(&mut self, text: &str) {
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).for_each(|line| self.push_line(line));
    }

    fn push_line(&mut self, line: &str) {
        let kept = clean(line, LINE_BYTES);
        if self.first.len() < FIRST {
            self.first.push(kept);
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(kept);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.first.clear();
        self.last.clear();
        self.left_out = 0;
    }

    /// All on one line.
    pub(crate) fn joined(&self) -> String {
        let between = (self.left_out > 0).then(|| format!("… {} lines …", self.left_out));
        let lines = self.first.iter().map(String::as_str).chain(between.as_deref());
        lines.chain(self.last.iter().map(String::as_str)).collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_traceback_is_kept_whole_and_of_a_long_one_both_ends() {
        let mut words = LastWords::default();
        for line in ["Traceback (most recent call last):", " ", "  File \"app.py\", line 3\nKeyError: 'temp'\n"] {
            words.push(line);
        }
        let whole = "Traceback (most recent call last): |   File \"app.py\", line 3 | KeyError: 'temp'";
        assert_eq!(words.joined(), whole);
        words.clear();
        assert!(words.is_empty());
        (0..100).for_each(|n| words.push(&format!("line {n}")));
        let joined = words.joined();
        assert!(joined.starts_with("line 0 | line 1 | ") && joined.ends_with(" | line 98 | line 99"), "{joined}");
        assert!(joined.contains(" | … 90 lines … | "), "{joined}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut words = LastWords::default();
        (0..10_000).for_each(|_| words.push(&"ä".repeat(5_000)));
        assert!(words.joined().len() < (FIRST + LAST + 1) * (LINE_BYTES + 10));
    }
}
