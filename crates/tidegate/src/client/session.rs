//! One connection of rumqttc, with MQTT 3.1.1 and 5 as one.
//!
//! rumqttc's event loop runs as a task of its own, because a poll of it that is dropped half way loses what it was about to
//! write. Requests go to it through a bounded queue that is never waited for, and what it says comes back through another,
//! which holds it up while nobody reads: there is no way around a circle of two full queues.

use super::words::{self, Wrong};
use bytes::Bytes;
use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5::{PubAckReason, PubCompReason, PubRecReason, PublishProperties};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use tidegate_config::{BrokerUrl, Scheme};
use tidegate_link::TlsSettings;
use tokio::sync::mpsc;

/// Requests that wait for rumqttc.
const REQUESTS_MAX: usize = 4096;

/// What rumqttc said and nobody has read yet.
const EVENTS_MAX: usize = 256;

/// The largest packet that MQTT has, in bytes (MQTT 5.0 section 2.1.4); rumqttc's own limit is 10 KiB.
const PACKET_BYTES_MAX: u32 = 268_435_460;

/// How often the broker hears from us.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A version of MQTT that rumqttc speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5.
    #[value(name = "5")]
    V5,
}

/// What a connection is made of.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) version: Version,
    pub(crate) url: BrokerUrl,
    /// For `mqtts` and `wss`.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) client_id: String,
    /// User name and password.
    pub(crate) login: Option<(String, String)>,
    /// Until the broker has answered CONNECT.
    pub(crate) timeout: Duration,
}

/// A client identifier that nobody else has: 23 letters and digits, which every broker takes (MQTT 3.1.1 section 3.1.3.1).
pub(crate) fn new_client_id() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("tidegate{:015x}", random >> 4)
}

/// Something that has happened on the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// The broker has taken us.
    Connected,
    /// A message of QoS 0 is written; nobody says more of it.
    Written,
    /// The broker has taken a message of QoS 1 or 2, or refused it.
    Acknowledged(Result<(), Wrong>),
    /// The QoS granted to each filter, in their order, or why not.
    Subscribed(Vec<Result<u8, Wrong>>),
    /// A message came; it is acknowledged already.
    Message(Received),
    /// Our DISCONNECT is written.
    Closed,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Of MQTT 5.
    pub(crate) properties: Option<PublishProperties>,
}

/// The queue of requests is full.
#[derive(Debug)]
pub(crate) struct Full;

/// One connection, with a clean session that ends with it.
#[derive(Debug)]
pub(crate) struct Session {
    requests: Requests,
    events: mpsc::Receiver<Result<Event, Wrong>>,
    /// The broker has not answered CONNECT.
    connecting: bool,
}

#[derive(Debug)]
enum Requests {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

impl Session {
    /// Begins to connect, on this thread's `LocalSet`.
    pub(crate) fn open(options: Options) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let Options { version, url, tls, client_id, login, timeout } = options;
        let (host, transport) = reached(&url, tls);
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(true);
        let timeout_s = timeout.as_secs().max(1);
        let requests = match version {
            Version::V311 => {
                let mut options = rumqttc::MqttOptions::new(client_id, host, url.port);
                options.set_transport(transport).set_keep_alive(KEEP_ALIVE);
                options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
                if let Some((name, password)) = login {
                    options.set_credentials(name, password);
                }
                network.set_connection_timeout(timeout_s);
                let (client, mut event_loop) = rumqttc::AsyncClient::new(options, REQUESTS_MAX);
                event_loop.set_network_options(network);
                tokio::task::spawn_local(run(event_loop, sender));
                Requests::V311(client)
            }
            Version::V5 => {
                let mut options = v5::MqttOptions::new(client_id, host, url.port);
                options.set_transport(transport).set_keep_alive(KEEP_ALIVE).set_network_options(network);
                options.set_max_packet_size(Some(PACKET_BYTES_MAX)).set_connection_timeout(timeout_s);
                if let Some((name, password)) = login {
                    options.set_credentials(name, password);
                }
                let (client, event_loop) = v5::AsyncClient::new(options, REQUESTS_MAX);
                tokio::task::spawn_local(run(event_loop, sender));
                Requests::V5(client)
            }
        };
        Self { requests, events, connecting: true }
    }

