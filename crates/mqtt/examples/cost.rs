//! What a message costs in the session alone: CPU nanoseconds for 200 bytes of payload, reads of 64 KiB.
//!
//! `cargo run --release -p tidegate-mqtt --example cost`
#![allow(missing_docs)]

use bytes::{Bytes, BytesMut};
use std::hint::black_box;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{
    Accept, Batch, ClientConfig, ClientSession, Published, ReasonCode, ServerLimits, ServerSession, Version,
};

const PAYLOAD_BYTES: usize = 200;
const READ_BYTES: usize = 64 * 1024;
const MESSAGES: u64 = 2_000_000;

fn config(version: Version) -> ClientConfig {
    ClientConfig {
        version,
        bridge: false,
        client_id: "cost".into(),
        clean_start: true,
        keep_alive_s: 0,
        username: None,
        password: None,
        will: None,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        max_packet_size: 1 << 20,
        topic_alias_max: 0,
        limits: Default::default(),
        mark: None,
    }
}

/// A client and a server that are up.
fn pair(version: Version) -> (ClientSession, ServerSession) {
    let (now, mut batch) = (Instant::now(), Batch::default());
    let mut client = ClientSession::new(now);
    client.connect(&config(version), now);
    let limits = ServerLimits { receive_maximum: u16::MAX, max_packet_size: 1 << 20, topic_alias_max: 0 };
    let mut server = ServerSession::new(limits, now);
    server.on_bytes(client.tx(), now, &mut batch).expect("CONNECT");
    server.accept(Accept::default(), &mut batch.completed);
    client.on_bytes(server.tx(), now, &mut batch).expect("CONNACK");
    assert!(client.is_up() && server.is_up());
    (client, server)
}

fn message(qos: QoS) -> Message {
    Message::new(Topic::new("plant/line4/press/temperature").expect("a topic"), vec![b'x'; PAYLOAD_BYTES], qos)
}

/// As many packets as one read brings.
fn one_read(version: Version, qos: QoS) -> (Bytes, u64) {
    let (mut client, _) = pair(version);
    let mut count = 0;
    while client.tx().len() < READ_BYTES {
        let _ = client.publish(count, message(qos)).expect("room");
        count += 1;
    }
    (client.tx().split().freeze(), count)
}

/// CPU time of this process so far, in nanoseconds; where Linux does not tell it, the clock on the wall.
fn cpu_ns(epoch: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| epoch.elapsed().as_nanos() as f64)
}

struct Stopwatch {
    epoch: Instant,
    started_ns: f64,
}

impl Stopwatch {
    fn start() -> Self {
        let epoch = Instant::now();
        Self { epoch, started_ns: cpu_ns(epoch) }
    }

    fn ns_each(&self, messages: u64) -> f64 {
        (cpu_ns(self.epoch) - self.started_ns) / messages as f64
    }
}

/// `on_bytes`, and at QoS 1 the PUBACK too. The copy into the read buffer stands for the kernel's and is taken off.
fn decode(version: Version, qos: QoS) -> f64 {
    let (read, per_read) = one_read(version, qos);
    let (_, mut server) = pair(version);
    let (mut rx, mut batch, now) = (BytesMut::with_capacity(2 * READ_BYTES), Batch::default(), Instant::now());
    let rounds = MESSAGES / per_read;
    let watch = Stopwatch::start();
    for _ in 0..rounds {
        rx.reserve(read.len());
        rx.extend_from_slice(&read);
        black_box(rx.split());
    }
    let copying = watch.ns_each(rounds * per_read);
    let watch = Stopwatch::start();
    for _ in 0..rounds {
        rx.reserve(read.len());
        rx.extend_from_slice(&read);
        server.on_bytes(&mut rx, now, &mut batch).expect("good packets");
        for received in black_box(&mut batch).received.drain(..) {
            if let Some(token) = received.ack {
                server.ack(token, ReasonCode::SUCCESS);
            }
        }
        black_box(server.tx()).clear();
    }
    watch.ns_each(rounds * per_read) - copying
}

/// The clone of a message that these measurements need and an owner need not make.
fn cloning() -> f64 {
    let message = message(QoS::AtMostOnce);
    let watch = Stopwatch::start();
    for _ in 0..MESSAGES {
        black_box(message.clone());
    }
    watch.ns_each(MESSAGES)
}

/// `publish` at QoS 0.
fn encode(version: Version) -> f64 {
    let (mut client, _) = pair(version);
    let message = message(QoS::AtMostOnce);
    let watch = Stopwatch::start();
    for key in 0..MESSAGES {
        let _ = black_box(client.publish(key, message.clone()));
        if client.tx().len() >= READ_BYTES {
            black_box(client.tx()).clear();
        }
    }
    watch.ns_each(MESSAGES)
}

/// `publish` at QoS 1, and the PUBACK to it.
fn round(version: Version) -> f64 {
    const WINDOW: u64 = 256;
    let (mut client, _) = pair(version);
    let message = message(QoS::AtLeastOnce);
    let (mut rx, mut batch, now) = (BytesMut::with_capacity(4096), Batch::default(), Instant::now());
    let watch = Stopwatch::start();
    for first in (0..MESSAGES).step_by(WINDOW as usize) {
        for key in first..first + WINDOW {
            assert_eq!(client.publish(key, message.clone()), Ok(Published::InFlight { exactly_once: None }));
        }
        black_box(client.tx()).clear();
        rx.reserve(4 * WINDOW as usize);
        for key in first..first + WINDOW {
            let [high, low] = ((key % 65_535) as u16 + 1).to_be_bytes();
            rx.extend_from_slice(&[0x40, 2, high, low]);
        }
        client.on_bytes(&mut rx, now, &mut batch).expect("good packets");
        assert_eq!(batch.completed.len() as u64, WINDOW);
        black_box(&mut batch).clear();
    }
    watch.ns_each(MESSAGES)
}

fn best(measure: impl Fn() -> f64) -> f64 {
    (0..5).map(|_| measure()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("CPU ns a message of {PAYLOAD_BYTES} bytes, best of five");
    println!("{:8} {:>10} {:>14} {:>10} {:>10}", "version", "receive 0", "receive+ack 1", "send 0", "send 1");
    let cloning = best(cloning);
    for version in [Version::V311, Version::V5] {
        println!(
            "{:8} {:10.0} {:14.0} {:10.0} {:10.0}",
            version.to_string(),
            best(|| decode(version, QoS::AtMostOnce)),
            best(|| decode(version, QoS::AtLeastOnce)),
            best(|| encode(version)) - cloning,
            best(|| round(version)) - cloning,
        );
    }
}
