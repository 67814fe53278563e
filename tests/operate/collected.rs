//! Sampled messages, as a collector of traces is told of them. It reads what comes by OpenTelemetry's own definitions.

use super::House;
use crate::fixture::PATIENCE;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tidegate_testkit::{Metrics, MosquittoSub, Process, eventually, free_port, mosquitto_pub, within};

/// The trace and the span that a publisher says its message comes from.
const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

struct Collector {
    process: Process,
    port: u16,
    answers: PathBuf,
    _dir: tempfile::TempDir,
}

impl Collector {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, answers) = (free_port(), dir.path().join("answer"));
        let python = std::env::var("TIDEGATE_TEST_PYTHON").expect("scripts/test sets it");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/operate/collector.py");
        let process = Process::spawn("collector", Command::new(python).arg(script).arg(port.to_string()).arg(&answers));
        let collector = Self { process, port, answers, _dir: dir };
        eventually("the collector listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        collector
    }

    fn told(&self) -> Vec<Value> {
        let log = self.process.log();
        log.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("COLLECTED ")?).ok()).collect()
    }

    #[track_caller]
    fn wait_for(&self, name: &str) -> Value {
        let find = || self.told().into_iter().find(|span| span["name"] == name);
        eventually(&format!("{name} is told"), PATIENCE, || find().is_some());
        find().unwrap()
    }

    /// The part of a configuration that has it told.
    fn section(&self, keys: &str) -> String {
        format!("[traces]\nendpoint = \"http://127.0.0.1:{}/v1/traces\"\n{keys}\n", self.port)
    }
}

/// The lines of what a subscriber gets: topic and user properties.
fn listen(port: u16) -> MosquittoSub {
    MosquittoSub::start(port, &["-V", "5", "-q", "1", "-t", "#", "-F", "MESSAGE %t [%P]"])
}

#[test]
fn each_message_is_a_trace_of_its_plugins_and_its_targets() {
    let collector = Collector::start();
    let keys = "one_in = 1\nheaders = { Authorization = { env = \"CONTROL\" } }\n";
    let mut house = House::start(&collector.section(keys));
    house.tidegate.wait_for_log("messages are sampled for a collector of traces", PATIENCE);
    house.device().publish("dev/1/temp", b"{\"temp\":70}", 1, false).unwrap();
    let whole = collector.wait_for("process home");
    assert_eq!((&whole["kind"], &whole["parent"], &whole["path"]), (&json!(5), &json!(""), &json!("/v1/traces")));
    assert_eq!(whole["authorization"], "sesame");
    assert_eq!(whole["resource"]["service.name"], "tidegate");
    assert_eq!(whole["resource"]["service.instance.id"], "test");
    let attributes = &whole["attributes"];
    assert_eq!(attributes["messaging.system"], "mqtt");
    assert_eq!(attributes["messaging.destination.name"], "dev/1/temp");
    assert_eq!(attributes["messaging.message.body.size"], 11);
    assert_eq!(attributes["tidegate.routes"], json!(["telemetry", "backup"]));
    assert_eq!(whole["events"], json!(["recorded", "acknowledged to its source"]));

    let below = |name: &str| {
        let span = collector.wait_for(name);
        assert_eq!((&span["trace"], &span["parent"]), (&whole["trace"], &whole["span"]), "{span}");
        span
    };
    let plugin = below("plugin celsius");
    assert_eq!((&plugin["kind"], &plugin["attributes"]["tidegate.route"]), (&json!(1), &json!("telemetry")));
    assert!(plugin["ms"].as_f64().unwrap() > 0.0, "{plugin}");
    assert_eq!(below("plugin changes")["attributes"]["tidegate.decision"], "onward, unchanged");
    let sent = below("send office");
    assert_eq!((&sent["kind"], &sent["events"]), (&json!(4), &json!(["durable", "sent"])));
    assert_eq!(sent["attributes"]["messaging.destination.name"], "site/dev/1/temp");
    assert_eq!(sent["status"], json!({}));

    // What waits is told when it has arrived, in the same trace, and the cloud's own clients can go on with it.
    assert!(!collector.told().iter().any(|span| span["name"] == "send cloud"));
    house.cloud.restart();
    let cloud = listen(house.cloud.port());
    let sent = below("send cloud");
    assert_eq!(sent["attributes"]["tidegate.broker"], "cloud1");
    house.device().publish("dev/1/other", b"1", 1, false).unwrap();
    // What waited may come before it.
    let line = || cloud.lines().into_iter().find(|line| line.starts_with("dev/1/other "));
    eventually("it arrives", PATIENCE, || line().is_some());
    let line = line().unwrap();
    let find =
        || collector.told().into_iter().find(|span| span["attributes"]["messaging.destination.name"] == "dev/1/other");
    eventually("the other is told", PATIENCE, || find().is_some());
    let other = find().unwrap();
    let (trace, span) = (other["trace"].as_str().unwrap(), other["span"].as_str().unwrap());
    assert!(line.contains(&format!("traceparent:00-{trace}-{span}-01")), "{line}");
    assert_ne!(other["trace"], whole["trace"]);

    // What a plugin puts aside is an error.
    house.device().publish("dev/2/temp", b"no json", 1, false).unwrap();
    let parked = || collector.told().into_iter().any(|span| span["status"]["code"] == "STATUS_CODE_ERROR");
    eventually("the error is told", PATIENCE, parked);
}

