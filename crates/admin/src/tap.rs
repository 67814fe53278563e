//! Messages on their way, as they go: what a tap of the gateway sees, as server-sent events.

use crate::model::Way;
use crate::query::{flag, number, text};
use crate::serve::Shared;
use crate::stream::{SILENCE, answer, event};
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use std::convert::Infallible;
use tidegate_gateway::{Only, Tapping, Wanted};
use tidegate_message::TopicFilter;
use tokio_util::sync::CancellationToken;

/// Messages a second, unless it is said; and at most.
const RATE: u64 = 50;
const RATE_MAX: u64 = 1_000;

/// What is wanted, or what is wrong with that.
fn wanted(query: Option<&str>) -> Result<Wanted, String> {
    let filter = text(query, "filter").unwrap_or_else(|| "#".to_owned());
    let wrong = |error| format!("`{filter}` is no filter of topics: {error}");
    let filter = TopicFilter::new(filter.as_str()).map_err(wrong)?;
    let only = match text(query, "only").as_deref() {
        None | Some("all" | "") => Only::All,
        Some("dropped") => Only::Dropped,
        Some("failed") => Only::Failed,
        Some(other) => return Err(format!("`only` is `all`, `dropped` or `failed`, and not `{other}`")),
    };
    Ok(Wanted {
        filter,
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

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        loop {
            let missed = self.tapping.missed();
            if missed > 0 {
                return Some(event("missed", &missed.to_string()));
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                way = self.tapping.ways.recv() => {
                    let way = Way::of(&*way?, self.payloads);
                    if let Ok(text) = serde_json::to_string(&way) {
                        return Some(event("way", &text));
                    }
                }
                () = tokio::time::sleep(SILENCE) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }
}

/// `looking` as soon as it does; messages that this asks for, each as an event `way`; and `missed`, with how many were not read in time.
pub(crate) async fn tap(shared: Shared, query: Option<&str>) -> Response {
    let wanted = match wanted(query) {
        Ok(wanted) => wanted,
        Err(words) => return crate::plain::text(StatusCode::BAD_REQUEST, words + "\n"),
    };
    let tapping = match shared.console.tap(wanted).await {
        Ok(Some(tapping)) => tapping,
        Ok(None) => {
            let words = "too many look already: end another tap first\n".to_owned();
            return crate::plain::text(StatusCode::TOO_MANY_REQUESTS, words);
        }
        Err(_) => return crate::plain::busy(),
    };
    // So that whoever asked knows that from here on nothing is missed.
    let ready = Some(event("looking", "now"));
    let reader = Reader { tapping, payloads: flag(query, "payloads"), stop: shared.stop.clone(), ready };
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Some((Ok::<Bytes, Infallible>(next), reader))
    });
    answer(Body::from_stream(events))
}
