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
use std::time::{Duration, Instant};
use tidegate_gateway::{Busy, Console};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often the status is told.
const EVERY: Duration = Duration::from_secs(1);

/// So often something is said at least, so that a reader who is gone is found out.
const SILENCE: Duration = Duration::from_secs(15);

/// The streams that everybody shares.
#[derive(Clone)]
pub(crate) struct Streams {
    console: Console,
    looks: Arc<Looks>,
    /// The latest status, as an event.
    latest: Arc<watch::Sender<Bytes>>,
    /// Somebody listens, and perhaps nobody did.
    listens: Arc<Notify>,
}

/// An event as it is written (HTML Living Standard, section 9.2.6); the text has no line breaks.
pub(crate) fn event(name: &str, text: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {text}\n\n"))
}

impl Streams {
    pub(crate) fn new(console: Console) -> Self {
        let latest = Arc::new(watch::Sender::new(Bytes::new()));
        Self { console, looks: Arc::default(), latest, listens: Arc::default() }
    }

    /// How everything does now.
    pub(crate) async fn status(&self) -> Result<Status, Busy> {
        let snapshot = self.console.snapshot().await?;
        let rates = self.looks.look(&snapshot, Instant::now());
        Ok(Status::of(&snapshot, rates.as_ref()))
    }

    /// Makes the status as long as somebody listens; never returns. There is one that does.
    pub(crate) async fn tell(self) {
        loop {
            if self.latest.receiver_count() == 0 {
                self.listens.notified().await;
            }
            // What cannot be had now is had a second later.
            if let Ok(status) = self.status().await
                && let Ok(text) = serde_json::to_string(&status)
            {
                self.latest.send_replace(event("status", &text));
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Who reads events.
pub(crate) trait Reads: Send + 'static {
    /// The next one that is worth a word; none when the gateway ends.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A body of all that comes, with something every 15 s at least.
pub(crate) fn answer(reader: impl Reads) -> Response {
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let next = match tokio::time::timeout(SILENCE, reader.next()).await {
            Ok(next) => next?,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok::<Bytes, Infallible>(next), reader))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

/// What one reader has had, and what he gets next.
struct Reader {
    latest: watch::Receiver<Bytes>,
    news: watch::Receiver<u64>,
    shared: Shared,
    /// Of the log, the last line that he has had.
    had: u64,
    ready: VecDeque<Bytes>,
    stop: CancellationToken,
}

impl Reads for Reader {
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
            }
        }
    }
}

impl Reader {
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
    let mut latest = shared.streams.latest.subscribe();
    latest.mark_changed();
    shared.streams.listens.notify_one();
    let mut news = shared.logbook.news();
    news.mark_changed();
    let last = *news.borrow();
    // Lines are numbered from the start of a process: a number that is not reached yet is another one's.
    let had = had.map_or(last, |had| if had > last { 0 } else { had });
    let stop = shared.stop.clone();
    answer(Reader { latest, news, shared, had, ready: VecDeque::new(), stop })
}
