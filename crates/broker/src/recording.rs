//! What the broker writes down, so that it outlives the process: sessions that outlive their connections, what waits for them
//! and is in flight to them, retained messages, wills. See [`tidegate_persistence`].
//!
//! The rule of all of it: what a client is told, it is told when the record of it is durable. The packet stands in its
//! write buffer meanwhile, and the connection is [held](crate::connection::Connection::hold) from there on.

use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::expiry::wall_ms;
use crate::inbox::{LocalAck, LocalRelease};
use crate::parcel::{How, Parcel};
use crate::publisher::{Publisher, RetainedBy};
use crate::session::{Session, SessionKey};
use crate::settled::Settled;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::ByteString;
use tidegate_mqtt::AckToken;
use tidegate_persistence::{self as persistence, CopyId, Draft, Handover, Head, NewCopy, Origin, Snapshot, Taken};

/// An instant in milliseconds since the epoch.
fn wall_of(at: Instant, now: Instant) -> u64 {
    wall_ms() + at.saturating_duration_since(now).as_millis() as u64
}

/// What is written down with a message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recorded {
    /// It is retained.
    pub(crate) is_retained: bool,
    pub(crate) handover: Option<Handover>,
    pub(crate) origin: Option<Origin>,
}

impl Session {
    /// What the store is to know of the client.
    pub(crate) fn head(&self) -> Head {
        let will = self.will.as_ref();
        Head {
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            expiry_s: self.expiry_s,
            keep_alive_s: self.keep_alive_s,
            bridge: self.bridge,
            will: will.map(|will| persistence::Will { message: will.message.clone(), delay_s: will.delay_s }),
        }
    }

    /// Everything but its messages.
    fn snapshot(&self) -> Snapshot {
        let subscriptions = self.subscriptions.iter().map(|(filter, how)| how.to(filter));
        Snapshot {
            head: self.head(),
            away_since_ms: self.away_since_ms,
            subscriptions: subscriptions.collect(),
            taken: self.taken.clone(),
        }
    }

    /// Of its messages, all that are kept.
    pub(crate) fn copies(&self) -> Vec<CopyId> {
        let waits = self.queue.iter().filter_map(|queued| queued.copy);
        waits.chain(self.in_flight.iter().filter_map(|message| message.copy)).collect()
    }

    /// A packet id of its client is taken over.
    pub(crate) fn took(&mut self, packet_id: u16, taken: Taken) {
        match self.taken.iter_mut().find(|(known, _)| *known == packet_id) {
            Some((_, before)) => *before = taken,
            None => self.taken.push((packet_id, taken)),
        }
    }
}

impl BrokerState {
    /// The client has its session: what is known of it is written down, if it is to outlive the connection.
    pub(crate) fn keep_session(&mut self, key: SessionKey) {
        let (Some(store), Some(session)) = (&mut self.store, self.sessions.find_mut(key)) else { return };
        session.away_since_ms = None;
        match session.number {
            Some(number) => store.connected(number, &session.head()),
            None if session.expiry_s > 0 || session.will.is_some() => {
                session.number = Some(store.session(&session.snapshot()));
                let client = session.client_id.clone();
                if self.remembered.remove(&client) {
                    // What the gateway has recorded of an earlier session says nothing of this one.
                    self.release_routed(key, &client, LocalRelease::ALL);
                }
            }
            None => {}
        }
    }

    /// What becomes of the packet id of a QoS 2 message, if its client's session is kept. `awaits`: the gateway has to acknowledge it.
    pub(crate) fn handover(
        &self,
        publisher: Publisher,
        ack: Option<(SessionKey, AckToken)>,
        awaits: bool,
    ) -> Option<Handover> {
        self.store.as_ref()?;
        let (Publisher::Session(slot), Some((_, token))) = (publisher, ack) else { return None };
        let session = self.sessions.get(slot)?.kept().filter(|_| token.exactly_once())?;
        let taken = if awaits { Taken::Partly } else { Taken::Wholly };
        Some(Handover { session, packet_id: token.packet_id(), taken })
    }

