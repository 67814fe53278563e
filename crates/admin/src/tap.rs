//! Messages on their way, as they go: what a tap of the gateway sees, as server-sent events.

use crate::model::Way;
use crate::query::{flag, number, text};
use crate::serve::Shared;
use crate::stream::{Reads, answer, event};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use tidegate_gateway::{Only, Tapping, Wanted};
use tidegate_message::TopicFilter;
use tokio_util::sync::CancellationToken;

/// Messages a second, unless it is said; and at most.
const RATE: u64 = 50;
const RATE_MAX: u64 = 1_000;

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
    })
}

struct Reader {
    tapping: Tapping,
    payloads: bool,
    stop: CancellationToken,
    ready: Option<Bytes>,
}

impl Reads for Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        loop {
            let missed = self.tapping.missed();
            if missed > 0 {
                return Some(event("missed", &missed.to_string()));
            }
            let way = self.stop.run_until_cancelled(self.tapping.ways.recv()).await??;
            if let Ok(text) = serde_json::to_string(&Way::of(&way, self.payloads)) {
                return Some(event("way", &text));
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
    let tapping = shared.console.tap(wanted).await.map_err(|_| crate::plain::busy())?;
    let words = "too many look already: end another tap first\n";
    tapping.ok_or_else(|| crate::plain::text(StatusCode::TOO_MANY_REQUESTS, words.to_owned()))
}

/// `looking` as soon as it does; messages that this asks for, each as an event `way`; and `missed`, with how many were not read
/// in time.
pub(crate) async fn tap(shared: Shared, query: Option<&str>) -> Response {
    let tapping = match begin(&shared, wanted(query)).await {
        Ok(tapping) => tapping,
        Err(refusal) => return refusal,
    };
    // So that whoever asked knows that from here on nothing is missed.
    let ready = Some(event("looking", "now"));
    answer(Reader { tapping, payloads: flag(query, "payloads"), stop: shared.stop.clone(), ready })
}
