//! The life of a link: attempt after attempt, for as long as it is wanted.

use crate::backoff::Backoff;
use crate::drive::Drive;
use crate::settings::{Bridge, Settings, VersionChoice};
use crate::{LinkError, Port, Status, dial};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_message::{Message, TopicFilter};
use tidegate_mqtt::{AckToken, ClientConfig, ClientSession, ReasonCode, Restored, SubscribeFilter, Version};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A connection that stood this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(5);

/// How often a way of connecting that worked before may fail in the handshake before others are tried.
const PATIENCE: u32 = 3;

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
    /// What the owner wants to be subscribed to.
    pub(crate) wanted: RefCell<Vec<SubscribeFilter>>,
    pub(crate) wanted_changed: Cell<bool>,
    /// The broker has answered everything that was asked of it.
    pub(crate) settled: Cell<bool>,
    pub(crate) paused: Cell<bool>,
    pub(crate) wake: Notify,
    pub(crate) stats: Cell<Stats>,
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

    /// Says what to subscribe to from now on; the link asks the broker for the difference.
    pub fn subscribe(&self, filters: Vec<SubscribeFilter>) {
        if *self.shared.wanted.borrow() != filters {
            *self.shared.wanted.borrow_mut() = filters;
            self.shared.wanted_changed.set(true);
            self.wake();
        }
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

    /// True while connected and subscribed to everything that is wanted, or told that it may not be.
    pub fn is_settled(&self) -> bool {
        self.is_up() && self.shared.settled.get() && !self.shared.wanted_changed.get()
    }

    /// How many messages wait for the broker's acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.shared.session.borrow().in_flight()
    }

    /// A link that carries on with the same session under other settings. Run it when the one before has ended.
    pub fn with_settings(&self, settings: Settings) -> Link {
        Link { settings, shared: self.shared.clone() }
    }

    /// Takes back the messages with such a key that the broker has not taken over: see [`ClientSession::take_back`].
    pub fn take_back(&self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Message)> {
        self.shared.session.borrow_mut().take_back(wanted)
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

/// One way of saying hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hello {
    version: Version,
    bridge: bool,
}

impl Link {
    /// A link and the handle to it.
    pub fn new(settings: Settings) -> (Self, LinkHandle) {
        let shared = Rc::new(Shared {
            session: RefCell::new(ClientSession::new(Instant::now())),
            wanted: RefCell::default(),
            wanted_changed: Cell::new(false),
            settled: Cell::new(false),
            paused: Cell::new(false),
            wake: Notify::new(),
            stats: Cell::default(),
        });
        (Self { settings, shared: shared.clone() }, LinkHandle { shared })
    }

