//! What an edit changes, key by key.

use std::collections::BTreeMap;
use std::path::Path;
use tidegate_config::{Config, Key, Outline, Shown, diff, parse};

const REFERENCE: &str = include_str!("../../../../config/tidegate.toml");

const BEFORE: &str = r#"
[gateway]
name = "g"
data_dir = "/d"
[brokers.a]
url = "mqtt://a"
[brokers.b]
url = "mqtts://b"
username = "u"
password = { file = "b.pass" }
[brokers.c]
url = "ws://c"
headers = { "X-Key" = "hunter1" }
[targets.t]
members = ["b", "c"]
[plugins.p]
path = "p.wasm"
config = { every = "5s", token = "hunter1", "a.b" = 1 }
[[routes]]
name = "up"
from = { broker = "a", topics = ["x/#"] }
plugins = ["p"]
to = ["t"]
[[routes]]
name = "other"
from = { broker = "a", topics = ["y/#"] }
to = ["t"]
"#;

fn config(text: &str) -> Config {
    parse(text, Path::new("/etc/gw.toml")).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// What exchanging one text for another changes.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(BEFORE.contains(from), "{from}");
    diff(&config(BEFORE), &config(&BEFORE.replace(from, to))).iter().map(ToString::to_string).collect()
}

#[test]
fn each_key_is_named_as_the_file_has_it() {
    let back = "[[routes]]\nname = \"back\"\nfrom = { broker = \"b\", topics = [\"z/#\"] }\nto = [\"a\"]\n";
    for (from, to, expected) in [
        ("mqtt://a", "mqtt://d", &["brokers.a.url changed from mqtt://a:1883 to mqtt://d:1883"][..]),
        ("\"mqtt://a\"", "\"mqtt://a\"\nversion = \"3.1.1\"", &["brokers.a.version changed from auto to 3.1.1"]),
        ("\"mqtt://a\"", "\"mqtt://a\"\nkeep_alive = \"30s\"", &[]),
        ("\"mqtt://a\"", "\"mqtt://a\"\nspool.max_age = \"1h\"", &["brokers.a.spool.max_age added"]),
        ("\"mqtt://a\"", "\"mqtt://a\"\nwill = { topic = \"w\" }", &["brokers.a.will added"]),
        (
            "mqtts://b",
            "mqtt://b:8883",
            &["brokers.b.tls removed", "brokers.b.url changed from mqtts://b:8883 to mqtt://b:8883"],
        ),
        ("b.pass", "c.pass", &["brokers.b.password changed"]),
        ("[\"b\", \"c\"]", "[\"c\", \"b\"]", &["targets.t.members changed from [\"b\", \"c\"] to [\"c\", \"b\"]"]),
        ("5s", "6s", &["plugins.p.config.every changed"]),
        ("\"a.b\" = 1", "\"a.b\" = 2", &["plugins.p.config.\"a.b\" changed"]),
        ("x/#", "z/#", &["routes.up.from.topics changed from [\"x/#\"] to [\"z/#\"]"]),
        ("\"up\"", "\"upward\"", &["routes.up removed", "routes.upward added"]),
        ("[[routes]]\nname = \"up\"", &format!("{back}[[routes]]\nname = \"up\""), &["routes.back added"]),
        ("\"/d\"", "\"/d\"\n[admin]\nlisten = \"127.0.0.1:9180\"", &["admin added"]),
    ] {
        assert_eq!(changed(from, to), expected, "{from} -> {to}");
    }
    let swapped = BEFORE.replace("\"up\"", "\"?\"").replace("\"other\"", "\"up\"").replace("\"?\"", "\"other\"");
    let swapped =
        swapped.replace("x/#", "?").replace("y/#", "x/#").replace('?', "y/#").replace("plugins = [\"p\"]\n", "");
    let swapped = swapped.replace("name = \"up\"", "name = \"up\"\nplugins = [\"p\"]");
    let changes: Vec<_> = diff(&config(BEFORE), &config(&swapped)).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["routes reordered"]);
}

#[test]
fn what_may_be_a_secret_is_compared_and_not_told() {
    assert_eq!(changed("\"X-Key\" = \"hunter1\"", "\"X-Key\" = \"hunter2\""), ["brokers.c.headers.X-Key changed"]);
    assert_eq!(changed("token = \"hunter1\"", "token = \"hunter2\""), ["plugins.p.config.token changed"]);
    let moved = changed("{ file = \"b.pass\" }", "{ env = \"HUNTER\" }");
    assert_eq!(moved, ["brokers.b.password changed"]);
}

