//! The rule of all languages is one rule: the same decisions, and swapped for each other under traffic nothing is lost. What each has decided
//! it decides again when it is replayed.

use super::*;
use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use crate::reload::replayed::{record, replay};
use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Version};

const ALL: [&Language; 7] = [&C, &ZIG, &GO, &JAVASCRIPT, &TYPESCRIPT, &PYTHON, &RUST];

/// What a language does otherwise than Rust, by the kinds of messages that `plugin compare` makes, all of them. The table for people,
/// and why, is in docs/plugins/languages.md.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("c", &[]),
    ("zig", &[]),
    ("go", &[]),
    ("javascript", &["half a surrogate pair"]),
    ("typescript", &["half a surrogate pair"]),
    ("python", &["half a surrogate pair"]),
    ("rust", &[]),
];

#[test]
fn all_languages_decide_alike_and_are_swapped_under_traffic() {
    let dir = TempDir::new().expect("a folder");
    let components: Vec<(&str, PathBuf)> =
        ALL.iter().map(|language| (language.name, made(dir.path(), language))).collect();
    let allowed: BTreeMap<_, _> = ALLOWED.into();
    let mut wrong = Vec::new();
    let samples = dir.path().join("python/samples/celsius.toml"); // with the memory that the largest needs
    let rust = dir.path().join("rust/rust.wasm");
    for (name, component) in &components {
        let arguments = ["plugin", "compare", path(&rust), path(component), path(&samples)];
        let output = with_compilers(dir.path(), &arguments);
        let said = text(&output);
        assert!(said.contains("10004 messages decided"), "{name}: {said}");
        let kinds: Vec<&str> =
            said.lines().filter_map(|line| Some(line.strip_suffix(" differ")?.split_once(": ")?.0)).collect();
        if kinds != allowed[name] {
            wrong.push(format!("{name} differs in {kinds:?}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    swapped_under_traffic(&components);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Every language in turn, twice, while messages flow at QoS 1: all come, each once, in their order, whoever decided them.
fn swapped_under_traffic(components: &[(&str, PathBuf)]) {
    // mosquitto 2.0 now and then has a new message overtake those that wait for room in a subscriber's window.
    let office = Mosquitto::builder().max_inflight(2_000).start();
    let [home, alarms] = [Mosquitto::start(), Mosquitto::start()];
    let brokers: String = [("home", &home), ("office", &office), ("alarms", &alarms)]
        .map(|(name, at)| broker(name, &at.url(), ""))
        .concat();
    let plugin = "[plugins.rule]\npath = \"rule.wasm\"\nconfig = { above = 50 }\n\
                  grants = { targets = [\"alarms\"], topics = [\"alarm/#\"] }\n\
                  limits = { memory = \"128MiB\", configure_deadline = \"10s\", deadline = \"1s\" }\n";
    let route = route("home", &["dev/#"], &["office"], "plugins = [\"rule\"]");
    let bytes: Vec<_> = components.iter().map(|(_, path)| std::fs::read(path).expect("a component")).collect();
    let builder = Tidegate::builder(&format!("{brokers}{plugin}{route}")).file("rule.wasm", bytes[0].clone());
    let tidegate = builder.start();
    let connect = |at: &Mosquitto, name: &str| {
        Client::connect(at.port(), &ClientOptions::new(Version::V5, name)).expect("it connects")
    };
    let (mut readings, mut alarmed) = (connect(&office, "readings"), connect(&alarms, "alarmed"));
    readings.subscribe(&[("dev/#", 1)]).expect("subscribed");
    alarmed.subscribe(&[("alarm/#", 1)]).expect("subscribed");
    let mut sender = connect(&home, "sender");
    let (mut sent, mut came, mut alarms_came) = (0u64, Vec::new(), 0u64);
    let mut turn = |sender: &mut Client| {
        // Every third is hot.
        let payload = format!("{{\"seq\": {sent}, \"temp\": {}}}", if sent.is_multiple_of(3) { 150 } else { 70 });
        sender.publish(&format!("dev/{}", sent % 4), payload.as_bytes(), 1, false).expect("published");
        sent += 1;
        sent
    };
    let mut drain = |wait: Duration| {
        while let Some(message) = readings.receive(wait).expect("connected") {
            readings.ack(&message);
            came.push((message.topic.clone(), message.payload.clone()));
        }
        while let Some(message) = alarmed.receive(wait).expect("connected") {
            alarmed.ack(&message);
            alarms_came += 1;
        }
        (came.len() as u64, alarms_came)
    };
    let mut total = 0;
    for (swap, bytes) in (1..).zip(bytes.iter().cycle().skip(1).take(2 * bytes.len())) {
        tidegate.replace_file("rule.wasm", bytes);
        let swapped = || tidegate.metrics().get("tidegate_reloads_total", &[]) >= Some(f64::from(swap));
        let until = Instant::now() + COMPILES;
        while !swapped() && Instant::now() < until {
            total = turn(&mut sender);
            drain(Duration::from_millis(1));
        }
        assert!(swapped(), "swap {swap}: {}", tidegate.log());
        let recording = tidegate.dir().join(format!("{swap}.tgr"));
        let recorder = record(&tidegate, &recording, &["--count", "40", "--route", "home-office"]);
        for _ in 0..50 {
            total = turn(&mut sender);
        }
        let recorded = recorder.wait_with_output().expect("it ends");
        assert!(recorded.status.success(), "{recorded:?}");
        let file = tidegate.dir().join("tidegate.toml");
        let (code, found) = replay(&recording, &file, &[]);
        let (all, none) = (serde_json::json!(40), serde_json::json!(0));
        assert_eq!((code, &found["messages"], &found["differ"]), (0, &all, &none), "swap {swap}: {found}");
    }
    let until = Instant::now() + PATIENCE;
    let hot = total.div_ceil(3);
    while Instant::now() < until && drain(Duration::from_millis(100)) < (total, hot) {}
    assert_eq!(drain(Duration::from_millis(300)), (total, hot), "all of them, each once: {}", tidegate.log());
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (topic, payload) in came {
        let reading: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        let seq = reading["seq"].as_u64().expect("a number");
        let before = last.insert(topic, seq);
        assert!(before.is_none_or(|before| before < seq), "in order: {reading} after {before:?}: {}", tidegate.log());
        assert_eq!(reading["temp"], if seq.is_multiple_of(3) { 65.6 } else { 21.1 });
    }
    assert_balanced(&tidegate);
}

/// A component that is not in the cache is compiled first, while the version before it decides.
const COMPILES: Duration = Duration::from_secs(180);
