//! Sessions: what the broker keeps of a client, connected or not.

use crate::access::{Access, Action, Certificate, ClientNames, Permits};
use crate::connection::Connection;
use crate::in_flight::InFlight;
use crate::log_limit::PublisherLogLimit;
use crate::queue::Queue;
use crate::replays::Replays;
use crate::subscribed::SubscribedFilters;
use ahash::AHashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_message::{ByteString, Topic};
use tidegate_mqtt::{AckToken, Flow, Will};
use tidegate_persistence::Taken;

/// Names a session for as long as it lives; a later one in the same slot has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// How often a session was taken over from a connected client of late.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Takeovers {
    last: Option<Instant>,
    times: u32,
}

/// Takeovers that come faster than this belong together.
const TAKEOVERS_WITHIN: Duration = Duration::from_secs(60);

impl Takeovers {
    /// One more; how many there were of late.
    pub(crate) fn another(&mut self, now: Instant) -> u32 {
        let is_one_more = self.last.is_some_and(|last| now.saturating_duration_since(last) < TAKEOVERS_WITHIN);
        self.times = if is_one_more { self.times.saturating_add(1) } else { 1 };
        self.last = Some(now);
        self.times
    }
}

/// What outlives a connection.
pub(crate) struct Session {
    pub(crate) generation: u32,
    pub(crate) client_id: ByteString,
    pub(crate) username: Option<ByteString>,
    /// The names in the certificate that its client has shown last; none, if it has shown none; `None`: that is not known, since the process
    /// has begun anew.
    pub(crate) certificate: Option<Box<[Box<str>]>>,
    /// What its client may do; `None`: everything.
    pub(crate) permits: Option<Box<Permits>>,
    /// `None` while the client is away.
    pub(crate) connection: Option<Rc<Connection>>,
    /// While the client is away: what is in flight.
    pub(crate) flow: Option<Box<Flow>>,
    pub(crate) queue: Queue,
    /// Retained messages that it is still to be sent for new subscriptions.
    pub(crate) replays: Replays,
    /// What is in flight to the client.
    pub(crate) in_flight: InFlight,
    pub(crate) subscriptions: SubscribedFilters,
    /// As granted, in seconds; 0 ends the session with its connection.
    pub(crate) expiry_s: u32,
    /// As in force on its last connection, in seconds; 0: none.
    pub(crate) keep_alive_s: u16,
    /// Its number in the store, if it is kept there.
    pub(crate) number: Option<u32>,
    /// While the client is away: since when, in milliseconds since the epoch.
    pub(crate) away_since_ms: Option<u64>,
    /// Of its QoS 2 messages that were taken over and not released, as far as the store knows of them.
    pub(crate) taken: Vec<(u16, Taken)>,
    /// Packet ids of those of them that the gateway was given, and may have recorded.
    pub(crate) routed: Vec<u16>,
    /// Calls itself a bridge: is sent nothing back, and retain flags as published.
    pub(crate) bridge: bool,
    pub(crate) will: Option<Box<Will>>,
    /// While the client is away: when the will is published.
    pub(crate) will_at: Option<Instant>,
    /// While the client is away: when the session ends.
    pub(crate) ends_at: Option<Instant>,
    /// How many of the client's messages wait for the gateway's acknowledgement.
    pub(crate) unacknowledged: usize,
    /// What the gateway acknowledged while the client was away.
    pub(crate) late_acks: Vec<AckToken>,
    /// How often another connection has taken it over of late.
    pub(crate) takeovers: Takeovers,
    /// Of its messages that were refused.
    pub(crate) named: PublisherLogLimit,
    pub(crate) counts: Counts,
}

/// What a session's client has published and was sent, since the session was made or the process began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) refused: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    /// How often it was held up for publishing too fast.
    pub(crate) held_up: u64,
}

impl Session {
    pub(crate) fn new(client_id: ByteString) -> Self {
        Self {
            generation: 0,
            client_id,
            username: None,
            certificate: None,
            permits: None,
            connection: None,
            flow: None,
            queue: Queue::default(),
            replays: Replays::default(),
            in_flight: InFlight::default(),
            subscriptions: SubscribedFilters::default(),
            expiry_s: 0,
            keep_alive_s: 0,
            number: None,
            away_since_ms: None,
            taken: Vec::new(),
            routed: Vec::new(),
            bridge: false,
            will: None,
            will_at: None,
            ends_at: None,
            unacknowledged: 0,
            late_acks: Vec::new(),
            takeovers: Takeovers::default(),
            named: PublisherLogLimit::default(),
            counts: Counts::default(),
        }
    }

    /// Asks these rules what its client may do.
    pub(crate) fn ask(&mut self, access: Option<&Access>) {
        let certificate = self.certificate.as_deref().map_or(Certificate::Unknown, Certificate::Shown);
        let names = ClientNames { user: self.username.as_deref(), client_id: &self.client_id, certificate };
        self.permits = access.map(|access| Box::new(access.permits(names)));
    }

    /// Whether its client may do this on a topic.
    pub(crate) fn may(&self, action: Action, topic: &Topic) -> bool {
        self.permits.as_ref().is_none_or(|permits| permits.allow(action, topic))
    }

    /// Whether a message for it may be sent before anything that waits.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.queue.is_empty() && self.replays.is_empty()
    }

    /// Its number in the store, if what waits for it is kept there.
    pub(crate) fn kept(&self) -> Option<u32> {
        self.number.filter(|_| self.expiry_s > 0)
    }

    /// When something is to be done about an absent client.
    pub(crate) fn due(&self) -> Option<Instant> {
        match (self.will_at, self.ends_at) {
            (Some(will), Some(end)) => Some(will.min(end)),
            (one, other) => one.or(other),
        }
    }
}

/// All sessions, by slot and by client id.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    by_id: AHashMap<ByteString, u32>,
    /// Of the session made last.
    generation: u32,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(crate) fn find(&self, key: SessionKey) -> Option<&Session> {
        self.get(key.slot).filter(|session| session.generation == key.generation)
    }

    pub(crate) fn find_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.get_mut(key.slot).filter(|session| session.generation == key.generation)
    }

    pub(crate) fn key(&self, slot: u32) -> Option<SessionKey> {
        self.get(slot).map(|session| SessionKey { slot, generation: session.generation })
    }

    pub(crate) fn of_client(&self, client_id: &str) -> Option<u32> {
        self.by_id.get(client_id).copied()
    }

    pub(crate) fn insert(&mut self, mut session: Session) -> SessionKey {
        self.generation = self.generation.wrapping_add(1);
        session.generation = self.generation;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.by_id.insert(session.client_id.clone(), slot);
        self.slots[slot as usize] = Some(Box::new(session));
        SessionKey { slot, generation: self.generation }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Box<Session>> {
        let session = self.slots.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&session.client_id);
        self.free.push(slot);
        Some(session)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().flatten().map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.slots.iter().enumerate().filter_map(|(slot, session)| Some((slot as u32, session.as_deref()?)))
    }
}
