//! What plugins say, in the gateway's log under the plugin's name: bounded in length, in lines a second, and without
//! control characters that could forge a line.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_pacing::LogLimit;

pub(crate) use crate::contract::v1::tidegate::gateway::log::Level;

/// The longest line, in bytes; the rest is cut off.
const MAX_LINE_BYTES: usize = 4096;

/// So many lines are kept at most.
const MAX_KEPT: usize = 100;

/// A line that may be logged.
#[derive(Debug)]
pub(crate) struct Line {
    /// So many before it were not.
    suppressed: u64,
    text: String,
}

/// The log of one plugin, shared by its instances so that a fresh one does not start with a fresh allowance.
#[derive(Debug)]
pub(crate) struct PluginLog {
    plugin: String,
    limit: Mutex<LogLimit>,
    /// What was said, limited or not, if somebody wants to know.
    kept: Option<Mutex<Vec<String>>>,
}

impl PluginLog {
    pub(crate) fn new(plugin: String, lines_per_second: u32, keeps_lines: bool) -> Self {
        let limit = Mutex::new(LogLimit::new(lines_per_second, Duration::from_secs(1)));
        Self { plugin, limit, kept: keeps_lines.then(Mutex::default) }
    }

    /// Keeps a line for who asks.
    pub(crate) fn keep(&self, text: &str) {
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT {
                kept.push(clean(text, MAX_LINE_BYTES));
            }
        }
    }

    /// The lines that were kept since this was asked last.
    pub(crate) fn take_kept(&self) -> Vec<String> {
        let kept = self.kept.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default()
    }

    /// Lines held back so far.
    pub(crate) fn suppressed(&self) -> u64 {
        self.limit().held_back()
    }

    fn limit(&self) -> MutexGuard<'_, LogLimit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is to be written; `None` if there are too many in a second.
    ///
    /// A line for debugging that nobody reads takes nothing of the allowance, and no call off a borrowed thread.
    pub(crate) fn admit(&self, level: Level, text: &str) -> Option<Line> {
        if matches!(level, Level::Debug) && !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let suppressed = self.limit().allow(Instant::now())?;
        Some(Line { suppressed, text: clean(text, MAX_LINE_BYTES) })
    }

    pub(crate) fn write(&self, level: Level, line: &Line) {
        let plugin = self.plugin.as_str();
        let Line { suppressed, text: line } = line;
        if *suppressed > 0 {
            tracing::warn!(plugin, suppressed, "lines of this plugin were not logged: more than its limit a second");
        }
        match level {
            Level::Debug => tracing::debug!(plugin, "{line}"),
            Level::Info => tracing::info!(plugin, "{line}"),
            Level::Warn => tracing::warn!(plugin, "{line}"),
            Level::Error => tracing::error!(plugin, "{line}"),
        }
    }
}

/// One printable line of at most so many bytes, and a mark where it was cut.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(max)];
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
        let log = PluginLog::new("p".into(), 20, false);
        for _ in 0..1000 {
            let _ = log.admit(Level::Info, "again");
        }
        assert!((1..=980).contains(&log.suppressed()), "{} of 1000", log.suppressed());
        let silent = PluginLog::new("p".into(), 0, true);
        assert!(silent.admit(Level::Info, "not at all").is_none());
        assert_eq!(silent.suppressed(), 1);
        (0..1000).for_each(|_| silent.keep("a line\n"));
        assert_eq!((silent.take_kept().len(), silent.take_kept().len()), (MAX_KEPT, 0));
        assert!(log.take_kept().is_empty());
        let (held_back, _) = (log.suppressed(), log.admit(Level::Debug, "for nobody"));
        assert_eq!(log.suppressed(), held_back, "nobody listens here");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(clean("a\nERROR forged\x1b[31m\n", MAX_LINE_BYTES), "a ERROR forged [31m");
        assert_eq!(clean(&"ä".repeat(MAX_LINE_BYTES), MAX_LINE_BYTES).chars().count(), MAX_LINE_BYTES / 2 + 1);
    }
}
