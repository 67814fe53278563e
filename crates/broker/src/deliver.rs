//! The last step of a message: into the write buffer of a client, or into the queue of its session.

use crate::access::Action;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::expiry::set_remaining;
use crate::groups::Readiness;
use crate::in_flight::{InFlight, OnItsWay};
use crate::parcel::{For, How, Parcel};
use crate::queue::{QueueTotal, Queued};
use crate::replays::{REPLAY_STEP, Replayed};
use crate::session::{Session, SessionKey};
use crate::settings::Limits;
use crate::settled::Settled;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::PublishError;
use tidegate_transport::WRITE_BYTES;

/// QoS 1 and 2 messages in flight to one client weigh at most this much, in bytes; one is always allowed.
const WINDOW_BYTES: usize = 1024 * 1024;

/// How well a member of a group could take a message at this QoS.
fn readiness(session: &Session, message: &Message, qos: QoS, limits: &Limits, total: &QueueTotal) -> Readiness {
    if !session.may(Action::Receive, &message.topic) {
        return Readiness::Never;
    }
    let is_ready =
        |connection: &Rc<Connection>| session.is_caught_up() && has_room(connection, session.in_flight.bytes(), qos);
    if session.connection.as_ref().is_some_and(is_ready) {
        return Readiness::Ready;
    }
    let is_away = session.connection.is_none();
    // To who is away, nothing of QoS 0 is kept.
    let is_kept = !is_away || qos > QoS::AtMostOnce;
    match is_kept && session.queue.has_room_for(message.weight_bytes(), qos, limits, total) {
        false => Readiness::Full,
        true if is_away => Readiness::Away,
        true => Readiness::Busy,
    }
}

impl BrokerState {
    pub(crate) fn deliver_to_group(&mut self, group: u32, parcel: &mut Parcel<'_>) {
        let (sessions, limits, total) = (&self.sessions, &self.settings.limits, &self.queued);
        let qos_sent = parcel.message.qos;
        let Some(group) = self.groups.get_mut(group) else { return };
        let serial = group.serial;
        let picked = group.pick(|member| match sessions.get(member.slot) {
            Some(session) => readiness(session, parcel.message, member.qos.min(qos_sent), limits, total),
            None => Readiness::Never,
        });
        let Some(member) = picked else {
            self.stats.dropped.not_permitted += 1;
            return;
        };
        let retain = parcel.message.retain && member.retain_as_published;
        let ids = [member.id];
        let ids = if member.id == 0 { &[] } else { &ids[..] };
        let meant = For { ids, group: serial };
        self.deliver(member.slot, parcel, How { qos: member.qos.min(qos_sent), retain, meant });
    }

    /// Sends a message to one client now, or files it for later.
    pub(crate) fn deliver(&mut self, slot: u32, parcel: &mut Parcel<'_>, how: How<'_>) {
        let How { qos, retain, meant } = how;
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if !session.may(Action::Receive, &parcel.message.topic) {
            self.stats.dropped.not_permitted += 1;
            session.counts.dropped += 1;
            return;
        }
        if session.connection.is_none() && qos == QoS::AtMostOnce {
            self.stats.dropped.offline += 1;
            session.counts.dropped += 1;
            session.replays.missed();
            return;
        }
        let kept = session.kept().filter(|_| qos != QoS::AtMostOnce && self.store.is_some());
        let new = kept.map(|number| self.new_copy(number, parcel, how));
        let Self { sessions, stats, settings, queued: total, store, .. } = self;
        let Some(session) = sessions.get_mut(slot) else { return };
        let copy = new.zip(store.as_mut()).and_then(|(new, store)| parcel.copy(store, new));
        let taken_back = if let Some(connection) = &session.connection
            && session.is_caught_up()
            && has_room(connection, session.in_flight.bytes(), qos)
        {
            let (weight, message) = match qos {
                QoS::AtMostOnce => (0, parcel.passing(qos, retain)),
                _ => (parcel.message.weight_bytes(), parcel.kept(qos, retain)),
            };
            let (ids, length) = (meant.ids, message.payload.len() as u64);
            let published =
                send(connection, &mut session.in_flight, message, ids, OnItsWay { weight, group: meant.group, copy });
            if let (Ok(sent), Some((id, store))) = (&published, copy.zip(store.as_mut())) {
                parcel.sent(store, id, sent.serial);
                // A copy at QoS 2 is sent when it is certain that it is not written down as another one later.
                if qos == QoS::ExactlyOnce {
                    parcel.holds.push((connection.clone(), sent.position));
                }
            }
            match published {
                Ok(_) => {
                    stats.sent += 1;
                    stats.payload_sent += length;
                    session.counts.sent += 1;
                }
                Err(_) => {
                    stats.dropped.too_large += 1;
                    session.counts.dropped += 1;
                }
            }
            connection.wake.wake();
            published.is_err()
        } else {
            let queued = Queued {
                message: parcel.kept(qos, retain),
                subscription_ids: meant.ids.into(),
                group: meant.group,
                expires: parcel.expires,
                weight: parcel.message.weight_bytes(),
                from_retained: parcel.from_retained,
                copy,
            };
            let mut expired = Vec::new();
            let is_filed = session.queue.push(queued, &settings.limits, total, parcel.now, &mut expired);
            stats.dropped.expired += expired.len() as u64;
            session.counts.dropped += expired.len() as u64;
            let kept = expired.into_iter().filter_map(|queued| queued.copy);
            kept.for_each(|id| store.iter_mut().for_each(|store| store.done(id)));
            if !is_filed {
                stats.dropped.queue_full += 1;
                session.counts.dropped += 1;
                session.replays.missed();
            } else if let Some(connection) = &session.connection {
                connection.has_backlog.set(true);
            }
            !is_filed
        };
        if taken_back && let Some((id, store)) = copy.zip(store.as_mut()) {
            parcel.take_back(store, id);
        }
    }

