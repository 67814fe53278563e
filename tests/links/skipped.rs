//! A packet from a source that we cannot take is read past: acknowledged, counted, named; what follows arrives.

use super::*;
use crate::fixture::{assert_balanced, memory_peak_bytes};
use tidegate_testkit::{Client, ClientOptions, Habit, Mosquitto, Property, Script, Version, mosquitto_pub};

const SKIPPED: &str = "tidegate_skipped_total";

/// A gateway that takes so little from `s`.
fn small(s: &ScriptedBroker, t: &ScriptedBroker, version: &str) -> String {
    link("s", &s.url(), version, "max_packet_size = \"2KiB\"")
        + &link("t", &t.url(), "5", "")
        + &named_route("r", "s", &["a/#"], 2, &["t"], "")
}

#[test]
fn a_packet_above_our_maximum_costs_itself_only() {
    for version in VERSIONS {
        let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
        let tidegate = Tidegate::start(&small(&s, &t, version));
        for qos in 0..=2 {
            send(&s, "a/1", qos, [format!("before{qos}")]);
            s.publish(Message::new(format!("a/large/{qos}"), vec![b'x'; 5_000]).at(qos));
            send(&s, "a/2", qos, [format!("after{qos}")]);
            arrives(&t, &format!("after{qos}"));
            says(&tidegate, &["s", &format!("a/large/{qos}"), "max_packet_size"]);
        }
        acknowledged(&s);
        counts(&tidegate, SKIPPED, &[("broker", "s"), ("reason", "too_large")], 3);
        assert_eq!(s.welcomed(), 1, "the connection stays{}", s.tail());
        assert_eq!(t.published().len(), 6);
        assert_balanced(&tidegate);
    }
}

#[test]
fn reading_past_a_large_packet_takes_no_memory() {
    const LARGE_BYTES: usize = 96 << 20;
    const PEAK_BYTES: u64 = 64 << 20;
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let tidegate = Tidegate::start(&small(&s, &t, "3.1.1"));
    s.publish(Message::new("a/large", vec![b'x'; LARGE_BYTES]).at(1));
    send(&s, "a/2", 1, ["after".to_owned()]);
    arrives(&t, "after");
    acknowledged(&s);
    let peak = memory_peak_bytes(tidegate.pid());
    assert!(peak < PEAK_BYTES, "{peak} bytes at a time");
}

/// From a mosquitto to another, with the default settings unless said.
#[track_caller]
fn the_end_arrives_behind(version: &str, keys: &str, payload_bytes: usize) {
    let (s, t) = (Mosquitto::start(), ScriptedBroker::start(Script::new()));
    let config = link("s", &s.url(), version, keys)
        + &link("t", &t.url(), "5", "")
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let tidegate = Tidegate::start(&config);
    let mut client =
        Client::connect(s.port(), &ClientOptions::new(Version::V5, "publisher")).expect("the source is up");
    client.publish("a/x", &vec![b'x'; payload_bytes], 1, false).expect("published");
    mosquitto_pub(s.port(), &["-t", "a/y", "-q", "1", "-m", "end"]);
    arrives(&t, "end");
    drained(&tidegate);
    ready(&tidegate);
}

/// mosquitto before 2.0.23 does not count the fixed header when it asks whether a packet is too large for us.
#[test]
fn a_few_bytes_above_the_announced_maximum_are_no_dead_end() {
    for payload_bytes in 1_048_565..=1_048_571 {
        the_end_arrives_behind("5", "", payload_bytes);
    }
    for payload_bytes in 2_036..=2_041 {
        the_end_arrives_behind("5", "max_packet_size = \"2KiB\"", payload_bytes);
    }
}

#[test]
fn a_message_above_the_default_maximum_is_no_dead_end_on_3_1_1() {
    the_end_arrives_behind("3.1.1", "", 1_200_000);
}

/// What cannot be a topic, kept by the source until it is acknowledged.
const NO_TOPICS: [&[u8]; 6] = [b"a/+b", b"a/#", b"", b"a/\xff\xfe", b"a/\0b", b"a/\xed\xa0\x80"];

