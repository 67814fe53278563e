//! The way of a message: from its publisher to everybody who subscribed, and what the publisher is told.

use crate::access::Action;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::expiry::{message_expiry, set_remaining};
use crate::groups::Readiness;
use crate::in_flight;
use crate::inbox::{LocalAck, LocalReceived};
use crate::publisher::{Publisher, RetainedBy};
use crate::queue::Queued;
use crate::refusal::{self, Refusal};
use crate::retained::Retained;
use crate::session::{Session, SessionKey};
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{AckToken, Completion, PublishError, ReasonCode, Received};
use tidegate_transport::WRITE_BYTES;

/// QoS 1 and 2 messages in flight to one client weigh at most this much, in bytes; one is always allowed.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Distributed {
    /// Somebody subscribed to it.
    pub(crate) matched: bool,
    /// How many in-process clients have to acknowledge it.
    pub(crate) awaited: usize,
}

/// For what a client gets a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct For<'a> {
    /// Identifiers of its subscriptions.
    pub(crate) ids: &'a [u32],
    /// The serial of the group whose member it is; 0: it gets the message for itself.
    pub(crate) group: u32,
}

/// A message on its way to several clients: what is kept for them is copied out of the read buffer once.
pub(crate) struct Parcel<'a> {
    message: &'a Message,
    kept: Option<Message>,
    expires: Option<Instant>,
    now: Instant,
    from_retained: bool,
}

impl<'a> Parcel<'a> {
    pub(crate) fn new(message: &'a Message, now: Instant) -> Self {
        Self { message, kept: None, expires: message_expiry(message, now), now, from_retained: false }
    }

    /// A retained message for a new subscriber.
    pub(crate) fn retained(retained: &'a Retained, now: Instant) -> Self {
        let kept = Some(retained.message.clone());
        Self { message: &retained.message, kept, expires: retained.expires, now, from_retained: true }
    }

    /// To be encoded now.
    fn passing(&self, qos: QoS, retain: bool) -> Message {
        let mut message = Message { qos, retain, ..self.message.clone() };
        if self.from_retained {
            set_remaining(&mut message, self.expires, self.now);
        }
        message
    }

    /// To be kept.
    fn kept(&mut self, qos: QoS, retain: bool) -> Message {
        let kept = self.kept.get_or_insert_with(|| {
            let mut message = self.message.clone();
            message.detach();
            message
        });
        let mut message = Message { qos, retain, ..kept.clone() };
        set_remaining(&mut message, self.expires, self.now);
        message
    }
}

impl BrokerState {
    /// Takes one message from a client.
    pub(crate) fn receive(
        &mut self,
        key: SessionKey,
        connection: &Rc<Connection>,
        pause: Option<u64>,
        got: Received,
        now: Instant,
    ) {
        self.stats.received += 1;
        let Received { message, ack, .. } = got;
        let may = self.settings.access.is_none()
            || self.sessions.find(key).is_none_or(|session| session.may(Action::Publish, &message.topic));
        let checked = refusal::check_from_client(&message, self.settings.allow_control_characters);
        let reason = match if may { checked } else { Err(Refusal::Forbidden(ReasonCode::NOT_AUTHORIZED)) } {
            Err(refusal) => {
                self.refuse(Publisher::Session(key.slot), &message.topic, refusal, now);
                refusal.reason()
            }
            Ok(()) => {
                let token = ack.map(|token| (key, token));
                let before = self.stats.received_by_local;
                let outcome = self.distribute(message, Publisher::Session(key.slot), token, now);
                if let Some(pause) = pause
                    && self.stats.received_by_local != before
                {
                    connection.fed_in_pause.set(pause);
                }
                if outcome.awaited > 0 {
                    self.await_ack(key, connection, ack, outcome.awaited);
                    return;
                }
                if outcome.matched { ReasonCode::SUCCESS } else { ReasonCode::NO_MATCHING_SUBSCRIBERS }
            }
        };
        if let Some(token) = ack {
            connection.session.borrow_mut().ack(token, reason);
        }
    }

    fn await_ack(&mut self, key: SessionKey, connection: &Connection, ack: Option<AckToken>, awaited: usize) {
        if let (Some(token), 2..) = (ack, awaited) {
            self.joint_acks.insert((key, token), awaited);
        }
        let receive_maximum = usize::from(self.settings.receive_maximum);
        if let Some(session) = self.sessions.find_mut(key) {
            session.unacknowledged += 1;
            connection.set_window(session.unacknowledged, receive_maximum);
        }
    }

