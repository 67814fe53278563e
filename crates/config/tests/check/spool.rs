//! What is kept on disk, and for how long.

use std::path::Path;
use std::time::Duration;
use tidegate_config::{Ack, Config, Priority, SpoolSettings, WhenFull, parse};

const LEAST: &str = r#"
[gateway]
name = "g"
data_dir = "/d"
[brokers.a]
url = "mqtt://a"
[brokers.b]
url = "mqtt://b"
[brokers.box]
embedded = true
listen = ["mqtt://127.0.0.1:0"]
[targets.t]
members = ["b", "box"]
[[routes]]
name = "r"
from = { broker = "a", topics = ["x/#"] }
to = ["t"]
"#;

/// `LEAST` with lines behind one of its own.
fn with(behind: &str, lines: &str) -> Config {
    let text = LEAST.replace(behind, &format!("{behind}\n{lines}"));
    assert_ne!(text, LEAST, "there is such a line");
    let (config, warnings) = parse(&text, Path::new("gw.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(warnings, [], "{text}");
    config
}

const BROKER: &str = "url = \"mqtt://b\"";
const EMBEDDED: &str = "embedded = true";
const SET: &str = "members = [\"b\", \"box\"]";
const ROUTE: &str = "to = [\"t\"]";

const EVERY_KEY: &str = "spool = { max_bytes = \"2GiB\", max_messages = 1000, max_age = \"1d\", \
                         when_full = \"drop-oldest\", drain_rate = 1, mark_late = \"1s\" }";

#[test]
fn without_a_word_everything_is_spooled_for_ever_and_sources_wait() {
    let config = with(ROUTE, "");
    let settings = SpoolSettings {
        max_bytes: 1 << 30,
        max_messages: None,
        max_age: None,
        when_full: WhenFull::Block,
        drain_rate: None,
        mark_late: None,
    };
    assert_eq!(SpoolSettings::default(), settings);
    for target in ["a", "b", "box", "t", "nobody"] {
        assert_eq!(config.spool_of(target), settings, "{target}");
    }
    let route = &config.routes[0];
    assert_eq!((route.ack, route.persist_qos0, route.priority), (Ack::Spooled, false, Priority::Normal));
    assert_eq!((config.gateway.commit_delay, config.gateway.segment_size), (Duration::ZERO, 8 << 20));
}

#[test]
fn a_broker_and_a_set_each_have_their_spool() {
    let every = SpoolSettings {
        max_bytes: 2 << 30,
        max_messages: Some(1000),
        max_age: Some(Duration::from_secs(24 * 3600)),
        when_full: WhenFull::DropOldest,
        drain_rate: Some(1),
        mark_late: Some(Duration::from_secs(1)),
    };
    for (behind, name) in [(BROKER, "b"), (EMBEDDED, "box"), (SET, "t")] {
        let config = with(behind, EVERY_KEY);
        for target in ["a", "b", "box", "t"] {
            let expected = if target == name { every } else { SpoolSettings::default() };
            assert_eq!(config.spool_of(target), expected, "{target} when {name} was set");
        }
    }
    let table = with(SET, "[targets.t.spool]\nwhen_full = \"drop-newest\"").spool_of("t");
    assert_eq!(table, SpoolSettings { when_full: WhenFull::DropNewest, ..SpoolSettings::default() });
}

#[test]
fn members_of_a_set_that_sends_to_all_have_their_own() {
    let config = with(SET, "policy = \"all\"");
    assert_eq!(config.spool_of("t"), SpoolSettings::default());
    let text = LEAST.replace(SET, &format!("{SET}\npolicy = \"all\"\n{EVERY_KEY}"));
    let problems = parse(&text, Path::new("gw.toml")).unwrap_err().to_string();
    assert_eq!(
        problems,
        "gw.toml:15:9: nothing waits for a set of policy \"all\": each of its members has its own spool; write `spool` \
         at the members, as in `[brokers.b.spool]`"
    );
}

#[test]
fn a_route_says_when_it_acknowledges_what_it_keeps_and_what_leaves_first() {
    let route = |lines: &str| with(ROUTE, lines).routes.remove(0);
    assert_eq!(route("ack = \"spooled\"").ack, Ack::Spooled);
    assert_eq!(route("ack = \"delivered\"").ack, Ack::Delivered);
    assert!(route("persist_qos0 = true").persist_qos0);
    assert!(!route("persist_qos0 = false\nack = \"delivered\"").persist_qos0);
    for (word, priority) in [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)] {
        assert_eq!(route(&format!("priority = \"{word}\"")).priority, priority);
    }
    assert!(Priority::High < Priority::Normal && Priority::Normal < Priority::Low, "in the order they leave");
}

#[test]
fn the_disk_is_written_as_the_gateway_says() {
    let gateway = |lines: &str| with("data_dir = \"/d\"", lines).gateway;
    for (text, delay_ms) in [("\"0ms\"", 0), ("0", 0), ("\"5ms\"", 5), ("\"1s\"", 1000)] {
        let delay = gateway(&format!("commit_delay = {text}")).commit_delay;
        assert_eq!(delay, Duration::from_millis(delay_ms), "{text}");
    }
    for (text, bytes) in [("1MiB", 1 << 20), ("256MiB", 256 << 20)] {
        assert_eq!(gateway(&format!("segment_size = \"{text}\"")).segment_size, bytes);
    }
}
