//! What is not on its way anywhere outlives the gateway too: parked messages, and the state of plugins.

use super::*;
use crate::fixture::{Witness, run};
use serde_json::Value;

/// A route whose plugin fails, as `mode` says, or not.
fn failing(home: &Mosquitto, office: &Mosquitto, mode: &str) -> String {
    let plugin = format!("[plugins.bad]\npath = \"plugins/bad.wasm\"\nconfig = {{ mode = \"{mode}\" }}\n");
    let (home, office) = (broker("home", &home.url(), ""), broker("office", &office.url(), ""));
    home + &office + &plugin + &route("home", &["dev/#"], &["office"], "plugins = [\"bad\"]")
}

/// What `tidegate parked WORDS` prints.
#[track_caller]
fn operator(tidegate: &Tidegate, words: &[&str]) -> String {
    let config = tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&[&["parked"], words, &["--config", &config]].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn listed(tidegate: &Tidegate) -> Vec<Value> {
    serde_json::from_str(&operator(tidegate, &["list"])).expect("a list in JSON")
}

#[test]
fn parked_messages_are_listed_replayed_and_deleted_after_a_kill() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let builder = Tidegate::builder(&failing(&home, &office, "trap"));
    let mut tidegate = builder.file("plugins/bad.wasm", plugin("hostile")).start();
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    for n in 0..5 {
        client.publish(&format!("dev/{n}"), format!("{{\"n\":{n}}}").as_bytes(), 2, false).unwrap();
    }
    eventually("they are parked, and their source knows", PATIENCE, || {
        let metrics = tidegate.metrics();
        metrics.get("tidegate_parked", &[]) == Some(5.0) && metrics.get("tidegate_unacknowledged", &[]) == Some(0.0)
    });
    let before = listed(&tidegate);
    let number = |at: usize| before[at]["number"].to_string();

    tidegate.kill();
    tidegate.restart();
    assert_eq!(listed(&tidegate), before, "as they were, numbers included");
    let shown: Value = serde_json::from_str(&operator(&tidegate, &["show", &number(3)])).unwrap();
    assert_eq!(shown["payload"], "{\"n\":3}");
    operator(&tidegate, &["delete", &number(0)]);
    eventually("it is gone", PATIENCE, || listed(&tidegate).len() == 4);

    tidegate.edit_config(&failing(&home, &office, "pass"));
    tidegate.kill();
    tidegate.restart();
    assert_eq!(listed(&tidegate), before[1..], "the deleted one stays deleted");
    let arrived = Witness::start(office.port(), "office", "dev/#", &Ledger::new());
    for at in [1, 2] {
        operator(&tidegate, &["replay", &number(at)]);
    }
    eventually("what is replayed arrives", PATIENCE, || arrived.count() >= 2);
    eventually("two are left", PATIENCE, || listed(&tidegate).len() == 2);
    assert_balanced(&tidegate);

    tidegate.kill();
    tidegate.restart();
    assert_eq!(listed(&tidegate), before[3..], "the replayed ones do not come back");
    for at in [3, 4] {
        operator(&tidegate, &["replay", &number(at)]);
    }
    eventually("the rest arrives", PATIENCE, || arrived.count() >= 4);
    let payloads: Vec<String> = arrived.arrivals().into_iter().map(|arrival| arrival.payload).collect();
    assert_eq!(payloads, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"]);
    assert_balanced(&tidegate);
}

/// The plugin counts messages in its state and sends the count.
#[test]
fn the_state_of_a_plugin_outlives_kills_and_swaps() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let config = |version: u64| {
        let plugin = format!(
            "[plugins.counts]\npath = \"plugins/counts.wasm\"\nconfig = {{ version = \"{version}\" }}\n\
             grants = {{ state = true }}\n"
        );
        let (home, office) = (broker("home", &home.url(), ""), broker("office", &office.url(), ""));
        home + &office + &plugin + &route("home", &["dev/#"], &["office"], "plugins = [\"counts\"]")
    };
    let mut tidegate = Tidegate::builder(&config(0)).file("plugins/counts.wasm", plugin("imports-state")).start();
    let arrived = Witness::start(office.port(), "office", "dev/#", &Ledger::new());
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    let mut sent = 0;
    let mut some = || {
        for _ in 0..3 {
            client.publish("dev/1", b"x", 2, false).unwrap();
            sent += 1;
            eventually("it has counted", PATIENCE, || arrived.count() == sent);
        }
    };
    for round in 1..=4 {
        some();
        // What the source has been told of is in the log, and the count with it.
        eventually("their source knows", PATIENCE, || {
            let metrics = tidegate.metrics();
            ["tidegate_unacknowledged", "tidegate_route_in_flight"].iter().all(|n| metrics.get(n, &[]) == Some(0.0))
        });
        if round % 2 == 0 {
            tidegate.edit_config(&config(round));
        }
        tidegate.kill();
        tidegate.restart();
        some();
        let reloads = tidegate.metrics().get("tidegate_reloads_total", &[]);
        tidegate.edit_config(&config(round + 10));
        eventually("another version runs", PATIENCE, || {
            tidegate.metrics().get("tidegate_reloads_total", &[]) > reloads
        });
    }
    let counts: Vec<String> = arrived.arrivals().into_iter().map(|arrival| arrival.mark).collect();
    let expected: Vec<String> = (1..=counts.len()).map(|count| count.to_string()).collect();
    assert_eq!(counts, expected, "no count is lost and none comes twice");

    let file = tidegate.dir().join("tidegate.toml");
    let state = |args: &[&str]| {
        let output = run(&[&["plugin", "state"], args, &["--config", file.to_str().unwrap()]].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, running) = state(&["list"]);
    let key = running.split('\t').nth(1).expect("a key").to_owned();
    assert!(code == Some(0) && running.starts_with("counts\t"), "{running}");
    assert_eq!(state(&["delete", "counts", &key]).0, Some(69), "a plugin may be using it");
    assert_eq!(tidegate.terminate(PATIENCE).code(), Some(0));
    assert_eq!(state(&["list", "counts"]), (Some(0), running), "the same from disk");
    assert_eq!(state(&["get", "counts", &key]).0, Some(0));
    assert_eq!(state(&["delete", "counts", &key]).0, Some(0));
    assert_eq!(state(&["list"]), (Some(0), String::new()));
}

/// A message is decided by two routes: the plugin of one counts it, that of the other cannot decide. What is counted waits
/// for the record of the message, or the message, which comes again after the kill, would be counted twice.
#[test]
fn what_a_plugin_remembers_waits_for_the_other_routes_of_its_message() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let config = |mode: &str| {
        let plugins = format!(
            "[plugins.counts]\npath = \"plugins/counts.wasm\"\ngrants = {{ state = true }}\n\
             [plugins.bad]\npath = \"plugins/bad.wasm\"\nconfig = {{ mode = \"{mode}\" }}\n"
        );
        let (home, office) = (broker("home", &home.url(), ""), broker("office", &office.url(), ""));
        let counting = named_route("counting", "home", &["dev/#"], 1, &["office"], "plugins = [\"counts\"]");
        let keys = "plugins = [\"bad\"]\non_failure = \"block\"\nremap = { prefix = \"other/\" }";
        home + &office + &plugins + &counting + &named_route("other", "home", &["dev/#"], 1, &["office"], keys)
    };
    let builder = Tidegate::builder(&config("trap")).file("plugins/counts.wasm", plugin("imports-state"));
    let mut tidegate = builder.file("plugins/bad.wasm", plugin("hostile")).start();
    let arrived = Witness::start(office.port(), "office", "dev/#", &Ledger::new());
    let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
    client.publish("dev/1", b"x", 1, false).unwrap();
    eventually("the other plugin was asked again and again", PATIENCE, || {
        let metrics = tidegate.metrics();
        metrics.samples("tidegate_plugin_retries_total").iter().map(|(_, value)| value).sum::<f64>() >= 4.0
    });
    tidegate.kill();
    tidegate.edit_config(&config("pass"));
    tidegate.restart();
    eventually("it has come again, and is delivered", PATIENCE, || arrived.count() >= 1);
    client.publish("dev/1", b"y", 1, false).unwrap();
    eventually("the next is delivered", PATIENCE, || arrived.count() >= 2);
    let counts: Vec<String> = arrived.arrivals().into_iter().map(|arrival| arrival.mark).collect();
    assert_eq!(counts, ["1", "2"], "{}", tidegate.log());
    assert_balanced(&tidegate);
}
