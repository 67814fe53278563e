//! The client against a real broker.

use super::options::WINDOW;
use super::*;
use crate::Mosquitto;

const SOON: Duration = Duration::from_secs(5);
const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

#[test]
fn every_qos_goes_both_ways_in_both_versions() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let mut sub = Client::connect(broker.port(), &ClientOptions::new(version, "sub")).unwrap();
        let mut client = Client::connect(broker.port(), &ClientOptions::new(version, "pub")).unwrap();
        for qos in 0..=2 {
            assert_eq!(sub.subscribe(&[("a/+", qos)]).unwrap(), [qos]);
            client.publish("a/b", b"tide", qos, false).unwrap();
            let received = sub.receive(SOON).unwrap().unwrap();
            assert_eq!((received.topic.as_str(), received.payload.as_slice()), ("a/b", &b"tide"[..]));
            assert_eq!((received.qos, received.retain, received.dup), (qos, false, false));
        }
        sub.unsubscribe(&["a/+"]).unwrap();
        client.publish("a/b", b"", 1, false).unwrap();
        assert_eq!(sub.receive(Duration::from_millis(50)).unwrap(), None);
    }
}

#[test]
fn a_window_of_publishes_completes_in_order() {
    let broker = Mosquitto::start();
    for (version, qos) in [(Version::V311, 1), (Version::V311, 2), (Version::V5, 1), (Version::V5, 2)] {
        let window = if qos == 1 { 500 } else { WINDOW };
        let options = ClientOptions::new(version, "fast").window(window);
        let mut client = Client::connect(broker.port(), &options).unwrap();
        let mut completed = Vec::new();
        for n in 0..5_000u64 {
            assert_eq!(client.send("a", b"21", qos, false).unwrap(), n);
            completed.extend(client.completed());
            assert!(client.in_flight() <= window);
        }
        while client.in_flight() > 0 {
            client.turn(SOON).unwrap();
        }
        completed.extend(client.completed());
        assert_eq!(completed, Vec::from_iter(0..5_000));
    }
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        for qos in 1..=2 {
            let options = ClientOptions::new(version, "careful").clean(false).manual_acks();
            let mut client = Client::connect(broker.port(), &options).unwrap();
            client.subscribe(&[("a", qos)]).unwrap();
            client.publish("a", b"x", qos, false).unwrap();
            let first = client.receive(SOON).unwrap().unwrap();
            client.abort();

            let mut client = Client::connect(broker.port(), &options).unwrap();
            assert!(client.session_present());
            let again = client.receive(SOON).unwrap().unwrap();
            assert!(again.dup && again.payload == first.payload);
            client.ack(&again);
            assert_eq!(client.receive(Duration::from_millis(50)).unwrap(), None);
            client.disconnect().unwrap();

            let mut client = Client::connect(broker.port(), &options).unwrap();
            assert_eq!(client.receive(Duration::from_millis(50)).unwrap(), None);
            client.unsubscribe(&["a"]).unwrap();
        }
    }
}

#[test]
fn unacknowledged_publishes_are_sent_again_after_a_reconnect() {
    let broker = Mosquitto::start();
    let mut sub = Client::connect(broker.port(), &ClientOptions::new(Version::V311, "sub")).unwrap();
    sub.subscribe(&[("a", 2)]).unwrap();
    for qos in 1..=2 {
        let options = ClientOptions::new(Version::V311, "pub").clean(false);
        let mut client = Client::connect(broker.port(), &options).unwrap();
        for n in 0..3u8 {
            client.send("a", &[n], qos, false).unwrap();
        }
        // Nothing is flushed: the broker has not seen them.
        client.reconnect().unwrap();
        assert_eq!(client.in_flight(), 3);
        while client.in_flight() > 0 {
            client.turn(SOON).unwrap();
        }
        for n in 0..3u8 {
            assert_eq!(sub.receive(SOON).unwrap().unwrap().payload, [n]);
        }
    }
}

#[test]
fn wills_and_retained_messages_and_keep_alive() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let will = Will { topic: "gone".into(), payload: b"aground".into(), qos: 1, retain: false };
        let options = ClientOptions::new(version, "ship").will(will).keep_alive_s(1);
        let mut ship = Client::connect(broker.port(), &options).unwrap();
        ship.publish("kept", b"still", 1, true).unwrap();
        let mut sub = Client::connect(broker.port(), &ClientOptions::new(version, "sub")).unwrap();
        sub.subscribe(&[("gone", 1), ("kept", 1)]).unwrap();
        assert!(sub.receive(SOON).unwrap().unwrap().retain);
        assert_eq!(ship.receive(Duration::from_millis(2_500)).unwrap(), None, "kept alive by pings");
        ship.abort();
        assert_eq!(sub.receive(SOON).unwrap().unwrap().payload, b"aground");
    }
}
