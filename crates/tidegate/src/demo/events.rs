//! What the log says, kept for the picture: a line on a terminal that is drawn anew would be overwritten at once.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_admin::Logbook;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// More than any screen has rows.
const EVENTS_MAX: usize = 200;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Since the demo began.
    pub(crate) at: Duration,
    /// Something was refused or went wrong.
    pub(crate) bad: bool,
    /// Without level and time.
    pub(crate) text: String,
}

/// The latest lines of the log.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    began: Instant,
    /// Where files are is said once; every line would repeat it.
    dir: String,
    kept: Arc<Mutex<VecDeque<Event>>>,
}

impl Events {
    /// Starts logging into the picture, and to stderr too if that is not the terminal.
    pub(crate) fn start(filter: &str, dir: String) -> (Self, Logbook) {
        let (events, logbook) = (Self { began: Instant::now(), dir, kept: Arc::default() }, Logbook::default());
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
        let lines = tracing_subscriber::fmt::layer().with_target(false).without_time();
        let lines = lines.with_ansi(false).with_writer(events.clone()).with_filter(filter);
        let recorder = logbook.recorder().with_filter(EnvFilter::new(crate::logs::RECORDED));
        // Only a second call fails, and then the first is in force.
        let _ = tracing_subscriber::registry().with(recorder).with(lines).try_init();
        (events, logbook)
    }

    /// All that are kept, the oldest first.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, line: &str) {
        let (level, text) = line.trim().split_once(' ').unwrap_or(("", line));
        let text = text.trim().replace(&self.dir, "");
        let event = Event { at: self.began.elapsed(), bad: level == "ERROR" || level == "WARN", text };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == EVENTS_MAX {
            kept.pop_front();
        }
        kept.push_back(event);
    }
}

/// One line on its way into [`Events`].
#[derive(Debug)]
pub(crate) struct Line {
    events: Events,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Events {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { events: self.clone(), text: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.text).lines() {
            self.events.keep(line);
        }
        if !io::stderr().is_terminal() {
            // It may be closed; the picture has it.
            let _ = io::stderr().write_all(&self.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_words_and_whether_they_are_bad() {
        let events = Events { began: Instant::now(), dir: "/tmp/demo/".into(), kept: Arc::default() };
        writeln!(events.make_writer(), "ERROR reload refused: /tmp/demo/demo.toml:3:1: no").unwrap();
        writeln!(events.make_writer(), " INFO reloaded change=\"x\"").unwrap();
        let all: Vec<_> = events.all().into_iter().map(|event| (event.bad, event.text)).collect();
        let wanted = [(true, "reload refused: demo.toml:3:1: no"), (false, "reloaded change=\"x\"")];
        assert_eq!(all, wanted.map(|(bad, text)| (bad, text.to_owned())));
        (0..2 * EVENTS_MAX).for_each(|_| events.keep("INFO x"));
        assert_eq!(events.all().len(), EVENTS_MAX);
    }
}
