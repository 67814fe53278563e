//! The clients of the box's own brokers.

use super::made::ms;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use tidegate_gateway as gateway;
use utoipa::ToSchema;

/// Clients of one of the box's own brokers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Clients {
    /// By their identifiers, as many as were asked for.
    pub clients: Vec<Client>,
    /// How many there are of these.
    pub count: usize,
    /// Addresses from which somebody said a wrong password of late, the most often first.
    pub failed_logins: Vec<FailedLogins>,
}

/// One client, connected or away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Its client identifier.
    pub client_id: String,
    /// The user that it is.
    pub username: Option<String>,
    /// How it is connected; not there while it is away.
    pub connection: Option<ClientConnection>,
    /// While it is away: since when.
    pub away_since_ms: Option<u64>,
    /// How long its session outlives its connection, in seconds; 4294967295: for ever.
    pub session_expiry_s: u32,
    /// How many filters it has subscribed to.
    pub subscriptions: usize,
    /// Messages that wait for it.
    pub queued: usize,
    /// What they weigh.
    pub queued_bytes: usize,
    /// Messages that it was sent and has not acknowledged.
    pub in_flight: usize,
    /// Messages that it has published, since its session or the gateway began.
    pub received: u64,
    /// Of these, those that were not taken.
    pub refused: u64,
    /// Messages that it was sent, since then.
    pub sent: u64,
    /// Messages for it that it was not sent, since then.
    pub dropped: u64,
    /// How often it was held up for publishing faster than it may.
    pub held_up: u64,
}

/// How a client is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientConnection {
    /// Its address and port, or `unix`.
    pub address: String,
    /// What it speaks: `5`, `3.1.1` or `3.1`.
    pub version: String,
    /// And below that: `mqtt`, `mqtts`, `ws`, `wss` or `unix`.
    pub transport: String,
    /// Since when.
    pub since_ms: u64,
    /// 0: none.
    pub keep_alive_s: u16,
}

/// An address from which somebody said a wrong password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailedLogins {
    /// The address, or the first one of an IPv6 network of 64 bits.
    pub address: String,
    /// How often, without ten minutes between two.
    pub count: u32,
    /// When that was the last time.
    pub last_ms: u64,
}

/// More of one client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientDetails {
    /// What the list has of it.
    pub client: Client,
    /// What it has subscribed to, by filter.
    pub subscriptions: Vec<ClientSubscription>,
    /// Where its will goes, if it has one.
    pub will_topic: Option<String>,
}

/// What a client has subscribed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientSubscription {
    /// The topic filter, with `$share/GROUP/` if it is shared.
    pub filter: String,
    /// As granted.
    pub qos: u8,
}

impl Clients {
    pub(crate) fn of(found: gateway::ClientsFound) -> Self {
        let now = SystemTime::now();
        let failed = |one: gateway::FailedLogins| FailedLogins {
            address: one.address.to_string(),
            count: one.count,
            last_ms: ms(now - one.ago),
        };
        Self {
            clients: found.clients.into_iter().map(Client::of).collect(),
            count: found.count,
            failed_logins: found.failed_logins.into_iter().map(failed).collect(),
        }
    }
}

impl Client {
    fn of(client: gateway::Client) -> Self {
        let connection = client.connection.map(|connection| ClientConnection {
            address: connection.peer,
            version: connection.version.to_string(),
            transport: connection.transport.to_owned(),
            since_ms: connection.since_ms,
            keep_alive_s: connection.keep_alive_s,
        });
        let gateway::Client { client_id, username, away_since_ms, session_expiry_s, subscriptions, queued, .. } =
            client;
        let gateway::Client { queued_bytes, in_flight, received, refused, sent, dropped, held_up, .. } = client;
        Self {
            client_id,
            username,
            connection,
            away_since_ms,
            session_expiry_s,
            subscriptions,
            queued,
            queued_bytes,
            in_flight,
            received,
            refused,
            sent,
            dropped,
            held_up,
        }
    }
}

impl ClientDetails {
    pub(crate) fn of(details: gateway::ClientDetails) -> Self {
        let subscription = |one: gateway::ClientSubscription| ClientSubscription { filter: one.filter, qos: one.qos };
        Self {
            client: Client::of(details.client),
            subscriptions: details.subscriptions.into_iter().map(subscription).collect(),
            will_topic: details.will_topic,
        }
    }
}
