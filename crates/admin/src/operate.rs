//! What an operator does through the admin server.

use crate::model::{ClientDetails, Clients, LinkDetails, Parked, PluginDetails, beginning};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;
use tidegate_gateway::{Busy, CandidateError, ClientsWanted, Console, NoClients, Redirect, ReplayError, RollbackError};

/// How much of a payload is shown.
const PAYLOAD_SHOWN_BYTES: usize = 4096;
/// And of each in a list: to tell which is which.
const PAYLOAD_LISTED_BYTES: usize = 100;

/// Why something is not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Busy,
    /// There is no such thing.
    Unknown(String),
    /// It cannot be done as things are.
    Conflict(String),
    /// It is done, and not on disk yet.
    NotDurable(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy => f.write_str("busy, try again"),
            Self::Unknown(words) | Self::Conflict(words) => f.write_str(words),
            Self::NotDurable(words) => write!(f, "{words}, and not on disk yet: a crash now would undo it"),
        }
    }
}

impl Refused {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::NotDurable(_) => StatusCode::ACCEPTED,
        }
    }
}

impl From<Busy> for Refused {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

/// What was done, in words.
pub(crate) type Answer = Result<String, Refused>;

/// By plugin and key, in base64.
pub(crate) async fn states(console: &Console) -> Result<BTreeMap<String, BTreeMap<String, String>>, Busy> {
    let all = console.ask(tidegate_gateway::Gateway::states).await?;
    let coded =
        |keys: BTreeMap<String, Vec<u8>>| keys.into_iter().map(|(key, value)| (key, BASE64.encode(value))).collect();
    Ok(all.into_iter().map(|(plugin, keys)| (plugin, coded(keys))).collect())
}

pub(crate) async fn parked(console: &Console) -> Result<Vec<Parked>, Busy> {
    console.ask(|gateway| gateway.parked(|number, parked| Parked::of(number, parked, PAYLOAD_LISTED_BYTES))).await
}

pub(crate) async fn parked_one(console: &Console, number: u64) -> Result<Parked, Refused> {
    let look = move |parked: &tidegate_gateway::Parked| {
        let mut shown = Parked::of(number, parked, PAYLOAD_SHOWN_BYTES);
        let bytes = &parked.message.payload;
        shown.payload_base64 = Some(BASE64.encode(&bytes[..bytes.len().min(PAYLOAD_SHOWN_BYTES)]));
        shown.payload = beginning(bytes, PAYLOAD_SHOWN_BYTES);
        shown
    };
    console.ask(move |gateway| gateway.parked_one(number, look)).await?.ok_or_else(|| unknown(number))
}

fn unknown(number: u64) -> Refused {
    Refused::Unknown(format!("no message {number} is parked"))
}

pub(crate) async fn replay(console: &Console, number: u64, to: Option<String>) -> Answer {
    match console.ask(move |gateway| gateway.replay(number, to.as_deref())).await? {
        Ok(()) => Ok(format!("message {number} is on its way again")),
        Err(ReplayError::NoTarget(target)) => {
            let words = format!("there is no broker or target set `{target}`; name another with `to`");
            Err(Refused::Conflict(words))
        }
        Err(ReplayError::Unknown) => Err(unknown(number)),
        Err(ReplayError::NoRoute(route)) => {
            let words = format!("its route `{route}` is not configured any more; delete it or add the route");
            Err(Refused::Conflict(words))
        }
    }
}

/// An operator is told that something is done when a crash cannot undo it any more.
async fn once_durable(console: &Console, words: String) -> Answer {
    if console.durable().await? { Ok(words) } else { Err(Refused::NotDurable(words)) }
}

pub(crate) async fn delete(console: &Console, number: u64) -> Answer {
    match console.ask(move |gateway| gateway.delete_parked(number)).await? {
        true => once_durable(console, format!("message {number} is deleted")).await,
        false => Err(unknown(number)),
    }
}

/// Sends nothing more to a broker, or goes on.
pub(crate) async fn pause(console: &Console, name: String, paused: bool) -> Answer {
    let asked = name.clone();
    match console.ask(move |gateway| gateway.pause(&asked, paused)).await? {
        true if paused => Ok(format!("nothing more is sent to `{name}`, until it goes on or the gateway starts anew")),
        true => Ok(format!("`{name}` goes on")),
        false => Err(Refused::Unknown(format!("there is no broker `{name}`"))),
    }
}

pub(crate) async fn link(console: &Console, name: String) -> Result<LinkDetails, Refused> {
    let asked = name.clone();
    let found = console.ask(move |gateway| gateway.link(&asked)).await?;
    found.map(LinkDetails::of).ok_or_else(|| Refused::Unknown(format!("there is no broker `{name}`")))
}

impl From<NoClients> for Refused {
    fn from(none: NoClients) -> Self {
        match none {
            NoClients::NotOwn => Self::Conflict(none.to_string()),
            NoClients::NoBroker | NoClients::NoClient => Self::Unknown(none.to_string()),
        }
    }
}

pub(crate) async fn clients(console: &Console, broker: String, wanted: ClientsWanted) -> Result<Clients, Refused> {
    let found = console.ask(move |gateway| gateway.clients(&broker, &wanted)).await?;
    Ok(Clients::of(found?))
}

pub(crate) async fn client(console: &Console, broker: String, id: String) -> Result<ClientDetails, Refused> {
    let found = console.ask(move |gateway| gateway.client(&broker, &id)).await?;
    Ok(ClientDetails::of(found?))
}

/// Ends the connection of a client, and with `forget` its session.
pub(crate) async fn disconnect(console: &Console, broker: String, id: String, forget: bool) -> Answer {
    let asked = id.clone();
    let ended = console.ask(move |gateway| gateway.disconnect(&broker, &asked, forget)).await??;
    Ok(match (ended, forget) {
        (true, true) => format!("`{id}` is disconnected, and nothing is kept for it"),
        (true, false) => format!("`{id}` is disconnected; it may come back"),
        (false, _) => format!("`{id}` is not connected"),
    })
}

pub(crate) async fn plugin(console: &Console, name: String) -> Result<PluginDetails, Refused> {
    let asked = name.clone();
    let found = console.ask(move |gateway| gateway.plugin(&asked)).await?;
    found.map(PluginDetails::of).ok_or_else(|| Refused::Unknown(format!("there is no plugin `{name}`")))
}

/// An earlier version of a plugin runs again.
pub(crate) async fn roll_back(console: &Console, plugin: String, digest: Option<String>) -> Answer {
    match console.roll_back(plugin, digest).await? {
        Ok(words) => Ok(words),
        Err(error @ RollbackError::Refused(_)) => Err(Refused::Conflict(error.to_string())),
        Err(error) => Err(Refused::Unknown(error.to_string())),
    }
}

/// A candidate runs in the place of its plugin, or is tried no more.
pub(crate) async fn end_trial(console: &Console, plugin: String, promote: bool) -> Answer {
    match console.end_trial(plugin, promote).await? {
        Ok(words) => Ok(words),
        Err(error @ CandidateError::Refused(_)) => Err(Refused::Conflict(error.to_string())),
        Err(error) => Err(Refused::Unknown(error.to_string())),
    }
}

pub(crate) async fn redirect(console: &Console, what: Redirect) -> Answer {
    match console.ask(move |gateway| gateway.redirect(&what)).await? {
        Ok(count) => once_durable(console, format!("{count} messages")).await,
        Err(error) => Err(Refused::Unknown(error.to_string())),
    }
}
