//! `/api/v1`: everything there is to see and to do, as JSON, described by `/api/v1/openapi.json`.

mod clients;
mod plugins;
mod recordings;

use crate::model::{
    Applied, Checked, Configuration, Drops, Journey, Layout, LinkDetails, LogLine, Message, Parked, Sample, Status,
    Told, Way,
};
use crate::operate::{self, Refused};
use crate::plain::{answered, busy, json};
use crate::query;
use crate::serve::Shared;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_gateway::Redirect;
use utoipa::{OpenApi, ToSchema};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/status", get(status))
        .route("/api/v1/layout", get(layout))
        .route("/api/v1/log", get(log))
        .route("/api/v1/events", get(events))
        .route("/api/v1/stream", get(stream))
        .route("/api/v1/dropped", get(dropped))
        .route("/api/v1/tap", get(tap))
        .route("/api/v1/trace", get(trace))
        .route("/api/v1/record", get(recordings::record))
        .route("/api/v1/recent", get(recordings::recent))
        .route("/api/v1/next", get(next))
        .route("/api/v1/explain", post(explain))
        .route("/api/v1/configuration", get(configuration).put(apply_configuration))
        .route("/api/v1/configuration/check", post(check_configuration))
        .route("/api/v1/configuration/undo", post(undo_configuration))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/brokers/{name}", get(broker))
        .route("/api/v1/brokers/{name}/clients", get(clients::clients))
        .route("/api/v1/brokers/{name}/client", get(clients::client))
        .route("/api/v1/brokers/{name}/client/disconnect", post(clients::disconnect))
        .route("/api/v1/plugins/{name}", get(plugins::plugin))
        .route("/api/v1/plugins/{name}/rollback", post(plugins::roll_back))
        .route("/api/v1/plugins/{name}/promote", post(plugins::promote))
        .route("/api/v1/plugins/{name}/abandon", post(plugins::abandon))
        .route("/api/v1/brokers/{name}/pause", post(pause_broker))
        .route("/api/v1/brokers/{name}/resume", post(resume_broker))
        .route("/api/v1/parked", get(parked))
        .route("/api/v1/parked/{number}", get(show_parked).delete(delete_parked))
        .route("/api/v1/parked/{number}/replay", post(replay_parked))
        .route("/api/v1/waiting/{target}/move", post(move_waiting))
        .route("/api/v1/waiting/{target}/discard", post(discard_waiting))
}

/// What was done, or why not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Outcome {
    /// In words.
    message: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "Looks at a running gateway and operates it. Whatever changes something needs a token of `[admin]`, or the \
                       key in `data_dir/admin.key`, as `Authorization: Bearer`."
    ),
    paths(
        status,
        layout,
        log,
        events,
        stream,
        dropped,
        tap,
        trace,
        recordings::record,
        recordings::recent,
        next,
        explain,
        configuration,
        check_configuration,
        apply_configuration,
        undo_configuration,
        reload,
        broker,
        clients::clients,
        clients::client,
        clients::disconnect,
        plugins::plugin,
        plugins::roll_back,
        plugins::promote,
        plugins::abandon,
        pause_broker,
        resume_broker,
        parked,
        show_parked,
        delete_parked,
        replay_parked,
        move_waiting,
        discard_waiting
    )
)]
struct Description;

async fn openapi() -> Response {
    json(&Description::openapi())
}

/// How everything does now.
#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, description = "How everything does", body = Status),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn status(State(shared): State<Shared>) -> Response {
    answered(shared.streams.status().await)
}

/// What there is, and what it is meant to do. Changes with a reload only, and then `generation` of the status does.
#[utoipa::path(get, path = "/api/v1/layout", responses(
    (status = 200, description = "The configuration in force, without its secrets", body = Layout),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn layout(State(shared): State<Shared>) -> Response {
    let Ok(config) = shared.console.ask(tidegate_gateway::Gateway::config).await else { return busy() };
    json(&Layout::of(&config, &shared.file.display().to_string(), shared.guard.takes_control()))
}

/// The last lines of the log.
#[utoipa::path(get, path = "/api/v1/log", params(
    ("after" = Option<u64>, Query, description = "Only lines with a higher number"),
), responses((status = 200, description = "The oldest first", body = Vec<LogLine>)))]
async fn log(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let lines: Vec<Arc<LogLine>> = shared.logbook.after(query::number(query.as_deref(), "after").unwrap_or(0));
    json(&lines.iter().map(|line| &**line).collect::<Vec<_>>())
}

