//! Simulated devices and their audience, over real connections to the demo's brokers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_link::{Address, Bridge, Link, LinkHandle, Outgoing, Port, Reconnect, Settings, Status};
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_mqtt::{Completion, PublishError, Received, SubscribeFilter};
use tokio_util::sync::CancellationToken;

/// How often the devices speak.
const BEAT: Duration = Duration::from_millis(20);

/// Devices stop measuring while this much waits for the broker.
const WAITING_MAX: usize = 10_000;

const ROOMS: [&str; 8] = ["kitchen", "hall", "cellar", "attic", "garage", "study", "garden", "bath"];

/// One in so many measurements is an alarm, one in so many a message for nobody.
const ALARM_EVERY: u64 = 50;
const DEBUG_EVERY: u64 = 10;

/// One MQTT client of the demo.
#[derive(Default)]
struct Client {
    waiting: VecDeque<Message>,
    acks: Vec<tidegate_mqtt::AckToken>,
    sent: u64,
    acknowledged: u64,
    received: u64,
}

struct ClientPort(Rc<RefCell<Client>>);

impl Port for ClientPort {
    fn received(&mut self, messages: &mut Vec<Received>, _: Instant) {
        let mut client = self.0.borrow_mut();
        client.received += messages.len() as u64;
        client.acks.extend(messages.drain(..).filter_map(|message| message.ack));
    }

    fn completed(&mut self, completions: &[Completion], _: Instant) {
        self.0.borrow_mut().acknowledged += completions.len() as u64;
    }

    fn pull(&mut self, has_room: bool, _: Instant) -> Option<Outgoing> {
        if !has_room {
            return None;
        }
        let mut client = self.0.borrow_mut();
        let message = client.waiting.pop_front()?;
        client.sent += 1;
        Some(Outgoing { key: client.sent, message })
    }

    fn refused(&mut self, _: u64, _: &PublishError) {}

    fn status(&mut self, _: &Status) {}
}

/// A running client.
pub(crate) struct Running {
    client: Rc<RefCell<Client>>,
}

impl Running {
    /// Messages published and acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.client.borrow().acknowledged
    }

    /// Messages received.
    pub(crate) fn received(&self) -> u64 {
        self.client.borrow().received
    }
}

/// Starts all devices of the house on one connection, at this many messages a second together.
pub(crate) fn devices(broker: SocketAddr, rate: u64, stop: CancellationToken) -> Running {
    let (client, handle) = start("demo-devices", broker, stop.clone());
    let speaking = client.clone();
    tokio::task::spawn_local(async move {
        let mut beat = tokio::time::interval(BEAT);
        let (started, mut number) = (Instant::now(), 0);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            let mut client = speaking.borrow_mut();
            while number < due {
                number += 1;
                if client.waiting.len() < WAITING_MAX {
                    client.waiting.extend(measurement(number));
                }
            }
            drop(client);
            handle.wake();
        }
    });
    Running { client }
}

/// What a thermometer says, in Fahrenheit, with what kind of message it is.
fn measurement(number: u64) -> Option<Message> {
    let room = ROOMS[(number % ROOMS.len() as u64) as usize];
    let kind = match number {
        n if n % ALARM_EVERY == 0 => "alarm",
        n if n % DEBUG_EVERY == 0 => "debug",
        _ => "telemetry",
    };
    let temperature = 68.0 + ((number * 37) % 120) as f64 / 10.0;
    let payload = format!("{{\"kind\":\"{kind}\",\"n\":{number},\"temp\":{temperature:.1}}}");
    let topic = Topic::new(format!("dev/{room}/temp")).ok()?;
    Some(Message::new(topic, payload.into_bytes(), QoS::AtLeastOnce))
}

/// Starts a client that wants to hear everything.
pub(crate) fn audience(broker: SocketAddr, stop: CancellationToken) -> Running {
    let (client, handle) = start("demo-audience", broker, stop.clone());
    if let Ok(everything) = TopicFilter::new("#") {
        handle.subscribe(&[SubscribeFilter::new(everything, QoS::AtLeastOnce)]);
    }
    let listening = client.clone();
    tokio::task::spawn_local(async move {
        let mut beat = tokio::time::interval(BEAT);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            let acks = std::mem::take(&mut listening.borrow_mut().acks);
            acks.into_iter().for_each(|ack| handle.ack(ack));
        }
    });
    Running { client }
}

fn start(name: &str, broker: SocketAddr, stop: CancellationToken) -> (Rc<RefCell<Client>>, LinkHandle) {
    let address = Address::Tcp { host: broker.ip().to_string(), port: broker.port() };
    let (link, handle) = Link::new(Settings {
        bridge: Bridge::Off,
        max_packet_size: 64 * 1024,
        reconnect: Reconnect { min: Duration::from_millis(50), max: Duration::from_secs(1) },
        connect_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(10),
        ..Settings::new(name, address)
    });
    let client = Rc::new(RefCell::new(Client::default()));
    let port = Rc::new(RefCell::new(ClientPort(client.clone())));
    tokio::task::spawn_local(link.run(port, stop));
    (client, handle)
}
