//! Messages with what was decided on each.

use crate::serve::Shared;
use axum::extract::{RawQuery, State};
use axum::response::Response;

/// Messages with what is decided on each, to be decided again elsewhere: `looking` as soon as they are recorded, an event `block` for
/// the next bytes of a recording in base64, and `end` with how many messages it has.
#[utoipa::path(get, path = "/api/v1/record", params(
    ("filter" = Option<String>, Query, description = "Topics as they come; all without it"),
    ("broker" = Option<String>, Query, description = "Only from this broker"),
    ("route" = Option<String>, Query, description = "Only what enters this route"),
    ("rate" = Option<u64>, Query, description = "At most so many a second: 5,000 without it, 50,000 at most"),
    ("count" = Option<u64>, Query, description = "So many messages; until the reader ends it without it"),
    ("seconds" = Option<u64>, Query, description = "For so long at most"),
    ("payloads" = Option<String>, Query, description = "`whole`, `hashed` or `none`"),
), responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
    (status = 400, description = "What is asked for makes no sense"),
    (status = 429, description = "Too many look already"),
))]
pub(super) async fn record(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    crate::record::record(shared, query.as_deref()).await
}

/// The last messages with what was decided on each, as many as `recent_messages` of `[gateway]` says.
#[utoipa::path(get, path = "/api/v1/recent", responses(
    (status = 200, description = "A recording; without messages if none are kept", body = crate::model::Recent),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(super) async fn recent(State(shared): State<Shared>) -> Response {
    crate::record::recent(&shared).await
}
