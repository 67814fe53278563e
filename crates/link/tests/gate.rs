//! Links whose owner writes a log, against a broker written by hand: what may leave when, byte for byte.
//!
//! Each of these faults was planted in the sources, alone, and was seen by the test beside it.
//!
//! | planted | caught by |
//! |---|---|
//! | the gate ignored | all but two |
//! | the gate not asked before a write | all but two |
//! | the gate not asked before a goodbye | `a_goodbye_after_an_error_says_nothing_that_may_not_leave` |
//! | bytes that left not counted | `each_record_lets_go_what_relies_on_it_and_no_more` |
//! | everything held until everything is durable | `each_record_lets_go_what_relies_on_it_and_no_more` |
//! | the write timeout runs while bytes are held | `waiting_for_the_log_is_not_waiting_for_the_socket` |
//! | the goodbye ignores the gate | `a_goodbye_says_nothing_that_may_not_leave` |
//! | the goodbye does not wait | `a_goodbye_waits_for_the_log` |
#![allow(missing_docs, clippy::unwrap_used)] // both are a test's way

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_link::{Address, Bridge, Link, LinkHandle, Outgoing, Port, Reconnect, Settings, Status, VersionChoice};
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_mqtt::{AckToken, Batch, PublishError, Restored, RestoredMessage, SubscribeFilter, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes long; a test that waits for what never comes ends so.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the link told its owner.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Up,
    Down,
    Sent { key: u64, serial: u64 },
    TakenOver(Vec<u64>),
    Released(Vec<u16>),
    Completed(Vec<u64>),
    Received(AckToken),
    Heard,
}

/// An owner that appends a record for each event that a log is needed for.
#[derive(Default)]
struct Owner {
    to_send: VecDeque<Outgoing>,
    acks: Vec<AckToken>,
    records_lost_sessions: bool,
    appended: u64,
    durable: u64,
    events: Vec<Event>,
    changed: Rc<Notify>,
}

impl Owner {
    fn tell(&mut self, event: Event) {
        self.events.push(event);
        self.changed.notify_one();
    }

    fn append(&mut self, event: Event) {
        self.appended += 1;
        self.tell(event);
    }
}

impl Port for Owner {
    fn heard(&mut self, heard: &mut Batch, _: Instant) {
        if !heard.taken_over.is_empty() {
            self.append(Event::TakenOver(std::mem::take(&mut heard.taken_over)));
        }
        if !heard.released.is_empty() {
            self.append(Event::Released(std::mem::take(&mut heard.released)));
        }
        if !heard.completed.is_empty() {
            self.tell(Event::Completed(heard.completed.drain(..).map(|done| done.key).collect()));
        }
        for received in heard.received.drain(..) {
            self.tell(received.ack.map_or(Event::Heard, Event::Received));
        }
    }

    fn acks(&mut self, acks: &mut Vec<AckToken>) {
        acks.append(&mut self.acks);
    }

    fn pull(&mut self, has_room: bool, _: Instant) -> Option<Outgoing> {
        if has_room { self.to_send.pop_front() } else { None }
    }

    fn refused(&mut self, key: u64, error: &PublishError) {
        panic!("{key}: {error}");
    }

    fn status(&mut self, status: &Status) {
        match status {
            Status::Up { connected, .. } if self.records_lost_sessions && !connected.session_present => {
                self.append(Event::Up);
            }
            Status::Up { .. } => self.tell(Event::Up),
            Status::Down { .. } => self.tell(Event::Down),
            _ => {}
        }
    }

    fn sent(&mut self, key: u64, serial: u64) {
        self.append(Event::Sent { key, serial });
    }

    fn gate(&mut self) -> u64 {
        self.appended
    }

    fn durable(&self) -> u64 {
        self.durable
    }
}

/// The link, its owner, and the broker's end of the connection.
struct World {
    owner: Rc<RefCell<Owner>>,
    link: LinkHandle,
    stop: CancellationToken,
    listener: UnixListener,
    broker: UnixStream,
    _folder: tempfile::TempDir,
}

fn settings(path: std::path::PathBuf) -> Settings {
    let no_time = Duration::from_millis(1);
    Settings {
        version: VersionChoice::Only(Version::V311),
        bridge: Bridge::Off,
        client_id: "box".into(),
        keep_alive_s: 0,
        session_expiry_s: 3600,
        receive_maximum: 100,
        max_packet_size: 10_000,
        topic_alias_max: 0,
        reconnect: Reconnect { min: no_time, max: no_time },
        connect_timeout: PATIENCE,
        // Runs out at once, if it runs.
        write_timeout: Duration::ZERO,
        ..Settings::new("broker", Address::Unix(path))
    }
}