/// The last events: lines of the log that have a name.
#[utoipa::path(get, path = "/api/v1/events", params(
    ("after" = Option<u64>, Query, description = "Only events with a higher number"),
), responses((status = 200, description = "The oldest first", body = Vec<LogLine>)))]
async fn events(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let lines = shared.logbook.events_after(query::number(query.as_deref(), "after").unwrap_or(0));
    json(&lines.iter().map(|line| &**line).collect::<Vec<_>>())
}

/// What goes on: an event `status` once a second and an event `log` for each line. A reader that is slow gets the latest
/// status, and `lost` with the number of lines that are gone.
#[utoipa::path(get, path = "/api/v1/stream", params(
    ("after" = Option<u64>, Query, description = "The number of the last line of the log that is known; only new ones without it"),
), responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream")))]
async fn stream(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    crate::stream::stream(shared, query::number(query.as_deref(), "after"))
}

/// The last messages that ended without being delivered: some of each reason of each route.
#[utoipa::path(get, path = "/api/v1/dropped", responses(
    (status = 200, description = "The oldest first, at most 25 of a reason", body = Drops),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn dropped(State(shared): State<Shared>) -> Response {
    answered(shared.console.ask(tidegate_gateway::Gateway::dropped).await.map(Drops::of))
}

/// Messages on their way, as they go: `looking` as soon as they are looked at, an event `way` for each in each route, and
/// `missed` with how many were not read in time. Of many only some are seen.
#[utoipa::path(get, path = "/api/v1/tap", params(
    ("filter" = Option<String>, Query, description = "Topics as they come; all without it"),
    ("broker" = Option<String>, Query, description = "Only from this broker"),
    ("route" = Option<String>, Query, description = "Only in this route"),
    ("contains" = Option<String>, Query, description = "Only with this text in the payload"),
    ("only" = Option<String>, Query, description = "`dropped`: what does not go on; `failed`: what ends badly"),
    ("rate" = Option<u64>, Query, description = "At most so many a second: 50 without it, 1,000 at most"),
    ("payloads" = Option<bool>, Query, description = "With the first KiB of payloads"),
), responses(
    (status = 200, description = "Server-sent events", body = Way, content_type = "text/event-stream"),
    (status = 400, description = "What is asked for makes no sense"),
    (status = 429, description = "Too many look already"),
))]
async fn tap(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    crate::tap::tap(shared, query.as_deref()).await
}

/// The ways of messages from their receipt to their end, with the time of each step: `looking` as soon as they are followed, an
/// event `journey` for each when it has come to its end, and once before that if it is under way for a second, and `missed` with
/// how many were not read in time, or not followed. Of many only some are.
#[utoipa::path(get, path = "/api/v1/trace", params(
    ("filter" = Option<String>, Query, description = "Topics as they come; all without it"),
    ("broker" = Option<String>, Query, description = "Only from this broker"),
    ("route" = Option<String>, Query, description = "Only what enters this route"),
    ("contains" = Option<String>, Query, description = "Only with this text in the payload"),
    ("rate" = Option<u64>, Query, description = "At most so many a second: 10 without it, 1,000 at most"),
    ("payloads" = Option<bool>, Query, description = "With the first KiB of payloads"),
), responses(
    (status = 200, description = "Server-sent events", body = Journey, content_type = "text/event-stream"),
    (status = 400, description = "What is asked for makes no sense"),
    (status = 429, description = "Too many look already"),
))]
async fn trace(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    crate::tap::trace(shared, query.as_deref()).await
}

/// The next message that comes, to ask about.
#[utoipa::path(get, path = "/api/v1/next", params(
    ("filter" = Option<String>, Query, description = "Topics as they come; all without it"),
    ("broker" = Option<String>, Query, description = "Only from this broker"),
), responses(
    (status = 200, description = "With the first KiB of its payload", body = Message),
    (status = 400, description = "What is asked for makes no sense"),
    (status = 404, description = "None has come within 20 s"),
    (status = 429, description = "Too many look already"),
))]
async fn next(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    crate::explain::next(shared, query.as_deref()).await
}

/// What would become of a message, without sending it.
#[utoipa::path(post, path = "/api/v1/explain", request_body = Sample, responses(
    (status = 200, description = "What would become of it", body = Told),
    (status = 400, description = "This is no sample"),
    (status = 408, description = "The sample did not come in time"),
    (status = 409, description = "The plugins cannot be built any more, and why"),
    (status = 413, description = "A sample is at most 1 MiB"),
))]
async fn explain(State(shared): State<Shared>, body: Body) -> Response {
    crate::explain::explain(shared, body).await
}