    /// What happens next. After an error, or [`Event::Closed`], nothing does.
    pub(crate) async fn next(&mut self) -> Result<Event, Wrong> {
        let event = self.events.recv().await.unwrap_or_else(|| Err(Wrong::new("the connection has ended")));
        self.connecting &= event.is_ok() && !matches!(event, Ok(Event::Connected));
        event
    }

    /// Asks for a message to be published; its topic must be valid.
    pub(crate) fn publish(&self, topic: &str, payload: Bytes, qos: u8, retain: bool) -> Result<(), Full> {
        match &self.requests {
            Requests::V311(client) => {
                let qos = rumqttc::qos(qos).unwrap_or(rumqttc::QoS::AtMostOnce);
                client.try_publish(topic, qos, retain, payload).map_err(|_| Full)
            }
            Requests::V5(client) => client.try_publish(topic, qos_v5(qos), retain, payload).map_err(|_| Full),
        }
    }

    /// Asks for subscriptions; the filters must be valid.
    pub(crate) fn subscribe(&self, filters: &[String], qos: u8) -> Result<(), Full> {
        match &self.requests {
            Requests::V311(client) => {
                let qos = rumqttc::qos(qos).unwrap_or(rumqttc::QoS::AtMostOnce);
                let filters = filters.iter().map(|filter| rumqttc::SubscribeFilter::new(filter.clone(), qos));
                client.try_subscribe_many(filters).map_err(|_| Full)
            }
            Requests::V5(client) => {
                let filter = |filter: &String| v5::mqttbytes::v5::Filter::new(filter.clone(), qos_v5(qos));
                client.try_subscribe_many(filters.iter().map(filter)).map_err(|_| Full)
            }
        }
    }

    /// Says goodbye if the connection still is, and waits no longer than `timeout` until that is written. What comes
    /// meanwhile is let go.
    pub(crate) async fn close(mut self, timeout: Duration) {
        let asked = match &self.requests {
            Requests::V311(client) => client.try_disconnect().is_ok(),
            Requests::V5(client) => client.try_disconnect().is_ok(),
        };
        let is_open = !self.connecting;
        let written = async { while !matches!(self.next().await, Ok(Event::Closed) | Err(_)) {} };
        if asked && is_open {
            let _ = tokio::time::timeout(timeout, written).await;
        }
    }
}

fn qos_v5(qos: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos).unwrap_or(v5::mqttbytes::QoS::AtMostOnce)
}

/// What rumqttc calls the host: for WebSockets it is the whole url, for a Unix socket the path.
fn reached(url: &BrokerUrl, tls: Option<TlsSettings>) -> (String, Transport) {
    let tls = tls.map(|tls| TlsConfiguration::Rustls(tls.into_config()));
    match (url.scheme, tls) {
        (Scheme::Mqtts, Some(tls)) => (url.host.clone(), Transport::Tls(tls)),
        (Scheme::Wss, Some(tls)) => (url.to_string(), Transport::Wss(tls)),
        (Scheme::Ws, _) => (url.to_string(), Transport::Ws),
        (Scheme::Unix, _) => (url.path.clone(), Transport::Unix),
        _ => (url.host.clone(), Transport::Tcp),
    }
}

/// rumqttc's two event loops: alike, and of no type in common.
trait EventLoop {
    /// What rumqttc says next, where it is something to tell. `connected`: the broker has taken us.
    async fn said(&mut self, connected: bool) -> Result<Option<Event>, Wrong>;

    /// What it has not said.
    fn unsaid(&mut self) -> Vec<Event>;
}

impl EventLoop for rumqttc::EventLoop {
    async fn said(&mut self, connected: bool) -> Result<Option<Event>, Wrong> {
        self.poll().await.map(of_v311).map_err(|error| words::of_v311(&error, connected))
    }

    fn unsaid(&mut self) -> Vec<Event> {
        self.state.events.drain(..).filter_map(of_v311).collect()
    }
}

