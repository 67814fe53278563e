//! The difference between two configurations.

use std::path::Path;
use tidegate_config::{Changes, Config, Difference, parse};

const BEFORE: &str = r#"
[gateway]
name = "g"
data_dir = "/d"
[admin]
listen = "127.0.0.1:9180"
[brokers.a]
url = "mqtt://a"
[brokers.b]
url = "mqtt://b"
[brokers.c]
url = "mqtt://c"
[targets.t]
members = ["b", "c"]
[plugins.p]
path = "p.wasm"
[[routes]]
name = "r"
from = { broker = "a", topics = ["x/#"] }
plugins = ["p"]
to = ["t"]
"#;

fn config(text: &str) -> Config {
    parse(text, Path::new("/etc/gw.toml")).unwrap_or_else(|problems| panic!("{problems}")).0
}

fn only_changed(name: &str) -> Changes {
    Changes { changed: vec![name.into()], ..Changes::default() }
}

#[test]
fn nothing_differs_from_itself_whatever_the_layout() {
    let spaced = BEFORE.replace(" = ", "  =  ") + "# a comment\n";
    assert!(config(BEFORE).difference(&config(&spaced)).is_empty());
}

#[test]
fn only_what_was_edited_is_named() {
    let difference = |from: &str, to: &str| config(BEFORE).difference(&config(&BEFORE.replace(from, to)));
    let plugin = difference("\"p.wasm\"", "\"p.wasm\"\nconfig = { a = 1 }");
    assert_eq!(plugin.plugins, only_changed("p"));
    assert!(plugin.brokers.is_empty() && plugin.routes.is_empty() && plugin.needs_restart.is_empty());
    let broker = difference("mqtt://b", "mqtt://d");
    assert_eq!((broker.brokers, broker.plugins.is_empty()), (only_changed("b"), true));
    let targets = difference("[\"b\", \"c\"]", "[\"c\", \"b\"]");
    assert_eq!((targets.targets, targets.routes.is_empty()), (only_changed("t"), true));
    let route = difference("\"x/#\"", "\"y/#\"");
    assert_eq!((route.routes, route.brokers.is_empty()), (only_changed("r"), true));
}

#[test]
fn what_was_renamed_is_added_and_removed() {
    let routes = config(BEFORE).difference(&config(&BEFORE.replace("\"r\"", "\"s\""))).routes;
    assert_eq!(routes, Changes { added: vec!["s".into()], changed: vec![], removed: vec!["r".into()] });
}

#[test]
fn what_needs_a_restart_is_named() {
    let difference = |from: &str, to: &str| config(BEFORE).difference(&config(&BEFORE.replace(from, to))).needs_restart;
    assert_eq!(difference("/d", "/e"), ["gateway.data_dir"]);
    assert_eq!(difference("9180", "9181"), ["admin"]);
    assert_eq!(difference("[admin]\nlisten = \"127.0.0.1:9180\"", ""), ["admin"]);
    assert_eq!(difference("\"g\"", "\"h\""), ["gateway.name"]);
    assert_eq!(difference("\"/d\"", "\"/d\"\ncommit_delay = \"2ms\""), ["gateway.commit_delay"]);
    assert_eq!(difference("\"/d\"", "\"/d\"\nsegment_size = \"1MiB\""), ["gateway.segment_size"]);
}

#[test]
fn a_spool_changes_without_its_broker() {
    let box_ = "[brokers.box]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n";
    let before = format!("{BEFORE}{box_}");
    let difference = |edits: &[(&str, &str)]| {
        let after = edits.iter().fold(before.clone(), |text, (from, to)| text.replace(from, to));
        config(&before).difference(&config(&after))
    };
    let (b, boxes) = (
        ("mqtt://b\"", "mqtt://b\"\nspool = { drain_rate = 9 }"),
        ("listen = [", "spool.max_age = \"1h\"\nlisten = ["),
    );
    let only = difference(&[b, boxes]);
    assert_eq!(only, Difference { connections_kept: vec!["b".into(), "box".into()], ..Difference::default() });
    assert!(!only.is_empty());
    let moved = difference(&[b, ("mqtt://b", "mqtt://d")]);
    assert_eq!((moved.brokers, moved.connections_kept.is_empty()), (only_changed("b"), true));
    let set = difference(&[("[\"b\", \"c\"]", "[\"b\", \"c\"]\nspool = { max_messages = 7 }")]);
    assert_eq!(set, Difference { targets: only_changed("t"), ..Difference::default() });
    let added =
        difference(&[("[brokers.c]", "[brokers.d]\nurl = \"mqtt://d\"\nspool = { drain_rate = 9 }\n[brokers.c]")]);
    assert_eq!((added.brokers.added, added.connections_kept.is_empty()), (vec!["d".to_owned()], true));
}

#[test]
fn what_a_route_keeps_changes_that_route_only() {
    for edit in ["ack = \"delivered\"", "persist_qos0 = true", "priority = \"low\"", "workers = 2"] {
        let after = BEFORE.replace("name = \"r\"", &format!("name = \"r\"\n{edit}"));
        let difference = config(BEFORE).difference(&config(&after));
        assert_eq!(difference, Difference { routes: only_changed("r"), ..Difference::default() }, "{edit}");
    }
}
