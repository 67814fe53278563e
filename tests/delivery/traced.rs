//! `RUST_LOG=tidegate=debug` tells a message's way, all of it under one `id`.

use crate::fixture::{PATIENCE, Witness, broker, named_route, plugin};
use tidegate_testkit::{Client, ClientOptions, Ledger, Mosquitto, Tidegate, Version, eventually};

/// Drops a message that says what the last one said.
const CHANGES: &str = "[plugins.changes]\npath = \"changes.wasm\"\n";

/// The lines of the log about the nth message on a topic.
fn way(log: &str, topic: &str, nth: usize) -> Vec<String> {
    let received = log.lines().filter(|line| line.contains(" received ") && line.contains(&format!("topic={topic} ")));
    let Some(line) = received.into_iter().nth(nth) else { return Vec::new() };
    let id = line.split_whitespace().find(|word| word.starts_with("id=")).expect("every step has an id");
    let of_it = |line: &&str| line.contains("DEBUG") && line.split_whitespace().any(|word| word == id);
    log.lines().filter(of_it).map(str::to_owned).collect()
}

#[track_caller]
fn goes(tidegate: &Tidegate, topic: &str, nth: usize, steps: &[(&str, &str)]) {
    let is_complete = |lines: &[String]| {
        let last = steps.iter().all(|(words, _)| lines.iter().any(|line| line.contains(words)));
        last && lines.len() >= steps.len()
    };
    eventually(&format!("the way of {topic} is told"), PATIENCE, || is_complete(&way(&tidegate.log(), topic, nth)));
    let lines = way(&tidegate.log(), topic, nth);
    let mut at = 0;
    for (words, field) in steps {
        let found = lines[at..].iter().position(|line| line.contains(words) && line.contains(field));
        at += 1 + found.unwrap_or_else(|| panic!("no {words} with {field} behind line {at} of {lines:#?}"));
    }
    assert_eq!(lines.len(), steps.len(), "{lines:#?}");
}

#[test]
fn debug_lines_tell_each_step_of_a_message_under_one_id() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let witness = Witness::start_at(office.port(), "office", ("#", 2), &Ledger::new());
    let mut config = broker("home", &home.url(), "") + &broker("office", &office.url(), "") + CHANGES;
    let keys = "plugins = [\"changes\"]\nremap = { prefix = \"up/\" }";
    config += &named_route("readings", "home", &["dev/#"], 2, &["office"], keys);
    config += &named_route("plain", "home", &["plain/#"], 2, &["office"], "");
    let builder = Tidegate::builder(&config).file("changes.wasm", plugin("drop-unchanged"));
    let tidegate = builder.env("RUST_LOG", "tidegate=debug").start();
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
    for (topic, qos) in [("dev/1", 1), ("dev/1", 1), ("plain/1", 2), ("plain/0", 0)] {
        client.publish(topic, b"hunter2", qos, false).unwrap();
    }
    eventually("what is to come has come", PATIENCE, || witness.count() >= 3);

    let spooled = |route: &'static str, to: &'static str| {
        [
            ("goes into the spool", route),
            ("recorded", "sequence="),
            ("acknowledged to its source", "broker=\"home\""),
            ("durable, and waits", "target=\"office\""),
            ("sent", to),
            ("acknowledged by its target", "broker=\"office\""),
        ]
    };
    let begins = ("received", "routes=\"readings\"");
    let decides = ("to the plugins of its route", "route=\"readings\"");
    let first = [begins, decides, ("its plugins have decided", "decided=\"onward\"")];
    goes(&tidegate, "dev/1", 0, &[&first[..], &spooled("route=\"readings\"", "topic=up/dev/1")].concat());
    let second = [
        begins,
        decides,
        ("its plugins have decided", "drop"),
        ("ends in its route", "reason="),
        ("acknowledged to its source", "broker=\"home\""),
    ];
    goes(&tidegate, "dev/1", 1, &second);
    let plain = ("received", "routes=\"plain\"");
    goes(&tidegate, "plain/1", 0, &[&[plain][..], &spooled("route=\"plain\"", "qos=2")].concat());
    let past = [plain, ("goes past the spool", "broker=\"office\""), ("sent", "qos=0")];
    goes(&tidegate, "plain/0", 0, &past);
    assert!(!tidegate.log().contains("hunter2"), "a payload is never told");
}