    /// Sends what waits for a client, as far as it takes it. Returns whether there is more to look for at once.
    pub(crate) fn send_backlog(&mut self, key: SessionKey, now: Instant) -> bool {
        let mut most = REPLAY_STEP;
        loop {
            self.send_queued(key, now);
            match self.replay(key, &mut most, now) {
                Replayed::One => {}
                Replayed::More => return true,
                Replayed::Waits => return false,
            }
        }
    }

    /// Sends what is in the queue, as far as the client takes it and no retained messages come before it.
    fn send_queued(&mut self, key: SessionKey, now: Instant) {
        let Self { sessions, stats, queued: total, store, held, .. } = self;
        let Some(session) = sessions.find_mut(key) else { return };
        let Some(connection) = session.connection.clone() else { return };
        while let Some(next) = session.queue.front() {
            if session.replays.come_before(&session.queue) {
                break;
            }
            if !has_room(&connection, session.in_flight.bytes(), next.message.qos) {
                break;
            }
            let Some(mut next) = session.queue.pop(total) else { break };
            let kept = next.copy.zip(store.as_mut());
            // The lists may have changed since it came.
            let may = session.may(Action::Receive, &next.message.topic);
            if !may || !set_remaining(&mut next.message, next.expires, now) {
                let dropped = &mut stats.dropped;
                *(if may { &mut dropped.expired } else { &mut dropped.not_permitted }) += 1;
                session.counts.dropped += 1;
                if let Some((id, store)) = kept {
                    store.done(id);
                }
                continue;
            }
            let qos = next.message.qos;
            let weight = if qos == QoS::AtMostOnce { 0 } else { next.weight };
            let length = next.message.payload.len() as u64;
            let on_its_way = OnItsWay { weight, group: next.group, copy: next.copy };
            match (send(&connection, &mut session.in_flight, next.message, &next.subscription_ids, on_its_way), kept) {
                (Ok(sent), kept) => {
                    stats.sent += 1;
                    session.counts.sent += 1;
                    stats.payload_sent += length;
                    let Some((id, store)) = kept else { continue };
                    store.sent(id, sent.serial);
                    let wanted = Settled { sequence: store.sequence(), promise: 0 };
                    if qos == QoS::ExactlyOnce && connection.hold(sent.position, wanted) {
                        held.push(connection.clone());
                    }
                }
                (Err(error), kept) => {
                    session.counts.dropped += 1;
                    match error {
                        PublishError::TooLarge { .. } => stats.dropped.too_large += 1,
                        // Never: there was room.
                        PublishError::Full => stats.dropped.queue_full += 1,
                    }
                    if let Some((id, store)) = kept {
                        store.done(id);
                    }
                }
            }
        }
        connection.has_backlog.set(!session.is_caught_up());
    }
}

/// What was put into a write buffer.
pub(crate) struct Sent {
    /// Of the packet id, at QoS 1 and 2.
    serial: u64,
    /// Its first byte, counted from the beginning of the connection.
    position: u64,
}

/// Puts a message into a client's write buffer.
pub(crate) fn send(
    connection: &Connection,
    in_flight: &mut InFlight,
    message: Message,
    subscription_ids: &[u32],
    on_its_way: OnItsWay,
) -> Result<Sent, PublishError> {
    let position = if on_its_way.copy.is_some() { connection.position() } else { 0 };
    let mut session = connection.session.borrow_mut();
    if message.qos == QoS::AtMostOnce {
        // Nothing comes back of it.
        session.publish(0, message, subscription_ids)?;
        return Ok(Sent { serial: 0, position });
    }
    let key = in_flight.add(on_its_way);
    match session.publish(key, message, subscription_ids) {
        Ok(_) => Ok(Sent { serial: session.last_serial(), position }),
        Err(error) => {
            in_flight.remove(key);
            Err(error)
        }
    }
}

/// Whether a message would be written now.
pub(crate) fn has_room(connection: &Connection, in_flight_bytes: usize, qos: QoS) -> bool {
    let mut session = connection.session.borrow_mut();
    session.tx().len() < WRITE_BYTES
        && (qos == QoS::AtMostOnce || (in_flight_bytes < WINDOW_BYTES && session.has_room()))
}
