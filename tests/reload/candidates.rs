//! Another version is tried beside the one that runs: as a shadow, of which nothing becomes, and as a canary, which decides some.

use super::*;
use serde_json::Value;
use std::process::Output;

const SECOND: &str = "plugins/next.wasm";

/// The main route, with this beside its plugin.
fn main(candidate: &str) -> String {
    MAIN.replace("    [[routes]]", &format!("    [plugins.marked.candidate]\n    {candidate}\n    [[routes]]"))
}

fn command(tidegate: &Tidegate, words: &[&str]) -> Output {
    command_of(tidegate, "plugin", words)
}

fn diff(tidegate: &Tidegate) -> Value {
    let told = command(tidegate, &["diff", "marked", "--json"]);
    let text = String::from_utf8_lossy(&told.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&told.stderr)))
}

fn kinds(found: &Value) -> Vec<&str> {
    found["differences"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect()
}

fn came_versions(tidegate: &Tidegate) -> Vec<String> {
    let told = good(command(tidegate, &["versions", "marked", "--json"]));
    let each = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    each.map(|version| version["came"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_shadow_is_seen_promoted_and_rolled_back_and_none_is_lost_or_out_of_order() {
    let house = House::new();
    let second = plugin("versioned-v2");
    let mut tidegate = house.gateway(MAIN).file(SECOND, second.clone()).start();
    let none = command(&tidegate, &["diff", "marked"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no candidate is tried beside `marked`"), "{none:?}");
    assert_eq!(command(&tidegate, &["promote", "marked"]).status.code(), Some(69));
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    let decides = |mark: &str| eventually(&format!("{mark} decides"), PATIENCE, || witness.last_mark() == mark);
    decides(" v1");
    let with = house.config(&main("path = \"plugins/next.wasm\""));
    applied_after(&tidegate, || tidegate.edit_config(&with));
    eventually("it decides", PATIENCE, || diff(&tidegate)["messages"].as_u64() > Some(2_000));
    let found = diff(&tidegate);
    assert_eq!((kinds(&found), &found["mode"]), (vec!["payload"], &Value::from("shadow")));
    assert_eq!((&found["failures"], &found["missed"]), (&Value::from(0), &Value::from(0)), "{found:#}");
    assert!(found["differ"].as_u64() > Some(2_000), "{found:#}");
    let sample = &found["differences"][0]["samples"][0];
    let said = |key: &str| sample[key].as_str().unwrap().to_owned();
    assert!(said("one").ends_with(" v1") && said("other").ends_with(" v2") && said("route") == "main", "{sample:#}");
    let told = command(&tidegate, &["diff", "marked"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.code() == Some(1) && text.contains("shadow ") && text.contains(" decided otherwise"), "{text}");
    let metric = |name: &str| tidegate.metrics().get(name, &[("plugin", "marked")]);
    assert!(metric("tidegate_candidate_differences_total") > Some(2_000.0));
    assert_eq!(witness.last_mark(), " v1");

    // Promoted, it runs, through a kill too, and is tried no more; rolled back, it is not tried again at once.
    let told = good(command(&tidegate, &["promote", "marked"]));
    assert!(told.contains("which was tried"), "{told}");
    decides(" v2");
    assert_eq!(came_versions(&tidegate), ["start", "promoted"]);
    assert_eq!(command(&tidegate, &["diff", "marked"]).status.code(), Some(69));
    tidegate.kill();
    tidegate.restart();
    let before = witness.count();
    eventually("it carries again", PATIENCE, || witness.count() > before + 1_000);
    assert_eq!(witness.last_mark(), " v2", "what ran before the kill runs after it");
    good(command(&tidegate, &["rollback", "marked"]));
    decides(" v1");
    assert_eq!(command(&tidegate, &["diff", "marked"]).status.code(), Some(69));

    // Another one is: saved as another file; until somebody has seen enough of it.
    applied_after(&tidegate, || tidegate.replace_file(SECOND, &[&second[..], &[0, 3, 1, b'x', b'a']].concat()));
    eventually("it decides", PATIENCE, || diff(&tidegate)["messages"].as_u64() > Some(100));
    good(command(&tidegate, &["abandon", "marked"]));
    assert_eq!(command(&tidegate, &["diff", "marked"]).status.code(), Some(69));
    assert_eq!(witness.last_mark(), " v1");
    // After a kill a message or two may come once more at QoS 1.
    let sent = publisher.stop() as usize;
    within(PATIENCE, || witness.count() >= sent);
    let check = || house.ledger.check_of("main", |id| id.key.starts_with("dev"));
    within(PATIENCE, || check().missing.is_empty());
    check().assert_at_least_once().assert_nothing_missing().assert_published(3_000);
}

#[test]
fn a_canary_decides_its_topics_is_widened_and_promoted_and_order_holds() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).file(SECOND, plugin("versioned-v2")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", RATE);
    let canary =
        |rest: &str| house.config(&main(&format!("path = \"plugins/next.wasm\"\n    mode = \"canary\"\n    {rest}")));
    eventually("it carries", PATIENCE, || witness.count() > 100);
    applied_after(&tidegate, || tidegate.edit_config(&canary("share = \"50%\"")));
    eventually("it decides", PATIENCE, || diff(&tidegate)["messages"].as_u64() > Some(1_000));
    // A topic is decided by one of the two.
    let decided = |skip: usize| -> (usize, usize) {
        let all: std::collections::BTreeSet<(String, String)> =
            witness.arrivals().into_iter().skip(skip).map(|one| (one.topic, one.mark)).collect();
        let topics: std::collections::BTreeSet<&String> = all.iter().map(|(topic, _)| topic).collect();
        assert_eq!(topics.len(), all.len(), "a topic has one decider: {all:?}");
        (topics.len(), all.iter().filter(|(_, mark)| mark == " v2").count())
    };
    let settled = witness.count() + 500;
    eventually("more comes", PATIENCE, || witness.count() > settled + 2_000);
    let (topics, theirs) = decided(settled);
    assert!(theirs > 0 && theirs < topics, "{theirs} of {topics}");
    // Widened, it goes on where it is, and has what it had.
    let before = diff(&tidegate)["messages"].as_u64();
    applied_after(&tidegate, || tidegate.edit_config(&canary("share = \"100%\"")));
    assert!(diff(&tidegate)["messages"].as_u64() >= before, "it begins no trial anew");
    let settled = witness.count() + 500;
    eventually("all is decided by it", PATIENCE, || witness.count() > settled + 1_000);
    let (topics, theirs) = decided(settled);
    assert_eq!(theirs, topics);
    applied_after(&tidegate, || tidegate.edit_config(&canary("topics = [\"dev/dev-1/temp\", \"dev/nobody/#\"]")));
    good(command(&tidegate, &["promote", "marked"]));
    eventually("it runs", PATIENCE, || came_versions(&tidegate) == ["start", "promoted"]);
    let settled = witness.count() + 500;
    eventually("all is decided by it", PATIENCE, || witness.count() > settled + 1_000);
    assert_eq!(witness.last_mark(), " v2");
    house.assert_all_came("dev", publisher, &witness, "main", 5_000);
    assert_balanced(&tidegate);
}

/// The plugin of `hostile`, with this beside it.
fn hostile(house: &House, runs: &str, candidate: &str) -> String {
    house.config(&format!(
        "[plugins.rule]\npath = \"plugins/rule.wasm\"\nconfig = {runs}\nlimits = {{ deadline = \"100ms\" }}\n\
         [plugins.rule.candidate]\npath = \"plugins/rule.wasm\"\n{candidate}\n\
         [[routes]]\nname = \"main\"\nfrom = {{ broker = \"home\", topics = [\"dev/+/temp\"], qos = 1 }}\n\
         plugins = [\"rule\"]\nto = [\"office\"]\nremap = {{ strip = \"dev/\", prefix = \"main/\" }}\nretry = {{ attempts = 0 }}\n"
    ))
}

#[test]
fn a_shadow_that_loops_bombs_and_floods_delays_and_changes_nothing() {
    for bad in ["loop", "memory-bomb", "output-bomb", "log-flood", "trap", "foreign-target", "reject"] {
        let house = House::new();
        let config = hostile(&house, "{ mode = \"pass\" }", &format!("config = {{ mode = \"{bad}\" }}"));
        let tidegate = Tidegate::builder(&config).file("plugins/rule.wasm", plugin("hostile")).start();
        let witness = house.witness("main");
        let publisher = house.publish("dev", 1_000);
        let seen = || {
            let told = command(&tidegate, &["diff", "rule", "--json"]);
            let text = String::from_utf8_lossy(&told.stdout).into_owned();
            serde_json::from_str::<Value>(&text).unwrap_or_default()
        };
        let count = |key: &str| seen()[key].as_u64().unwrap_or(0);
        eventually("it has decided something", PATIENCE, || {
            count("differ") > 0 || bad == "log-flood" && count("messages") > 0
        });
        eventually("much has come", PATIENCE, || witness.count() > 2_000);
        house.assert_all_came("dev", publisher, &witness, "main", 2_000);
        assert_eq!(tidegate.metrics().get("tidegate_parked", &[]), Some(0.0), "{bad}");
        let faults: f64 = tidegate.metrics().samples("tidegate_plugin_faults_total").iter().map(|one| one.1).sum();
        assert_eq!(faults, 0.0, "{bad}");
        assert_balanced(&tidegate);
        if bad != "log-flood" {
            let kind = seen()["differences"][0]["kind"].as_str().unwrap_or_default().to_owned();
            assert!(kind.starts_with("fails now: rule, "), "{bad}: {kind}");
        }
    }
}

#[test]
fn a_canary_that_fails_is_abandoned_by_itself_and_what_it_put_aside_is_decided() {
    let house = House::new();
    let config = |candidate: &str| hostile(&house, "{ mode = \"pass\" }", candidate);
    let bad = config("mode = \"canary\"\nshare = \"60%\"\nconfig = { mode = \"trap\" }");
    let tidegate = Tidegate::builder(&bad).file("plugins/rule.wasm", plugin("hostile")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 1_000);
    tidegate.wait_for_log("abandoned: it is tried no more", PATIENCE);
    eventually("nothing is put aside", PATIENCE, || tidegate.metrics().get("tidegate_parked", &[]) == Some(0.0));
    eventually("much has come", PATIENCE, || witness.count() > 2_000);
    let sent = publisher.stop() as usize;
    within(PATIENCE, || witness.count() >= sent);
    let check = house.ledger.check_of("main", |id| id.key.starts_with("dev"));
    check.assert_nothing_missing().assert_exactly_once().assert_published(2_000);
    assert_balanced(&tidegate);
    // Saved as it is, it is tried no more; another configuration is another one.
    tidegate.edit_config(&format!("{bad}\n# Saved again.\n"));
    eventually("it is read", PATIENCE, || tidegate.log().contains("reloaded, nothing has changed"));
    assert_eq!(tidegate.log().matches("abandoned: it is tried no more").count(), 1);
    applied_after(&tidegate, || {
        tidegate.edit_config(&config("mode = \"canary\"\nconfig = { mode = \"slow\", slow_ms = 0 }"))
    });
    assert_eq!(command(&tidegate, &["diff", "rule"]).status.code(), Some(0));
}

#[test]
fn a_candidate_that_decides_alike_is_promoted_by_itself_and_one_that_does_not_is_not() {
    let house = House::new();
    let promote = "promote = { after = \"1s\", messages = 300 }";
    let config = |candidate: &str| hostile(&house, "{ mode = \"pass\" }", &format!("{promote}\n{candidate}"));
    let other = config("config = { mode = \"reject\", only = \"9\" }");
    let tidegate = Tidegate::builder(&other).file("plugins/rule.wasm", plugin("hostile")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 500);
    eventually("much has come", PATIENCE, || witness.count() > 1_500);
    assert!(!tidegate.log().contains("promoted: what was tried runs now"));
    applied_after(&tidegate, || tidegate.edit_config(&config("config = { mode = \"reject\", only = \"nothing\" }")));
    tidegate.wait_for_log("promoted: what was tried runs now", PATIENCE);
    house.assert_all_came("dev", publisher, &witness, "main", 1_500);
    // What cannot be one is refused, at its place.
    let refused = refused_after(&tidegate, || tidegate.edit_config(&config("config = { mode = \"dance\" }")));
    assert!(refused.contains("candidate of plugin `rule`") && refused.contains("dance"), "{refused}");
    let file = tidegate.dir().join("tidegate.toml").display().to_string();
    let checked = Command::new(Tidegate::binary()).args(["check", &file]).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(told.contains("tidegate.toml:") && told.contains("dance"), "{told}");
}
