//! CONNECT of a client whose password is right: which session it gets (MQTT 5.0 sections 3.1.2.4, 3.1.4, 4.1).

use crate::access::{self, Action, Certificate, ClientNames};
use crate::authorize;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::disconnect::Leaving;
use crate::in_flight::InFlight;
use crate::listener::Peer;
use crate::refusal;
use crate::session::{Session, SessionKey, Takeovers};
use crate::settled::Settled;
use ahash::RandomState;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::text::Escaped;
use tidegate_message::{ByteString, Message, Topic};
use tidegate_mqtt::{Accept, Connect, ReasonCode, Version};

/// The longest CONNACK that lets somebody in, but for the client identifier that it may say.
const CONNACK_BYTES_MAX: usize = 32;

/// What stands before response information: its identifier and its length; and two bytes more for the lengths around it.
const RESPONSE_INFORMATION_BYTES: usize = 5;

impl BrokerState {
    /// Gives the client its session and writes CONNACK.
    ///
    /// # Errors
    /// Why the client is not let in.
    pub(crate) fn open_session(
        &mut self,
        connect: Connect,
        certificate: Box<[Box<str>]>,
        connection: &Rc<Connection>,
        now: Instant,
    ) -> Result<SessionKey, ReasonCode> {
        if self.is_closed {
            return Err(ReasonCode::SERVER_UNAVAILABLE);
        }
        let assigned = connect.client_id.is_empty();
        // MQTT 3.1.1 section 3.1.3.1: without an id there is no session to come back to.
        if assigned && connect.version != Version::V5 && !connect.clean_start {
            return Err(ReasonCode::CLIENT_ID_NOT_VALID);
        }
        let client_id = if assigned { self.new_client_id() } else { ByteString::from(&*connect.client_id) };
        if let Some(will) = &connect.will {
            let certificate = Certificate::Shown(&certificate);
            let names = ClientNames { user: connect.username.as_deref(), client_id: &client_id, certificate };
            self.check_will(&connect, names, &will.message, now)?;
        }
        // What its CONNECT said first was read, and is what it is told last.
        let auth = connect.auth_method.clone().zip(connect.auth_data.clone());
        let auth_bytes = auth.as_ref().map_or(0, |(method, data)| method.len() + data.len());
        let bytes = CONNACK_BYTES_MAX + client_id.len() + auth_bytes;
        if !connection.session.borrow().fits(bytes) {
            return Err(ReasonCode::PACKET_TOO_LARGE);
        }
        let response_info = self.response_information(&connect, &client_id);
        // It is no reason to turn somebody away.
        let fits = |text: &String| connection.session.borrow().fits(bytes + RESPONSE_INFORMATION_BYTES + text.len());
        let response_info = response_info.filter(fits);
        // Asked before anything becomes of its session: who is turned away finds it as it was.
        let known = self.sessions.of_client(&client_id).and_then(|slot| self.sessions.get(slot));
        let leaves = known.is_some_and(|session| session.connection.is_some());
        if self.connections - usize::from(leaves) >= self.settings.limits.connections {
            return Err(ReasonCode::SERVER_BUSY);
        }
        let recorded = self.recorded();
        let (slot, takeovers) = self.find_session(&client_id, &connect, connection.peer, now)?;
        let expiry_s = connect.session_expiry_s.min(self.settings.session_expiry_max_s);
        let key = match slot.and_then(|slot| self.sessions.key(slot)) {
            Some(key) => key,
            None if self.sessions.len() >= self.settings.limits.sessions => return Err(ReasonCode::QUOTA_EXCEEDED),
            None => self.sessions.insert(Session { takeovers, ..Session::new(client_id.clone()) }),
        };
        let keep_alive_max_s = self.settings.keep_alive_max_s;
        let Some(session) = self.sessions.find_mut(key) else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        let accept = Accept {
            resumed: session.flow.take().map(|flow| *flow),
            assigned_client_id: assigned.then(|| client_id.to_string()),
            session_expiry_s: (expiry_s != connect.session_expiry_s).then_some(expiry_s),
            server_keep_alive_s: keep_alive_max_s
                .filter(|max| connect.keep_alive_s == 0 || connect.keep_alive_s > *max),
            response_info,
            auth,
        };
        let resumes = accept.resumed.is_some();
        if !resumes {
            session.in_flight = InFlight::default();
        }
        session.keep_alive_s = accept.server_keep_alive_s.unwrap_or(connect.keep_alive_s);
        session.username = connect.username.as_deref().map(ByteString::from);
        session.certificate = Some(certificate);
        session.ask(self.settings.access.as_ref());
        session.expiry_s = expiry_s;
        session.bridge = connect.bridge;
        session.will = connect.will.map(|mut will| {
            will.message.detach();
            will.delay_s = will.delay_s.min(expiry_s);
            Box::new(will)
        });
        session.connection = Some(connection.clone());
        connection.set_window(session.unacknowledged, usize::from(self.settings.receive_maximum));
        self.connections += 1;
        self.stats.accepted += 1;
        self.stats.connections_max = self.stats.connections_max.max(self.connections);
        let position = connection.position();
        self.keep_session(key);
        // What became of its sessions is durable before the client is told, and so is what it is told of its messages.
        let since = self.recorded_since(recorded);
        if let Some(wanted) = since.or_else(|| resumes.then(|| Settled { promise: 0, ..self.recorded() })) {
            self.hold(connection, position, wanted);
        }
        let Some(session) = self.sessions.find_mut(key) else { return Err(ReasonCode::UNSPECIFIED_ERROR) };
        let mut completed = Vec::new();
        {
            let mut up = connection.session.borrow_mut();
            up.accept(accept, &mut completed);
            for token in session.late_acks.drain(..) {
                up.ack(token, ReasonCode::SUCCESS);
            }
        }
        self.on_completed(key, &completed);
        self.send_backlog(key, now);
        Ok(key)
    }