/// The configuration as it is on disk.
#[utoipa::path(get, path = "/api/v1/configuration", responses(
    (status = 200, description = "With its comments", body = Configuration),
    (status = 500, description = "The file cannot be read"),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn configuration(State(shared): State<Shared>) -> Response {
    crate::configuration::show(shared).await
}

/// What is wrong with a configuration, with its plugins, and what saving it would change. For those who may save one: it says
/// which files there are.
#[utoipa::path(post, path = "/api/v1/configuration/check", request_body(content = String, content_type = "text/plain"), responses(
    (status = 200, description = "What it would do", body = Checked),
    (status = 400, description = "This is no text"),
    (status = 408, description = "The text did not come in time"),
    (status = 413, description = "A text is at most 1 MiB"),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn check_configuration(State(shared): State<Shared>, body: Body) -> Response {
    crate::configuration::check(shared, body).await
}

/// Saves a configuration in the place of the file, and says what became of it. `If-Match` names the text that was edited.
#[utoipa::path(put, path = "/api/v1/configuration", request_body(content = String, content_type = "text/plain"), params(
    ("If-Match" = Option<String>, Header, description = "The `digest` of the text that was edited, in quotes"),
), responses(
    (status = 200, description = "It is saved, and runs or was refused after all", body = Applied),
    (status = 202, description = "It is saved, and the reload is still under way", body = Applied),
    (status = 400, description = "This is no text"),
    (status = 408, description = "The text did not come in time"),
    (status = 409, description = "The gateway may not save it"),
    (status = 412, description = "Somebody else has saved the file meanwhile"),
    (status = 413, description = "A text is at most 1 MiB"),
    (status = 422, description = "It would be refused, and is not saved", body = Checked),
    (status = 428, description = "`If-Match` is missing"),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn apply_configuration(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Response {
    crate::configuration::apply(shared, &headers, body).await
}

/// Saves what the file said before a configuration was saved here last.
#[utoipa::path(post, path = "/api/v1/configuration/undo", responses(
    (status = 200, description = "It is saved, and runs or was refused after all", body = Applied),
    (status = 202, description = "It is saved, and the reload is still under way", body = Applied),
    (status = 404, description = "There is nothing to undo"),
    (status = 409, description = "The gateway may not save it"),
    (status = 422, description = "It would be refused by now, and is not saved", body = Checked),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn undo_configuration(State(shared): State<Shared>) -> Response {
    crate::configuration::undo(shared).await
}

/// Reads the configuration and the files that it names once more, as SIGHUP has it done.
#[utoipa::path(post, path = "/api/v1/reload", responses(
    (status = 202, description = "It is asked for; what comes of it is in `reload` of the status", body = Outcome),
))]
async fn reload(State(shared): State<Shared>) -> Response {
    shared.reload.notify_one();
    let mut answer = json(&Outcome { message: "asked for; the status says what came of it".to_owned() });
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// More of one broker: its last connections and why they ended, and its subscriptions.
#[utoipa::path(get, path = "/api/v1/brokers/{name}", params(("name" = String, Path)), responses(
    (status = 200, description = "What is known of it; nothing of the box's own", body = LinkDetails),
    (status = 404, description = "There is no such broker", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn broker(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    shown(operate::link(&shared.console, name).await)
}

/// Sends nothing more to a broker: what is for it waits, and as a member of a set with others that are well its messages go to
/// those. It lasts until it goes on, or the gateway starts anew.
#[utoipa::path(post, path = "/api/v1/brokers/{name}/pause", params(("name" = String, Path)), responses(
    (status = 200, description = "It is paused", body = Outcome),
    (status = 404, description = "There is no such broker", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn pause_broker(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    outcome(operate::pause(&shared.console, name, true).await)
}

/// Goes on with a broker that was paused.
#[utoipa::path(post, path = "/api/v1/brokers/{name}/resume", params(("name" = String, Path)), responses(
    (status = 200, description = "It goes on", body = Outcome),
    (status = 404, description = "There is no such broker", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
async fn resume_broker(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    outcome(operate::pause(&shared.console, name, false).await)
}

/// Messages that are kept aside.
#[utoipa::path(get, path = "/api/v1/parked", responses(
    (status = 200, description = "In the order of their numbers, with the first 100 bytes of each payload", body = Vec<Parked>),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(crate) async fn parked(State(shared): State<Shared>) -> Response {
    answered(operate::parked(&shared.console).await)
}

/// One of them.
#[utoipa::path(get, path = "/api/v1/parked/{number}", params(("number" = u64, Path)), responses(
    (status = 400, description = "This is no number"),
    (status = 503, description = "The gateway has too much before it; try again"),
    (status = 200, description = "With the first 4 KiB of its payload", body = Parked),
    (status = 404, description = "There is none of this number", body = Outcome),
))]
async fn show_parked(State(shared): State<Shared>, Path(number): Path<u64>) -> Response {
    shown(operate::parked_one(&shared.console, number).await)
}

/// Forgets one of them.
#[utoipa::path(delete, path = "/api/v1/parked/{number}", params(("number" = u64, Path)), responses(
    (status = 202, description = "It is done, and not on disk yet: a crash now would undo it", body = Outcome),
    (status = 400, description = "This is no number"),
    (status = 503, description = "The gateway has too much before it; try again"),
    (status = 200, description = "It is gone", body = Outcome),
    (status = 404, description = "There is none of this number", body = Outcome),
))]
async fn delete_parked(State(shared): State<Shared>, Path(number): Path<u64>) -> Response {
    outcome(operate::delete(&shared.console, number).await)
}

