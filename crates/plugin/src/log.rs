//! What plugins say, in the gateway's log under the plugin's name: bounded in length, in lines a second, and without
//! control characters that could forge a line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use crate::contract::tidegate::gateway::log::Level;

/// The longest line, in bytes; the rest is cut off.
const MAX_LINE_BYTES: usize = 1024;
const WINDOW: Duration = Duration::from_secs(1);

/// The log of one plugin, shared by its instances so that a fresh one does not start with a fresh allowance.
#[derive(Debug)]
pub(crate) struct PluginLog {
    plugin: String,
    lines_per_second: u32,
    budget: Mutex<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    window: Option<Instant>,
    lines: u32,
    suppressed_now: u64,
    suppressed: u64,
}

impl Budget {
    /// Whether a line may pass, and how many were held back before it that nobody was told of yet.
    fn take(&mut self, now: Instant, per_second: u32) -> Option<u64> {
        if self.window.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines < per_second {
            self.lines += 1;
            Some(std::mem::take(&mut self.suppressed_now))
        } else {
            self.suppressed_now += 1;
            self.suppressed += 1;
            None
        }
    }
}

impl PluginLog {
    pub(crate) fn new(plugin: String, lines_per_second: u32) -> Self {
        Self { plugin, lines_per_second, budget: Mutex::default() }
    }

    /// Lines held back so far.
    pub(crate) fn suppressed(&self) -> u64 {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).suppressed
    }

    pub(crate) fn line(&self, level: Level, text: &str) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(suppressed) = budget.take(Instant::now(), self.lines_per_second) else { return };
        drop(budget);
        let plugin = self.plugin.as_str();
        if suppressed > 0 {
            tracing::warn!(plugin, suppressed, "lines of this plugin were not logged: more than its limit a second");
        }
        let line = clean(text);
        match level {
            Level::Debug => tracing::debug!(plugin, "{line}"),
            Level::Info => tracing::info!(plugin, "{line}"),
            Level::Warn => tracing::warn!(plugin, "{line}"),
            Level::Error => tracing::error!(plugin, "{line}"),
        }
    }
}

/// One printable line of bounded length.
fn clean(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(MAX_LINE_BYTES)];
    let mut line: String = cut.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cut.len() < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let passed = (0..1000).filter(|_| budget.take(start, 20).is_some()).count();
        assert_eq!((passed, budget.suppressed), (20, 980));
        assert_eq!(budget.take(start + WINDOW, 20), Some(980), "the next line tells");
        assert_eq!(budget.take(start + WINDOW, 20), Some(0));
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(clean("a\nERROR forged\x1b[31m\n"), "a ERROR forged [31m");
        assert_eq!(clean(&"ä".repeat(2000)).chars().count(), MAX_LINE_BYTES / 2 + 1);
    }
}
