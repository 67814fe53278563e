//! One plugin: its versions, and going back to one.

use super::{Outcome, outcome, shown};
use crate::model::PluginDetails;
use crate::operate;
use crate::query;
use crate::serve::Shared;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

/// More of one plugin: its versions with what each did, and what it remembers.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", params(("name" = String, Path)), responses(
    (status = 200, description = "What is known of it", body = PluginDetails),
    (status = 404, description = "There is no such plugin", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(super) async fn plugin(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    shown(operate::plugin(&shared.console, name).await)
}

/// Has an earlier version of a plugin run again: the one before, or the one whose digest begins with `to`. It runs, through
/// restarts too, until another component is saved, or the plugin is configured in another way.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/rollback", params(
    ("name" = String, Path),
    ("to" = Option<String>, Query, description = "How the digest of the version begins, or `#` and its number; the version before without it"),
), responses(
    (status = 200, description = "It runs", body = Outcome),
    (status = 404, description = "There is no such plugin or version", body = Outcome),
    (status = 409, description = "It cannot run; what ran goes on", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(super) async fn roll_back(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let to = query::text(query.as_deref(), "to").filter(|digest| !digest.is_empty());
    outcome(operate::roll_back(&shared.console, name, to).await)
}

/// Has the candidate of a plugin run in its place, through restarts too, until another component is saved, or the plugin is
/// configured in another way.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/promote", params(("name" = String, Path)), responses(
    (status = 200, description = "It runs", body = Outcome),
    (status = 404, description = "There is no such plugin, or nothing is tried beside it", body = Outcome),
    (status = 409, description = "It cannot run; what ran goes on", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(super) async fn promote(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    outcome(operate::end_trial(&shared.console, name, true).await)
}

/// Tries the candidate of a plugin no more, until it is another one.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/abandon", params(("name" = String, Path)), responses(
    (status = 200, description = "It is tried no more", body = Outcome),
    (status = 404, description = "There is no such plugin, or nothing is tried beside it", body = Outcome),
    (status = 409, description = "It cannot be; it is tried on", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(super) async fn abandon(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    outcome(operate::end_trial(&shared.console, name, false).await)
}