/// Lets one enter its route again, or sends it to the target that did not take it, or to another as it is.
#[utoipa::path(post, path = "/api/v1/parked/{number}/replay", params(
    ("number" = u64, Path),
    ("to" = Option<String>, Query, description = "A broker or a target set"),
), responses(
    (status = 400, description = "This is no number"),
    (status = 503, description = "The gateway has too much before it; try again"),
    (status = 200, description = "It is on its way", body = Outcome),
    (status = 404, description = "There is none of this number", body = Outcome),
    (status = 409, description = "Its route is not configured any more, or there is no such target", body = Outcome),
))]
async fn replay_parked(State(shared): State<Shared>, Path(number): Path<u64>, RawQuery(query): RawQuery) -> Response {
    outcome(operate::replay(&shared.console, number, query::text(query.as_deref(), "to")).await)
}

/// What waits for a target waits for another one from here on.
#[utoipa::path(post, path = "/api/v1/waiting/{target}/move", params(
    ("target" = String, Path, description = "For which it waits; it need not be configured"),
    ("to" = String, Query, description = "A broker or a target set that is configured"),
), responses(
    (status = 503, description = "The gateway has too much before it; try again"),
    (status = 202, description = "It is done, and not on disk yet: a crash now would undo it", body = Outcome),
    (status = 200, description = "How many messages that are", body = Outcome),
    (status = 404, description = "Nothing waits there, or there is no such target", body = Outcome),
))]
async fn move_waiting(State(shared): State<Shared>, Path(from): Path<String>, RawQuery(query): RawQuery) -> Response {
    let to = query::text(query.as_deref(), "to").unwrap_or_default();
    outcome(operate::redirect(&shared.console, Redirect::Move { from, to }).await)
}

/// What waits for a target is dropped, and counted as `discarded`.
#[utoipa::path(post, path = "/api/v1/waiting/{target}/discard", params(
    ("target" = String, Path, description = "For which it waits; it need not be configured"),
), responses(
    (status = 503, description = "The gateway has too much before it; try again"),
    (status = 202, description = "It is done, and not on disk yet: a crash now would undo it", body = Outcome),
    (status = 200, description = "How many messages that were", body = Outcome),
    (status = 404, description = "Nothing waits there", body = Outcome),
))]
async fn discard_waiting(State(shared): State<Shared>, Path(from): Path<String>) -> Response {
    outcome(operate::redirect(&shared.console, Redirect::Discard { from }).await)
}

/// What was found, or why it was not.
fn shown(found: Result<impl Serialize, Refused>) -> Response {
    match found {
        Ok(found) => json(&found),
        Err(refused) => outcome(Err(refused)),
    }
}

fn outcome(answer: Result<String, Refused>) -> Response {
    let (status, message) = match answer {
        Ok(message) => (StatusCode::OK, message),
        Err(refused) => (refused.status(), refused.to_string()),
    };
    let mut answer = json(&Outcome { message });
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_is_described() {
        let routed = include_str!("api.rs").split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let routed: BTreeSet<String> = routed.filter(|path| path.starts_with('/')).map(str::to_owned).collect();
        let mut described: BTreeSet<String> = Description::openapi().paths.paths.into_keys().collect();
        described.insert("/api/v1/openapi.json".to_owned());
        assert_eq!(routed, described);
    }
}
