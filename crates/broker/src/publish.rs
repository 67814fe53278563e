//! The way of a message: from its publisher to everybody who subscribed, and what the publisher is told.

use crate::access::Action;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::inbox::{LocalAck, LocalReceived};
use crate::parcel::{For, How, Parcel};
use crate::publisher::{Publisher, RetainedBy};
use crate::recording::Recorded;
use crate::refusal::{self, Refusal};
use crate::replays::REPLAY_STEP;
use crate::retained::Retained;
use crate::session::SessionKey;
use crate::subscriptions::Matched;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{AckToken, Completion, ReasonCode, Received};
use tidegate_persistence::{Handover, Taken};

/// What became of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Distributed {
    /// Somebody subscribed to it.
    pub(crate) matched: bool,
    /// How many in-process clients have to acknowledge it.
    pub(crate) awaited: usize,
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
        self.stats.payload_received += got.message.payload.len() as u64;
        let Received { message, ack, dup, .. } = got;
        if let Some(session) = self.sessions.find_mut(key) {
            session.counts.received += 1;
        }
        if let Some(token) = ack.filter(|token| token.exactly_once() && !dup) {
            // Another message: if its id was that of one before, that was never released.
            self.on_released(key, &[token.packet_id()]);
        }
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
        let awaits = |(local, qos): &(u32, QoS)| publisher != Publisher::Local(*local) && *qos != QoS::AtMostOnce;
        let handover = self.handover(publisher, ack, matched.locals.iter().any(awaits));
        self.retained_first(&matched.locals, &message.topic, now);
        match handover.filter(|handover| self.has_partly(publisher, *handover)) {
            // Who else is to have it has it. If the gateway does not want it any more, that is all.
            Some(Handover { taken: Taken::Partly, .. }) => outcome.matched = true,
            Some(Handover { .. }) => {
                outcome.matched = true;
                if let Some((key, token)) = ack {
                    self.keep_taken(key, token);
                }
            }
            None => self.give_to_sessions(&matched, &message, publisher, handover, &mut outcome, now),
        }
        self.give_to_locals(&matched.locals, message, publisher, ack, &mut outcome);
        outcome
    }

    /// Retains the message and delivers it to clients.
    fn give_to_sessions(
        &mut self,
        matched: &Matched,
        message: &Message,
        publisher: Publisher,
        handover: Option<Handover>,
        outcome: &mut Distributed,
        now: Instant,
    ) {
        let mut parcel = Parcel::new(message, now);
        let is_retained = message.retain && publisher != Publisher::Broker && self.retain(&mut parcel, publisher, now);
        if !(matched.targets.is_empty() && matched.groups.is_empty()) {
            parcel.copies = std::mem::take(&mut self.copies);
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
                self.deliver(target.slot, &mut parcel, How { qos: message.qos.min(target.qos), retain, meant });
            }
            for group in &matched.groups {
                self.deliver_to_group(*group, &mut parcel);
            }
        }
        self.keep_message(parcel, publisher, Recorded { is_retained, handover, origin: self.origin }, now);
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
            let client = ack.and_then(|ack| self.route_exactly_once(&ack));
            self.put_into_inbox(local, LocalReceived { message, ack, stored: false, client });
        }
    }

    /// Clients in this process that are still being sent what is retained get what is on this topic now, before it is another one.
    fn retained_first(&mut self, locals: &[(u32, QoS)], topic: &Topic, now: Instant) {
        for (local, _) in locals {
            if let Some(Some(slot)) = self.locals.get_mut(*local as usize)
                && !slot.replays.is_empty()
            {
                slot.messages.extend(slot.replays.before(topic, &self.retained, now).map(LocalReceived::stored));
            }
        }
    }

    /// Goes on sending what is retained to clients in this process; whether there is more.
    pub(crate) fn replay_to_locals(&mut self, now: Instant) -> bool {
        let mut is_more = false;
        for slot in self.locals.iter_mut().flatten() {
            let messages = &mut slot.messages;
            let mut found = |message| messages.push(LocalReceived::stored(message));
            slot.replays.step(&self.retained, REPLAY_STEP, now, &mut found);
            is_more |= !slot.replays.is_empty();
        }
        is_more
    }

    fn put_into_inbox(&mut self, local: u32, received: LocalReceived) {
        if let Some(Some(slot)) = self.locals.get_mut(local as usize) {
            slot.messages.push(received);
            self.stats.received_by_local += 1;
        }
    }

    /// Keeps a message in place of the one before on its topic; whether there is one now.
    fn retain(&mut self, parcel: &mut Parcel<'_>, publisher: Publisher, now: Instant) -> bool {
        let topic = &parcel.message.topic;
        let before = self.retained.get(topic).and_then(|retained| retained.item);
        if parcel.message.payload.is_empty() {
            self.retained.remove(topic);
            self.unretain(before, true);
            return false;
        }
        let by = match publisher {
            Publisher::Local(local) => RetainedBy::Local(local),
            Publisher::Broker => RetainedBy::Broker,
            Publisher::Session(slot) => {
                let Some(session) = self.sessions.get(slot) else { return false };
                RetainedBy::Client(session.client_id.clone())
            }
        };
        let item = self.store.as_ref().map(|store| store.next_item());
        parcel.item = item;
        let (message, expires) = (parcel.written_down(), parcel.expires);
        let limits = &self.settings.limits;
        let retained = Retained { message, publisher: by, expires, item, serial: 0 };
        let is_kept = self.retained.set(retained, limits.retained_messages, limits.retained_bytes, now);
        if !is_kept {
            self.stats.dropped.retained_full += 1;
        }
        self.unretain(before, !is_kept);
        for expired in self.retained.take_expired() {
            self.unretain(Some(expired), true);
        }
        is_kept
    }

    /// Messages a client needs no more care of.
    pub(crate) fn on_completed(&mut self, key: SessionKey, completed: &[Completion]) {
        let Some(session) = self.sessions.find_mut(key) else { return };
        for completion in completed {
            let message = session.in_flight.remove(completion.key);
            if let (Some(store), Some(copy)) = (&mut self.store, message.and_then(|message| message.copy)) {
                store.done(copy);
            }
            if completion.reason == ReasonCode::PACKET_TOO_LARGE {
                self.stats.dropped.too_large += 1;
            }
        }
    }
}
