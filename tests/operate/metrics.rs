//! Metrics and alert rules, by Prometheus' own tool.

use super::House;
use crate::fixture::PATIENCE;
use serde_json::Value;
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
    assert_all_there(&std::fs::read_to_string(rules).unwrap(), &metrics);

    // What the dashboard asks for is right, and there.
    let text = std::fs::read_to_string(root.join("config/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    assert!(asked.len() > 20, "{asked:?}");
    let as_rule = |asked: &String| {
        let asked = asked.replace("$__rate_interval", "5m").replace("$gateway", ".*");
        format!("  - record: a:b\n    expr: {}\n", serde_json::to_string(&asked).unwrap())
    };
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    let list: String = asked.iter().map(as_rule).collect();
    std::fs::write(&rules, format!("groups:\n- name: dashboard\n  rules:\n{list}")).unwrap();
    let checked = run(&["check", "rules", "--lint=none", &rules.display().to_string()], "");
    assert!(checked.status.success(), "{checked:?}");
    assert_all_there(&asked.join("\n"), &metrics);
}

/// Every metric that a text names is among those that a gateway serves.
#[track_caller]
fn assert_all_there(text: &str, metrics: &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_metric = |word: &&str| word.starts_with("tidegate_") || word.starts_with("process_");
    let named: BTreeSet<&str> = text.split(|c| !is_part(c)).filter(is_metric).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        let kind = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(metrics.contains(&format!("# TYPE {kind} ")), "no metric {name}");
    }
}

/// All that is asked for in a dashboard, however deep.
fn expressions(of: &Value, into: &mut Vec<String>) {
    match of {
        Value::Object(all) => {
            into.extend(all.get("expr").and_then(Value::as_str).map(str::to_owned));
            all.values().for_each(|value| expressions(value, into));
        }
        Value::Array(all) => all.iter().for_each(|value| expressions(value, into)),
        _ => {}
    }
}
