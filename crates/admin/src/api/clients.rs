//! The clients of the box's own brokers: who they are, and sending one away.

use super::{Outcome, outcome, shown};
use crate::model::{ClientDetails, Clients};
use crate::operate;
use crate::query;
use crate::serve::Shared;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use tidegate_gateway::ClientsWanted;

/// So many are listed, and so many at most if somebody asks for more.
const LISTED: u64 = 1000;
const LISTED_MAX: u64 = 100_000;

/// The clients of one of the box's own brokers, connected or away.
#[utoipa::path(get, path = "/api/v1/brokers/{name}/clients", params(
    ("name" = String, Path),
    ("match" = Option<String>, Query, description = "Only with this text in identifier, user name or address"),
    ("connected" = Option<bool>, Query, description = "Only those who are connected, or only those who are away"),
    ("limit" = Option<u64>, Query, description = "At most so many: 1,000 without it, 100,000 at most"),
), responses(
    (status = 200, description = "By their identifiers", body = Clients),
    (status = 404, description = "There is no such broker", body = Outcome),
    (status = 409, description = "It is none of the box's own", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(crate) async fn clients(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let connected = query::text(query, "connected").is_some().then(|| query::flag(query, "connected"));
    let most = query::number(query, "limit").unwrap_or(LISTED).min(LISTED_MAX);
    let wanted = ClientsWanted { matching: query::text(query, "match"), connected, most: most as usize };
    shown(operate::clients(&shared.console, name, wanted).await)
}

/// One of them, with its subscriptions.
#[utoipa::path(get, path = "/api/v1/brokers/{name}/client", params(
    ("name" = String, Path),
    ("id" = String, Query, description = "Its client identifier"),
), responses(
    (status = 200, description = "What is known of it", body = ClientDetails),
    (status = 404, description = "There is no such client, or no such broker", body = Outcome),
    (status = 409, description = "It is none of the box's own", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(crate) async fn client(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let id = query::text(query.as_deref(), "id").unwrap_or_default();
    shown(operate::client(&shared.console, name, id).await)
}

/// Ends the connection of a client; its will is published, and it may come back.
#[utoipa::path(post, path = "/api/v1/brokers/{name}/client/disconnect", params(
    ("name" = String, Path),
    ("id" = String, Query, description = "Its client identifier"),
    ("forget" = Option<bool>, Query, description = "Its session ends, too, with its subscriptions and all that waits for it"),
), responses(
    (status = 200, description = "It is disconnected, or was not connected", body = Outcome),
    (status = 404, description = "There is no such client, or no such broker", body = Outcome),
    (status = 409, description = "It is none of the box's own", body = Outcome),
    (status = 503, description = "The gateway has too much before it; try again"),
))]
pub(crate) async fn disconnect(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let id = query::text(query.as_deref(), "id").unwrap_or_default();
    outcome(operate::disconnect(&shared.console, name, id, query::flag(query.as_deref(), "forget")).await)
}
