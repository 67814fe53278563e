//! A version that fails goes by itself, and what it has put aside is decided by the one before: none is lost, none comes twice.

use super::*;
use tidegate_testkit::Ledger;

/// The plugin of the tests is good or bad as its configuration says: another one is another version.
fn route(qos: u8, mode: &str, rest: &str) -> String {
    format!(
        "[plugins.rule]\npath = \"plugins/rule.wasm\"\nconfig = {mode}\nlimits = {{ deadline = \"100ms\" }}\n{rest}\n\
         [[routes]]\nname = \"main\"\nfrom = {{ broker = \"home\", topics = [\"dev/+/temp\"], qos = {qos} }}\n\
         plugins = [\"rule\"]\nto = [\"office\"]\nremap = {{ strip = \"dev/\", prefix = \"main/\" }}\n\
         retry = {{ attempts = 0 }}\n"
    )
}

const GOOD: &str = "{ mode = \"pass\" }";

fn rollbacks(tidegate: &Tidegate) -> f64 {
    tidegate.metrics().get("tidegate_plugin_rollbacks_total", &[("plugin", "rule")]).unwrap_or(0.0)
}

/// A bad version is saved under load; the good one is back by itself, and all is delivered once.
#[track_caller]
fn goes_by_itself(qos: u8, bad: &str, rate: u32, why: &str) {
    let house = House { home: Mosquitto::start(), office: Mosquitto::start(), ledger: Ledger::new() };
    let config = |mode: &str| house.config(&route(qos, mode, ""));
    let tidegate = Tidegate::builder(&config(GOOD)).file("plugins/rule.wasm", plugin("hostile")).start();
    let witness = Witness::start_at(house.office.port(), "main", ("main/#", qos), &house.ledger);
    let publisher = house.publish("dev", rate);
    eventually("the good version decides", PATIENCE, || witness.count() > 200);
    applied_after(&tidegate, || tidegate.edit_config(&config(bad)));
    eventually("the good version is back", PATIENCE, || rollbacks(&tidegate) == 1.0);
    let log = tidegate.log();
    assert!(log.contains("rolled back: an earlier version runs again") && log.contains(why), "{log}");
    let before = witness.count();
    eventually("it carries", PATIENCE, || witness.count() > before + 200);
    let sent = publisher.stop() as usize;
    eventually("nothing is put aside", PATIENCE, || tidegate.metrics().get("tidegate_parked", &[]) == Some(0.0));
    within(PATIENCE, || witness.count() >= sent);
    let check = house.ledger.check_of("main", |id| id.key.starts_with("dev"));
    check.assert_nothing_missing().assert_exactly_once().assert_published(400);
    assert_eq!(rollbacks(&tidegate), 1.0, "once, and no more");
    assert_balanced(&tidegate);
    // The same file once more is as bad as it was; a good one is taken.
    tidegate.edit_config(&format!("{}\n# Saved again.\n", config(bad)));
    eventually("it is read", PATIENCE, || tidegate.log().matches("reloaded, nothing has changed").count() == 1);
    applied_after(&tidegate, || tidegate.edit_config(&config("{ mode = \"pass\", only = \"nothing\" }")));
    tidegate.wait_for_log("what the configuration says of this plugin runs again", PATIENCE);
    assert_eq!(rollbacks(&tidegate), 1.0);
}

#[test]
fn a_version_that_traps_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"trap\" }", RATE, "it failed on ");
}

#[test]
fn a_version_that_traps_goes_by_itself_at_qos_2() {
    goes_by_itself(2, "{ mode = \"trap\" }", 1_000, "it failed on ");
}

#[test]
fn a_version_that_loops_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"loop\" }", 500, "it failed on ");
}

#[test]
fn a_version_that_wants_all_memory_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"memory-bomb\" }", 500, "it failed on ");
}

#[test]
fn a_version_that_sends_where_it_may_not_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"foreign-target\" }", RATE, "it failed on ");
}

#[test]
fn a_version_that_is_slow_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"slow\", slow_ms = 2 }", 300, "where the one before took ");
}

#[test]
fn a_version_that_refuses_what_the_one_before_decides_goes_by_itself() {
    goes_by_itself(1, "{ mode = \"reject\" }", RATE, "it refuses messages that the one before decides");
}

#[test]
fn a_version_that_refuses_what_the_one_before_refused_stays() {
    let house = House::new();
    let config = |only: &str| house.config(&route(1, &format!("{{ mode = \"reject\", only = \"{only}\" }}"), ""));
    let tidegate = Tidegate::builder(&config("dev0")).file("plugins/rule.wasm", plugin("hostile")).start();
    let publisher = house.publish("dev", 500);
    let parked = || tidegate.metrics().get("tidegate_parked", &[]).unwrap_or(0.0);
    eventually("some are refused", PATIENCE, || parked() > 20.0);
    // The same ones, said in another way.
    applied_after(&tidegate, || tidegate.edit_config(&config("\\\"dev0")));
    let before = parked();
    eventually("more are refused", PATIENCE, || parked() > before + 40.0);
    publisher.stop();
    assert_eq!(rollbacks(&tidegate), 0.0);
}

#[test]
fn without_probation_a_version_stays_whatever_it_does() {
    let house = House::new();
    let config = |mode: &str| house.config(&route(1, mode, "probation = false"));
    let tidegate = Tidegate::builder(&config(GOOD)).file("plugins/rule.wasm", plugin("hostile")).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 300);
    eventually("the good version decides", PATIENCE, || witness.count() > 100);
    applied_after(&tidegate, || tidegate.edit_config(&config("{ mode = \"foreign-target\" }")));
    eventually("much is put aside", PATIENCE, || tidegate.metrics().get("tidegate_parked", &[]) > Some(100.0));
    publisher.stop();
    assert_eq!(rollbacks(&tidegate), 0.0);
}
