//! The examples do what they say, each by its one command.

use std::path::Path;
use std::process::Command;
use tidegate_testkit::Tidegate;

/// They give up by themselves long before.
const LIMIT_S: &str = "120";

#[track_caller]
fn example(name: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("run");
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LIMIT_S]).arg(&script).env("TIDEGATE_BIN", Tidegate::binary()).env_remove("RUST_LOG");
    let output = command.output().expect("timeout runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "examples/{name}/run: {}\n{said}\n{errors}", output.status);
    assert!(said.trim_end().ends_with("all as expected"), "{said}\n{errors}");
    said
}

#[test]
fn home_and_office() {
    example("home-office");
}

#[test]
fn import_of_a_bridge() {
    example("import");
}

#[test]
fn failover_loses_nothing_and_clients_with_lists_do() {
    let said = example("failover");
    assert!(said.contains("through Tidegate, lost (0 to expect): 0\n"), "{said}");
}

#[test]
fn nothing_goes_round_a_ring_of_three_for_ever() {
    let said = example("ring-of-three");
    assert!(said.contains("at c, in all: 400\n") && said.contains("comes back through another gateway"), "{said}");
}

#[test]
fn an_office_is_away_and_home_goes_on() {
    let said = example("office-outage");
    assert!(said.contains("at home: 5000\n") && said.contains("at the office, different ones: 5000\n"), "{said}");
}

#[test]
fn a_new_rule_is_tried_promoted_and_rolled_back() {
    let said = example("new-rule");
    assert!(said.contains("payload $.temp") && said.contains("each once\n"), "{said}");
}
