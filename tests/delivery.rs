//! Messages between real brokers: what arrives, as what, and what happens when something on the way goes away.
//!
//! | Module | What it shows |
//! |---|---|
//! | `qos` | every QoS and version on each side; what MQTT 5 says about a message |
//! | `transports` | how a broker is reached, and the words when it is not |
//! | `routes` | fan-out, remap, plugins, overlaps; QoS 0 with a target that is away |
//! | `both_ways` | remapping by levels, routes in both directions, answers to questions |
//! | `sets` | several brokers under one name |
//! | `ticks` | what plugins say on a tick, and the plugins behind them |
//! | `traced` | what `RUST_LOG=tidegate=debug` tells of a message |
//! | `repeating` | a device that says the same as fast as it can is no loop |
//! | `retained` | retained messages, wills, and that nothing echoes |
//! | `shared` | several gateways on one share |
//! | `sources` | several brokers as one source: one after the other, or all at once |
//! | `status` | what the gateway says of itself, and what Home Assistant makes of it |
//! | `stored` | what a route wants of what is stored at its source |
//! | `outages` | restarts, cuts, silence and signals while a few thousand messages are on their way |
//! | `office_outage` | home goes on while the office is away for long |

mod both_ways;
mod office_outage;
mod outages;
mod qos;
mod repeating;
mod retained;
mod routes;
mod sets;
mod shared;
mod sources;
mod status;
mod stored;
mod strained;
mod ticks;
mod traced;
mod transports;

use crate::fixture::PATIENCE;
use std::sync::atomic::{AtomicU32, Ordering};
use tidegate_testkit::{Client, ClientOptions, Id, Ledger, Mosquitto, Received, Tidegate, Version, eventually};

/// Where a listener publishes what ends its own waiting.
const END: &str = "the/end";

/// A client that subscribes to everything with QoS 2 before anything is sent.
#[track_caller]
fn listener(port: u16, name: &str) -> Client {
    let mut client = Client::connect(port, &ClientOptions::new(Version::V311, name)).expect("the listener connects");
    assert_eq!(client.subscribe(&[("#", 2)]).expect("the listener subscribes"), [2]);
    client
}

/// The next `count` messages, and nothing behind them: a message of our own, published last, must be the next. Those of
/// other listeners are passed over.
#[track_caller]
fn exactly(client: &mut Client, count: usize) -> Vec<Received> {
    static ENDS: AtomicU32 = AtomicU32::new(0);
    let mark = ENDS.fetch_add(1, Ordering::Relaxed).to_string();
    let mut all = Vec::new();
    let mut ended = false;
    while !ended {
        if all.len() == count {
            client.publish(END, mark.as_bytes(), 0, false).expect("the listener publishes");
        }
        let next = loop {
            let next = client.receive(PATIENCE).expect("the listener stays connected");
            let next = next.unwrap_or_else(|| panic!("{} of {count} messages came: {all:?}", all.len()));
            if next.topic != END || next.payload == mark.as_bytes() {
                break next;
            }
        };
        ended = next.topic == END;
        assert!(ended || all.len() < count, "more than {count} messages: {next:?}");
        if !ended {
            all.push(next);
        }
    }
    all
}

/// The next messages have these payloads, in any order, and nothing is behind them.
#[track_caller]
fn come_in_any_order(client: &mut Client, expected: &[&str]) {
    let came = exactly(client, expected.len()).into_iter().map(|m| String::from_utf8(m.payload).expect("text"));
    let (mut came, mut expected) = (came.collect::<Vec<_>>(), expected.to_vec());
    came.sort();
    expected.sort_unstable();
    assert_eq!(came, expected);
}

/// Publishes a last message at the source, with the QoS of those before it, and waits until it has come to the
/// subscriber through everything that is queued between them.
#[track_caller]
fn last_of_all(port: u16, qos: u8, ledger: &Ledger, subscriber: &str) {
    let id = Id::new("last", 0);
    let mut client = Client::connect(port, &ClientOptions::new(Version::V5, "last")).expect("the source broker is up");
    ledger.published(id.clone());
    client.publish("dev/last/temp", &id.encode(0), qos, false).expect("published");
    eventually("the last message arrives", PATIENCE, || {
        ledger.check_of(subscriber, |id| id.key == "last").missing.is_empty()
    });
}
