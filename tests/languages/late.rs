//! While plugins of languages that take long are compiled at a start, what does not need them is carried.

use super::*;
use crate::fixture::{assert_balanced, broker, named_route};
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Version, eventually, free_port};

/// Two routes from the box's own broker, one of them through Python. Nothing is compiled yet.
fn gateway(rule: &[u8], own: u16, office: &Mosquitto, above: &str) -> Tidegate {
    let config = format!(
        "[brokers.device]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{own}\"]\n{}\
         [plugins.rule]\npath = \"rule.wasm\"\nconfig = {{ above = {above} }}\n\
         limits = {{ memory = \"128MiB\", configure_deadline = \"10s\", deadline = \"1s\" }}\n{}{}",
        broker("office", &office.url(), ""),
        named_route("plain", "device", &["plain/#"], 1, &["office"], ""),
        named_route("ruled", "device", &["dev/#"], 1, &["office"], "plugins = [\"rule\"]"),
    );
    Tidegate::builder(&config).file("rule.wasm", rule.to_vec()).spawn()
}

#[test]
fn what_needs_no_plugin_is_carried_while_others_are_compiled() {
    const READINGS: usize = 50;
    let (dir, office, own) = (TempDir::new().expect("a folder"), Mosquitto::start(), free_port());
    let rule = std::fs::read(made(dir.path(), &PYTHON)).expect("a component");
    let mut readings = Client::connect(office.port(), &ClientOptions::new(Version::V5, "readings").keep_alive_s(0))
        .expect("connected");
    readings.subscribe(&[("#", 1)]).expect("subscribed");

    let mut tidegate = gateway(&rule, own, &office, "50");
    eventually("its own broker serves", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", own)).is_ok());
    let options = |name: &str| ClientOptions::new(Version::V5, name).window(READINGS).keep_alive_s(0);
    let connect = |name: &str| Client::connect(own, &options(name)).expect("connected");
    let (mut device, mut other) = (connect("device"), connect("other"));
    for n in 0..READINGS {
        device
            .send(&format!("dev/{}", n % 3), format!("{{\"seq\": {n}, \"temp\": 40}}").as_bytes(), 1, false)
            .expect("sent");
    }
    device.flush().expect("sent");
    other.publish("plain/1", b"here", 1, false).expect("acknowledged");
    let first = readings.receive(PATIENCE).expect("connected").expect("it comes");
    assert_eq!(first.topic, "plain/1", "{}", tidegate.log());
    readings.ack(&first);
    let (status, words) = tidegate.get("/ready").expect("an answer");
    assert_eq!((status, words.contains("route ruled: its plugins are being compiled")), (503, true), "{words}");
    assert_eq!(tidegate.metrics().get("tidegate_routes_waiting", &[]), Some(1.0));

    tidegate.wait_ready(PATIENCE);
    let mut last = [None; 3];
    for _ in 0..READINGS {
        let message = readings.receive(PATIENCE).expect("connected").expect("all of them come");
        readings.ack(&message);
        let reading: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        let (seq, topic) = (reading["seq"].as_u64(), message.topic.strip_prefix("dev/").expect("a reading"));
        let before = std::mem::replace(&mut last[topic.parse::<usize>().expect("a number")], seq);
        assert!(before < seq, "each once, in order: {reading}");
        assert_eq!(reading["temp"], 4.4);
    }
    assert_balanced(&tidegate);
    assert_eq!(tidegate.metrics().get("tidegate_routes_waiting", &[]), Some(0.0));
    tidegate.wait_for_log("route `ruled` runs rule@", PATIENCE);
    assert!(tidegate.terminate(PATIENCE).success());
}

#[test]
fn what_is_wrong_with_one_that_took_long_ends_the_gateway() {
    let (dir, office) = (TempDir::new().expect("a folder"), Mosquitto::start());
    let rule = std::fs::read(made(dir.path(), &PYTHON)).expect("a component");
    let mut tidegate = gateway(&rule, free_port(), &office, "\"hot\"");
    let status = tidegate.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(78), "{}", tidegate.log());
    tidegate.wait_for_log("above: must be a number", PATIENCE);
}