impl World {
    /// Connected, after this was done to owner and link; with what the broker was sent behind CONNECT left to read.
    async fn new(session_present: bool, prepare: impl FnOnce(&mut Owner, &LinkHandle)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt");
        let listener = UnixListener::bind(&path).unwrap();
        let (link, handle) = Link::new(settings(path));
        let owner = Rc::new(RefCell::new(Owner::default()));
        prepare(&mut owner.borrow_mut(), &handle);
        let stop = CancellationToken::new();
        tokio::task::spawn_local(link.run(owner.clone(), stop.clone()));
        let broker = accept(&listener, session_present).await;
        let mut world = Self { owner, link: handle, stop, listener, broker, _folder: folder };
        world.event(Event::Up).await;
        world
    }

    /// Waits until the owner was told this.
    async fn event(&mut self, event: Event) {
        self.event_like(|found| (*found == event).then_some(())).await;
    }

    async fn event_like<T>(&mut self, like: impl Fn(&Event) -> Option<T>) -> T {
        let changed = self.owner.borrow().changed.clone();
        loop {
            let found = self.owner.borrow().events.iter().find_map(&like);
            if let Some(found) = found {
                return found;
            }
            changed.notified().await;
        }
    }

    fn send(&self, key: u64, qos: QoS) {
        self.owner.borrow_mut().to_send.push_back(Outgoing { key, message: message(qos) });
        self.link.wake();
    }

    /// The log is durable up to here.
    fn synced(&self, durable: u64) {
        self.owner.borrow_mut().durable = durable;
        self.link.wake();
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.broker.write_all(bytes).await.unwrap();
    }

    /// The broker reads exactly this.
    async fn hears(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.broker.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
    }

    /// The link has had its turns, and nothing of it is there to read.
    async fn hears_nothing(&mut self) {
        for _ in 0..3 {
            self.owner.borrow_mut().events.retain(|event| *event != Event::Heard);
            self.say(&[0x30, 4, 0, 1, b'b', b'x']).await;
            self.event(Event::Heard).await;
        }
        let mut bytes = [0; 100];
        let read = self.broker.try_read(&mut bytes);
        let count = read.as_ref().map_or(0, |count| *count);
        assert!(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{:x?}", &bytes[..count]);
        assert!(!self.owner.borrow().events.contains(&Event::Down));
    }
}

/// Lets the link in.
async fn accept(listener: &UnixListener, session_present: bool) -> UnixStream {
    let (mut broker, _) = listener.accept().await.unwrap();
    let mut header = [0; 2];
    broker.read_exact(&mut header).await.unwrap();
    assert_eq!(header[0], 0x10, "CONNECT");
    broker.read_exact(&mut vec![0; header[1].into()]).await.unwrap();
    broker.write_all(&[0x20, 2, session_present.into(), 0]).await.unwrap();
    broker
}

fn message(qos: QoS) -> Message {
    Message::new(Topic::new("a".to_owned()).unwrap(), "x", qos)
}

/// PUBLISH of [`message`].
fn publish(qos: QoS, dup: bool, packet_id: u8) -> [u8; 8] {
    [0x30 | (qos as u8) << 1 | u8::from(dup) << 3, 6, 0, 1, b'a', 0, packet_id, b'x']
}

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// Runs a test with links on this thread.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = async { tokio::time::timeout(PATIENCE, test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, within);
}

#[test]
fn nothing_of_qos_2_leaves_before_its_record_is_durable() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        world.hears_nothing().await;
        world.synced(1);
        world.hears(&publish(TWO, false, 1)).await;
        world.say(&[0x50, 2, 0, 1]).await;
        world.event(Event::TakenOver(vec![7])).await;
        world.hears_nothing().await;
        world.synced(2);
        world.hears(&[0x62, 2, 0, 1]).await;
        world.say(&[0x70, 2, 0, 1]).await;
        world.event(Event::Completed(vec![7])).await;
    });
}

#[test]
fn a_pubcomp_leaves_once_the_release_is_durable() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.say(&publish(TWO, false, 9)).await;
        let received = |event: &Event| if let Event::Received(token) = event { Some(*token) } else { None };
        let token = world.event_like(received).await;
        assert_eq!((token.packet_id(), token.exactly_once()), (9, true));
        world.owner.borrow_mut().acks.push(token);
        world.link.wake();
        world.hears(&[0x50, 2, 0, 9]).await;
        world.say(&[0x62, 2, 0, 9]).await;
        world.event(Event::Released(vec![9])).await;
        world.hears_nothing().await;
        world.synced(1);
        world.hears(&[0x70, 2, 0, 9]).await;
    });
}

