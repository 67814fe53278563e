//! What is no good leaves the old one running and says why.

use super::*;

/// Files that are no plugin for this gateway, and what must be said of them.
const CANDIDATES: [(&str, &[&str]); 7] = [
    ("empty", &["not a component"]),
    ("text", &["not a component"]),
    ("core-module", &["not a component"]),
    ("truncated", &["not a component"]),
    ("wrong-world", &["not a plugin for this gateway"]),
    ("imports-unknown", &["it imports `tidegate:hostile/teleport", "not granted"]),
    ("imports-state", &["it imports `tidegate:gateway/state", "not granted"]),
];

/// Configurations with which `hostile` does not start, and what must be said of them.
const MODES: [(&str, &[&str]); 4] = [
    ("trap-in-configure", &["it failed while it started", "trapped"]),
    ("loop-in-configure", &["it failed while it started", "deadline of 1000 ms"]),
    (
        "refuse-config",
        &[
            "it refuses its configuration",
            "thresholds[2].max: must be above `min` (30)",
            "nothing else is right either",
        ],
    ),
    ("no-such-mode", &["it refuses its configuration", "no-such-mode"]),
];

#[track_caller]
fn assert_says(reason: &str, what: &str, expected: &[&str]) {
    for words in expected.iter().chain(&["plugin `marked`", "marked.wasm"]) {
        assert!(reason.contains(words), "{what}: no `{words}` in\n{reason}");
    }
}

#[test]
fn a_candidate_that_is_no_plugin_leaves_the_old_one_running() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 500);
    for (number, (name, expected)) in CANDIDATES.into_iter().enumerate() {
        let reason = refused_after(&tidegate, || tidegate.replace_file(PLUGIN, &plugin(name)));
        assert_says(&reason, name, expected);
        assert_eq!(refused(&tidegate), number as u64 + 1);
        let seen = witness.count();
        eventually("the old one decides on", PATIENCE, || witness.count() > seen);
        assert_eq!(witness.last_mark(), " v1");
    }
    tidegate.replace_file(PLUGIN, &plugin("versioned-v2"));
    eventually("a good one replaces it", PATIENCE, || witness.last_mark() == " v2");
    house.assert_all_came("dev", publisher, &witness, "main", 100);
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}

#[test]
fn a_candidate_that_does_not_start_leaves_the_old_one_running() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).file("plugins/hostile/marked.wasm", plugin("hostile")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 500);
    for (mode, expected) in MODES {
        let text = MAIN.replace("plugins/", "plugins/hostile/");
        let text = text.replace("[plugins.marked]", &format!("[plugins.marked]\nconfig = {{ mode = \"{mode}\" }}"));
        let reason = refused_after(&tidegate, || tidegate.edit_config(&house.config(&text)));
        assert_says(&reason, mode, expected);
        let seen = witness.count();
        eventually("the old one decides on", PATIENCE, || witness.count() > seen);
        assert_eq!(witness.last_mark(), " v1");
    }
    assert_eq!(refused(&tidegate), MODES.len() as u64);
    house.assert_all_came("dev", publisher, &witness, "main", 100);
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}

#[test]
fn all_that_is_wrong_with_a_candidate_is_said_at_once() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let text = MAIN.replace("to =", "too =").replace("remap =", "remapp =").replace("home", "hme");
    let reason = refused_after(&tidegate, || tidegate.edit_config(&house.config(&text)));
    for words in ["unknown key `too`", "unknown key `remapp`", "there is no broker `hme`"] {
        assert!(reason.contains(words), "no `{words}` in\n{reason}");
    }
    let text = "[plugins.a]\npath = \"a.wasm\"\n[plugins.b]\npath = \"b.wasm\"\n".to_owned() + MAIN;
    let text = text.replace("plugins = [\"marked\"]", "plugins = [\"a\", \"marked\", \"b\"]");
    tidegate.replace_file("a.wasm", &plugin("text"));
    tidegate.replace_file("b.wasm", &plugin("wrong-world"));
    let reason = refused_after(&tidegate, || tidegate.edit_config(&house.config(&text)));
    assert!(reason.contains("plugin `a`") && reason.contains("plugin `b`"), "both of them in\n{reason}");
    assert_balanced(&tidegate);
}

#[test]
fn a_pinned_plugin_is_replaced_by_nothing_else() {
    let house = House::new();
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), plugin("versioned-v1")).unwrap();
    let sum = std::process::Command::new("sha256sum").arg(path.path()).output().unwrap();
    let digest = String::from_utf8_lossy(&sum.stdout[..64]).into_owned();
    let text = MAIN.replace("[plugins.marked]", &format!("[plugins.marked]\ndigest = \"{digest}\""));
    let tidegate = house.gateway(&text).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 200);
    let reason = refused_after(&tidegate, || tidegate.replace_file(PLUGIN, &plugin("versioned-v2")));
    assert!(reason.contains("is not the plugin that `digest` names"), "{reason}");
    let seen = witness.count();
    eventually("the pinned one decides on", PATIENCE, || witness.count() > seen);
    house.assert_all_came("dev", publisher, &witness, "main", 10);
    assert!(witness.arrivals().iter().all(|arrival| arrival.mark == " v1"));
    assert_balanced(&tidegate);
}

#[test]
fn a_configuration_that_is_gone_for_a_while_changes_nothing() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 200);
    let (path, aside) = (tidegate.dir().join("tidegate.toml"), tidegate.dir().join("tidegate.gone"));
    let reason = refused_after(&tidegate, || std::fs::rename(&path, &aside).unwrap());
    assert!(reason.contains("cannot read this file"), "{reason}");
    applied_after(&tidegate, || std::fs::rename(&aside, &path).unwrap());
    house.assert_all_came("dev", publisher, &witness, "main", 10);
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}
