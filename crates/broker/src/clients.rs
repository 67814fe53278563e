//! What there is to say of clients, for people: who they are, what they do, what waits for them; and sending one away.

use crate::broker_state::BrokerState;
use crate::disconnect::Leaving;
use crate::session::Session;
use std::time::Instant;
use tidegate_mqtt::{ReasonCode, Version};

/// One client, connected or away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its client identifier.
    pub client_id: String,
    /// The user that it is.
    pub username: Option<String>,
    /// How it is connected; `None` while it is away.
    pub connection: Option<ClientConnection>,
    /// While it is away: since when, in milliseconds since the epoch.
    pub away_since_ms: Option<u64>,
    /// How long its session outlives its connection, in seconds.
    pub session_expiry_s: u32,
    /// What it has subscribed to.
    pub subscriptions: usize,
    /// Messages that wait for it.
    pub queued: usize,
    /// What they weigh, in bytes.
    pub queued_bytes: usize,
    /// Messages that it has been sent and not acknowledged.
    pub in_flight: usize,
    /// Messages that it has published, since its session or the process began.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConnection {
    /// Its address and port, or `unix`.
    pub peer: String,
    /// What it speaks.
    pub version: Version,
    /// Below that: `mqtt`, `mqtts`, `ws`, `wss` or `unix`.
    pub transport: &'static str,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
    /// 0: none.
    pub keep_alive_s: u16,
}

/// More of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDetails {
    /// What everybody has.
    pub client: Client,
    /// By filter.
    pub subscriptions: Vec<ClientSubscription>,
    /// Where its will goes, if it has one.
    pub will_topic: Option<String>,
}

/// What a client has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSubscription {
    /// As asked for, with `$share/GROUP/` if it is shared.
    pub filter: String,
    /// As granted.
    pub qos: u8,
}

/// Which clients, and how many.
#[derive(Debug, Clone, Default)]
pub struct ClientsWanted {
    /// Only those with this in their identifier, user name or address.
    pub matching: Option<String>,
    /// Only those who are connected, or who are not.
    pub connected: Option<bool>,
    /// At most so many, by their identifiers.
    pub most: usize,
}

impl ClientsWanted {
    fn wants(&self, session: &Session) -> bool {
        let connection = session.connection.as_ref();
        let has = |text: &str| {
            session.client_id.contains(text)
                || session.username.as_ref().is_some_and(|name| name.contains(text))
                || connection.is_some_and(|connection| connection.peer.to_string().contains(text))
        };
        self.connected.is_none_or(|connected| connected == connection.is_some())
            && self.matching.as_deref().is_none_or(has)
    }
}

impl BrokerState {
    /// The clients that are wanted, by their identifiers, and how many there are of them.
    pub(crate) fn clients(&self, wanted: &ClientsWanted) -> (Vec<Client>, usize) {
        let mut found: Vec<&Session> =
            self.sessions.iter().map(|(_, session)| session).filter(|session| wanted.wants(session)).collect();
        let count = found.len();
        found.sort_unstable_by(|one, other| one.client_id.cmp(&other.client_id));
        found.truncate(wanted.most);
        (found.into_iter().map(client).collect(), count)
    }

    /// One of them.
    pub(crate) fn client(&self, client_id: &str) -> Option<ClientDetails> {
        let session = self.sessions.of_client(client_id).and_then(|slot| self.sessions.get(slot))?;
        let subscriptions = session.subscriptions.iter();
        let mut subscriptions: Vec<_> = subscriptions
            .map(|(filter, how)| ClientSubscription { filter: filter.as_str().to_owned(), qos: how.qos as u8 })
            .collect();
        subscriptions.sort_unstable_by(|one, other| one.filter.cmp(&other.filter));
        let will_topic = session.will.as_ref().map(|will| will.message.topic.as_str().to_owned());
        Some(ClientDetails { client: client(session), subscriptions, will_topic })
    }

    /// Ends a client's connection; its will is published. `forget`: its session, too, with all that waits for it. Returns whether
    /// there was anything to end; `None`: nobody knows the client.
    pub(crate) fn disconnect(&mut self, client_id: &str, forget: bool, now: Instant) -> Option<bool> {
        let slot = self.sessions.of_client(client_id)?;
        let was_connected = self.sessions.get(slot)?.connection.is_some();
        self.throw_out(slot, ReasonCode::ADMINISTRATIVE_ACTION, Leaving::Lost, now);
        // A session without expiry has ended with its connection.
        let is_there = self.sessions.of_client(client_id) == Some(slot);
        if forget && is_there {
            self.end_session(slot, now);
        }
        Some(was_connected || forget)
    }
}

fn client(session: &Session) -> Client {
    let counts = session.counts;
    let connection = session.connection.as_ref().map(|connection| ClientConnection {
        peer: connection.peer.to_string(),
        version: connection.session.borrow().version(),
        transport: connection.scheme.word(),
        since_ms: connection.since_ms,
        keep_alive_s: session.keep_alive_s,
    });
    Client {
        client_id: session.client_id.to_string(),
        username: session.username.as_ref().map(ToString::to_string),
        in_flight: session.in_flight.iter().count(),
        connection,
        away_since_ms: session.away_since_ms,
        session_expiry_s: session.expiry_s,
        subscriptions: session.subscriptions.len(),
        queued: session.queue.len(),
        queued_bytes: session.queue.bytes(),
        received: counts.received,
        refused: counts.refused,
        sent: counts.sent,
        dropped: counts.dropped,
        held_up: counts.held_up,
    }
}
