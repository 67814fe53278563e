//! What goes on, as it goes on, to everybody who listens: server-sent events.
//!
//! Nothing is kept for a reader. One task makes the status, once a second while anybody listens, and each reader takes
//! the latest when there is room on his connection; of the log he takes what is still there.

use crate::model::Status;
use crate::rates::Looks;
use crate::serve::Shared;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidegate_gateway::{Busy, Console};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the status is told.
const EVERY: Duration = Duration::from_secs(1);

/// So often something is said at least, so that a reader who is gone is found out.
pub(crate) const SILENCE: Duration = Duration::from_secs(15);

/// The streams that everybody shares.
#[derive(Clone)]
pub(crate) struct Streams {
    console: Console,
    looks: Arc<Looks>,
    /// The latest status, as an event.
    latest: Arc<watch::Sender<Bytes>>,
    listeners: Arc<AtomicUsize>,
}

/// One who listens.
struct Listener(Arc<AtomicUsize>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// An event as it is written (HTML Living Standard, section 9.2.6); the text has no line breaks.
pub(crate) fn event(name: &str, text: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {text}\n\n"))
}

impl Streams {
    pub(crate) fn new(console: Console) -> Self {
        let latest = Arc::new(watch::Sender::new(Bytes::new()));
        Self { console, looks: Arc::default(), latest, listeners: Arc::default() }
    }

    /// How everything does now.
    pub(crate) async fn status(&self) -> Result<Status, Busy> {
        let snapshot = self.console.snapshot().await?;
        let rates = self.looks.look(&snapshot, Instant::now());
        Ok(Status::of(&snapshot, rates.as_ref()))
    }

    /// Somebody listens. The first starts what makes the status.
    fn listen(&self) -> Listener {
        if self.listeners.fetch_add(1, Relaxed) == 0 {
            tokio::spawn(self.clone().tell());
        }
        Listener(self.listeners.clone())
    }

    /// Makes the status as long as somebody listens.
    async fn tell(self) {
        loop {
            // What cannot be had now is had a second later.
            if let Ok(status) = self.status().await
                && let Ok(text) = serde_json::to_string(&status)
            {
                self.latest.send_replace(event("status", &text));
            }
            tokio::time::sleep(EVERY).await;
            if self.listeners.load(Relaxed) == 0 {
                return;
            }
        }
    }
}

/// What one reader has had, and what he gets next.
struct Reader {
    _listener: Listener,
    latest: watch::Receiver<Bytes>,
    news: watch::Receiver<u64>,
    shared: Shared,
    /// Of the log, the last line that he has had.
    had: u64,
    ready: VecDeque<Bytes>,
    stop: CancellationToken,
}

impl Reader {
    /// The next event; none when the gateway ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.latest.changed() => {
                    changed.ok()?;
                    let latest = self.latest.borrow_and_update().clone();
                    if !latest.is_empty() {
                        return Some(latest);
                    }
                }
                changed = self.news.changed() => {
                    changed.ok()?;
                    self.news.mark_unchanged();
                    self.read_log();
                }
                () = tokio::time::sleep(SILENCE) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }

    fn read_log(&mut self) {
        let lines = self.shared.logbook.after(self.had);
        let lost = lines.first().map_or(0, |first| first.number - self.had - 1);
        if lost > 0 {
            self.ready.push_back(event("lost", &lost.to_string()));
        }
        for line in lines {
            self.had = line.number;
            if let Ok(text) = serde_json::to_string(&*line) {
                self.ready.push_back(event("log", &text));
            }
        }
    }
}

/// The status once a second, and each line of the log after the last that the reader has.
pub(crate) fn stream(shared: Shared, had: Option<u64>) -> Response {
    let listener = shared.streams.listen();
    let latest = {
        let mut latest = shared.streams.latest.subscribe();
        latest.mark_changed();
        latest
    };
    let mut news = shared.logbook.news();
    news.mark_changed();
    let last = *news.borrow();
    // Lines are numbered from the start of a process: a number that is not reached yet is another one's.
    let had = had.map_or(last, |had| if had > last { 0 } else { had });
    let stop = shared.stop.clone();
    let reader = Reader { _listener: listener, latest, news, shared, had, ready: VecDeque::new(), stop };
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Some((Ok::<Bytes, Infallible>(next), reader))
    });
    answer(Body::from_stream(events))
}

/// A body of events.
pub(crate) fn answer(body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