#[test]
fn messages_that_need_no_record_flow_unhindered() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        for id in 1..=3 {
            world.send(u64::from(id), ONE);
            world.hears(&publish(ONE, false, id)).await;
            world.say(&[0x40, 2, 0, id]).await;
            world.event(Event::Completed(vec![id.into()])).await;
        }
    });
}

#[test]
fn each_record_lets_go_what_relies_on_it_and_no_more() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        for (key, qos) in [(1, TWO), (2, ONE), (3, TWO)] {
            world.send(key, qos);
            if qos == TWO {
                world.event(Event::Sent { key, serial: key - 1 }).await;
            }
            world.hears_nothing().await;
        }
        world.synced(1);
        world.hears(&publish(TWO, false, 1)).await;
        world.hears_nothing().await;
        world.synced(2);
        world.hears(&publish(ONE, false, 2)).await;
        world.hears(&publish(TWO, false, 3)).await;
    });
}

#[test]
fn a_subscribe_waits_for_what_was_recorded_at_connack() {
    run(async {
        let filter = SubscribeFilter::new(TopicFilter::new("b").unwrap(), ONE);
        let prepare = |owner: &mut Owner, link: &LinkHandle| {
            owner.records_lost_sessions = true;
            link.subscribe(&[filter]);
        };
        let mut world = World::new(false, prepare).await;
        world.hears_nothing().await;
        world.synced(1);
        world.hears(&[0x82, 6, 0, 1, 0, 1, b'b', 1]).await;
    });
}

#[test]
fn a_new_connection_holds_what_the_one_before_held() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        world.owner.borrow_mut().events.clear();
        world.broker = accept_next(&world.listener, &mut world.broker).await;
        world.event(Event::Up).await;
        world.owner.borrow_mut().events.clear();
        world.hears_nothing().await;
        world.synced(1);
        world.hears(&publish(TWO, true, 1)).await;
    });
}

/// Hangs up on the link and lets it in again, with its session.
async fn accept_next(listener: &UnixListener, broker: &mut UnixStream) -> UnixStream {
    broker.shutdown().await.unwrap();
    accept(listener, true).await
}

#[test]
fn a_restored_link_goes_on_where_the_process_before_was() {
    run(async {
        let prepare = |_: &mut Owner, link: &LinkHandle| {
            let sent = [(5, 2, None), (1, 1, Some(message(TWO))), (70_000, 3, None)];
            let sent = sent.map(|(serial, key, message)| RestoredMessage { serial, key, message });
            let session = Restored { sent: sent.into(), received: vec![9] };
            assert_eq!(link.restore(session), [1, 2]);
        };
        let mut world = World::new(true, prepare).await;
        let [high, low] = (70_000_u32 % 65_535 + 1).to_be_bytes()[2..] else { unreachable!() };
        world.hears(&[0x62, 2, high, low]).await;
        world.say(&publish(TWO, true, 9)).await;
        world.hears(&[0x50, 2, 0, 9]).await;
        world.say(&[0x70, 2, high, low]).await;
        world.event(Event::Completed(vec![3])).await;
    });
}

#[test]
fn waiting_for_the_log_is_not_waiting_for_the_socket() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        // Many times the write timeout; there is no event to wait for.
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            world.hears_nothing().await;
        }
        world.synced(1);
        world.hears(&publish(TWO, false, 1)).await;
    });
}

#[test]
fn a_goodbye_after_an_error_says_nothing_that_may_not_leave() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        world.synced(1);
        world.hears(&publish(TWO, false, 1)).await;
        // PUBREC, and what no broker may send.
        world.say(&[0x50, 2, 0, 1, 0xC0, 0]).await;
        world.event(Event::TakenOver(vec![7])).await;
        let mut rest = Vec::new();
        world.broker.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0_u8; 0]);
    });
}

#[test]
fn a_goodbye_waits_for_the_log() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        world.hears_nothing().await;
        world.stop.cancel();
        while world.link.is_up() {
            tokio::task::yield_now().await;
        }
        world.synced(1);
        world.hears(&publish(TWO, false, 1)).await;
        world.hears(&[0xE0, 0]).await;
    });
}

#[test]
fn a_goodbye_says_nothing_that_may_not_leave() {
    run(async {
        let mut world = World::new(false, |_, _| {}).await;
        world.send(7, TWO);
        world.event(Event::Sent { key: 7, serial: 0 }).await;
        world.stop.cancel();
        let mut rest = Vec::new();
        world.broker.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0_u8; 0]);
    });
}
