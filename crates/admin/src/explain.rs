//! What would become of a message, and the next one of a kind to ask that of.

use crate::model::{self, Sample, Told};
use crate::plain::{busy, json, text};
use crate::query;
use crate::serve::Shared;
use crate::tap;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::response::Response;
use std::time::Duration;
use tidegate_gateway::{Error, Only, Wanted};
use tidegate_message::{Message, QoS, Topic};

/// A sample is no larger.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// And comes within this.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// How long somebody waits for the next message.
const NEXT_WITHIN: Duration = Duration::from_secs(20);

/// Reads a body, or says why not.
pub(crate) async fn read(body: Body) -> Result<bytes::Bytes, Response> {
    let refused = |status, words: &str| text(status, format!("{words}\n"));
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "this is more than 1 MiB, or it ended too early")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "what was to be sent has not come")),
    }
}

/// Says what would become of a sample, by the configuration in force.
pub(crate) async fn explain(shared: Shared, body: Body) -> Response {
    let bytes = match read(body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let wrong = |words: String| text(StatusCode::BAD_REQUEST, words + "\n");
    let sample: Sample = match serde_json::from_slice(&bytes) {
        Ok(sample) => sample,
        Err(error) => return wrong(format!("this is no sample: {error}")),
    };
    let topic = match Topic::new(sample.topic.as_str()) {
        Ok(topic) => topic,
        Err(error) => return wrong(format!("`topic`: {error}")),
    };
    let Some(qos) = QoS::from_u8(sample.qos) else { return wrong("`qos` is 0, 1 or 2".to_owned()) };
    let Ok(config) = shared.console.ask(tidegate_gateway::Gateway::config).await else { return busy() };
    if !config.brokers.contains_key(&sample.broker) {
        return wrong(format!("there is no broker `{}`", sample.broker));
    }
    // It compiles what is not compiled yet: one at a time.
    let Ok(_turn) = shared.explaining.acquire().await else { return busy() };
    let message = Message { retain: sample.retain, ..Message::new(topic, sample.payload.into_bytes(), qos) };
    let sample = tidegate_gateway::Sample { broker: sample.broker, message };
    let explained = tokio::task::spawn_blocking(move || tidegate_gateway::explain(&config, &sample, None)).await;
    match explained {
        Ok(Ok(told)) => json(&Told {
            routes: told.routes as u64,
            lines: told.lines,
            deliveries: told.deliveries.into_iter().map(|(target, topic)| model::Delivery { target, topic }).collect(),
        }),
        Ok(Err(Error::Config(words))) => text(StatusCode::CONFLICT, words.join("\n") + "\n"),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "explaining it panicked, which is a bug\n".to_owned()),
    }
}

/// Waits for the next message of a kind.
pub(crate) async fn next(shared: Shared, query: Option<&str>) -> Response {
    let broker = query::text(query, "broker").filter(|name| !name.is_empty());
    let wanted =
        |filter| Wanted { filter, broker, route: None, contains: None, only: Only::All, rate: 1, whole: false };
    let mut tapping = match tap::begin(&shared, tap::filter(query).map(wanted)).await {
        Ok(tapping) => tapping,
        Err(refusal) => return refusal,
    };
    match tokio::time::timeout(NEXT_WITHIN, tapping.seen.recv()).await {
        Ok(Some(way)) => json(&model::Way::of(&way, true).came),
        Ok(None) => busy(),
        Err(_) => {
            let words = format!("no such message has come within {} s\n", NEXT_WITHIN.as_secs());
            text(StatusCode::NOT_FOUND, words)
        }
    }
}
