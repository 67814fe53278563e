//! The life of a link: attempt after attempt, for as long as it is wanted.

use crate::drive::Drive;
use crate::hello::{self, Hello, Hellos};
use crate::link::Link;
use crate::live::{Ended, Opening};
use crate::settings::VersionChoice;
use crate::{LinkError, Port, Status, hints};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_mqtt::{ClientConfig, ReasonCode};
use tidegate_pacing::Backoff;
use tidegate_transport::{Address, dial};
use tokio_util::sync::CancellationToken;

/// A connection that stood this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(5);

/// How long an answer to CONNECT is waited for while other ways of saying hello are left: amqtt and mosca never answer a
/// protocol level that they do not know, and keep the connection open.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// This many connections in a row, each closed without a word after so short a time, mostly mean two clients with one
/// id, who take the session from each other.
const SHORT_LIVED_IN_A_ROW: u32 = 3;
const SHORT_LIVED: Duration = Duration::from_secs(2);

impl Link {
    /// Connects, carries messages, reconnects, until stopped; then says goodbye.
    pub async fn run<P: Port>(self, port: Rc<RefCell<P>>, stop: CancellationToken) {
        let all = hello::all(self.settings.version, self.settings.bridge);
        self.take_up_memory();
        let mut hello = Hellos::new(all, self.shared.memory.borrow().hello());
        let mut backoff = Backoff::new(self.settings.reconnect.min, self.settings.reconnect.max);
        let mut short_lived = 0;
        let mut drive = Drive::new(self.shared.clone(), port.clone(), &self.settings);
        while !stop.is_cancelled() {
            let outcome = self.once(&hello, &mut drive, &stop).await;
            let Some(mut error) = outcome.error else { break };
            let was_up = outcome.up_for.is_some();
            let (mut wait, mut then) = (true, None);
            if let Some(up_for) = outcome.up_for {
                hello.worked();
                if up_for >= STABLE {
                    backoff.reset();
                }
                let is_bare =
                    matches!(error, LinkError::Closed { .. }) && !self.shared.suspicion.borrow().wants_trial();
                short_lived = if up_for < SHORT_LIVED && is_bare { short_lived + 1 } else { 0 };
            } else if speaks_of_version(&error) {
                then = hello.failed();
                // Straight on with the next way of saying hello; wait once all were tried.
                wait = then.is_none() || hello.is_at_start();
                if wait {
                    then = None;
                }
            }
            self.explain(&mut error, short_lived);
            let retry_in = match (wait, self.shared.suspicion.borrow().wants_trial()) {
                (false, _) => Duration::ZERO,
                // What is to be found out is not put off: the number of trials is bounded.
                (true, true) if was_up => self.settings.reconnect.min,
                (true, _) => backoff.advance(),
            };
            let then = then.map(|hello| hello.to_string());
            port.borrow_mut().status(&Status::Down { error, retry_in, was_up, then });
            tokio::select! {
                () = tokio::time::sleep(retry_in) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// What is remembered of this broker, and of our session there.
    fn take_up_memory(&self) {
        let mut memory = self.shared.memory.borrow_mut();
        memory.turn_to(&self.settings.address.to_string());
        self.shared.avoid.set(memory.learned().avoid());
        self.shared.suspicion.borrow_mut().restore(memory.suspect);
        let known = memory.known(&self.settings.client_id);
        self.shared.subscriptions.borrow_mut().restore(known, self.settings.fetch_stored);
    }

    /// Adds what an error mostly means.
    fn explain(&self, error: &mut LinkError, short_lived: u32) {
        let LinkError::Closed { during_handshake, hint } = error else { return };
        if !*during_handshake {
            if short_lived >= SHORT_LIVED_IN_A_ROW {
                hints::SAME_CLIENT_ID.clone_into(hint);
            }
            return;
        }
        let Address::Tcp { port, .. } = self.settings.address else { return };
        let (tls, asked) = (self.settings.tls.is_some(), self.settings.version);
        *hint = hints::closed_instead_of_connack(port, tls).to_owned();
        if asked != VersionChoice::Auto {
            hint.push_str("; or it does not know this version of MQTT: `version = \"auto\"` tries others");
        }
    }

    /// One attempt and, if it succeeds, the whole connection.
    async fn once<P: Port>(&self, hellos: &Hellos, drive: &mut Drive<P>, stop: &CancellationToken) -> Ended {
        let (timeout, hello) = (self.settings.connect_timeout, hellos.now());
        let started = Instant::now();
        let dialled = tokio::select! {
            dialled = tokio::time::timeout(timeout, dial(self.settings.endpoint())) => dialled,
            () = stop.cancelled() => return Ended { error: None, up_for: None },
        };
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ended { error: Some(error.into()), up_for: None },
            Err(_) => return Ended { error: Some(LinkError::ConnectTimeout(timeout)), up_for: None },
        };
        let now = Instant::now();
        let mut deadline = started + timeout;
        if hellos.is_impatient() {
            deadline = deadline.min(now + HELLO_TIMEOUT);
        }
        drive.begin(&self.introduction(hello), now);
        let opening = Opening { hello, since: now, deadline };
        let ended = drive.connection(stream, opening, stop).await;
        self.shared.session.borrow_mut().disconnected();
        ended
    }

    fn introduction(&self, hello: Hello) -> ClientConfig {
        let settings = &self.settings;
        ClientConfig {
            version: hello.version(),
            bridge: hello.bridge,
            client_id: settings.client_id.clone(),
            clean_start: settings.session_expiry_s == 0,
            keep_alive_s: settings.keep_alive_s,
            username: settings.username.clone(),
            password: settings.password.clone(),
            will: settings.will.clone(),
            session_expiry_s: settings.session_expiry_s,
            receive_maximum: settings.receive_maximum,
            max_packet_size: settings.max_packet_size,
            topic_alias_max: settings.topic_alias_max,
            limits: self.shared.memory.borrow_mut().learned().limits(settings.max_qos),
            mark: settings.mark.clone(),
        }
    }
}

/// Whether another way of saying hello may fare better. Brokers that do not know a protocol level answer so, answer
/// with an identifier error, just close, or wait for more.
fn speaks_of_version(error: &LinkError) -> bool {
    match error {
        LinkError::Refused { reason, .. } => {
            matches!(
                *reason,
                ReasonCode::UNSUPPORTED_PROTOCOL_VERSION | ReasonCode::MALFORMED_PACKET | ReasonCode::PROTOCOL_ERROR
            )
        }
        LinkError::Closed { during_handshake, .. } => *during_handshake,
        LinkError::Protocol(_) | LinkError::NoConnack { .. } => true,
        _ => false,
    }
}