    /// Connects, carries messages, reconnects, until stopped; then says goodbye.
    pub async fn run<P: Port>(self, port: Rc<RefCell<P>>, stop: CancellationToken) {
        let hellos = hellos(self.settings.version, self.settings.bridge);
        let (mut at, mut worked, mut failures) = (0, false, 0);
        let mut backoff = Backoff::new(self.settings.reconnect);
        let mut drive = Drive::new(self.shared.clone(), port.clone(), self.settings.write_timeout);
        while !stop.is_cancelled() {
            let hello = hellos[at];
            let outcome = self.once(hello, &mut drive, &stop).await;
            let Some(error) = outcome.error else { break };
            let was_up = outcome.up_for.is_some();
            let mut wait = true;
            if let Some(up_for) = outcome.up_for {
                (worked, failures) = (true, 0);
                if up_for >= STABLE {
                    backoff.reset();
                }
            } else if speaks_of_version(&error) && hellos.len() > 1 {
                failures += 1;
                if !worked || failures > PATIENCE {
                    worked = false;
                    at = (at + 1) % hellos.len();
                    // Straight on with the next way of saying hello; wait once all were tried.
                    wait = at == 0;
                }
            }
            let retry_in = if wait { backoff.next() } else { Duration::ZERO };
            port.borrow_mut().status(&Status::Down { error, retry_in, was_up });
            tokio::select! {
                () = tokio::time::sleep(retry_in) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// One attempt and, if it succeeds, the whole connection.
    async fn once<P: Port>(&self, hello: Hello, drive: &mut Drive<P>, stop: &CancellationToken) -> Ended {
        let timeout = self.settings.connect_timeout;
        let started = Instant::now();
        let dialled = tokio::select! {
            dialled = tokio::time::timeout(timeout, dial::dial(&self.settings)) => dialled,
            () = stop.cancelled() => return Ended { error: None, up_for: None },
        };
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ended { error: Some(error), up_for: None },
            Err(_) => return Ended { error: Some(LinkError::ConnectTimeout(timeout)), up_for: None },
        };
        self.shared.session.borrow_mut().connect(&self.introduction(hello), Instant::now());
        let ended = drive.connection(stream, hello.bridge, started + timeout, timeout, stop).await;
        self.shared.session.borrow_mut().disconnected();
        ended
    }

    fn introduction(&self, hello: Hello) -> ClientConfig {
        let settings = &self.settings;
        ClientConfig {
            version: hello.version,
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
            limits: tidegate_mqtt::BrokerLimits::default(),
        }
    }
}

/// How a connection or an attempt ended; without error: because it was told to.
pub(crate) struct Ended {
    pub(crate) error: Option<LinkError>,
    pub(crate) up_for: Option<Duration>,
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
        hellos.extend(bits.iter().map(|bridge| Hello { version: *version, bridge: *bridge }));
    }
    hellos
}

/// Whether another way of saying hello may fare better. Brokers that do not know a protocol level answer so, answer
/// with an identifier error, or just close.
fn speaks_of_version(error: &LinkError) -> bool {
    match error {
        LinkError::Refused { reason, .. } => {
            matches!(
                *reason,
                ReasonCode::UNSUPPORTED_PROTOCOL_VERSION | ReasonCode::MALFORMED_PACKET | ReasonCode::PROTOCOL_ERROR
            )
        }
        LinkError::Closed { during_handshake } => *during_handshake,
        LinkError::Protocol(_) => true,
        _ => false,
    }
}

/// What to tell the broker, in this order, so that there is no moment at which a message is sent for none of our
/// subscriptions, or for two of which one has no identifier.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Subscriptions that are there and get an identifier or another option, then new ones.
    pub(crate) subscribe: Vec<SubscribeFilter>,
    /// Those not wanted any more.
    pub(crate) unsubscribe: Vec<TopicFilter>,
    /// Subscriptions that are there and need no identifier any more.
    pub(crate) subscribe_again: Vec<SubscribeFilter>,
}

/// From what the broker has to what is wanted.
pub(crate) fn steps(have: &[SubscribeFilter], wanted: &[SubscribeFilter]) -> Steps {
    let is_there = |filter: &SubscribeFilter| have.iter().any(|old| old.filter == filter.filter);
    let missing = || wanted.iter().filter(|filter| !have.contains(filter));
    let (kept, new): (Vec<_>, Vec<_>) = missing().cloned().partition(|filter| is_there(filter));
    let (first, last): (Vec<_>, Vec<_>) = kept.into_iter().partition(|filter| filter.subscription_id.is_some());
    let gone = have.iter().filter(|old| !wanted.iter().any(|new| new.filter == old.filter));
    Steps {
        subscribe: first.into_iter().chain(new).collect(),
        unsubscribe: gone.filter_map(|old| old.filter.clone().ok()).collect(),
        subscribe_again: last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::QoS;

    #[test]
    fn hellos_go_from_the_newest_to_the_plainest() {
        let list =
            |version, bridge| hellos(version, bridge).into_iter().map(|h| (h.version, h.bridge)).collect::<Vec<_>>();
        assert_eq!(
            list(VersionChoice::Auto, Bridge::Auto),
            [(Version::V5, false), (Version::V311, true), (Version::V311, false)]
        );
        assert_eq!(list(VersionChoice::Only(Version::V5), Bridge::On), [(Version::V5, false)]);
        assert_eq!(list(VersionChoice::Only(Version::V31), Bridge::Off), [(Version::V31, false)]);
    }

    #[test]
    fn only_the_difference_is_subscribed() {
        let filter = |text: &str, qos| SubscribeFilter::new(TopicFilter::new(text).unwrap(), qos);
        let have = [filter("a", QoS::AtMostOnce), filter("b", QoS::AtMostOnce), filter("c", QoS::AtMostOnce)];
        let wanted = [filter("b", QoS::AtLeastOnce), filter("c", QoS::AtMostOnce), filter("d", QoS::AtMostOnce)];
        let found = steps(&have, &wanted);
        assert_eq!(found.subscribe, [filter("d", QoS::AtMostOnce)]);
        assert_eq!(found.unsubscribe, [TopicFilter::new("a").unwrap()]);
        assert_eq!(found.subscribe_again, [filter("b", QoS::AtLeastOnce)]);
        let numbered = SubscribeFilter { subscription_id: Some(1), ..filter("b", QoS::AtMostOnce) };
        assert_eq!(steps(&have, std::slice::from_ref(&numbered)).subscribe, [numbered]);
    }
}