    /// Gives a message to everybody who subscribed.
    pub(crate) fn distribute(
        &mut self,
        message: Message,
        publisher: Publisher,
        ack: Option<(SessionKey, AckToken)>,
        now: Instant,
    ) -> Distributed {
        let matched = self.subscriptions.matching(&message.topic);
        let mut outcome = Distributed { matched: !matched.groups.is_empty(), awaited: 0 };
        if message.retain && publisher != Publisher::Broker {
            self.retain(&message, publisher, now);
        }
        if !(matched.targets.is_empty() && matched.groups.is_empty()) {
            let mut parcel = Parcel::new(&message, now);
            for target in &matched.targets {
                // What the broker says of itself does not wait for anybody, and nobody misses it.
                if publisher == Publisher::Broker
                    && self.sessions.get(target.slot).is_none_or(|to| to.connection.is_none())
                {
                    continue;
                }
                let own;
                let target = if target.no_local && publisher == Publisher::Session(target.slot) {
                    own = self.subscriptions.own_target(&message.topic, target.slot);
                    let Some(own) = &own else { continue };
                    own
                } else {
                    target
                };
                outcome.matched = true;
                let retain = message.retain && target.retain_as_published;
                let meant = For { ids: &target.ids, group: 0 };
                self.deliver(target.slot, &mut parcel, message.qos.min(target.qos), retain, meant);
            }
            for group in &matched.groups {
                self.deliver_to_group(*group, &mut parcel);
            }
        }
        self.give_to_locals(&matched.locals, message, publisher, ack, &mut outcome);
        outcome
    }

    fn give_to_locals(
        &mut self,
        locals: &[(u32, QoS)],
        message: Message,
        publisher: Publisher,
        ack: Option<(SessionKey, AckToken)>,
        outcome: &mut Distributed,
    ) {
        let others = || locals.iter().filter(|(local, _)| publisher != Publisher::Local(*local));
        if ack.is_some() {
            outcome.awaited = others().filter(|(_, qos)| *qos != QoS::AtMostOnce).count();
        }
        let mut rest = Some(message);
        let mut others = others().peekable();
        while let Some(&(local, qos)) = others.next() {
            outcome.matched = true;
            // The last one takes the message itself.
            let message = if others.peek().is_some() { rest.clone() } else { rest.take() };
            let Some(mut message) = message else { break };
            message.qos = message.qos.min(qos);
            let ack = ack.filter(|_| qos != QoS::AtMostOnce);
            let ack = ack.map(|(session, token)| LocalAck { session, token, joint: outcome.awaited > 1 });
            self.put_into_inbox(local, LocalReceived { message, ack, stored: false });
        }
    }

    fn put_into_inbox(&mut self, local: u32, received: LocalReceived) {
        if let Some(Some(slot)) = self.locals.get_mut(local as usize) {
            slot.messages.push(received);
            self.stats.received_by_local += 1;
        }
    }

    fn retain(&mut self, message: &Message, publisher: Publisher, now: Instant) {
        if message.payload.is_empty() {
            self.retained.remove(&message.topic);
            return;
        }
        let by = match publisher {
            Publisher::Local(local) => RetainedBy::Local(local),
            Publisher::Broker => RetainedBy::Broker,
            Publisher::Session(slot) => {
                let Some(session) = self.sessions.get(slot) else { return };
                RetainedBy::Client(session.client_id.clone())
            }
        };
        let mut message = message.clone();
        message.detach();
        let expires = message_expiry(&message, now);
        let limits = &self.settings.limits;
        let retained = Retained { message, publisher: by, expires };
        if !self.retained.set(retained, limits.retained_messages, limits.retained_bytes, now) {
            self.stats.dropped.retained_full += 1;
        }
    }

    pub(crate) fn deliver_to_group(&mut self, group: u32, parcel: &mut Parcel<'_>) {
        let sessions = &self.sessions;
        let qos_sent = parcel.message.qos;
        let Some(group) = self.groups.get_mut(group) else { return };
        let serial = group.serial;
        let picked = group.pick(|member| match sessions.get(member.slot) {
            Some(session) if !session.may(Action::Receive, &parcel.message.topic) => Readiness::Never,
            Some(Session { connection: Some(connection), queue, in_flight_bytes, .. }) => {
                let qos = member.qos.min(qos_sent);
                let ready = queue.is_empty() && has_room(connection, *in_flight_bytes, qos);
                if ready { Readiness::Ready } else { Readiness::Busy }
            }
            _ => Readiness::Away,
        });
        let Some(member) = picked else {
            self.stats.dropped.not_permitted += 1;
            return;
        };
        let retain = parcel.message.retain && member.retain_as_published;
        let ids = [member.id];
        let ids = if member.id == 0 { &[] } else { &ids[..] };
        self.deliver(member.slot, parcel, member.qos.min(qos_sent), retain, For { ids, group: serial });
    }

