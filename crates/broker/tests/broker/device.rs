//! A broker on a port of its own, and clients for it.

use crate::disk::Door;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_broker::{Broker, Local, LocalReceived, LocalRelease, LocalSink, Persisted, Scheme, Settings, bind};
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_mqtt::{
    Batch, ClientConfig, ClientSession, Completion, Connected, Control, ReasonCode, Received, RetainHandling,
    SubscribeFilter, Version,
};
use tidegate_testkit::SimDisk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;

/// No event of a test takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A broker for one test.
pub(crate) struct Server {
    pub(crate) broker: Broker,
    pub(crate) addr: SocketAddr,
    pub(crate) ws: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), tidegate_broker::Error>>,
}

pub(crate) fn anonymous() -> Settings {
    Settings { allow_anonymous: true, ..Settings::default() }
}

/// Runs a test against a broker, on one thread.
pub(crate) fn with<F: Future<Output = ()>>(settings: Settings, test: impl FnOnce(Server) -> F) {
    run(|| Broker::new(settings), test);
}

/// The same with a broker that keeps on this disk what outlives it. At the end of the test everything stops where it stands, as in a
/// process that is killed.
pub(crate) fn with_disk<F: Future<Output = ()>>(disk: &SimDisk, settings: Settings, test: impl FnOnce(Server) -> F) {
    let storage: Arc<dyn tidegate_spool::Storage> = Arc::new(Door(disk.clone()));
    let persisted = Persisted::on(storage).unwrap();
    run(|| Broker::with_persistence(settings, persisted), test);
}

fn run<F: Future<Output = ()>>(broker: impl FnOnce() -> Broker, test: impl FnOnce(Server) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = bind("127.0.0.1:0", Scheme::Mqtt).await.unwrap();
        let ws_listener = bind("127.0.0.1:0", Scheme::Ws).await.unwrap();
        let (addr, ws) = (listener.local_addr().unwrap(), ws_listener.local_addr().unwrap());
        let (broker, stop) = (broker(), CancellationToken::new());
        let task = tokio::task::spawn_local(broker.clone().run(vec![listener, ws_listener], stop.clone()));
        test(Server { broker, addr, ws, stop, task }).await;
    });
}

impl Server {
    pub(crate) async fn device(&self, id: &str) -> Device {
        Device::connect(self.addr, config(id, Version::V5)).await
    }

    pub(crate) async fn device_311(&self, id: &str) -> Device {
        Device::connect(self.addr, config(id, Version::V311)).await
    }

    pub(crate) fn gateway(&self, filters: &[(&str, QoS)]) -> Gateway {
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        let local = self.broker.local(inbox.clone());
        let asked = |(text, qos): &(&str, QoS)| (TopicFilter::new(*text).unwrap(), *qos, RetainHandling::Send);
        let filters: Vec<_> = filters.iter().map(asked).collect();
        local.subscribe(&filters);
        Gateway { local, inbox }
    }

