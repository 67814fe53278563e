//! The files in `config/` are right.

use std::path::{Path, PathBuf};
use tidegate_config::{Config, EmbeddedLimits, Limits, Reconnect, Retry, Secret, SpoolSettings, parse};

fn shipped(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let (config, warnings) = parse(&text, &PathBuf::from("/etc/tidegate").join(name)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, [], "nothing in it is even worth a warning");
    config
}

#[test]
fn the_reference_says_the_defaults_that_are() {
    let (reference, minimal) = (shipped("tidegate.toml"), shipped("minimal.toml"));
    assert_eq!(reference.gateway, minimal.gateway);
    let mut home = reference.brokers["home"].link().unwrap().clone();
    assert_eq!(home.password, Some(Secret::File("/etc/tidegate/home.pass".into())));
    (home.username, home.password) = (None, None);
    assert_eq!(home.will.take().map(|will| will.delay), Some(std::time::Duration::ZERO));
    assert!(home.birth.take().is_some() && home.farewell.take().is_some());
    assert_eq!(Some(&home), minimal.brokers["home"].link());
    assert_eq!(home.reconnect, Reconnect::default());
    assert_eq!(reference.plugins["celsius"].limits, Limits::default());
    let limits = reference.brokers["device"].embedded().unwrap().limits.clone();
    let bounded = (limits.message_rate, limits.byte_rate, limits.connections_per_address, limits.connect_rate);
    assert!(limits.keep_alive_max.is_some() && matches!(bounded, (Some(_), Some(_), Some(_), Some(_))));
    let unbounded = EmbeddedLimits {
        keep_alive_max: None,
        message_rate: None,
        byte_rate: None,
        connections_per_address: None,
        connect_rate: None,
        ..limits
    };
    assert_eq!(unbounded, EmbeddedLimits::default(), "the keys that have a default say it");
    let spool = reference.targets["upstream"].spool;
    assert!(spool.max_messages.is_some() && spool.max_age.is_some());
    assert!(spool.drain_rate.is_some() && spool.mark_late.is_some());
    let bounded = SpoolSettings { max_bytes: spool.max_bytes, when_full: spool.when_full, ..SpoolSettings::default() };
    assert_eq!(bounded, SpoolSettings::default(), "the keys that have a default say it");
    let (full, least) = (&reference.routes[0], &minimal.routes[0]);
    assert_eq!((full.retry, full.retry), (Retry::default(), least.retry));
    assert_eq!((full.ack, full.on_failure, full.retain), (least.ack, least.on_failure, least.retain));
    assert_eq!((full.persist_qos0, full.priority), (least.persist_qos0, least.priority));
    assert_eq!(full.workers, least.workers);
    assert_eq!((full.from.qos, full.required()), (least.from.qos, &full.to[..]));
    assert_eq!(reference.admin.is_some(), minimal.admin.is_none());
}

#[test]
fn paths_are_beside_the_file() {
    let config = shipped("tidegate.toml");
    assert_eq!(config.plugins["celsius"].path, Path::new("/etc/tidegate/plugins/celsius.wasm"));
    assert_eq!(config.gateway.data_dir, Path::new("/var/lib/tidegate"));
}

/// Where a table in braces goes on in the next line: TOML 1.1 has that, and editors for TOML 1.0 refuse it.
fn broken_inline_table(text: &str) -> Option<usize> {
    let (mut braces, mut line) = (0, 1);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' => {
                let mut escaped = false;
                for inside in rest.by_ref() {
                    if !escaped && inside == c {
                        break;
                    }
                    escaped = !escaped && c == '"' && inside == '\\';
                }
            }
            '{' => braces += 1,
            '}' => braces -= 1,
            '\n' if braces > 0 => return Some(line),
            '\n' => line += 1,
            _ => {}
        }
    }
    None
}

#[test]
fn what_is_shipped_is_toml_1_0_and_what_people_write_may_be_1_1() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut looked = 0;
    let examples = ["examples/home-office", "examples/failover", "examples/office-outage", "examples/nats-cluster"];
    for folder in ["config", "config/presets", "crates/tidegate/src/demo"].into_iter().chain(examples) {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(
                    broken_inline_table(&text),
                    None,
                    "{}: a table in braces goes on behind this line",
                    path.display()
                );
                looked += 1;
            }
        }
    }
    assert!(looked >= 4, "the files were found");
    let newer = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.a]\nurl = \"mqtt://a\"\nreconnect = {\n  min = \"1s\",\n}\n";
    assert_eq!(broken_inline_table(newer), Some(6));
    assert!(parse(newer, Path::new("f")).is_ok());
}