    /// Sends a message to one client now, or files it for later.
    pub(crate) fn deliver(&mut self, slot: u32, parcel: &mut Parcel<'_>, qos: QoS, retain: bool, meant: For<'_>) {
        let Self { sessions, stats, settings, queued: total, .. } = self;
        let Some(session) = sessions.get_mut(slot) else { return };
        if !session.may(Action::Receive, &parcel.message.topic) {
            stats.dropped.not_permitted += 1;
            return;
        }
        if session.connection.is_none() && qos == QoS::AtMostOnce {
            stats.dropped.offline += 1;
            return;
        }
        if let Some(connection) = &session.connection
            && session.queue.is_empty()
            && has_room(connection, session.in_flight_bytes, qos)
        {
            let (weight, message) = match qos {
                QoS::AtMostOnce => (0, parcel.passing(qos, retain)),
                _ => (parcel.message.weight_bytes(), parcel.kept(qos, retain)),
            };
            let key = in_flight::key(weight, meant.group);
            match connection.session.borrow_mut().publish(key, message, meant.ids) {
                Ok(_) => {
                    stats.sent += 1;
                    session.in_flight_bytes += weight;
                }
                Err(_) => stats.dropped.too_large += 1,
            }
            connection.wake.wake();
            return;
        }
        let queued = Queued {
            message: parcel.kept(qos, retain),
            subscription_ids: meant.ids.into(),
            group: meant.group,
            expires: parcel.expires,
            weight: parcel.message.weight_bytes(),
            from_retained: parcel.from_retained,
        };
        if !session.queue.push(queued, &settings.limits, total) {
            stats.dropped.queue_full += 1;
        } else if let Some(connection) = &session.connection {
            connection.has_backlog.set(true);
        }
    }

    /// Sends what waits for a client, as far as it takes it.
    pub(crate) fn send_backlog(&mut self, key: SessionKey, now: Instant) {
        let Self { sessions, stats, queued: total, .. } = self;
        let Some(session) = sessions.find_mut(key) else { return };
        let Some(connection) = session.connection.clone() else { return };
        while let Some(next) = session.queue.front() {
            if !has_room(&connection, session.in_flight_bytes, next.message.qos) {
                break;
            }
            let Some(mut next) = session.queue.pop(total) else { break };
            // The lists may have changed since it came.
            if !session.may(Action::Receive, &next.message.topic) {
                stats.dropped.not_permitted += 1;
                continue;
            }
            if !set_remaining(&mut next.message, next.expires, now) {
                stats.dropped.expired += 1;
                continue;
            }
            let weight = if next.message.qos == QoS::AtMostOnce { 0 } else { next.weight };
            let key = in_flight::key(weight, next.group);
            match connection.session.borrow_mut().publish(key, next.message, &next.subscription_ids) {
                Ok(_) => {
                    stats.sent += 1;
                    session.in_flight_bytes += weight;
                }
                Err(PublishError::TooLarge { .. }) => stats.dropped.too_large += 1,
                // Never: there was room.
                Err(PublishError::Full) => stats.dropped.queue_full += 1,
            }
        }
        connection.has_backlog.set(!session.queue.is_empty());
    }

    /// Messages a client needs no more care of.
    pub(crate) fn on_completed(&mut self, key: SessionKey, completed: &[Completion]) {
        let Some(session) = self.sessions.find_mut(key) else { return };
        for completion in completed {
            session.in_flight_bytes = session.in_flight_bytes.saturating_sub(in_flight::weight(completion.key));
            if completion.reason == ReasonCode::PACKET_TOO_LARGE {
                self.stats.dropped.too_large += 1;
            }
        }
    }
}

/// Whether a message would be written now.
fn has_room(connection: &Connection, in_flight_bytes: usize, qos: QoS) -> bool {
    let mut session = connection.session.borrow_mut();
    session.tx().len() < WRITE_BYTES
        && (qos == QoS::AtMostOnce || (in_flight_bytes < WINDOW_BYTES && session.has_room()))
}