    /// Whether its subscribers among the sessions had this message before: it comes again because the gateway had not acknowledged
    /// it when the process ended.
    pub(crate) fn has_partly(&self, publisher: Publisher, handover: Handover) -> bool {
        let Publisher::Session(slot) = publisher else { return false };
        let is_it = |(id, taken): &(u16, Taken)| *id == handover.packet_id && *taken == Taken::Partly;
        self.sessions.get(slot).is_some_and(|session| session.taken.iter().any(is_it))
    }

    /// Writes a message down, for the sessions that it was delivered to and for later ones.
    pub(crate) fn keep_message(&mut self, mut parcel: Parcel<'_>, publisher: Publisher, with: Recorded, now: Instant) {
        let Recorded { is_retained, handover, origin } = with;
        let Some(store) = &mut self.store else { return };
        let mut recorded = handover;
        if is_retained || !parcel.copies.is_empty() {
            let retained_by = match publisher {
                _ if !is_retained => None,
                Publisher::Session(slot) => {
                    let session = self.sessions.get(slot);
                    session.map(|session| persistence::Publisher::Client(session.client_id.clone()))
                }
                Publisher::Local(_) | Publisher::Broker => Some(persistence::Publisher::Gateway),
            };
            let expires_ms = parcel.expires.map(|at| wall_of(at, now));
            let (message, expected) = (parcel.written_down(), parcel.item);
            let copies = &mut parcel.copies;
            let item = store.message(Draft { message, expires_ms, retained_by, copies, handover, origin });
            debug_assert!(expected == Some(item), "it was spoken of by another number");
        } else if let Some(Handover { session, packet_id, taken: Taken::Wholly }) = handover {
            store.took(session, packet_id);
        } else {
            recorded = None;
        }
        if let (Some(handover), Publisher::Session(slot)) = (recorded, publisher)
            && let Some(session) = self.sessions.get_mut(slot)
        {
            session.took(handover.packet_id, handover.taken);
        }
        self.copies = std::mem::take(&mut parcel.copies);
        self.hold_all(&mut parcel);
    }

    /// Everything that waits for this parcel's record: it was written now.
    pub(crate) fn hold_all(&mut self, parcel: &mut Parcel<'_>) {
        let sequence = self.recorded().sequence;
        for (connection, position) in parcel.holds.drain(..) {
            self.hold(&connection, position, Settled { sequence, promise: 0 });
        }
    }

    /// From this byte on the client is told nothing before so much is settled.
    pub(crate) fn hold(&mut self, connection: &Rc<Connection>, position: u64, wanted: Settled) {
        let is_settled =
            wanted.promise == 0 && self.store.as_ref().is_none_or(|store| wanted.sequence <= store.durable());
        if !is_settled && connection.hold(position, wanted) {
            self.held.push(connection.clone());
        }
    }

    /// Up to where something was recorded or promised; nothing, where nothing is written down.
    pub(crate) fn recorded(&self) -> Settled {
        self.store
            .as_ref()
            .map_or(Settled::default(), |store| Settled { sequence: store.sequence(), promise: self.promised })
    }

    /// What a client is to wait for of what was recorded and promised since it was so much; `None`: nothing was.
    pub(crate) fn recorded_since(&self, before: Settled) -> Option<Settled> {
        let now = self.recorded();
        // Another client's promise is not waited for.
        let promise = if now.promise > before.promise { now.promise } else { 0 };
        (now != before).then_some(Settled { promise, ..now })
    }

    /// A QoS 2 message goes to the gateway: under which client's id it records that it has it, if the client sends it again to another process.
    pub(crate) fn route_exactly_once(&mut self, ack: &LocalAck) -> Option<ByteString> {
        self.store.as_ref()?;
        let session = self.sessions.find_mut(ack.session)?;
        session.kept().filter(|_| ack.token.exactly_once())?;
        if !session.routed.contains(&ack.packet_id()) {
            session.routed.push(ack.packet_id());
        }
        Some(session.client_id.clone())
    }

    /// Tells the gateway that packet ids are free again; what waits for that is told by [`recorded_since`](Self::recorded_since).
    fn release_routed(&mut self, key: SessionKey, client: &ByteString, packet_id: u16) {
        self.promised += 1;
        let (client, promise) = (client.clone(), self.promised);
        self.releases.push(LocalRelease { client, packet_id, session: key, promise });
    }

