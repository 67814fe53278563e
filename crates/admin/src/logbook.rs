//! The last lines of the log, for those who look later or from elsewhere.
//!
//! A [`Recorder`] is a layer of `tracing`: what it sees is kept here, as many lines as there is room for. Whoever reads says
//! which line he had last; what is gone by then he is told the number of.

use crate::events;
use crate::model::LogLine;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// So many lines are kept, and so many of those that are events.
const LINES_MAX: usize = 1_000;
const EVENTS_MAX: usize = 1_000;

/// No more of a line, or of one of its fields.
const TEXT_BYTES_MAX: usize = 2_000;

/// The last lines of the log. Clones are the same.
#[derive(Debug, Clone)]
pub struct Logbook {
    kept: Arc<Mutex<Kept>>,
    /// The number of the last line.
    last: Arc<watch::Sender<u64>>,
}

/// In order.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<LogLine>>,
    events: VecDeque<Arc<LogLine>>,
}

fn push(all: &mut VecDeque<Arc<LogLine>>, line: Arc<LogLine>, most: usize) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(line);
}

fn after(all: &VecDeque<Arc<LogLine>>, number: u64) -> Vec<Arc<LogLine>> {
    all.range(all.partition_point(|line| line.number <= number)..).cloned().collect()
}

impl Default for Logbook {
    fn default() -> Self {
        Self { kept: Arc::default(), last: Arc::new(watch::Sender::new(0)) }
    }
}

impl Logbook {
    /// What writes into it.
    pub fn recorder(&self) -> Recorder {
        Recorder(self.clone())
    }

    fn keep(&self, level: Level, event: Option<&'static str>, words: Words) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *self.last.borrow() + 1;
        let (Words { message, fields }, event) = (words, event.map(str::to_owned));
        let line = Arc::new(LogLine { number, at_ms, level: level.to_string(), message, fields, event });
        if line.event.is_some() {
            push(&mut kept.events, line.clone(), EVENTS_MAX);
        }
        push(&mut kept.lines, line, LINES_MAX);
        self.last.send_replace(number);
    }

    /// All that are kept and came after this one, the oldest first.
    pub fn after(&self, number: u64) -> Vec<Arc<LogLine>> {
        after(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines, number)
    }

    /// The same of those that are events, of which more are kept than of other lines.
    pub(crate) fn events_after(&self, number: u64) -> Vec<Arc<LogLine>> {
        after(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).events, number)
    }

    /// Says when there are more.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

/// Writes lines into a [`Logbook`].
#[derive(Debug)]
pub struct Recorder(Logbook);

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.keep(*event.metadata().level(), events::named(event.metadata().name()), words);
    }
}

/// What an event says.
#[derive(Default)]
struct Words {
    message: String,
    fields: BTreeMap<String, String>,
}

/// A text that stops growing.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_BYTES_MAX.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}

fn bounded(value: &dyn Debug) -> String {
    let mut text = Bounded(String::new());
    let _ = write!(text, "{value:?}");
    text.0
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = bounded(value);
        match field.name() {
            "message" => self.message = text,
            name => _ = self.fields.insert(name.to_owned(), text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::prelude::*;

    #[test]
    fn a_line_keeps_its_words_and_what_it_is_about() {
        let logbook = Logbook::default();
        let subscriber = tracing_subscriber::registry().with(logbook.recorder());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(broker = "office", retry_in = ?std::time::Duration::from_secs(2), "away: {}", "no route");
            (0..LINES_MAX).for_each(|n| tracing::info!(n, "{}", "é".repeat(TEXT_BYTES_MAX)));
        });
        assert_eq!(logbook.after(0).len(), LINES_MAX, "the first is gone");
        assert_eq!(logbook.after(LINES_MAX as u64).len(), 1);
        let last = logbook.after(LINES_MAX as u64)[0].clone();
        assert_eq!((last.number, last.message.len()), (LINES_MAX as u64 + 1, TEXT_BYTES_MAX));
        assert_eq!(logbook.after(LINES_MAX as u64 + 1), []);
    }

    #[test]
    fn events_are_kept_however_much_else_is_said() {
        let logbook = Logbook::default();
        let subscriber = tracing_subscriber::registry().with(logbook.recorder());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(name: "failover", set = "cloud", "words");
            tracing::info!(name: "of no table", "others");
            (0..LINES_MAX).for_each(|n| tracing::info!(n, "chatter"));
        });
        let events = logbook.events_after(0);
        assert_eq!(events.iter().map(|line| line.event.as_deref()).collect::<Vec<_>>(), [Some("failover")]);
        assert_eq!((events[0].number, events[0].fields["set"].as_str()), (1, "cloud"));
        assert_eq!(logbook.events_after(1), []);
        assert!(logbook.after(0).iter().all(|line| line.event.is_none()));
    }

    #[test]
    fn texts_are_as_they_are_and_values_as_they_are_told() {
        let logbook = Logbook::default();
        let subscriber = tracing_subscriber::registry().with(logbook.recorder());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(broker = "office", retry_in = ?std::time::Duration::from_secs(2), "away: {}", "no route");
        });
        let line = &logbook.after(0)[0];
        assert_eq!((line.level.as_str(), line.message.as_str()), ("WARN", "away: no route"));
        let fields =
            [("broker", "office"), ("retry_in", "2s")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(line.fields, BTreeMap::from(fields));
    }
}