#[test]
fn a_topic_that_cannot_be_costs_itself_only() {
    for version in ["3.1.1", "5"] {
        for qos in 0..=2 {
            let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
            let tidegate = Tidegate::start(&line(&s, &t, version, &["a/#"]));
            for topic in NO_TOPICS {
                s.inject(&Message::new(topic, b"bad").at(qos));
            }
            send(&s, "a/2", 1, ["after".to_owned()]);
            arrives(&t, "after");
            acknowledged(&s);
            counts(&tidegate, SKIPPED, &[("broker", "s"), ("reason", "bad_topic")], NO_TOPICS.len() as u64);
            says(&tidegate, &["s", "topic", "a/+b"]);
            assert_eq!(s.welcomed(), 1, "the connection stays{}", s.tail());
            assert_eq!(t.payloads(), ["after"]);
            assert_balanced(&tidegate);
        }
    }
}

#[test]
fn a_bad_topic_at_each_connect_is_read_past_each_time() {
    let bad = Message::new("a/+b", b"bad").at(1);
    let s = ScriptedBroker::start(Script::new().always(Habit::SendAtConnect(bad)));
    let t = ScriptedBroker::start(Script::new());
    let tidegate = Tidegate::builder(&line(&s, &t, "3.1.1", &["a/#"])).spawn();
    ready(&tidegate);
    for (welcomes, payload) in [(1, "one"), (2, "two")] {
        eventually("it is back", PATIENCE, || s.welcomed() >= welcomes && tidegate.is_ready());
        send(&s, "a/1", 1, [payload.to_owned()]);
        arrives(&t, payload);
        s.cut(&tidegate_testkit::End::fin());
    }
}

/// RabbitMQ, of a message that was published to `a/x*y`.
#[test]
fn a_topic_that_the_broker_has_rewritten_is_no_dead_end() {
    let s = ScriptedBroker::start(Script::rabbitmq());
    let t = ScriptedBroker::start(Script::new());
    let config = link("s", &s.url(), "auto", "")
        + &link("t", &t.url(), "5", "")
        + &named_route("r", "s", &["a/#"], 1, &["t"], "");
    let tidegate = Tidegate::start(&config);
    send(&s, "a/x*y", 1, ["starred".to_owned()]);
    send(&s, "a/b", 1, ["after".to_owned()]);
    arrives(&t, "after");
    acknowledged(&s);
    counts(&tidegate, SKIPPED, &[("broker", "s"), ("reason", "bad_topic")], 1);
}

/// Well framed, with an id that can be read, and wrong in what follows.
#[test]
fn a_packet_with_wrong_properties_costs_itself_only() {
    let twice = Message::new("a/b", b"bad").with(Property::content_type("x")).with(Property::content_type("y"));
    for bad in [Message::new("a/b", b"bad").with(Property::unknown()), twice] {
        for qos in 1..=2 {
            let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
            let tidegate = Tidegate::start(&line(&s, &t, "5", &["a/#"]));
            s.inject(&bad.clone().at(qos));
            send(&s, "a/2", 1, ["after".to_owned()]);
            arrives(&t, "after");
            acknowledged(&s);
            counts(&tidegate, SKIPPED, &[("broker", "s"), ("reason", "bad_packet")], 1);
            assert_eq!(t.payloads(), ["after"]);
        }
    }
}

/// Both bits of the QoS set: it is not known whether there is an id, so nothing can be acknowledged.
#[test]
fn a_packet_with_qos_3_is_no_dead_end() {
    let (s, t) = (ScriptedBroker::start(Script::new()), ScriptedBroker::start(Script::new()));
    let _tidegate = Tidegate::start(&line(&s, &t, "3.1.1", &["a/#"]));
    s.inject(&Message::new("a/b", b"bad").at(3));
    send(&s, "a/2", 1, ["after".to_owned()]);
    arrives(&t, "after");
}
