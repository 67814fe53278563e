//! The configuration: what the file says, what another text would change, and saving one.
//!
//! What runs is never other than a file: a text is saved, and the gateway follows its file as it does when somebody else saves it.

use crate::apply::{digest, may_save, save};
use crate::explain::read;
use crate::model::{Applied, Checked, Configuration};
use crate::plain::{busy, json, text};
use crate::serve::Shared;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidegate_gateway::{Foretold, Gateway};

/// How long a reload may take before the answer says that it is still under way.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// In `data_dir`: what the file said before it was saved here last.
const PREVIOUS: &str = "config.previous";

fn internal(words: impl std::fmt::Display) -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("{words}\n"))
}

/// The file as it is.
pub(crate) async fn show(shared: Shared) -> Response {
    let Ok(config) = shared.console.ask(Gateway::config).await else { return busy() };
    let Ok(last) = shared.console.ask(Gateway::last_reloads).await else { return busy() };
    let file = shared.file.clone();
    let text = match std::fs::read_to_string(&*file) {
        Ok(text) => text,
        Err(error) => return internal(format_args!("{}: {error}", file.display())),
    };
    json(&Configuration {
        file: file.display().to_string(),
        digest: digest(&text),
        text,
        runs: !last.is_refused && last.changes.next_start.is_empty(),
        may_save: may_save(&file),
        may_undo: previous(&config.gateway.data_dir).exists(),
    })
}

fn previous(data_dir: &Path) -> PathBuf {
    data_dir.join(PREVIOUS)
}

/// A text from a body.
async fn taken(body: Body) -> Result<String, Response> {
    let bytes = read(body).await?;
    String::from_utf8(bytes.into()).map_err(|_| text(StatusCode::BAD_REQUEST, "this is no text\n".to_owned()))
}

async fn foretold(shared: &Shared, words: String) -> Result<Foretold, Response> {
    let Ok(running) = shared.console.ask(Gateway::running).await else { return Err(busy()) };
    let Ok(_turn) = shared.explaining.acquire().await else { return Err(busy()) };
    let file = shared.file.clone();
    match tokio::task::spawn_blocking(move || running.foretell(&words, &file)).await {
        Ok(Ok(foretold)) => Ok(foretold),
        Ok(Err(error)) => Err(internal(error)),
        Err(_) => Err(internal("checking it panicked, which is a bug")),
    }
}

/// What is wrong with a text, and what saving it would change.
pub(crate) async fn check(shared: Shared, body: Body) -> Response {
    let words = match taken(body).await {
        Ok(words) => words,
        Err(refusal) => return refusal,
    };
    match foretold(&shared, words).await {
        Ok(foretold) => json(&Checked::of(&foretold)),
        Err(refusal) => refusal,
    }
}

/// Saves a text, if the file is what whoever edited it has seen and nothing is wrong with it; says what became of it.
pub(crate) async fn apply(shared: Shared, headers: &HeaderMap, body: Body) -> Response {
    let Some(seen) = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()) else {
        let words = "say with `If-Match` which text was edited: its `digest`\n".to_owned();
        return text(StatusCode::PRECONDITION_REQUIRED, words);
    };
    let seen = seen.trim_matches('"').to_owned();
    let words = match taken(body).await {
        Ok(words) => words,
        Err(refusal) => return refusal,
    };
    replace(shared, Some(seen), words).await
}

/// Saves what the file said before.
pub(crate) async fn undo(shared: Shared) -> Response {
    let Ok(config) = shared.console.ask(Gateway::config).await else { return busy() };
    match std::fs::read_to_string(previous(&config.gateway.data_dir)) {
        Ok(words) => replace(shared, None, words).await,
        Err(_) => text(StatusCode::NOT_FOUND, "nothing was applied here that could be undone\n".to_owned()),
    }
}

async fn replace(shared: Shared, seen: Option<String>, words: String) -> Response {
    let Ok(_one_at_a_time) = shared.applying.acquire().await else { return busy() };
    let checked = match foretold(&shared, words.clone()).await {
        Ok(foretold) if foretold.is_refused() => {
            let mut answer = json(&Checked::of(&foretold));
            *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return answer;
        }
        Ok(foretold) => foretold,
        Err(refusal) => return refusal,
    };
    let Ok(config) = shared.console.ask(Gateway::config).await else { return busy() };
    let Ok(before) = shared.console.snapshot().await else { return busy() };
    let file = shared.file.clone();
    let old = match std::fs::read_to_string(&*file) {
        Ok(old) => old,
        Err(error) => return internal(format_args!("{}: {error}", file.display())),
    };
    if seen.is_some_and(|seen| seen != digest(&old)) {
        let words = "somebody else has saved the file meanwhile: look at it again\n".to_owned();
        return text(StatusCode::PRECONDITION_FAILED, words);
    }
    if old == words {
        return json(&Applied { applied: true, reasons: Vec::new(), checked: Checked::of(&checked) });
    }
    if let Err(error) = std::fs::write(previous(&config.gateway.data_dir), &old) {
        return internal(format_args!("{}: {error}", previous(&config.gateway.data_dir).display()));
    }
    if let Err(error) = save(&file, &words) {
        let words = format!("{}: {error}; save it there as a user who may: `tidegate apply`\n", file.display());
        return text(StatusCode::CONFLICT, words);
    }
    tracing::info!(
        name: "saved",
        file = %file.display(),
        digest = digest(&words),
        "a configuration was saved through the admin server"
    );
    let counts = |snapshot: &tidegate_gateway::Snapshot| (snapshot.reloads, snapshot.reloads_refused);
    let (began, counted) = (Instant::now(), counts(&before));
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(now) = shared.console.snapshot().await else { continue };
        if counts(&now) != counted {
            let applied = !now.last_reloads.is_refused;
            let reasons = if applied { Vec::new() } else { now.last_reloads.reasons.clone() };
            return json(&Applied { applied, reasons, checked: Checked::of(&checked) });
        }
        if began.elapsed() > RELOAD_WITHIN {
            let reasons = vec!["it is saved, and the reload is still under way: look at the status".to_owned()];
            let mut answer = json(&Applied { applied: false, reasons, checked: Checked::of(&checked) });
            *answer.status_mut() = StatusCode::ACCEPTED;
            return answer;
        }
    }
}