    /// Waits until the broker's counters say so.
    pub(crate) async fn until(&self, what: impl Fn(&tidegate_broker::Stats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(&self.broker.stats()) {
            assert!(Instant::now() < deadline, "never so: {:?}", self.broker.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) fn config(id: &str, version: Version) -> ClientConfig {
    ClientConfig {
        version,
        bridge: false,
        client_id: id.into(),
        clean_start: true,
        keep_alive_s: 60,
        username: None,
        password: None,
        will: None,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        max_packet_size: 10_000_000,
        topic_alias_max: 0,
        limits: Default::default(),
        mark: None,
    }
}

/// A config that keeps its session.
pub(crate) fn lasting(id: &str, version: Version) -> ClientConfig {
    ClientConfig { clean_start: false, session_expiry_s: 3600, ..config(id, version) }
}

pub(crate) fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message::new(Topic::new(topic).unwrap(), payload.to_owned(), qos)
}

pub(crate) fn retained(topic: &str, payload: &str, qos: QoS) -> Message {
    Message { retain: true, ..message(topic, payload, qos) }
}

pub(crate) fn filter(text: &str, qos: QoS) -> SubscribeFilter {
    SubscribeFilter::new(TopicFilter::new(text).unwrap(), qos)
}

/// A client on the session of `tidegate-mqtt`. It acknowledges what it takes out with `next`.
pub(crate) struct Device {
    pub(crate) session: ClientSession,
    pub(crate) stream: TcpStream,
    rx: BytesMut,
    pub(crate) received: VecDeque<Received>,
    pub(crate) completed: VecDeque<Completion>,
    pub(crate) control: VecDeque<Control>,
    next_key: u64,
}

impl Device {
    pub(crate) async fn connect(addr: SocketAddr, config: ClientConfig) -> Self {
        Self::try_connect(addr, config).await.unwrap_or_else(|reason| panic!("refused: {reason}")).0
    }

    pub(crate) async fn try_connect(addr: SocketAddr, config: ClientConfig) -> Result<(Self, Connected), ReasonCode> {
        Self::resume(addr, config, ClientSession::new(Instant::now())).await
    }

    pub(crate) async fn resume(
        addr: SocketAddr,
        config: ClientConfig,
        session: ClientSession,
    ) -> Result<(Self, Connected), ReasonCode> {
        let mut device = Self {
            session,
            stream: TcpStream::connect(addr).await.unwrap(),
            rx: BytesMut::new(),
            received: VecDeque::new(),
            completed: VecDeque::new(),
            control: VecDeque::new(),
            next_key: 0,
        };
        device.session.disconnected();
        device.session.connect(&config, Instant::now());
        device.flush().await;
        match device.next_control().await {
            Control::Connected(connected) => {
                // What the session sends again.
                device.flush().await;
                Ok((device, connected))
            }
            Control::Refused { reason, .. } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn flush(&mut self) {
        let tx = self.session.tx();
        while !tx.is_empty() {
            let written = self.stream.write(tx).await.unwrap();
            tx.advance(written);
        }
        let mut batch = Batch::default();
        self.session.sent(Instant::now(), &mut batch);
    }

    /// Reads once; false at the end of the stream.
    pub(crate) async fn turn(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.rx)).await;
        let Ok(count) = read.expect("nothing came") else { return false };
        let mut batch = Batch::default();
        self.session.on_bytes(&mut self.rx, Instant::now(), &mut batch).unwrap();
        self.received.extend(batch.received.drain(..));
        self.completed.extend(batch.completed.drain(..));
        let refused = batch.refused.drain(..).map(|refused| Completion { key: refused.key, reason: refused.reason });
        self.completed.extend(refused);
        self.control.extend(batch.control.drain(..).map(|(_, control)| control));
        count > 0
    }

    pub(crate) async fn next_control(&mut self) -> Control {
        loop {
            if let Some(control) = self.control.pop_front() {
                return control;
            }
            assert!(self.turn().await, "the broker closed the connection");
        }
    }

    pub(crate) async fn subscribe_with(&mut self, filters: &[SubscribeFilter]) -> Vec<ReasonCode> {
        let packets = self.session.subscribe(filters).len();
        self.flush().await;
        let mut all = Vec::new();
        for _ in 0..packets {
            match self.next_control().await {
                Control::Subscribed { codes, .. } => all.extend(codes),
                other => panic!("{other:?}"),
            }
        }
        all
    }

    pub(crate) async fn subscribe(&mut self, text: &str, qos: QoS) {
        assert_eq!(self.subscribe_with(&[filter(text, qos)]).await, [ReasonCode(qos as u8)]);
    }

    pub(crate) async fn unsubscribe(&mut self, text: &str) {
        self.session.unsubscribe(&[TopicFilter::new(text).unwrap()]);
        self.flush().await;
        assert!(matches!(self.next_control().await, Control::Unsubscribed { .. }));
    }

    /// Sends without waiting for an acknowledgement.
    pub(crate) async fn send(&mut self, message: Message) {
        self.next_key += 1;
        self.session.publish(self.next_key, message).unwrap();
        self.flush().await;
    }

    /// Sends and waits for the last acknowledgement.
    pub(crate) async fn publish(&mut self, message: Message) -> ReasonCode {
        let is_acked = message.qos != QoS::AtMostOnce;
        self.send(message).await;
        if is_acked { self.next_completed().await.reason } else { ReasonCode::SUCCESS }
    }

    pub(crate) async fn next_completed(&mut self) -> Completion {
        loop {
            if let Some(completion) = self.completed.pop_front() {
                return completion;
            }
            assert!(self.turn().await, "the broker closed the connection");
            self.flush().await;
        }
    }

    /// The next message, not acknowledged.
    pub(crate) async fn peek_next(&mut self) -> Received {
        loop {
            if let Some(received) = self.received.pop_front() {
                return received;
            }
            assert!(self.turn().await, "the broker closed the connection");
        }
    }

    /// The next message, acknowledged.
    pub(crate) async fn next(&mut self) -> Message {
        let received = self.peek_next().await;
        if let Some(token) = received.ack {
            self.session.ack(token);
            self.flush().await;
        }
        received.message
    }

    /// The payloads of the next messages.
    pub(crate) async fn next_payloads(&mut self, count: usize) -> Vec<String> {
        let mut payloads = Vec::new();
        for _ in 0..count {
            payloads.push(String::from_utf8(self.next().await.payload.to_vec()).unwrap());
        }
        payloads
    }

    /// Everything that arrives before the answer to a SUBSCRIBE that is sent now.
    pub(crate) async fn drain(&mut self) -> Vec<Message> {
        // A filter nobody publishes to.
        self.session.subscribe(&[filter("drain/of/tests", QoS::AtMostOnce)]);
        self.flush().await;
        assert!(matches!(self.next_control().await, Control::Subscribed { .. }));
        let mut messages = Vec::new();
        while !self.received.is_empty() {
            messages.push(self.next().await);
        }
        messages
    }

    /// Waits for the end of the connection; the reason the broker gave, if any.
    pub(crate) async fn ended(&mut self) -> Option<ReasonCode> {
        while self.turn().await {}
        self.control.drain(..).find_map(|control| match control {
            Control::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// Says goodbye and waits until the broker has heard it.
    pub(crate) async fn goodbye(mut self) -> ClientSession {
        self.session.disconnect(ReasonCode::SUCCESS);
        self.flush().await;
        let _ = self.stream.shutdown().await;
        while self.turn().await {}
        self.session
    }

    /// Closes the socket without a word; the session stays for a later connection.
    pub(crate) fn vanish(self) -> ClientSession {
        self.session
    }
}

/// A client that writes what it is told, and reads whole packets.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    rx: BytesMut,
}

impl Raw {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), rx: BytesMut::new() }
    }

    /// Connects with MQTT 5 or 3.1.1 and reads CONNACK.
    pub(crate) async fn connect(addr: SocketAddr, level: u8) -> Self {
        let mut raw = Self::open(addr).await;
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let body = [b"\0\x04MQTT", &[level, 2, 0, 60][..], properties, b"\0\x03raw"].concat();
        raw.send(&[&[0x10, body.len() as u8], &body[..]].concat()).await;
        assert_eq!(raw.packet().await.unwrap()[0], 0x20);
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet; `None` at the end of the stream.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = packet_len(&self.rx) {
                return Some(self.rx.split_to(len).to_vec());
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.rx)).await;
            if read.expect("nothing came").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        while let Some(packet) = self.packet().await {
            assert_ne!(packet[0] >> 4, 2, "let in");
        }
        true
    }
}

fn packet_len(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for at in 1..=4 {
        let byte = *bytes.get(at)?;
        remaining |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Some(1 + at + remaining).filter(|len| bytes.len() >= *len);
        }
    }
    None
}

/// The in-process client of a test.
pub(crate) struct Gateway {
    pub(crate) local: Local,
    inbox: Rc<RefCell<Inbox>>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    received: VecDeque<LocalReceived>,
    released: Vec<(String, u16)>,
    calls: usize,
}

impl LocalSink for Inbox {
    fn received(&mut self, messages: &mut Vec<LocalReceived>) {
        assert!(!messages.is_empty(), "called for nothing");
        self.calls += 1;
        self.received.extend(messages.drain(..));
    }

    fn released(&mut self, releases: &mut Vec<LocalRelease>) {
        self.released.extend(releases.iter().map(|release| (release.client.to_string(), release.packet_id)));
    }
}

impl Gateway {
    pub(crate) fn try_next(&self) -> Option<LocalReceived> {
        self.inbox.borrow_mut().received.pop_front()
    }

    pub(crate) async fn next(&self) -> LocalReceived {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(received) = self.try_next() {
                return received;
            }
            assert!(Instant::now() < deadline, "nothing came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Which packet ids of which clients are free again, since this was asked last.
    pub(crate) fn released(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.inbox.borrow_mut().released)
    }

    pub(crate) fn calls(&self) -> usize {
        self.inbox.borrow().calls
    }
}
