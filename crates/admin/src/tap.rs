//! Messages on their way, as they go: what a tap of the gateway sees, or a trace, as server-sent events.

use crate::model::{Journey, Way};
use crate::query::{flag, number, text};
use crate::serve::Shared;
use crate::stream::{Reads, answer, event};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use tidegate_gateway::{Looking, Only, Tapping, Wanted};
use tidegate_message::TopicFilter;
use tokio_util::sync::CancellationToken;

/// Messages a second, unless it is said; and at most.
const RATE: u64 = 50;
const RATE_MAX: u64 = 1_000;

/// Messages a second that are followed, unless it is said.
const TRACE_RATE: u64 = 10;

/// What is wanted, or what is wrong with that.
fn wanted(query: Option<&str>) -> Result<Wanted, String> {
    let only = match text(query, "only").as_deref() {
        None | Some("all" | "") => Only::All,
        Some("dropped") => Only::Dropped,
        Some("failed") => Only::Failed,
        Some(other) => return Err(format!("`only` is `all`, `dropped` or `failed`, and not `{other}`")),
    };
    Ok(Wanted {
        filter: filter(query)?,
        broker: text(query, "broker").filter(|name| !name.is_empty()),
        route: text(query, "route").filter(|name| !name.is_empty()),
        contains: text(query, "contains").filter(|words| !words.is_empty()).map(String::into_bytes),
        only,
        rate: number(query, "rate").unwrap_or(RATE).clamp(1, RATE_MAX) as u32, // at most 1,000
        whole: false,
    })
}

struct Reader<T> {
    looking: Looking<T>,
    /// As an event of this name, with or without payloads.
    name: &'static str,
    told: fn(&T, bool) -> serde_json::Result<String>,
    payloads: bool,
    stop: CancellationToken,
    ready: Option<Bytes>,
}

impl<T: Send + Sync + 'static> Reads for Reader<T> {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        loop {
            let missed = self.looking.missed();
            if missed > 0 {
                return Some(event("missed", &missed.to_string()));
            }
            let seen = self.stop.run_until_cancelled(self.looking.seen.recv()).await??;
            if let Ok(text) = (self.told)(&seen, self.payloads) {
                return Some(event(self.name, &text));
            }
        }
    }
}

/// The filter that is asked for, or what is wrong with it.
pub(crate) fn filter(query: Option<&str>) -> Result<TopicFilter, String> {
    let filter = text(query, "filter").unwrap_or_else(|| "#".to_owned());
    TopicFilter::new(filter.as_str()).map_err(|error| format!("`{filter}` is no filter of topics: {error}"))
}

/// Begins to look, or says why not.
pub(crate) async fn begin(shared: &Shared, wanted: Result<Wanted, String>) -> Result<Tapping, Response> {
    let wanted = wanted.map_err(|words| crate::plain::text(StatusCode::BAD_REQUEST, words + "\n"))?;
    shared.console.tap(wanted).await.map_err(|_| crate::plain::busy())?.ok_or_else(too_many)
}

pub(crate) fn too_many() -> Response {
    let words = "too many look already: end another tap or trace first\n";
    crate::plain::text(StatusCode::TOO_MANY_REQUESTS, words.to_owned())
}

// So that whoever asked knows that from here on nothing is missed.
fn ready() -> Option<Bytes> {
    Some(event("looking", "now"))
}

/// `looking` as soon as it does; messages that this asks for, each as an event `way`; and `missed`, with how many were not read
/// in time.
pub(crate) async fn tap(shared: Shared, query: Option<&str>) -> Response {
    let looking = match begin(&shared, wanted(query)).await {
        Ok(looking) => looking,
        Err(refusal) => return refusal,
    };
    let told = |way: &tidegate_gateway::Way, payloads| serde_json::to_string(&Way::of(way, payloads));
    let (payloads, stop) = (flag(query, "payloads"), shared.stop.clone());
    answer(Reader { looking, name: "way", told, payloads, stop, ready: ready() })
}

/// `looking` as soon as it does; the ways of messages that this asks for from their receipt to their end, each as an event
/// `journey`: when it has come to its end, and once before that if it is under way for a second; and `missed`.
pub(crate) async fn trace(shared: Shared, query: Option<&str>) -> Response {
    if text(query, "only").is_some() {
        let words = "a trace has no `only`: a message is chosen when it comes\n".to_owned();
        return crate::plain::text(StatusCode::BAD_REQUEST, words);
    }
    let wanted = match wanted(query) {
        Ok(wanted) => Wanted { rate: number(query, "rate").unwrap_or(TRACE_RATE).clamp(1, RATE_MAX) as u32, ..wanted },
        Err(words) => return crate::plain::text(StatusCode::BAD_REQUEST, words + "\n"),
    };
    let looking = match shared.console.trace(wanted).await {
        Ok(Some(looking)) => looking,
        Ok(None) => return too_many(),
        Err(_) => return crate::plain::busy(),
    };
    let told = |journey: &tidegate_gateway::Journey, payloads| serde_json::to_string(&Journey::of(journey, payloads));
    let (payloads, stop) = (flag(query, "payloads"), shared.stop.clone());
    answer(Reader { looking, name: "journey", told, payloads, stop, ready: ready() })
}