    /// The gateway has recorded that a packet id is free again, or needs no such record.
    pub(crate) fn confirm(&mut self, release: &LocalRelease) {
        let Some(session) = self.sessions.find_mut(release.session) else { return };
        let connection = session.connection.clone();
        session.routed.retain(|id| *id != release.packet_id);
        self.free(release.session, release.packet_id);
        if let Some(connection) = connection {
            connection.promise_recorded(release.promise, self.recorded().sequence);
        }
    }

    /// A packet id of a client is free again.
    fn free(&mut self, key: SessionKey, packet_id: u16) {
        let (Some(store), Some(session)) = (&mut self.store, self.sessions.find_mut(key)) else { return };
        if let Some(at) = session.taken.iter().position(|(known, _)| *known == packet_id)
            && let Some(number) = session.number
        {
            session.taken.swap_remove(at);
            store.released(number, packet_id);
        }
    }

    /// A copy of a message that is to be kept for a session.
    pub(crate) fn new_copy(&self, session: u32, parcel: &Parcel<'_>, how: How<'_>) -> NewCopy {
        NewCopy {
            session,
            qos: how.qos,
            retain: how.retain,
            from_retained: parcel.from_retained,
            order: 0,
            subscription_ids: how.meant.ids.into(),
            group: self.groups.filter_of(how.meant.group),
            sent: None,
        }
    }

    /// The gateway has acknowledged a QoS 2 message of a client.
    pub(crate) fn keep_taken(&mut self, key: SessionKey, token: AckToken) {
        let (Some(store), Some(session)) = (&mut self.store, self.sessions.find_mut(key)) else { return };
        if let Some(number) = session.kept().filter(|_| token.exactly_once()) {
            store.took(number, token.packet_id());
            session.took(token.packet_id(), Taken::Wholly);
        }
    }

    /// The client has released packet ids (PUBREL).
    pub(crate) fn on_released(&mut self, key: SessionKey, packet_ids: &[u16]) {
        for id in packet_ids {
            let Some(session) = self.sessions.find(key) else { return };
            if session.routed.contains(id) {
                let client = session.client_id.clone();
                self.release_routed(key, &client, *id);
            } else {
                self.free(key, *id);
            }
        }
    }

    /// The client has taken messages over (PUBREC).
    pub(crate) fn on_taken_over(&mut self, key: SessionKey, keys: &[u64]) {
        let (Some(store), Some(session)) = (&mut self.store, self.sessions.find_mut(key)) else { return };
        for message in keys {
            if let Some(copy) = session.in_flight.get(*message).and_then(|message| message.copy) {
                store.taken_over(copy);
            }
        }
    }

    /// A topic has another retained message, or none.
    pub(crate) fn unretain(&mut self, item: Option<u64>, is_gone: bool) {
        if let (Some(store), Some(item)) = (&mut self.store, item) {
            store.unretain(item, is_gone);
        }
    }

    /// A session has ended, with these copies: nothing of it is to come back.
    pub(crate) fn forget_session(&mut self, session: &Session, copies: Vec<CopyId>) {
        if let (Some(store), Some(number)) = (&mut self.store, session.number) {
            store.end_session(number, copies);
            if !session.routed.is_empty() {
                self.remembered.insert(session.client_id.clone());
            }
        }
    }

    /// Everything recorded goes to the disk, and the log is kept short.
    pub(crate) fn write_down(&mut self) {
        let Self { store: Some(store), sessions, gateway, .. } = self else { return };
        store.tidy(|number, client_id| {
            if let Some(snapshot) = gateway.snapshot(client_id) {
                return Some(snapshot);
            }
            let session = sessions.of_client(client_id).and_then(|slot| sessions.get(slot))?;
            (session.number == Some(number)).then(|| session.snapshot())
        });
        store.flush();
    }
}

/// As the store has it.
pub(crate) fn retained_by(publisher: &persistence::Publisher) -> RetainedBy {
    match publisher {
        // The first in-process client is the gateway.
        persistence::Publisher::Gateway => RetainedBy::Local(0),
        persistence::Publisher::Client(id) => RetainedBy::Client(id.clone()),
    }
}
