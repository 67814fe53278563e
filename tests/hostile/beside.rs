//! Each way to misbehave, with thirty messages, beside honest traffic.

use super::*;

const MESSAGES: u64 = 30;

const HOSTILE: Bad<'_> = Bad { component: "hostile", plugin: "", route: "" };

/// A deadline that a busy machine does not reach, where it is not what is tested.
const PATIENT: &str = "limits = { deadline = \"5s\" }";

/// Thirty messages fail with this kind of fault; all are parked, nothing of them is sent, and nobody else notices.
#[track_caller]
fn all_fail_as(kind: &str, bad: Bad<'_>) {
    let house = House::new();
    let plugin = format!("{}\n{}", bad.plugin, if kind == "deadline" { "" } else { PATIENT });
    let mut tidegate = house.gateway(&Bad { plugin: &plugin, ..bad }).start();
    let all = house.witness();
    let honest = house.honest_traffic();
    send(&mut house.client(), (0..MESSAGES).map(|n| format!("message {n}")));
    let metrics = settled(&tidegate, MESSAGES);
    assert_eq!(of_bad(&metrics, "tidegate_route_parked_total"), MESSAGES, "all are parked");
    assert!(faults(&metrics, kind) > 0, "no `{kind}` in {:?}", metrics.samples("tidegate_plugin_faults_total"));
    let list = parked(&tidegate);
    assert_eq!(list.len() as u64, MESSAGES);
    assert_eq!(list[0]["kind"], kind, "{}", list[0]);
    assert!(list.iter().all(|parked| parked["plugin"] == "bad" && parked["reason"] != ""), "{list:?}");
    house.assert_honest(honest);
    assert!(all.arrivals().iter().all(|arrival| arrival.topic.starts_with("honest/")), "something else was sent");
    let peak = memory_peak_bytes(tidegate.pid());
    assert!(peak <= MEMORY_MAX_BYTES, "{} MiB at the peak", peak >> 20);
    assert_balanced(&tidegate);
    assert!(tidegate.is_running() && tidegate.is_ready());
}

/// Thirty messages come through, whatever the plugin does to itself.
#[track_caller]
fn all_come_through(bad: Bad<'_>) -> (Tidegate, Metrics) {
    let house = House::new();
    let mut tidegate = house.gateway(&bad).start();
    let arrived = Witness::start(house.office.port(), "bad", "from-bad/#", &Ledger::new());
    let honest = house.honest_traffic();
    send(&mut house.client(), (0..MESSAGES).map(|n| format!("message {n}")));
    eventually("all of it comes", PATIENCE, || arrived.count() as u64 >= MESSAGES);
    let metrics = settled(&tidegate, MESSAGES);
    assert_eq!(of_bad(&metrics, "tidegate_route_out_total"), MESSAGES);
    house.assert_honest(honest);
    assert_balanced(&tidegate);
    assert!(memory_peak_bytes(tidegate.pid()) <= MEMORY_MAX_BYTES);
    assert!(tidegate.is_running());
    (tidegate, metrics)
}

