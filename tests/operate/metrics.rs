//! Metrics and alert rules, by Prometheus' own tool.

use super::House;
use crate::fixture::PATIENCE;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tidegate_testkit::eventually;

/// Where `scripts/test` has put it.
fn promtool() -> PathBuf {
    let python = std::env::var("TIDEGATE_TEST_PYTHON").expect("scripts/test sets it");
    let env = Path::new(&python).ancestors().nth(3).expect("a folder for what tests need");
    env.join("prometheus/usr/bin/promtool")
}

fn run(args: &[&str], input: &str) -> Output {
    let mut tool = Command::new(promtool());
    let tool = tool.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool runs");
    tool.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a tool that reads");
    tool.wait_with_output().expect("it ends")
}

#[test]
fn prometheus_has_nothing_against_the_metrics_and_alerts_name_some_that_there_are() {
    let house = House::start("");
    let mut device = house.device();
    for payload in [&b"{\"temp\":70}"[..], b"{\"temp\":70}", b"no json"] {
        device.publish("dev/1/temp", payload, 1, false).unwrap();
    }
    eventually("all is decided", PATIENCE, || house.get("status")["parked"] == 1);
    let metrics = house.ask("GET", "/metrics", &[], "").1;
    let checked = run(&["check", "metrics"], &metrics);
    assert!(checked.status.success(), "{checked:?}");
    let found = tidegate_testkit::Metrics::parse(&metrics);
    let plugin = |name: &str, plugin: &str, more: &[(&str, &str)]| {
        found.get(name, &[&[("route", "telemetry"), ("plugin", plugin)], more].concat()).unwrap_or(-1.0)
    };
    let of = |outcome: &str, name: &str| plugin("tidegate_plugin_messages_total", name, &[("outcome", outcome)]);
    assert_eq!((of("changed", "celsius"), of("dropped", "changes"), of("passed", "changes")), (2.0, 1.0, 1.0));
    assert!(plugin("tidegate_plugin_seconds_total", "celsius", &[]) > 0.0);
    assert_eq!(plugin("tidegate_plugin_circuit", "celsius", &[]), 0.0);
    assert_eq!(found.get("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert!(
        found.get("tidegate_spool_used_ratio", &[("target", "cloud")]).is_some_and(|used| used > 0.0 && used < 0.01)
    );

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules = root.join("config/prometheus-alerts.yml");
    let checked = run(&["check", "rules", &rules.display().to_string()], "");
    assert!(checked.status.success(), "{checked:?}");
    let text = std::fs::read_to_string(rules).unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: BTreeSet<&str> = text.split(|c| !is_part(c)).filter(|word| word.starts_with("tidegate_")).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "no metric {name}");
    }
}
