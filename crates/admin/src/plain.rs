//! What programs have asked for since the beginning: health, metrics, and a few things as they are.

use crate::model::Problems;
use crate::operate::{self, Answer};
use crate::query;
use crate::serve::Shared;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::fmt::Write as _;
use tidegate_gateway::{Busy, Redirect};

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/metrics", get(metrics))
        // Answers as long as the process serves requests at all.
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/state", get(state))
        .route("/config", get(config))
        .route("/reload", get(reload))
        .route("/spool", get(spool))
        .route("/spool/{from}/move", post(move_waiting))
        .route("/spool/{from}/discard", post(discard_waiting))
        .route("/parked", get(crate::api::parked))
        .route("/parked/{number}", get(show_parked).delete(delete_parked))
        .route("/parked/{number}/replay", post(replay))
}

pub(crate) fn text(status: StatusCode, words: String) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], words).into_response()
}

pub(crate) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, JSON)], text + "\n").into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

pub(crate) fn busy() -> Response {
    text(StatusCode::SERVICE_UNAVAILABLE, "busy, try again\n".to_owned())
}

/// What the gateway has answered, as JSON.
pub(crate) fn answered(answer: Result<impl serde::Serialize, Busy>) -> Response {
    match answer {
        Ok(value) => json(&value),
        Err(Busy) => busy(),
    }
}

/// An outcome in words.
fn words(answer: Answer) -> Response {
    match answer {
        Ok(words) => text(StatusCode::OK, words + "\n"),
        Err(refused) => text(refused.status(), format!("{refused}\n")),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Ok(snapshot) = shared.console.snapshot().await else { return busy() };
    let all = crate::metrics::text(&snapshot, &shared.guard.refused());
    ([(header::CONTENT_TYPE, PROMETHEUS)], all).into_response()
}

async fn ready(State(shared): State<Shared>) -> Response {
    let Ok(snapshot) = shared.console.snapshot().await else { return busy() };
    let Problems { ready, problems } = Problems::of(&snapshot);
    let mut words = if ready { "ready\n".to_owned() } else { String::new() };
    problems.iter().for_each(|problem| _ = writeln!(words, "{problem}"));
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, words)
}

async fn state(State(shared): State<Shared>) -> Response {
    answered(operate::states(&shared.console).await)
}

async fn config(State(shared): State<Shared>) -> Response {
    match shared.console.ask(|gateway| gateway.shown().to_string()).await {
        Ok(shown) => ([(header::CONTENT_TYPE, JSON)], shown + "\n").into_response(),
        Err(_) => busy(),
    }
}

async fn reload(State(shared): State<Shared>) -> Response {
    answered(shared.console.ask(|gateway| gateway.last_reloads().json()).await)
}

async fn spool(State(shared): State<Shared>) -> Response {
    match shared.console.ask(tidegate_gateway::Gateway::waiting_in_words).await {
        Ok(all) => text(StatusCode::OK, all),
        Err(_) => busy(),
    }
}

async fn show_parked(State(shared): State<Shared>, Path(number): Path<u64>) -> Response {
    match operate::parked_one(&shared.console, number).await {
        Ok(found) => json(&found),
        Err(refused) => words(Err(refused)),
    }
}

async fn delete_parked(State(shared): State<Shared>, Path(number): Path<u64>) -> Response {
    words(operate::delete(&shared.console, number).await)
}

async fn replay(State(shared): State<Shared>, Path(number): Path<u64>, RawQuery(query): RawQuery) -> Response {
    words(operate::replay(&shared.console, number, query::text(query.as_deref(), "to")).await)
}

async fn move_waiting(State(shared): State<Shared>, Path(from): Path<String>, RawQuery(query): RawQuery) -> Response {
    let to = query::text(query.as_deref(), "to").unwrap_or_default();
    words(operate::redirect(&shared.console, Redirect::Move { from, to }).await)
}

async fn discard_waiting(State(shared): State<Shared>, Path(from): Path<String>) -> Response {
    words(operate::redirect(&shared.console, Redirect::Discard { from }).await)
}
