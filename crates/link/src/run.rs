//! The life of a link: attempt after attempt, for as long as it is wanted.

use crate::backoff::Backoff;
use crate::drive::Drive;
use crate::memory::{Avoid, Hello, Memory};
use crate::settings::{Bridge, Settings, VersionChoice};
use crate::subscriptions::{SubscriptionProblem, Subscriptions};
use crate::suspect::Suspicion;
use crate::{LinkError, Port, Status, hints};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{AckToken, ClientConfig, ClientSession, ReasonCode, Restored, SubscribeFilter, Version};
use tidegate_transport::{Address, dial};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A connection that stood this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(5);

/// How often a way of connecting that worked before may fail in the handshake before others are tried.
const PATIENCE: u32 = 3;

/// How long an answer to CONNECT is waited for while other ways of saying hello are left: amqtt and mosca never answer a
/// protocol level that they do not know, and keep the connection open.
const HELLO: Duration = Duration::from_secs(3);

/// So many connections in a row that are closed without a word this soon mostly mean two clients with one id.
const SHORT_LIVED: u32 = 3;
const SOON: Duration = Duration::from_secs(2);

/// Counted since the link was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Connections that reached CONNACK.
    pub connects: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// System calls that read something.
    pub reads: u64,
    /// System calls that wrote something.
    pub writes: u64,
}

/// What link and handles share.
pub(crate) struct Shared {
    pub(crate) session: RefCell<ClientSession>,
    pub(crate) subscriptions: RefCell<Subscriptions>,
    pub(crate) suspicion: RefCell<Suspicion>,
    pub(crate) memory: RefCell<Memory>,
    /// The key of a message that may be what ends every connection: it is not to be sent elsewhere.
    pub(crate) held: Cell<Option<u64>>,
    /// Messages that are not tried any more.
    pub(crate) avoid: Cell<Avoid>,
    /// Messages below this serial were overdue when last looked.
    pub(crate) overdue_below: Cell<u64>,
    /// Exchanges that were taken as done without the broker's answer.
    pub(crate) given_up: Cell<u64>,
    pub(crate) paused: Cell<bool>,
    pub(crate) wake: Notify,
    pub(crate) stats: Cell<Stats>,
}

/// Messages that the broker has left unanswered for a minute or longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// How many.
    pub count: usize,
    /// Of the first, unless the broker has taken it over and only PUBCOMP is missing.
    pub first: Option<(Topic, QoS)>,
}

/// The owner's hold on a link. All clones are one.
#[derive(Clone)]
pub struct LinkHandle {
    shared: Rc<Shared>,
}

impl LinkHandle {
    /// There is something to pull, or the owner's log has become durable.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Acknowledges a received message: PUBACK or PUBREC leaves in the order of receipt.
    pub fn ack(&self, token: AckToken) {
        let mut session = self.shared.session.borrow_mut();
        session.ack(token);
        // The link's own turn writes them together.
        if !session.tx().is_empty() {
            self.shared.wake.notify_one();
        }
    }

    /// Says what to subscribe to from now on; the link asks the broker for the difference, and once more for what it had
    /// refused.
    pub fn subscribe(&self, filters: &[SubscribeFilter]) {
        self.shared.subscriptions.borrow_mut().want(filters);
        self.wake();
    }

    /// What is wanted and not subscribed, each with its reason.
    pub fn subscription_problems(&self) -> Vec<SubscriptionProblem> {
        self.shared.subscriptions.borrow().problems()
    }

    /// Messages that the broker has left unanswered for a minute or longer.
    pub fn overdue(&self) -> Option<Overdue> {
        let session = self.shared.session.borrow();
        let below = self.shared.overdue_below.get();
        let mut overdue = session.unanswered().take_while(|one| one.serial < below).peekable();
        let first = overdue.peek()?.message.map(|message| (message.topic.clone(), message.qos));
        Some(Overdue { count: overdue.count(), first })
    }

