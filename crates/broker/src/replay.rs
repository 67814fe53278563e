//! The retained messages that a new subscription asks for (MQTT 5.0 section 3.3.1.3), however many they are: looked for in steps, so
//! that nobody else waits for them, and sent as fast as the client takes them.
//!
//! What is published meanwhile waits behind them in the client's queue. A message that was retained after the client subscribed
//! is one of those, and is left out here, unless the queue had no room for one.
//!
//! Where a session and what it waits for outlive the process, SUBACK is written when everything it asks for is written down: a
//! client that has not heard it subscribes again.

use crate::access::Action;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::deliver::{has_room, send};
use crate::expiry::set_remaining;
use crate::in_flight::OnItsWay;
use crate::parcel::{For, How, Parcel};
use crate::replays::{Replay, Replayed, Suback};
use crate::retained::{Position, Retained};
use crate::session::{Session, SessionKey};
use crate::settled::Settled;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::SubscribeFilter;

/// What a new subscription is to be sent.
pub(crate) struct Begun {
    replay: Replay,
    /// The first of it.
    found: Vec<Retained>,
    /// And all of it.
    is_end: bool,
}

impl BrokerState {
    /// The first of the retained messages that a new subscription asks for, and where to go on for the rest; `None`: it asks for none.
    /// Not for shared subscriptions (MQTT 5.0 section 4.8.2).
    pub(crate) fn begin_replay(
        &mut self,
        key: SessionKey,
        asked: &SubscribeFilter,
        id: u32,
        most: &mut usize,
        now: Instant,
    ) -> Option<Begun> {
        let filter = asked.filter.as_ref().ok().filter(|filter| filter.share().is_none())?;
        let is_stored = self.store.is_some();
        let session = self.sessions.find_mut(key)?;
        if let (Some(suback), Some(connection)) = (session.replays.stop(filter), &session.connection) {
            suback.write(connection);
        }
        let mut replay = Replay {
            filter: filter.clone(),
            qos: asked.qos,
            id,
            no_local: asked.no_local || session.bridge,
            position: Position::default(),
            until: self.retained.serial(),
            after: session.queue.filed(),
            is_kept: is_stored && session.kept().is_some() && asked.qos != QoS::AtMostOnce,
            suback: None,
        };
        let mut found = Vec::new();
        self.sys.for_each_match(filter, now, |retained| found.push(retained.clone()));
        // Others come first.
        let is_next = session.replays.is_empty();
        let is_end = is_next && self.look(key, &mut replay, most, &mut found, now);
        Some(Begun { replay, found, is_end })
    }

    /// Finds some more of what is asked for; whether that is all.
    fn look(
        &self,
        key: SessionKey,
        replay: &mut Replay,
        most: &mut usize,
        found: &mut Vec<Retained>,
        now: Instant,
    ) -> bool {
        let Some(session) = self.sessions.find(key) else { return true };
        let mut position = std::mem::take(&mut replay.position);
        let is_end = self.retained.walk(&replay.filter, &mut position, most, now, &mut |retained| {
            if !replay.leaves_out(retained, &session.client_id) {
                found.push(retained.clone());
            }
            ControlFlow::Continue(())
        });
        replay.position = position;
        is_end
    }

    /// Answers a SUBSCRIBE and sends the first of what it asks for; the rest follows.
    pub(crate) fn answer_and_replay(
        &mut self,
        key: SessionKey,
        connection: &Rc<Connection>,
        suback: Suback,
        begun: Vec<Begun>,
        now: Instant,
    ) {
        let waits = begun.iter().rposition(|one| one.replay.is_kept && !one.is_end);
        let mut suback = Some(suback);
        if waits.is_none() {
            suback.take().inspect(|suback| suback.write(connection));
        }
        for (at, Begun { mut replay, found, is_end }) in begun.into_iter().enumerate() {
            self.file_retained(key, &replay, &found, now);
            if waits == Some(at) {
                replay.suback = suback.take();
            }
            if !is_end && let Some(session) = self.sessions.find_mut(key) {
                session.replays.push(replay);
                connection.has_backlog.set(true);
                connection.wake.wake();
            }
        }
    }

