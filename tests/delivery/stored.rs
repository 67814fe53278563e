//! What brokers have stored: `retained = "forward" | "new" | "never"` of a route's source.

use super::{exactly, listener};
use crate::fixture::{PATIENCE, assert_balanced, broker};
use std::collections::BTreeSet;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually, free_port};

/// How a source is spoken to, in keys of its broker; the last one keeps the retain flag of live messages with the bridge bit.
const WAYS: [&str; 3] =
    ["version = \"5\"", "version = \"3.1.1\"\nbridge = \"off\"", "version = \"3.1.1\"\nbridge = \"on\""];

#[track_caller]
fn publisher(port: u16) -> Client {
    Client::connect(port, &ClientOptions::new(Version::V5, "publisher")).expect("the publisher connects")
}

/// From `home`, under a first level with the name of the route.
fn route(name: &str, topics: &[&str], retained: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"home\", topics = {topics:?}, retained = \"{retained}\" }}\n\
         to = [\"office\"]\nremap = {{ prefix = \"{name}/\" }}\n"
    )
}

/// The next messages, in any order: topic, payload, retain flag.
#[track_caller]
fn come(subscriber: &mut Client, expected: &[(&str, &str)]) {
    let came: BTreeSet<_> = exactly(subscriber, expected.len())
        .into_iter()
        .map(|m| (m.topic, String::from_utf8(m.payload).expect("text")))
        .collect();
    let expected: BTreeSet<_> = expected.iter().map(|(topic, text)| (topic.to_string(), text.to_string())).collect();
    assert_eq!(came, expected);
}

/// Everything that was sent to us before has come: a message behind it has.
#[track_caller]
fn pass(home: &mut Client, subscriber: &mut Client, routes: &[&str], topic: &str, text: &str) {
    home.publish(topic, text.as_bytes(), 1, false).unwrap();
    let expected: Vec<_> = routes.iter().map(|route| (format!("{route}/{topic}"), text)).collect();
    come(subscriber, &expected.iter().map(|(topic, text)| (topic.as_str(), *text)).collect::<Vec<_>>());
}

#[test]
fn what_is_stored_comes_at_each_start_or_with_a_new_subscription_or_never() {
    for way in WAYS {
        let (home, office) = (Mosquitto::start(), Mosquitto::start());
        let mut device = publisher(home.port());
        for topic in ["f/1", "n/1", "x/1"] {
            device.publish(topic, b"stored", 1, true).unwrap();
        }
        let mut config = broker("home", &home.url(), way) + &broker("office", &office.url(), "");
        config += &(route("F", &["f/#"], "forward") + &route("N", &["n/#"], "new") + &route("X", &["x/#"], "never"));
        let mut subscriber = listener(office.port(), "subscriber");
        let mut tidegate = Tidegate::start(&config);
        // With the bridge bit nothing tells what is stored from what is live.
        let is_bridge = way.contains("\"on\"");
        let mut first = vec![("F/f/1", "stored"), ("N/n/1", "stored")];
        first.extend(is_bridge.then_some(("X/x/1", "stored")));
        come(&mut subscriber, &first);
        for topic in ["f/2", "n/2", "x/2"] {
            pass(&mut device, &mut subscriber, &[&topic[..1].to_uppercase()], topic, "behind");
        }
        for end in ["stopped", "killed"] {
            if end == "stopped" {
                tidegate.terminate(PATIENCE);
            } else {
                eventually("nothing is in flight", PATIENCE, || {
                    tidegate.metrics().get("tidegate_route_in_flight", &[]).unwrap_or(0.0) == 0.0
                });
                tidegate.kill();
            }
            tidegate.restart();
            come(&mut subscriber, &[("F/f/1", "stored")]);
            for topic in ["n/2", "x/2"] {
                pass(&mut device, &mut subscriber, &[&topic[..1].to_uppercase()], topic, "behind");
            }
        }
        // Another session: all of it is new there.
        tidegate.terminate(PATIENCE);
        tidegate.edit_config(&config.replace("[brokers.home]", "[brokers.home]\nclient_id = \"another\""));
        tidegate.relaunch();
        come(&mut subscriber, &first);
        pass(&mut device, &mut subscriber, &["X"], "x/2", "behind");
        assert_balanced(&tidegate);
    }
}

/// Live messages with the retain flag reach all routes, each once and with it; stored ones those that want them.
#[track_caller]
fn overlapping_routes(home: u16, url: &str) {
    let office = Mosquitto::start();
    let mut device = publisher(home);
    device.publish("dev/1", b"stored", 1, true).unwrap();
    let mut config = broker("home", url, "version = \"5\"") + &broker("office", &office.url(), "version = \"5\"");
    config += &(route("all", &["dev/#"], "forward") + &route("live", &["dev/+"], "never"));
    config += &route("once", &["+/1", "other"], "new");
    let mut subscriber = listener(office.port(), "subscriber");
    let mut tidegate = Tidegate::start(&config);
    come(&mut subscriber, &[("all/dev/1", "stored"), ("once/dev/1", "stored")]);
    for retain in [true, false] {
        device.publish("dev/1", b"live", 1, retain).unwrap();
        come(&mut subscriber, &[("all/dev/1", "live"), ("live/dev/1", "live"), ("once/dev/1", "live")]);
    }
    let mut late = listener(office.port(), "late");
    let kept: Vec<_> = exactly(&mut late, 3).into_iter().map(|m| (m.topic, m.retain)).collect();
    assert!(kept.iter().all(|(_, retain)| *retain), "live ones keep the flag: {kept:?}");
    tidegate.terminate(PATIENCE);
    tidegate.restart();
    come(&mut subscriber, &[("all/dev/1", "live")]);
    pass(&mut device, &mut subscriber, &["all", "live", "once"], "dev/1", "behind");
    assert_balanced(&tidegate);
}

#[test]
fn what_is_stored_goes_past_a_route_that_wants_none_though_another_has_asked_for_it() {
    let home = Mosquitto::start();
    overlapping_routes(home.port(), &home.url());
}

/// One packet with the identifiers of all subscriptions, where mosquitto sends one for each.
#[test]
fn nor_does_it_reach_that_route_from_a_broker_that_sends_one_copy_for_all_subscriptions() {
    let (port, office) = (free_port(), Mosquitto::start());
    let listen = format!("[brokers.box]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n");
    let nowhere = "[[routes]]\nname = \"r\"\nfrom = { broker = \"box\", topics = [\"none\"] }\nto = [\"office\"]\n";
    let _box = Tidegate::start(&(listen + &broker("office", &office.url(), "") + nowhere));
    overlapping_routes(port, &format!("mqtt://127.0.0.1:{port}"));
}

#[test]
fn with_the_own_broker_as_source_what_is_stored_comes_once_or_never() {
    let (port, office) = (free_port(), Mosquitto::start());
    let mut config = format!("[brokers.home]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n");
    config += &(broker("office", &office.url(), "") + &route("first", &["a"], "forward"));
    let mut subscriber = listener(office.port(), "subscriber");
    let tidegate = Tidegate::start(&config);
    let mut device = publisher(port);
    device.publish("dev/1", b"stored", 1, true).unwrap();
    let more = route("all", &["dev/#"], "forward") + &route("live", &["dev/+"], "never");
    tidegate.edit_config(&(config + &more));
    come(&mut subscriber, &[("all/dev/1", "stored")]);
    device.publish("dev/1", b"live", 1, true).unwrap();
    come(&mut subscriber, &[("all/dev/1", "live"), ("live/dev/1", "live")]);
    assert_balanced(&tidegate);
}