/// Every value of the reference, one by one: what differs is told, and what does not is not.
#[test]
fn a_difference_is_told_exactly_where_there_is_one() {
    let whole = config(REFERENCE);
    assert_eq!(diff(&whole, &whole), []);
    let (mut told, mut equal) = (0, 0);
    for (at, line) in REFERENCE.lines().enumerate().filter(|(_, line)| line.contains(" = ")) {
        let without: String =
            REFERENCE.lines().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| format!("{line}\n")).collect();
        let Ok((edited, _)) = parse(&without, Path::new("/etc/gw.toml")) else { continue };
        let changes = diff(&whole, &edited);
        assert_eq!(changes.is_empty(), whole == edited, "{line}: {changes:?}");
        let back = diff(&edited, &whole);
        assert_eq!(back.len(), changes.len(), "{line}: {back:?}");
        if changes.is_empty() { equal += 1 } else { told += 1 }
    }
    assert!(told > 20 && equal > 20, "{told} told, {equal} equal");
}

/// What waits for `b`, `t` and a name that is not configured, five messages each, and what an edit means to it.
fn touched(before: &str, edits: &[(&str, &str)]) -> Vec<String> {
    let after = edits.iter().fold(before.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let (old, new) = (Outline::of(&config(before)), Outline::of(&config(&after)));
    let waiting: BTreeMap<String, u64> = ["b", "t", "gone", "idle"].map(|name| (name.to_owned(), 5)).into();
    let waiting = waiting.into_iter().map(|(name, count)| if name == "idle" { (name, 0) } else { (name, count) });
    let touched = old.touched(&new, &old.changes(&new), &waiting.collect());
    touched.iter().map(|one| format!("{} {} {}", one.target, one.messages, one.fate.word())).collect()
}

#[test]
fn messages_that_wait_are_touched_by_what_their_target_becomes() {
    let b = "[brokers.b]\nurl = \"mqtts://b\"\nusername = \"u\"\npassword = { file = \"b.pass\" }\n";
    let in_t = "[\"b\", \"c\"]";
    let no_set = ("[targets.t]\nmembers = [\"b\", \"c\"]\n", "");
    for (edits, expected) in [
        (&[][..], &[][..]),
        (&[("x/#", "z/#"), (in_t, "[\"c\", \"b\"]")], &[]),
        (&[(in_t, "[\"c\"]")], &["t 5 goes_to"]),
        (&[(in_t, "[\"c\"]"), (b, "")], &["b 5 waits_for_nobody", "t 5 goes_to"]),
        (&[no_set, ("[\"t\"]", "[\"b\", \"c\"]")], &["t 5 waits_for_nobody"]),
        (&[("[brokers.c]", "[brokers.gone]\nurl = \"mqtt://g\"\n[brokers.c]")], &["gone 5 goes_to"]),
        (&[("[brokers.c]", "spool = { max_age = \"1h\" }\n[brokers.c]")], &["b 5 other_spool_settings"]),
        (&[("mqtts://b", "mqtts://house")], &[]),
    ] {
        assert_eq!(touched(BEFORE, edits), expected, "{edits:?}");
    }
    // A set takes the name of a broker: what waited for the broker goes to the members.
    let with_set = BEFORE.replace("[targets.t]", "[targets.u]\nmembers = [\"b\"]\n[targets.t]");
    assert_eq!(touched(&with_set, &[("targets.u", "targets.gone")]), ["gone 5 goes_to"]);
}

#[test]
fn an_outline_that_leaves_the_process_shows_no_secret_and_is_compared_all_the_same() {
    let (key, other) = ([7; 32], [8; 32]);
    let shown = |text: &str, key: Option<&Key>| Outline::of(&config(text)).shown(key);
    let edited = BEFORE.replace("token = \"hunter1\"", "token = \"hunter2\"");
    let json = shown(BEFORE, Some(&key)).to_json();
    assert!(!json.to_string().contains("hunter") && json.to_string().contains("mqtts://b"), "{json}");
    let there = Shown::from_json(&json).expect("its own words");
    assert_eq!(there, shown(BEFORE, Some(&key)));
    let changes = |there: &Shown, here: &Shown| -> Vec<String> {
        there.outline().changes(here.outline()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(changes(&there, &shown(&edited, Some(&key))), ["plugins.p.config.token changed"]);
    assert_eq!(changes(&there, &shown(BEFORE, Some(&other))).len(), 5, "another key, other hashes");
    let without = shown(&edited, None);
    assert_eq!(changes(&there.clone().left_out(), &without), [""; 0]);
    assert_eq!(there.kept_in_both(&without), 5);
    assert!(!without.to_json().to_string().contains("hunter"));
    assert_eq!(Shown::from_json(&serde_json::json!({ "keys": { "a": 1 } })), None);
}