    /// Sends retained messages now, or files them for later.
    fn file_retained(&mut self, key: SessionKey, replay: &Replay, found: &[Retained], now: Instant) {
        let ids = [replay.id];
        let ids = if replay.id == 0 { &[] } else { &ids[..] };
        for retained in found {
            let qos = retained.message.qos.min(replay.qos);
            let mut parcel = Parcel::retained(retained, now);
            self.deliver(key.slot, &mut parcel, How { qos, retain: true, meant: For { ids, group: 0 } });
            self.hold_all(&mut parcel);
        }
    }

    /// Does a step of what a client is to be sent for new subscriptions.
    pub(crate) fn replay(&mut self, key: SessionKey, most: &mut usize, now: Instant) -> Replayed {
        let Some(session) = self.sessions.find_mut(key) else { return Replayed::Waits };
        let is_kept = session.replays.front().is_some_and(|replay| replay.is_kept);
        if !is_kept && !session.replays.come_before(&session.queue) {
            return Replayed::Waits;
        }
        let Some(mut replay) = session.replays.pop() else { return Replayed::Waits };
        let is_end = if is_kept {
            let mut found = Vec::new();
            let is_end = self.look(key, &mut replay, most, &mut found, now);
            self.file_retained(key, &replay, &found, now);
            is_end
        } else {
            self.send_retained(key, &mut replay, most, now)
        };
        if is_end {
            self.answer_at_last(key, replay.suback);
            return Replayed::One;
        }
        if let Some(session) = self.sessions.find_mut(key) {
            session.replays.push_front(replay);
            session.connection.iter().for_each(|connection| connection.has_backlog.set(true));
        }
        if *most == 0 { Replayed::More } else { Replayed::Waits }
    }

    /// Sends retained messages while the client takes them; whether these were all.
    fn send_retained(&mut self, key: SessionKey, replay: &mut Replay, most: &mut usize, now: Instant) -> bool {
        let Self { sessions, retained: all, stats, .. } = self;
        let Some(Session { connection: Some(connection), in_flight, counts, permits, client_id, .. }) =
            sessions.find_mut(key)
        else {
            return false;
        };
        let ids = [replay.id];
        let ids = if replay.id == 0 { &[] } else { &ids[..] };
        let mut position = std::mem::take(&mut replay.position);
        let is_end = all.walk(&replay.filter, &mut position, most, now, &mut |retained| {
            if replay.leaves_out(retained, client_id) {
                return ControlFlow::Continue(());
            }
            let qos = retained.message.qos.min(replay.qos);
            if !has_room(connection, in_flight.bytes(), qos) {
                return ControlFlow::Break(());
            }
            let may = permits.as_ref().is_none_or(|permits| permits.allow(Action::Receive, &retained.message.topic));
            let mut message = Message { qos, retain: true, ..retained.message.clone() };
            set_remaining(&mut message, retained.expires, now);
            let length = message.payload.len() as u64;
            let weight = if qos == QoS::AtMostOnce { 0 } else { message.weight_bytes() };
            let on_its_way = OnItsWay { weight, group: 0, copy: None };
            if !may {
                stats.dropped.not_permitted += 1;
                counts.dropped += 1;
            } else if send(connection, in_flight, message, ids, on_its_way).is_ok() {
                stats.sent += 1;
                stats.payload_sent += length;
                counts.sent += 1;
            } else {
                stats.dropped.too_large += 1;
                counts.dropped += 1;
            }
            ControlFlow::Continue(())
        });
        replay.position = position;
        is_end
    }

    /// What the answer speaks of is written down: it is told when that is durable.
    fn answer_at_last(&mut self, key: SessionKey, suback: Option<Suback>) {
        let Some(suback) = suback else { return };
        let Some(connection) = self.sessions.find(key).and_then(|session| session.connection.clone()) else { return };
        let wanted = Settled { sequence: self.recorded().sequence, promise: 0 };
        self.hold(&connection, connection.position(), wanted);
        suback.write(&connection);
    }
}