    /// How many exchanges were taken as done without the broker's answer.
    pub fn taken_as_done(&self) -> u64 {
        self.shared.given_up.get()
    }

    /// What the link knew of its broker in an earlier process: the last that [`Port::remember`] was given. To be called
    /// before the link runs.
    pub fn restore_memory(&self, memory: &[u8]) {
        *self.shared.memory.borrow_mut() = Memory::read(memory);
    }

    /// Stops reading from the socket, or goes on.
    pub fn pause(&self, paused: bool) {
        if self.shared.paused.replace(paused) && !paused {
            self.wake();
        }
    }

    /// True while connected.
    pub fn is_up(&self) -> bool {
        self.shared.session.borrow().is_up()
    }

    /// True while connected and subscribed to everything that is wanted.
    pub fn is_settled(&self) -> bool {
        self.is_up() && self.shared.subscriptions.borrow().is_settled()
    }

    /// How many messages wait for the broker's acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.shared.session.borrow().in_flight()
    }

    /// A link that carries on with the same session under other settings. Run it when the one before has ended.
    pub fn with_settings(&self, settings: Settings) -> Link {
        Link { settings, shared: self.shared.clone() }
    }

    /// Takes back the messages with such a key that the broker has not taken over: see [`ClientSession::take_back`]. One
    /// under suspicion of being what the broker hangs up on stays: it would take its trouble along.
    pub fn take_back(&self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Message)> {
        let held = self.shared.held.get();
        self.shared.session.borrow_mut().take_back(|key| Some(key) != held && wanted(key))
    }

    /// Takes back what the broker has not taken over, to send it elsewhere: see [`ClientSession::abandon`].
    pub fn abandon(&self) -> (Vec<(u64, Message)>, Vec<u64>) {
        self.shared.session.borrow_mut().abandon()
    }

    /// Carries on with the session of a process that is gone, before the link runs: see [`ClientSession::restore`].
    pub fn restore(&self, session: Restored) -> Vec<u64> {
        self.shared.session.borrow_mut().restore(session)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.shared.stats.get()
    }
}

/// A link that is not running yet.
pub struct Link {
    settings: Settings,
    shared: Rc<Shared>,
}

impl Link {
    /// A link and the handle to it.
    pub fn new(settings: Settings) -> (Self, LinkHandle) {
        let shared = Rc::new(Shared {
            session: RefCell::new(ClientSession::new(Instant::now())),
            subscriptions: RefCell::default(),
            suspicion: RefCell::default(),
            memory: RefCell::default(),
            held: Cell::new(None),
            avoid: Cell::default(),
            overdue_below: Cell::new(0),
            given_up: Cell::new(0),
            paused: Cell::new(false),
            wake: Notify::new(),
            stats: Cell::default(),
        });
        (Self { settings, shared: shared.clone() }, LinkHandle { shared })
    }

    /// Connects, carries messages, reconnects, until stopped; then says goodbye.
    pub async fn run<P: Port>(self, port: Rc<RefCell<P>>, stop: CancellationToken) {
        let hellos = hellos(self.settings.version, self.settings.bridge);
        self.take_up_memory();
        let mut hello = Hellos::new(hellos, self.shared.memory.borrow().hello());
        let mut backoff = Backoff::new(self.settings.reconnect);
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
                short_lived = if up_for < SOON && is_bare { short_lived + 1 } else { 0 };
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
                (true, _) => backoff.next(),
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
        let filters = memory.filters(&self.settings.client_id);
        self.shared.subscriptions.borrow_mut().restore(filters);
    }

    /// Adds what an error mostly means.
    fn explain(&self, error: &mut LinkError, short_lived: u32) {
        let LinkError::Closed { during_handshake, hint } = error else { return };
        if !*during_handshake {
            if short_lived >= SHORT_LIVED {
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
            deadline = deadline.min(now + HELLO);
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
        }
    }
}

/// How a connection or an attempt ended; without error: because it was told to.
pub(crate) struct Ended {
    pub(crate) error: Option<LinkError>,
    pub(crate) up_for: Option<Duration>,
}

/// How a connection begins.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) hello: Hello,
    pub(crate) since: Instant,
    /// CONNACK must be there.
    pub(crate) deadline: Instant,
}

