//! The command: what it prints, how it ends, and what it never says.

use crate::fixture::{PATIENCE, assert_balanced, plugin, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;
use tidegate_testkit::{Mosquitto, Tidegate, eventually, free_port, mosquitto_pub};

pub(crate) const FOUND_PROBLEMS: i32 = 1;
pub(crate) const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CONFIGURATION: i32 = 78;

/// Readings in Fahrenheit become Celsius; alarms also go to `alarms`; debug readings end.
pub(crate) const RULES: &str = r#"[gateway]
name = "cottage"
data_dir = "data"
[brokers.home]
url = "mqtt://127.0.0.1:1"
[brokers.office]
url = "mqtt://127.0.0.1:2"
[brokers.backup]
url = "mqtt://127.0.0.1:3"
[brokers.alarms]
url = "mqtt://127.0.0.1:4"
[targets.upstream]
members = ["office", "backup"]
[plugins.by-kind]
path = "route-by-field.wasm"
config = { by = { field = "kind" }, table = { alarm = ["alarms", "onward"], debug = "drop" } }
grants = { targets = ["alarms"] }
[plugins.celsius]
path = "convert.wasm"
config = { field = "temp", from = "fahrenheit", to = "celsius", round = 1 }
[[routes]]
name = "telemetry"
from = { broker = "home", topics = ["dev/+/temp"] }
plugins = ["by-kind", "celsius"]
to = ["upstream"]
remap = { strip = "dev/", prefix = "site/cottage/" }
[[routes]]
name = "other"
from = { broker = "home", topics = ["other/#"] }
to = ["office"]
"#;

/// A configuration in a directory of its own, with the plugins that [`RULES`] names.
pub(crate) fn written(config: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["route-by-field", "convert"] {
        std::fs::write(dir.path().join(format!("{name}.wasm")), plugin(name)).expect("a plugin written");
    }
    let path = dir.path().join("gw.toml");
    std::fs::write(&path, config).expect("the configuration written");
    (dir, path)
}

pub(crate) fn with_config(command: &str, path: &Path, more: &[&str]) -> Output {
    let path = path.display().to_string();
    let args: Vec<&str> = [command, "--config", &path].iter().chain(more).copied().collect();
    run(&args)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn assert_contains(text: &str, all: &[&str]) {
    for words in all {
        assert!(text.contains(words), "no `{words}` in\n{text}");
    }
}

#[test]
fn wrong_use_ends_with_64_and_help_with_0() {
    let (_dir, path) = written(RULES);
    let path = path.display().to_string();
    for args in [
        &["frobnicate"][..],
        &[],
        &["run"],
        &["check", "--konfig", &path],
        &["explain", "--config", &path, "--broker", "hme", "--topic", "dev/1/temp"],
        &["explain", "--config", &path, "--broker", "home", "--topic", "dev/#"],
        &["explain", "--config", &path, "--broker", "home", "--topic", "a", "--payload", "@no-such-file"],
        &["explain", "--config", &path, "--broker", "home", "--topic", "a", "--qos", "3"],
        &["demo", "--for", "soon"],
        &["parked", "list"],
        &["parked", "show", "one", "--config", &path],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(USAGE), "{args:?}: {output:?}");
        assert_ne!(stderr(&output), "", "{args:?} says why");
        assert!(!stderr(&output).contains("panicked"), "{args:?}: {output:?}");
    }
    assert_contains(
        &stderr(&run(&["explain", "--config", &path, "--broker", "hme", "--topic", "a"])),
        &["hme", "home"],
    );
    for args in [&["--help"][..], &["--version"], &["run", "--help"], &["parked", "replay", "--help"]] {
        assert_eq!(run(args).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_bad_configuration_ends_run_with_78_and_every_reason() {
    let wrong = RULES.replace("to = [\"upstream\"]", "too = [\"upstream\"]").replace("\"celsius\"]", "\"celcius\"]");
    let (dir, path) = written(&wrong);
    for command in ["run", "explain"] {
        let more: &[&str] = if command == "run" { &[] } else { &["--broker", "home", "--topic", "a"] };
        let output = with_config(command, &path, more);
        assert_eq!(output.status.code(), Some(CONFIGURATION), "{command}: {output:?}");
        assert_contains(&stderr(&output), &["unknown key `too`", "there is no plugin `celcius`", "gw.toml:"]);
    }
    let missing = with_config("run", &dir.path().join("missing.toml"), &[]);
    assert_eq!(missing.status.code(), Some(CONFIGURATION), "{missing:?}");
    assert_contains(&stderr(&missing), &["missing.toml", "cannot read this file"]);
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_port_that_is_taken_ends_run_with_69_and_its_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_dir, path) = written(&format!("{RULES}[admin]\nlisten = \"{address}\"\n"));
    let output = with_config("run", &path, &[]);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{output:?}");
    assert_contains(&stderr(&output), &["admin"]);
    let config =
        RULES.replace("url = \"mqtt://127.0.0.1:4\"", &format!("embedded = true\nlisten = [\"mqtt://{address}\"]"));
    let (_dir, path) = written(&config);
    let output = with_config("run", &path, &[]);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{output:?}");
    assert_contains(&stderr(&output), &["alarms", &address]);
}

#[test]
fn explain_shows_routes_decisions_topics_and_targets() {
    let (dir, path) = written(RULES);
    let explain = |topic: &str, payload: &str| {
        let output = with_config("explain", &path, &["--broker", "home", "--topic", topic, "--payload", payload]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stdout(&output)
    };
    let alarm = explain("dev/3/temp", r#"{"kind":"alarm","temp":70}"#);
    assert_contains(
        &alarm,
        &[
            "message on `dev/3/temp` from broker `home`",
            "route `telemetry`: yes, `dev/+/temp` matches",
            "route `other`: no, its topics are other/#",
            "plugin `by-kind`",
            "2 outputs",
            "`dev/3/temp` at QoS 1, {\"kind\":\"alarm\",\"temp\":70}",
            "to broker `alarms`: `dev/3/temp` at QoS 1",
            "plugin `celsius`",
            "21.1",
            "remap: `dev/3/temp` becomes `site/cottage/3/temp`",
            "to target `upstream`, the first that is well of office, backup: `site/cottage/3/temp` at QoS 1",
        ],
    );
    let debug = explain("dev/3/temp", r#"{"kind":"debug","temp":70}"#);
    assert_contains(&debug, &["plugin `by-kind`", "dropped, \"routed to drop\""]);
    assert!(!debug.contains("upstream"), "{debug}");
    let other = explain("other/x", "1");
    assert_contains(&other, &["route `telemetry`: no", "route `other`: yes", "to broker `office`: `other/x`"]);
    assert_contains(&explain("lost", ""), &["no route takes it"]);
    let rich = ["-b", "home", "-t", "other/x", "--user-property", "a=b=c", "--content-type", "text/plain"];
    let rich = stdout(&with_config("explain", &path, &rich));
    assert_contains(&rich, &["empty; content type text/plain; user property a=b=c"]);
    let wrong = with_config("explain", &path, &["-b", "home", "-t", "other/x", "--user-property", "a"]);
    assert_contains(&stderr(&wrong), &["NAME=VALUE"]);
    // A message has one of several workers.
    std::fs::write(&path, RULES.replace("name = \"telemetry\"", "name = \"telemetry\"\nworkers = 3")).unwrap();
    let with_workers = explain("dev/3/temp", r#"{"kind":"alarm","temp":70}"#);
    assert_eq!(with_workers.matches("plugin `celsius`").count(), 1, "{with_workers}");
    assert_contains(&with_workers, &["21.1"]);
    assert!(explain("dev/3/temp", "not JSON").contains("plugin `celsius`"));
    assert!(!dir.path().join("data").exists(), "it writes nothing where the gateway keeps its own");
}

#[test]
fn explain_reads_a_payload_from_a_file_and_shows_what_would_fail() {
    let rules = RULES.replace("convert.wasm", "bad.wasm").replace(
        r#"{ field = "temp", from = "fahrenheit", to = "celsius", round = 1 }"#,
        r#"{ mode = "trap", only = "poison" }"#,
    );
    let (dir, path) = written(&rules);
    std::fs::write(dir.path().join("bad.wasm"), plugin("hostile")).unwrap();
    let payload = dir.path().join("payload");
    std::fs::write(&payload, "{\"poison\":1}").unwrap();
    let payload = format!("@{}", payload.display());
    // Run again once it is checked: the file the configuration names is there now.
    let output = with_config("explain", &path, &["-b", "home", "-t", "dev/1/temp", "-p", &payload]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_contains(&stdout(&output), &["plugin `celsius`", "failed, ", "trap", "it would be parked"]);
}

#[test]
fn log_lines_are_json_objects_where_that_is_asked_for() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let config = bridge(&home.url(), &office.url());
    let mut tidegate = Tidegate::builder(&config).arg("--log-format").arg("json").start();
    tidegate.sighup();
    eventually("it has reloaded", PATIENCE, || tidegate.log().contains("nothing has changed"));
    assert_balanced(&tidegate);
    assert!(tidegate.terminate(PATIENCE).success());
    eventually("it has said its last", PATIENCE, || tidegate.log().contains("stopped"));
    let log = tidegate.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect();
    assert!(lines.len() >= 4, "{log}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{log}");
    assert!(lines.iter().any(|line| line["message"] == "connected" && line["broker"] == "home"), "{log}");
}

/// One route from home to the office, nothing else.
fn bridge(home: &str, office: &str) -> String {
    format!(
        "[brokers.home]\nurl = \"{home}\"\n[brokers.office]\nurl = \"{office}\"\n[[routes]]\nname = \"r\"\n\
         from = {{ broker = \"home\", topics = [\"a/#\"] }}\nto = [\"office\"]\n"
    )
}

/// At the most talkative level, with a password that is right and one that is refused, and payloads too.
#[test]
fn secrets_and_payloads_are_never_logged() {
    const RIGHT: &str = "right-Yp7Qe2";
    const WRONG: &str = "wrong-Zk9Wm4";
    const PAYLOAD: &str = "payload-Lr5Tx8";
    let home = Mosquitto::builder().password("user", RIGHT).start();
    let office = Mosquitto::builder().password("user", RIGHT).start();
    let secret = |variable: &str| format!("username = \"user\"\npassword = {{ env = \"{variable}\" }}\n");
    let config = bridge(&home.url(), &office.url());
    let config = config.replace("[brokers.office]", &format!("{}[brokers.office]", secret("HOME_PASS")));
    let config = config.replace("[[routes]]", &format!("{}[[routes]]", secret("OFFICE_PASS")));
    let builder = Tidegate::builder(&config).env("HOME_PASS", RIGHT).env("OFFICE_PASS", WRONG).env("RUST_LOG", "trace");
    let mut tidegate = builder.spawn();
    eventually("one is in and the other is not", PATIENCE, || {
        let log = tidegate.log();
        log.contains("not connected") && log.contains("connected broker=\"home\"")
    });
    eventually("home has granted the subscription", PATIENCE, || {
        tidegate.get("/ready").is_ok_and(|(_, missing)| missing.contains("office") && !missing.contains("home"))
    });
    let login = ["-u", "user", "-P", RIGHT, "-q", "1", "-t", "a/b", "-m", PAYLOAD];
    mosquitto_pub(home.port(), &login);
    eventually("it has come in", PATIENCE, || {
        tidegate.metrics().get("tidegate_route_received_total", &[]) == Some(1.0)
    });
    let (_, ready) = tidegate.get("/ready").unwrap();
    let (_, metrics) = tidegate.get("/metrics").unwrap();
    tidegate.sighup();
    eventually("it has reloaded", PATIENCE, || tidegate.log().contains("nothing has changed"));
    tidegate.kill();
    for secret in [RIGHT, WRONG, PAYLOAD] {
        for (what, text) in [("log", &tidegate.log()), ("/ready", &ready), ("/metrics", &metrics)] {
            assert!(!text.contains(secret), "{secret} is in {what}");
        }
    }
}

#[test]
fn parked_says_who_does_not_answer() {
    let (_dir, path) = written(&format!("{RULES}[admin]\nlisten = \"127.0.0.1:{}\"\n", free_port()));
    let path = path.display().to_string();
    for args in [["parked", "list", "--config", &path], ["parked", "--config", &path, "list"]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{args:?}: {output:?}");
        assert_contains(&stderr(&output), &["the gateway does not answer at its admin listener"]);
    }
    let (_dir, path) = written(RULES);
    let output = run(&["parked", "list", "--config", &path.display().to_string()]);
    assert_eq!(output.status.code(), Some(CONFIGURATION), "{output:?}");
    assert_contains(&stderr(&output), &["[admin]"]);
}

#[test]
fn the_demo_ends_by_itself_with_a_summary_that_balances() {
    let output = run(&["demo", "--for", "3s"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stdout(&output);
    let line = said.lines().find(|line| line.contains("accounted for")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("yes"), "{said}");
    let summary = said.split("Summary").nth(1).unwrap_or_else(|| panic!("{said}"));
    let number = |what: &str| -> u64 {
        let before = summary.split(what).next().and_then(|text| text.split_whitespace().next_back());
        before.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("how many {what}? {said}"))
    };
    assert!(number(" readings acknowledged") > 0 && number(" messages seen at the office") > 0, "{said}");
    assert!(!stderr(&output).contains("ERROR"), "{}", stderr(&output));
}

#[test]
fn the_demo_leaves_what_its_user_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display().to_string();
    assert_eq!(run(&["demo", "--for", "200ms", "--dir", &at]).status.code(), Some(0));
    let file = dir.path().join("demo.toml");
    let changed = std::fs::read_to_string(&file).unwrap().replace("round = 1", "round = 0");
    std::fs::write(&file, &changed).unwrap();
    assert_eq!(run(&["demo", "--for", "200ms", "--dir", &at]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), changed);
}