#[test]
fn a_trap_is_caught() {
    all_fail_as("trap", Bad { plugin: r#"config = { mode = "trap" }"#, ..HOSTILE });
}

#[test]
fn a_stack_without_end_is_caught() {
    all_fail_as("trap", Bad { plugin: r#"config = { mode = "deep-stack" }"#, ..HOSTILE });
}

#[test]
fn a_loop_is_cut() {
    all_fail_as("deadline", Bad { plugin: r#"config = { mode = "loop" }"#, ..HOSTILE });
}

#[test]
fn a_sleep_is_cut() {
    all_fail_as("deadline", Bad { component: "sleep", ..HOSTILE });
}

#[test]
fn a_sleep_in_poll_is_cut() {
    all_fail_as("deadline", Bad { component: "sleep", plugin: "config = { poll = true }", ..HOSTILE });
}

#[test]
fn a_memory_bomb_is_refused() {
    all_fail_as("memory", Bad { plugin: r#"config = { mode = "memory-bomb" }"#, ..HOSTILE });
}

#[test]
fn a_thousand_outputs_are_refused() {
    all_fail_as("too_many_outputs", Bad { plugin: r#"config = { mode = "output-bomb", count = 1000 }"#, ..HOSTILE });
}

#[test]
fn millions_of_outputs_are_refused() {
    all_fail_as("memory", Bad { plugin: r#"config = { mode = "output-bomb" }"#, ..HOSTILE });
}

#[test]
fn an_output_above_its_limit_is_refused() {
    all_fail_as("too_large", Bad { plugin: r#"config = { mode = "big-payload", bytes = 2000000 }"#, ..HOSTILE });
}

#[test]
fn a_gigabyte_of_output_is_refused() {
    all_fail_as("memory", Bad { plugin: r#"config = { mode = "big-payload" }"#, ..HOSTILE });
}

#[test]
fn a_topic_that_cannot_be_is_refused() {
    all_fail_as("bad_topic", Bad { plugin: r#"config = { mode = "bad-topic" }"#, ..HOSTILE });
}

#[test]
fn a_target_that_was_not_granted_is_refused() {
    all_fail_as(
        "foreign_target",
        Bad { plugin: r#"config = { mode = "foreign-target", name = "office" }"#, ..HOSTILE },
    );
}

#[test]
fn a_topic_that_was_not_granted_is_refused() {
    all_fail_as("foreign_topic", Bad { plugin: r#"config = { mode = "bad-topic", name = "else/where" }"#, ..HOSTILE });
}

#[test]
fn an_empty_forward_is_refused() {
    all_fail_as("empty_forward", Bad { plugin: r#"config = { mode = "empty-forward" }"#, ..HOSTILE });
}

#[test]
fn too_few_results_are_refused() {
    all_fail_as("wrong_count", Bad { component: "wrong-count", ..HOSTILE });
}

#[test]
fn too_many_results_are_refused() {
    all_fail_as("wrong_count", Bad { component: "wrong-count", plugin: "config = { surplus = 1000 }", ..HOSTILE });
}

/// Ten thousand outputs whose payloads are all the same four megabytes.
#[test]
fn forty_gigabytes_that_are_not_there_are_refused() {
    all_fail_as("too_large", Bad { component: "abi", plugin: r#"config = { lie = "alias" }"#, ..HOSTILE });
}

#[test]
fn what_is_beyond_its_memory_is_refused() {
    all_fail_as("trap", Bad { component: "abi", plugin: r#"config = { lie = "out-of-bounds" }"#, ..HOSTILE });
}

#[test]
fn a_topic_that_is_no_text_is_refused() {
    all_fail_as("trap", Bad { component: "abi", plugin: r#"config = { lie = "not-utf8" }"#, ..HOSTILE });
}

#[test]
fn a_list_without_end_is_refused() {
    all_fail_as("trap", Bad { component: "abi", plugin: r#"config = { lie = "endless-list" }"#, ..HOSTILE });
}

#[test]
fn a_flood_of_log_lines_is_bounded_and_counted() {
    let plugin = "config = { mode = \"log-flood\", count = 500 }\nlimits = { deadline = \"5s\" }";
    let (tidegate, _) = all_come_through(Bad { plugin, ..HOSTILE });
    let log = tidegate.log();
    let lines = log.lines().filter(|line| line.contains("hostile: line")).count();
    assert!((1..3_000).contains(&lines), "{lines} of 15000 lines");
}

#[test]
fn a_plugin_that_leaks_begins_afresh_and_loses_nothing() {
    // 30 times 64 KiB are more than this.
    let plugin = "config = { mode = \"memory-leak\" }\nlimits = { memory = \"2MiB\", deadline = \"5s\" }";
    let (_, metrics) = all_come_through(Bad { plugin, ..HOSTILE });
    assert_eq!(of_bad(&metrics, "tidegate_plugin_faults_total"), 0, "no message has failed");
}

#[test]
fn a_slow_plugin_within_its_deadline_loses_nothing() {
    // All of them together would be far beyond the deadline of one call.
    let plugin = "config = { mode = \"slow\", slow_ms = 15 }\nlimits = { deadline = \"400ms\" }";
    let (_, metrics) = all_come_through(Bad { plugin, ..HOSTILE });
    assert_eq!(of_bad(&metrics, "tidegate_plugin_faults_total"), 0, "no message has failed");
}

/// Nothing starts with such plugins, and all of them are named at once.
#[test]
fn what_is_no_plugin_keeps_the_gateway_from_starting() {
    const CONFIGURATION: i32 = 78;
    let components = ["text", "truncated", "core-module", "empty", "wrong-world", "imports-unknown", "imports-state"];
    let mut config = "[brokers.home]\nurl = \"mqtt://127.0.0.1:1\"\n".to_owned();
    for name in components {
        config += &format!("[plugins.{name}]\npath = \"{name}.wasm\"\n[[routes]]\nname = \"{name}\"\n");
        config += &format!("from = {{ broker = \"home\", topics = [\"{name}\"] }}\nplugins = [\"{name}\"]\n");
        config += "to = [\"home\"]\nremap = { prefix = \"to/\" }\n";
    }
    let builder = components
        .iter()
        .fold(Tidegate::builder(&config), |builder, name| builder.file(format!("{name}.wasm"), plugin(name)));
    let mut tidegate = builder.spawn();
    let status = tidegate.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(CONFIGURATION), "{}", tidegate.log());
    for name in components {
        let named = || tidegate.log().contains(&format!("plugin `{name}`"));
        eventually(&format!("`{name}` is named"), PATIENCE, named);
    }
}