/// The ways of saying hello, and which one it is the turn of.
struct Hellos {
    all: Vec<Hello>,
    at: usize,
    /// Where the round began that is being made.
    start: usize,
    worked: bool,
    failures: u32,
    /// All were tried, and none was answered: the next round is more patient.
    all_tried: bool,
}

impl Hellos {
    /// Begins with the one that worked last.
    fn new(all: Vec<Hello>, last: Option<Hello>) -> Self {
        let at = all.iter().position(|hello| Some(*hello) == last).unwrap_or(0);
        Self { all, at, start: at, worked: false, failures: 0, all_tried: false }
    }

    fn now(&self) -> Hello {
        self.all[self.at]
    }

    fn worked(&mut self) {
        (self.worked, self.failures, self.start) = (true, 0, self.at);
    }

    /// Whether another is to be tried soon if this one is not answered.
    fn is_impatient(&self) -> bool {
        self.all.len() > 1 && !self.worked && !self.all_tried
    }

    fn is_at_start(&self) -> bool {
        self.at == self.start
    }

    /// This one was not taken. Returns the one that is tried instead; none while one that worked before has its chances.
    fn failed(&mut self) -> Option<Hello> {
        self.failures += 1;
        if self.all.len() < 2 || (self.worked && self.failures <= PATIENCE) {
            return None;
        }
        self.worked = false;
        self.at = (self.at + 1) % self.all.len();
        self.all_tried |= self.is_at_start();
        Some(self.now())
    }
}

fn hellos(version: VersionChoice, bridge: Bridge) -> Vec<Hello> {
    let bits: &[bool] = match bridge {
        Bridge::Auto => &[true, false],
        Bridge::On => &[true],
        Bridge::Off => &[false],
    };
    let versions: &[Version] = match version {
        VersionChoice::Auto => &[Version::V5, Version::V311],
        VersionChoice::Only(version) => &[version],
    };
    let mut hellos = Vec::new();
    for version in versions {
        let bits = if *version == Version::V5 { &[false] } else { bits };
        hellos.extend(bits.iter().map(|bridge| Hello::new(*version, *bridge)));
    }
    hellos
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_go_from_the_newest_to_the_plainest() {
        let list =
            |version, bridge| hellos(version, bridge).into_iter().map(|h| (h.version(), h.bridge)).collect::<Vec<_>>();
        assert_eq!(
            list(VersionChoice::Auto, Bridge::Auto),
            [(Version::V5, false), (Version::V311, true), (Version::V311, false)]
        );
        assert_eq!(list(VersionChoice::Only(Version::V5), Bridge::On), [(Version::V5, false)]);
        assert_eq!(list(VersionChoice::Only(Version::V31), Bridge::Off), [(Version::V31, false)]);
    }

    #[test]
    fn what_worked_last_is_said_first_and_has_its_chances_before_others_are_tried() {
        let all = hellos(VersionChoice::Auto, Bridge::Auto);
        let mut hellos = Hellos::new(all.clone(), Some(all[2]));
        assert!(hellos.now() == all[2] && hellos.is_impatient(), "it may have changed since");
        hellos.worked();
        for _ in 0..PATIENCE {
            assert_eq!(hellos.failed(), None);
        }
        assert_eq!(hellos.failed(), Some(all[0]));
        assert_eq!(hellos.failed(), Some(all[1]));
        assert!(!hellos.is_at_start());
        assert_eq!(hellos.failed(), Some(all[2]));
        assert!(hellos.is_at_start() && !hellos.is_impatient(), "all were tried");
        let mut one = Hellos::new(all[..1].to_vec(), None);
        assert_eq!((one.failed(), one.is_impatient()), (None, false));
    }
}
