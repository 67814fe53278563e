//! A set that balances, one of whose members takes nothing: what is for the others goes on.

use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use std::time::Duration;
use tidegate_testkit::{Client, ClientOptions, Direction, FaultProxy, Mosquitto, Tidegate, Version, eventually};

const TOPICS: usize = 40;

/// For each of two members: more than is kept in memory of one queue.
const MANY: usize = 10_000;

/// What comes before nothing has come for so long.
fn all_within(client: &mut Client, wait: Duration, enough: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < enough
        && let Some(message) = client.receive(wait).expect("connected")
    {
        all.push((message.topic, message.payload));
    }
    all
}

/// At QoS 0: mosquitto 2.0 now and then has a new message overtake those that wait for room in a subscriber's window.
fn listener(at: &Mosquitto) -> Client {
    let mut client = Client::connect(at.port(), &ClientOptions::new(Version::V5, "listener")).expect("connected");
    assert_eq!(client.subscribe(&[("dev/#", 0)]).expect("subscribed"), [0]);
    client
}

#[test]
fn a_member_that_acknowledges_nothing_holds_up_no_topic_of_another() {
    let (home, first, second) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start());
    let proxy = FaultProxy::start(first.port());
    let config = broker("home", &home.url(), "")
        + &broker("first", &proxy.url(), "keep_alive = \"120s\"")
        + &broker("second", &second.url(), "")
        + "[targets.u]\npolicy = \"balance\"\nmembers = [\"first\", \"second\"]\ntakeover_after = \"1h\"\n"
        + &route("home", &["dev/#"], &["u"], "");
    let tidegate = Tidegate::start(&config);
    let mut listeners = [listener(&first), listener(&second)];
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).expect("connected");
    for topic in 0..TOPICS {
        client.publish(&format!("dev/{topic}"), b"first", 1, false).expect("published");
    }
    let waits = || tidegate.metrics().get("tidegate_spool_queued", &[("target", "u")]).unwrap_or(0.0);
    eventually("all have left", PATIENCE, || waits() == 0.0);
    let said = listeners.each_mut().map(|listener| all_within(listener, Duration::from_millis(300), TOPICS));
    assert_eq!(said.iter().map(Vec::len).sum::<usize>(), TOPICS);
    let topics = said.map(|said| said[0].0.clone());

    proxy.freeze(Direction::ToClient, true);
    for n in 0..MANY {
        for topic in &topics {
            client.send(topic, n.to_string().as_bytes(), 1, false).expect("sent");
        }
        while client.in_flight() > if n + 1 < MANY { 100 } else { 0 } {
            client.turn(Duration::from_millis(5)).expect("connected");
        }
    }
    let [at_first, at_second] = &mut listeners;
    let in_order = |all: Vec<(String, Vec<u8>)>, topic: &String| {
        assert_eq!(all.len(), MANY, "{} wait", waits());
        for (n, (of, payload)) in all.into_iter().enumerate() {
            assert_eq!((&of, &*String::from_utf8_lossy(&payload)), (topic, &*n.to_string()), "in order, each once");
        }
    };
    in_order(all_within(at_second, PATIENCE, MANY), &topics[1]);
    // What waits for the other is one number, whichever queues it is in.
    assert!(waits() >= (MANY - 2_000) as f64, "{}", waits());
    proxy.freeze(Direction::ToClient, false);
    in_order(all_within(at_first, PATIENCE, MANY), &topics[0]);
    eventually("nothing waits", PATIENCE, || waits() == 0.0);
    assert_balanced(&tidegate);
}
