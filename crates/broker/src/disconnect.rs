//! How clients leave and how their sessions come to an end: wills, deadlines, clients that are sent away.

use crate::access::Action;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::expiry::{in_seconds, wall_ms};
use crate::publisher::Publisher;
use crate::refusal::{self, Refusal};
use crate::session::{Session, SessionKey};
use std::rc::Rc;
use std::time::Instant;
use tidegate_mqtt::{ReasonCode, ServerSession};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The client said so.
    Goodbye {
        /// The will is published all the same.
        with_will: bool,
        /// The session is to be kept for another time, in seconds.
        expiry_s: Option<u32>,
    },
    /// The connection broke, the client was silent, or it was thrown out.
    Lost,
    /// The broker stops.
    Stopping,
}

impl BrokerState {
    /// Takes a session away from its connection. Does nothing if the connection does not have it any more.
    pub(crate) fn leave(&mut self, key: SessionKey, connection: &Rc<Connection>, leaving: Leaving, now: Instant) {
        let limits = self.server_limits();
        let expiry_max_s = self.settings.session_expiry_max_s;
        let mut stopping_will = false;
        let Some(session) = self.sessions.find_mut(key) else { return };
        if session.connection.take_if(|known| Rc::ptr_eq(known, connection)).is_none() {
            return;
        }
        self.connections -= 1;
        let mut up = connection.session.borrow_mut();
        connection.last_words.borrow_mut().unsplit(up.tx().split());
        connection.told_to_go.set(true);
        connection.wake.wake();
        let ended = std::mem::replace(&mut *up, ServerSession::new(limits, now));
        session.flow = Some(Box::new(ended.into_flow()));
        session.replays.unanswered();
        match leaving {
            Leaving::Goodbye { with_will, expiry_s } => {
                if !with_will {
                    session.will = None;
                }
                if let Some(seconds) = expiry_s {
                    session.expiry_s = seconds.min(expiry_max_s);
                }
            }
            Leaving::Lost => {}
            // Nobody is there any more to receive it: it is published after the next start, if the client does not come back.
            Leaving::Stopping => {
                let was_kept = session.number.is_some() && session.expiry_s == 0;
                if was_kept {
                    // It stays there as it is.
                    session.number = None;
                }
                stopping_will = session.will.take().is_some();
            }
        }
        if session.expiry_s == 0 {
            self.end_session(key.slot, now);
            return;
        }
        let since_ms = wall_ms();
        session.away_since_ms = Some(since_ms);
        session.ends_at = in_seconds(now, session.expiry_s);
        let delay_s = session.will.as_ref().map_or(0, |will| will.delay_s);
        session.will_at = session.will.as_ref().and_then(|_| in_seconds(now, delay_s));
        let has_will = session.will.is_some() || stopping_will;
        if let (Some(store), Some(number)) = (&mut self.store, session.number) {
            store.away(number, since_ms, session.expiry_s, has_will);
        }
        if delay_s == 0 {
            self.publish_will(key.slot, now);
        }
        self.await_return(key);
    }

    /// Files when to look after an absent client's session.
    pub(crate) fn await_return(&mut self, key: SessionKey) {
        if let Some(at) = self.sessions.find(key).and_then(Session::due) {
            self.due.insert((at, key));
        }
    }

    /// The client is back, or its session ends: nothing is due any more.
    pub(crate) fn forget_due(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.find_mut(key) {
            if let Some(at) = session.due() {
                self.due.remove(&(at, key));
            }
            (session.will_at, session.ends_at, session.away_since_ms) = (None, None, None);
        }
    }

    /// Publishes wills and ends sessions whose time has come; returns when to be called next.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(at, key)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            let Some(session) = self.sessions.find_mut(key) else { continue };
            if session.ends_at.is_some_and(|at| at <= now) {
                self.stats.expired += 1;
                self.end_session(key.slot, now);
                continue;
            }
            if session.will_at.take_if(|at| *at <= now).is_some() {
                self.publish_will(key.slot, now);
            }
            self.await_return(key);
        }
        self.due.first().map(|(at, _)| *at)
    }

    fn publish_will(&mut self, slot: u32, now: Instant) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        session.will_at = None;
        let Some(will) = session.will.take() else { return };
        if let (Some(store), Some(number)) = (&mut self.store, session.number) {
            store.will_gone(number);
        }
        let publisher = Publisher::Session(slot);
        let may = session.may(Action::Publish, &will.message.topic);
        let checked = refusal::check_from_client(&will.message, self.settings.allow_control_characters);
        match if may { checked } else { Err(Refusal::Forbidden(ReasonCode::NOT_AUTHORIZED)) } {
            Ok(()) => drop(self.distribute(will.message, publisher, None, now)),
            Err(refusal) => self.refuse(publisher, &will.message.topic, refusal, now),
        }
    }

    /// Forgets a session whose client is not connected. Its will, if it is still to come, comes now; what it had for a group
    /// goes to others of that.
    pub(crate) fn end_session(&mut self, slot: u32, now: Instant) {
        let Some(key) = self.sessions.key(slot) else { return };
        self.forget_due(key);
        self.publish_will(slot, now);
        let copies = self.sessions.get(slot).map(Session::copies).unwrap_or_default();
        let left = self.take_leftover(slot, now);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let filters = std::mem::take(&mut session.subscriptions);
        self.stats.subscriptions -= filters.len();
        for (filter, _) in filters.iter() {
            self.remove_subscription(slot, filter);
        }
        let session = self.sessions.remove(slot);
        self.stats.dropped.session_ended += self.hand_on(left, now) as u64;
        // Not before: what is handed on would be lost if the power went between the two.
        if let Some(session) = session {
            self.forget_session(&session, copies);
        }
    }

    /// Throws a client out.
    pub(crate) fn throw_out(&mut self, slot: u32, reason: ReasonCode, leaving: Leaving, now: Instant) {
        let Some(key) = self.sessions.key(slot) else { return };
        let Some(connection) = self.sessions.get(slot).and_then(|session| session.connection.clone()) else { return };
        match &self.settings.server_reference {
            Some(elsewhere) if reason == ReasonCode::USE_ANOTHER_SERVER => {
                connection.session.borrow_mut().disconnect_for(reason, elsewhere);
            }
            _ => connection.session.borrow_mut().disconnect(reason),
        }
        self.leave(key, &connection, leaving, now);
    }

    /// Throws out every client that `chosen` says.
    pub(crate) fn throw_out_all(
        &mut self,
        reason: ReasonCode,
        leaving: Leaving,
        now: Instant,
        chosen: impl Fn(&Session, &Connection) -> bool,
    ) {
        let going = |(slot, session): (u32, &Session)| {
            session.connection.as_ref().is_some_and(|connection| chosen(session, connection)).then_some(slot)
        };
        let slots: Vec<u32> = self.sessions.iter().filter_map(going).collect();
        for slot in slots {
            self.throw_out(slot, reason, leaving, now);
        }
    }
}
