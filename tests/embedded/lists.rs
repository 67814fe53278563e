//! Who is let in, and who may publish and hear what, at the box's own broker: lists of mosquitto and of the configuration, changed while clients are connected.

use super::Embedded;
use crate::fixture::{PATIENCE, broker, route};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually};

/// `not authorized` (MQTT 5.0 section 2.4).
const NOT_AUTHORIZED: u8 = 0x87;

fn explain(tidegate: &Tidegate, words: &[&str]) -> Output {
    let file = tidegate.dir().join("tidegate.toml").display().to_string();
    let mut command = Command::new(Tidegate::binary());
    command.args(["access", "explain", "--config", &file]).args(words).output().expect("tidegate runs")
}

#[track_caller]
fn explained(tidegate: &Tidegate, words: &[&str], code: i32, told: &str) {
    let output = explain(tidegate, words);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(told), "{said}");
}

#[test]
fn lists_hold_for_clients_at_once_and_bad_ones_are_refused_line_by_line() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let config = |lists: &str| {
        device.config() + lists + &broker("office", &office.url(), "") + &route("device", &["#"], &["office"], "")
    };
    let builder = Tidegate::builder(&config("acl_file = \"acl.txt\"\n"));
    let tidegate = builder.file("acl.txt", b"topic write up/#\npattern read down/%c\n".to_vec()).start();
    let connect =
        |name: &str| Client::connect(device.port, &ClientOptions::new(Version::V5, name)).expect("it is let in");
    let (mut one, mut two) = (connect("one"), connect("two"));
    let granted = one.subscribe(&[("down/one", 1), ("down/two", 1), ("#", 1)]).expect("answered");
    assert_eq!(granted, [1, NOT_AUTHORIZED, 1], "of the last one some may come");
    let mut at_office = Client::connect(office.port(), &ClientOptions::new(Version::V5, "office")).unwrap();
    at_office.subscribe(&[("#", 1)]).unwrap();
    let dropped = |reason: &str| tidegate.metrics().get("tidegate_own_dropped_total", &[("reason", reason)]);
    let may = |client: &mut Client, topic: &str| {
        let before = dropped("forbidden");
        client.publish(topic, b"x", 1, false).expect("acknowledged");
        dropped("forbidden") == before
    };
    assert!(may(&mut two, "up/1") && !may(&mut two, "down/one"));
    assert_eq!(at_office.receive(PATIENCE).unwrap().expect("it comes").topic, "up/1");

    explained(&tidegate, &["--client", "two", "publish", "up/1"], 0, "acl.txt:1");
    explained(&tidegate, &["--client", "two", "receive", "down/one"], 1, "for no rule allows it");
    explained(&tidegate, &["--client", "two", "subscribe", "down/+"], 0, "acl.txt:2");

    // Another file holds at once, for who is connected, and one that is none leaves the one before.
    let applied = || tidegate.metrics().get("tidegate_reloads_total", &[]).unwrap_or_default();
    let before = applied();
    tidegate.replace_file("acl.txt", b"topic readwrite #\n");
    eventually("it is read", PATIENCE, || applied() > before);
    assert!(may(&mut two, "down/one"), "it may now");
    assert_eq!(one.receive(PATIENCE).unwrap().expect("it comes").topic, "down/one");
    tidegate.replace_file("acl.txt", b"topic readwrite #\ntopics x\n");
    tidegate.wait_for_log("acl.txt:2: `topics` is no word of an acl_file", PATIENCE);
    assert!(may(&mut two, "down/one"), "what ran keeps running");

    // Rules of the configuration in its place, and none.
    let rules = "[[brokers.device.access]]\nclient_ids = [\"two\"]\nallow = { publish = [\"only/%c\"] }\n";
    let before = applied();
    tidegate.edit_config(&config(rules));
    eventually("it is read", PATIENCE, || applied() > before);
    assert!(may(&mut two, "only/two") && !may(&mut two, "down/one"), "it may not any more");
    assert!(!may(&mut one, "only/one"), "the rule is for another client");
    explained(&tidegate, &["--client", "two", "publish", "only/two"], 0, "brokers.device.access[0].allow.publish");
    let before = applied();
    tidegate.edit_config(&config(""));
    eventually("it is read", PATIENCE, || applied() > before);
    assert!(may(&mut one, "down/one"), "everybody may everything");
    explained(&tidegate, &["publish", "any/thing"], 0, "has no access lists");
    assert_eq!(dropped("forbidden"), Some(3.0));
    let connects = tidegate.metrics().get("tidegate_broker_connects_total", &[("broker", "office")]);
    assert_eq!(connects, Some(1.0), "nobody was disturbed");
}

/// `tidegate user WORDS...` with a password on standard input.
pub(super) fn user(words: &[&str], password: &str) -> Output {
    let mut command = Command::new(Tidegate::binary());
    let command = command.arg("user").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tidegate runs");
    // One that refuses before it asks has gone.
    let _ = child.stdin.take().expect("piped").write_all(format!("{password}\n").as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn users_are_added_changed_and_removed_by_commands_while_it_runs() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("users.txt").display().to_string();
    // The file comes with the first user, and is nobody else's to read.
    assert!(user(&["add", "first", "--file", &file], "x").status.success());
    let users = format!("users = {file:?}\n");
    let brokers = device.config() + &users + &broker("office", &office.url(), "");
    let tidegate = Tidegate::start(&(brokers + &route("device", &["#"], &["office"], "")));
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let user = |words: &[&str], password: &str| user(&[words, &["--config", &config]].concat(), password);
    let code = |words: &[&str], password: &str| user(words, password).status.code();
    let good = |words: &[&str], password: &str| {
        let output = user(words, password);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let ann = |password: &str| ClientOptions::new(Version::V5, "c").login("ann", password);
    let login = |password: &str| Client::connect(device.port, &ann(password));
    assert!(login("one").is_err());
    good(&["add", "ann"], "one");
    eventually("she is let in", PATIENCE, || login("one").is_ok());
    assert_eq!(code(&["add", "ann"], "two"), Some(64), "she is there");
    assert_eq!(code(&["passwd", "bob"], "two"), Some(64), "he is not");
    assert_eq!(code(&["add", "a:b"], "two"), Some(64), "no name");
    assert_eq!(code(&["add", "eve"], ""), Some(64), "no password");
    assert_eq!(good(&["list"], ""), "ann\tPBKDF2-SHA512\nfirst\tPBKDF2-SHA512\n");
    assert_eq!(code(&["check", "ann"], "two"), Some(1));
    let mut client = login("one").expect("she is let in");
    good(&["passwd", "ann"], "two");
    eventually("she is sent away", PATIENCE, || client.publish("x", b"", 0, false).is_err());
    eventually("and let in with another password", PATIENCE, || login("two").is_ok());
    good(&["check", "ann"], "two");
    good(&["remove", "ann"], "");
    eventually("she is let in no more", PATIENCE, || login("two").is_err());
    // It is the file of mosquitto's own tool, too.
    let status = Command::new("mosquitto_passwd").arg("-b").arg(&file).args(["bob", "three"]).status();
    assert!(status.expect("mosquitto_passwd (Debian: mosquitto)").success());
    good(&["check", "bob"], "three");
}