impl EventLoop for v5::EventLoop {
    async fn said(&mut self, connected: bool) -> Result<Option<Event>, Wrong> {
        self.poll().await.map(of_v5).map_err(|error| words::of_v5(&error, connected))
    }

    fn unsaid(&mut self) -> Vec<Event> {
        self.state.events.drain(..).filter_map(of_v5).collect()
    }
}

async fn run(mut event_loop: impl EventLoop, events: mpsc::Sender<Result<Event, Wrong>>) {
    let mut connected = false;
    loop {
        let said = match event_loop.said(connected).await {
            Ok(None) => continue,
            Ok(Some(event)) => Ok(event),
            Err(error) => {
                // What came in the same breath as the end is still with rumqttc: a refusal tells more than the end.
                for event in event_loop.unsaid() {
                    let _ = events.send(Ok(event)).await;
                }
                Err(error)
            }
        };
        connected |= matches!(said, Ok(Event::Connected));
        let ends = matches!(said, Ok(Event::Closed) | Err(_));
        if events.send(said).await.is_err() || ends {
            return;
        }
    }
}

/// Packet identifier 0 is that of a message of QoS 0, which has none.
fn of_outgoing(outgoing: &Outgoing) -> Option<Event> {
    match outgoing {
        Outgoing::Publish(0) => Some(Event::Written),
        Outgoing::Disconnect => Some(Event::Closed),
        _ => None,
    }
}

/// What SUBACK says of each filter: the QoS that is granted, or why none is.
fn subscribed<C: std::fmt::Debug>(codes: &[C], granted: impl Fn(&C) -> Option<u8>) -> Event {
    let one = |code: &C| granted(code).ok_or_else(|| words::refused(code, None));
    Event::Subscribed(codes.iter().map(one).collect())
}

fn of_v311(event: rumqttc::Event) -> Option<Event> {
    use rumqttc::{Packet, SubscribeReasonCode};
    let packet = match event {
        rumqttc::Event::Incoming(packet) => packet,
        rumqttc::Event::Outgoing(outgoing) => return of_outgoing(&outgoing),
    };
    match packet {
        Packet::ConnAck(_) => Some(Event::Connected),
        Packet::PubAck(_) | Packet::PubComp(_) => Some(Event::Acknowledged(Ok(()))),
        Packet::SubAck(suback) => Some(subscribed(&suback.return_codes, |code| match code {
            SubscribeReasonCode::Success(qos) => Some(*qos as u8),
            SubscribeReasonCode::Failure => None,
        })),
        Packet::Publish(publish) => Some(Event::Message(Received {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: None,
        })),
        _ => None,
    }
}

fn of_v5(event: v5::Event) -> Option<Event> {
    use v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
    let packet = match event {
        v5::Event::Incoming(packet) => packet,
        v5::Event::Outgoing(outgoing) => return of_outgoing(&outgoing),
    };
    match packet {
        Packet::ConnAck(_) => Some(Event::Connected),
        Packet::PubAck(puback) => Some(Event::Acknowledged(match puback.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            reason => Err(words::refused(reason, puback.properties.and_then(|all| all.reason_string).as_deref())),
        })),
        // A PUBREC that refuses ends the exchange (MQTT 5.0 section 4.3.3); any other is half of it.
        Packet::PubRec(pubrec) => match pubrec.reason {
            PubRecReason::Success | PubRecReason::NoMatchingSubscribers => None,
            reason => {
                let said = pubrec.properties.and_then(|all| all.reason_string);
                Some(Event::Acknowledged(Err(words::refused(reason, said.as_deref()))))
            }
        },
        Packet::PubComp(pubcomp) => Some(Event::Acknowledged(match pubcomp.reason {
            PubCompReason::Success => Ok(()),
            reason => Err(words::refused(reason, None)),
        })),
        Packet::SubAck(suback) => Some(subscribed(&suback.return_codes, |code| match code {
            SubscribeReasonCode::Success(qos) => Some(*qos as u8),
            _ => None,
        })),
        Packet::Publish(publish) => Some(Event::Message(Received {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: publish.properties,
        })),
        _ => None,
    }
}
