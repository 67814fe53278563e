//! Simulated devices and their audience, over real connections to the demo's brokers.
//!
//! Both are clients of rumqttc, the devices with MQTT 3.1.1 and the audience with MQTT 5: every demo also shows that the
//! brokers get along with somebody else's client.

use crate::client::session::{Event, Options, Session, Version, new_client_id};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_config::{BrokerUrl, Scheme};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the devices speak.
const BEAT: Duration = Duration::from_millis(20);

/// Until a lost connection is tried again.
const RECONNECT: Duration = Duration::from_millis(200);

/// For each answer of a broker in the same process.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last acknowledgements may take at the end.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(2);

/// What the devices publish with, and the audience subscribes with.
const QOS: u8 = 1;

const ROOMS: [&str; 8] = ["kitchen", "hall", "cellar", "attic", "garage", "study", "garden", "bath"];

/// One in so many measurements is an alarm, one in so many a message for nobody.
const ALARM_EVERY: u64 = 50;
const DEBUG_EVERY: u64 = 10;

/// A room keeps its temperature for so many measurements.
const STEADY: u64 = 10;

/// What a client has done so far.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: Cell<u64>,
    received: Cell<u64>,
}

/// A running client.
#[derive(Debug)]
pub(crate) struct Running {
    counts: Rc<Counts>,
    task: JoinHandle<()>,
}

impl Running {
    /// Messages published and acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.get()
    }

    /// Messages received.
    pub(crate) fn received(&self) -> u64 {
        self.counts.received.get()
    }

    /// Waits for its last words, once it was told to stop.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }
}

/// Starts all devices of the house on one connection, at this many messages a second together.
pub(crate) fn devices(broker: SocketAddr, rate: u64, stop: CancellationToken) -> Running {
    running(|counts| async move {
        let (began, mut number) = (Instant::now(), 0);
        while !stop.is_cancelled() {
            let mut session = Session::open(options(broker, Version::V311));
            let mut under_way = 0_u64;
            let talk = speak(&mut session, &counts, &mut under_way, || due(began, rate), &mut number);
            if stop.run_until_cancelled(talk).await.is_some() {
                // The connection is lost: what was under way is not known, as with any device.
                stop.run_until_cancelled(tokio::time::sleep(RECONNECT)).await;
                continue;
            }
            let last = async { while under_way > 0 && hear(&mut session, &counts, &mut under_way).await {} };
            let _ = tokio::time::timeout(LAST_ACKNOWLEDGEMENTS, last).await;
            session.close(TIMEOUT).await;
        }
    })
}

/// How many measurements there should be by now.
fn due(began: Instant, rate: u64) -> u64 {
    (began.elapsed().as_secs_f64() * rate as f64) as u64
}

/// Measures and publishes until the connection is lost.
async fn speak(session: &mut Session, counts: &Counts, under_way: &mut u64, due: impl Fn() -> u64, number: &mut u64) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            heard = hear(session, counts, under_way) => if !heard { return },
            _ = beat.tick() => {
                let due = due();
                while *number < due {
                    *number += 1;
                    let (topic, payload) = measurement(*number);
                    // What finds no room is not measured.
                    *under_way += u64::from(session.publish(&topic, payload.into(), QOS, false).is_ok());
                }
            }
        }
    }
}

/// Counts one thing that happened; false when the connection is lost.
async fn hear(session: &mut Session, counts: &Counts, under_way: &mut u64) -> bool {
    match session.next().await {
        Ok(Event::Acknowledged(answer)) => {
            *under_way = under_way.saturating_sub(1);
            counts.acknowledged.set(counts.acknowledged.get() + u64::from(answer.is_ok()));
            true
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// What a thermometer says, in Fahrenheit, with what kind of message it is.
fn measurement(number: u64) -> (String, String) {
    let room = number % ROOMS.len() as u64;
    let kind = match number {
        n if n % ALARM_EVERY == 0 => "alarm",
        n if n % DEBUG_EVERY == 0 => "debug",
        _ => "telemetry",
    };
    let step = number / (ROOMS.len() as u64 * STEADY);
    let temperature = 68.0 + ((room * 15 + step * 37) % 120) as f64 / 10.0;
    let payload = format!("{{\"kind\":\"{kind}\",\"temp\":{temperature:.1}}}");
    (format!("dev/{}/temp", ROOMS[room as usize]), payload)
}

/// Starts a client that wants to hear everything.
pub(crate) fn audience(broker: SocketAddr, stop: CancellationToken) -> Running {
    running(|counts| async move {
        while !stop.is_cancelled() {
            let mut session = Session::open(options(broker, Version::V5));
            if stop.run_until_cancelled(listen(&mut session, &counts)).await.is_none() {
                session.close(TIMEOUT).await;
            } else {
                stop.run_until_cancelled(tokio::time::sleep(RECONNECT)).await;
            }
        }
    })
}

/// Subscribes and counts until the connection is lost.
async fn listen(session: &mut Session, counts: &Counts) {
    loop {
        match session.next().await {
            Ok(Event::Connected) if session.subscribe(&["#".to_owned()], QOS).is_err() => return,
            Ok(Event::Message(_)) => counts.received.set(counts.received.get() + 1),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn running<F: Future<Output = ()> + 'static>(run: impl FnOnce(Rc<Counts>) -> F) -> Running {
    let counts = Rc::new(Counts::default());
    let task = tokio::task::spawn_local(run(counts.clone()));
    Running { counts, task }
}

fn options(broker: SocketAddr, version: Version) -> Options {
    let url =
        BrokerUrl { scheme: Scheme::Mqtt, host: broker.ip().to_string(), port: broker.port(), path: String::new() };
    Options { version, url, tls: None, client_id: new_client_id(), login: None, timeout: TIMEOUT }
}