#[test]
fn what_a_publisher_says_of_its_trace_counts_and_is_left_alone_where_nobody_collects_it() {
    let collector = Collector::start();
    let mut house = House::start(&collector.section("one_in = 0"));
    house.cloud.restart();
    house.tidegate.wait_for_log("messages are sampled for a collector of traces", PATIENCE);
    let cloud = listen(house.cloud.port());
    let publish = |topic: &str, traceparent: &str| {
        let property = ["-D", "publish", "user-property", "traceparent", traceparent];
        let rest = ["-V", "5", "-q", "1", "-t", topic, "-m", "1"];
        mosquitto_pub(house.home, &[&rest[..], &property[..]].concat());
    };
    publish("dev/1/no", &format!("{THEIRS}-00"));
    publish("dev/1/odd", "something else");
    publish("dev/1/yes", &format!("{THEIRS}-01"));
    let lines = cloud.expect(3, PATIENCE);
    let has = |line: &str| assert!(lines.iter().any(|found| found.starts_with(line)), "{line} in {lines:?}");
    has(&format!("dev/1/no [traceparent:{THEIRS}-00 "));
    has("dev/1/odd [traceparent:something else ");
    let whole = collector.wait_for("process home");
    assert_eq!(whole["attributes"]["messaging.destination.name"], "dev/1/yes");
    let (trace, parent) = (&THEIRS[3..35], &THEIRS[36..]);
    assert_eq!((&whole["trace"], &whole["parent"]), (&json!(trace), &json!(parent)));
    has(&format!("dev/1/yes [traceparent:00-{trace}-{}-01 ", whole["span"].as_str().unwrap()));
    collector.wait_for("send cloud");
    let of_others = collector.told().into_iter().filter(|span| span["trace"] != json!(trace)).count();
    assert_eq!(of_others, 0);
}

#[test]
fn a_collector_that_is_away_or_busy_gets_it_later_and_reloads_change_whom_is_told() {
    let (collector, other) = (Collector::start(), Collector::start());
    std::fs::write(&collector.answers, "503\n429\n").unwrap();
    let house = House::start(&collector.section("one_in = 1"));
    house.tidegate.wait_for_log("messages are sampled for a collector of traces", PATIENCE);
    let mut device = house.device();
    let mut publish = |topic: &str| device.publish(topic, b"1", 1, false).unwrap();
    publish("dev/1/first");
    collector.wait_for("process home");
    let refused: Vec<Value> = collector.told().into_iter().filter(|line| line["refused"].is_u64()).collect();
    assert_eq!(refused, [json!({ "refused": 503 }), json!({ "refused": 429 })]);
    let log = house.tidegate.log();
    assert!(log.contains("the collector of traces is not there: trying again") && log.contains("503"), "{log}");
    let count = |outcome: &str| {
        let metrics = Metrics::parse(&house.ask("GET", "/metrics", &[], "").1);
        metrics.get("tidegate_traces_total", &[("outcome", outcome)])
    };
    eventually("it is counted", PATIENCE, || count("taken") == Some(1.0));
    assert_eq!(count("lost"), Some(0.0));

    // What it will never take is lost, and counted so.
    std::fs::write(&collector.answers, "400\n").unwrap();
    publish("dev/1/second");
    eventually("it is counted", PATIENCE, || count("lost") == Some(1.0));

    // Another collector, from the next message on; then none.
    let file = house.tidegate.dir().join("tidegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let moved = text.replace(&format!(":{}/v1/traces", collector.port), &format!(":{}/other", other.port));
    house.tidegate.replace_file("tidegate.toml", moved.as_bytes());
    let sampled = || house.tidegate.log().matches("messages are sampled for a collector of traces").count();
    eventually("the other one is told", PATIENCE, || sampled() == 2);
    publish("dev/1/third");
    let third = other.wait_for("process home");
    assert_eq!(
        (&third["path"], &third["attributes"]["messaging.destination.name"]),
        (&json!("/other"), &json!("dev/1/third"))
    );
    let none = text.replace(&collector.section("one_in = 1"), "");
    house.tidegate.replace_file("tidegate.toml", none.as_bytes());
    eventually("nobody is told", PATIENCE, || count("taken").is_none());
    publish("dev/1/fourth");
    assert!(!within(std::time::Duration::from_secs(2), || other
        .told()
        .iter()
        .any(|span| { span["attributes"]["messaging.destination.name"] == "dev/1/fourth" })));
}