    /// Where answers to a client may be sent, if it asks, and if that makes a topic for it.
    fn response_information(&self, connect: &Connect, client_id: &ByteString) -> Option<String> {
        let pattern = self.settings.response_information.as_ref().filter(|_| connect.wants_response_info)?;
        let topic = access::filled_in(pattern, connect.username.as_deref(), client_id)?;
        Topic::new(topic.as_str()).is_ok().then_some(topic)
    }

    /// A client with a will that is not to be taken is told so, as far as CONNACK can say it. A 3.x client would only
    /// hear "not authorized" of a topic that other brokers hang up on, and be lost for all it has to say: it is let in,
    /// and the will is refused when its time comes.
    fn check_will(
        &mut self,
        connect: &Connect,
        names: ClientNames<'_>,
        will: &Message,
        now: Instant,
    ) -> Result<(), ReasonCode> {
        authorize::publish(&will.topic)?;
        let permits = self.settings.access.as_ref().map(|access| access.permits(names));
        if permits.is_some_and(|permits| !permits.allow(Action::Publish, &will.topic)) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        if connect.version != Version::V5 {
            return Ok(());
        }
        refusal::check_portable(will, self.settings.allow_control_characters).map_err(|refusal| {
            if let Some(held_back) = self.refusals_log.allow(now) {
                let (broker, client) = (&self.settings.name, Escaped(&connect.client_id));
                let topic = Escaped(will.topic.as_str());
                tracing::warn!(%broker, %client, %topic, reason = %refusal, held_back, "a will was refused");
            }
            refusal.reason()
        })
    }

    /// The session a client comes back to, after whoever holds it has been sent away, `None` for a new one; and how often that was so of
    /// late.
    fn find_session(
        &mut self,
        client_id: &ByteString,
        connect: &Connect,
        peer: Peer,
        now: Instant,
    ) -> Result<(Option<u32>, Takeovers), ReasonCode> {
        let none = || (None, Takeovers::default());
        let Some(slot) = self.sessions.of_client(client_id) else { return Ok(none()) };
        let Some(session) = self.sessions.get_mut(slot) else { return Ok(none()) };
        if session.connection.is_none() && session.expiry_s == 0 {
            // It ended with the process, and is there for its will only: the client is back.
            session.will = None;
            self.end_session(slot, now);
            return Ok(none());
        }
        let same_user = session.username.as_deref() == connect.username.as_deref();
        if !same_user && session.connection.is_some() {
            // Another user's client is not thrown out.
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let mut takeovers = Takeovers::default();
        if let Some(session) = self.sessions.get_mut(slot)
            && let Some(before) = &session.connection
        {
            let times = session.takeovers.another(now);
            say_takeover(&self.settings.name, &session.client_id, (before.peer, peer), times);
            takeovers = session.takeovers;
        }
        // A connected client whose session is to start anew does not come back to its own will's delay either.
        self.throw_out(slot, ReasonCode::SESSION_TAKEN_OVER, Leaving::Lost, now);
        let Some(key) = self.sessions.key(slot) else { return Ok((None, takeovers)) };
        if connect.clean_start || !same_user {
            // What another user's client left is not handed to this one.
            self.end_session(slot, now);
            return Ok((None, takeovers));
        }
        self.forget_due(key);
        Ok((Some(slot), takeovers))
    }

    /// An id that nobody has and nobody guesses.
    fn new_client_id(&self) -> ByteString {
        loop {
            let random = [RandomState::new().hash_one(0u8), RandomState::new().hash_one(1u8)];
            let id = format!("auto-{:016x}{:016x}", random[0], random[1]);
            if self.sessions.of_client(&id).is_none() {
                return id.into();
            }
        }
    }
}

/// A client came while another with its id was connected. Once is a client that lost its connection; again and again it is two
/// that throw each other out.
fn say_takeover(broker: &str, client_id: &str, (before, now): (Peer, Peer), times: u32) {
    let client = Escaped(client_id);
    if times == 1 {
        tracing::info!(broker, %client, %before, %now, "another connection takes a client's session over");
    } else if times.is_power_of_two() && times > 2 {
        tracing::warn!(
            broker,
            %client,
            %before,
            %now,
            times,
            "connections with one client id throw each other out; give each client its own"
        );
    }
}
