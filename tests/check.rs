//! `tidegate check`: what it finds, where it says so, and in which form.

use crate::command::{FOUND_PROBLEMS, RULES, USAGE, assert_contains, stderr, stdout, with_config, written};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tidegate_testkit::Tidegate;

#[test]
fn check_says_that_a_good_configuration_is_good() {
    let (_dir, path) = written(RULES);
    let output = with_config("check", &path, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_contains(&stdout(&output), &["gw.toml: good, 4 brokers, 2 routes, 2 plugins"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn check_names_every_mistake_with_its_place_and_what_to_do() {
    let wrong = RULES
        .replace("data_dir = \"data\"", "datadir = \"data\"")
        .replace("url = \"mqtt://127.0.0.1:3\"", "url = \"mqt://127.0.0.1:3\"")
        .replace("url = \"mqtt://127.0.0.1:4\"", "url = \"mqtt://127.0.0.1:4\"\nkeep_alive = \"half an hour\"")
        .replace("members = [\"office\", \"backup\"]", "members = [\"ofice\", \"backup\"]")
        .replace("path = \"convert.wasm\"", "path = \"convrt.wasm\"")
        .replace("plugins = [\"by-kind\", \"celsius\"]", "plugins = [\"by-kind\", \"celcius\"]")
        .replace("to = [\"upstream\"]", "to = [\"upstrem\"]")
        .replace("topics = [\"other/#\"]", "topics = [\"other/#/x\"]")
        + "[[routes]]\nname = \"loop\"\nfrom = { broker = \"home\", topics = [\"l/#\"] }\nto = [\"home\"]\n";
    let (_dir, path) = written(&wrong);
    let output = with_config("check", &path, &[]);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
    let said = stdout(&output);
    let place = |text: &str| {
        let at = wrong.find(text).expect("it is there");
        let line = wrong[..at].matches('\n').count() + 1;
        let column = at - wrong[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
        format!("{}:{line}:{column}: ", path.display())
    };
    for (at, words, hint) in [
        ("datadir", "unknown key `datadir`", "did you mean `data_dir`?"),
        ("\"mqt://", "`mqt` is not a scheme for brokers", "it is one of mqtt"),
        ("\"half an hour\"", "`keep_alive` cannot be", "\"30s\""),
        ("\"ofice\"", "there is no broker `ofice`", "did you mean \"office\"?"),
        ("\"convrt.wasm\"", "there is no file", "build the plugin"),
        ("\"celcius\"", "there is no plugin `celcius`", "did you mean \"celsius\"?"),
        ("\"upstrem\"", "there is no broker or target set `upstrem`", "did you mean \"upstream\"?"),
        ("\"other/#/x\"", "`other/#/x` is not a topic filter", "`#` must stand alone in the last level"),
        ("\"loop\"", "route `loop` feeds itself", "narrow its topics"),
    ] {
        let line = said.lines().find(|line| line.starts_with(&place(at)) && line.contains(words));
        let line = line.unwrap_or_else(|| panic!("nothing at {} about {words} in\n{said}", place(at)));
        assert!(line.contains(hint), "no `{hint}` in `{line}`");
    }
}

#[test]
fn check_configures_the_plugins_and_names_the_key_that_they_refuse() {
    let wrong = RULES.replace("from = \"fahrenheit\"", "unit_from = \"fahrenheit\"").replace("grants =", "# grants =");
    let (dir, path) = written(&wrong);
    let output = with_config("check", &path, &[]);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
    let said = stdout(&output);
    assert_contains(
        &said,
        &["gw.toml:20:28: plugin `celsius`: it refuses its configuration", "unknown field `unit_from`"],
    );
    assert_contains(&said, &["gw.toml:16:56: warning: plugin `by-kind`", "names the target `alarms`"]);
    assert!(!dir.path().join("data").exists(), "the data directory is the gateway's");
    let left_out = with_config("check", &path, &["--no-plugins"]);
    assert_eq!(left_out.status.code(), Some(0), "{left_out:?}");
    assert_contains(&stdout(&left_out), &["gw.toml: the plugins were left out", "good, 4 brokers"]);
    std::fs::write(dir.path().join("convert.wasm"), "no component").unwrap();
    let said = stdout(&with_config("check", &path, &[]));
    assert_contains(&said, &["gw.toml:19:8: plugin `celsius`", "not a component", "wasm32-wasip2"]);
}

#[test]
fn check_says_that_one_bracket_is_missing_and_no_more() {
    let (_dir, path) = written(&RULES.replace("[\"dev/+/temp\"]", "[\"dev/+/temp\""));
    let output = with_config("check", &path, &[]);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
    let said = stdout(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_contains(&said, &["the `[` here is not closed before line 24; add `]`"]);
}

/// Runs the command in the directory of the configuration, which comes through its standard input.
fn through_stdin(args: &[&str], directory: &Path, config: &str) -> Output {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut command = Command::new(Tidegate::binary());
    command.args(args).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    // Not all of it is read by one that refuses its arguments: then the pipe is broken.
    let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn check_reads_standard_input_and_answers_in_json() {
    let (dir, _path) = written(RULES);
    for args in [["check", "-"].as_slice(), &["check", "--config", "-"]] {
        let output = through_stdin(args, dir.path(), RULES);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_contains(&stdout(&output), &["<stdin>: good, 4 brokers, 2 routes, 2 plugins"]);
    }
    let explained =
        through_stdin(&["explain", "--config", "-", "--broker", "home", "--topic", "other/x"], dir.path(), RULES);
    assert_contains(&stdout(&explained), &["route `other`: yes"]);
    let refused = through_stdin(&["run", "--config", "-"], dir.path(), RULES);
    assert_eq!(refused.status.code(), Some(USAGE), "{refused:?}");

    let wrong = RULES.replace("to = [\"upstream\"]", "to = [\"upstrem\"]");
    let output = through_stdin(&["check", "-", "--format", "json", "--no-plugins"], dir.path(), &wrong);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS), "{output:?}");
    let answer: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!((&answer["file"], &answer["ok"]), (&Value::from("<stdin>"), &Value::from(false)));
    let problem = &answer["problems"][0];
    assert_eq!((&problem["severity"], &problem["line"]), (&Value::from("error"), &Value::from(25)), "{answer}");
    assert!(problem["column"].is_u64() && problem["message"].as_str().unwrap().contains("`upstrem`"), "{answer}");
    assert!(problem["hint"].as_str().unwrap().contains("did you mean"), "{answer}");
    let output = through_stdin(&["check", "-", "--format", "json"], dir.path(), RULES);
    let answer: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!(answer, serde_json::json!({ "file": "<stdin>", "ok": true, "plugins_checked": true, "problems": [] }));
}

#[test]
fn check_takes_warnings_unless_it_is_strict() {
    let (_dir, path) = written(&RULES.replace("to = [\"office\"]", "to = [\"office\", \"upstream\"]"));
    let taken = with_config("check", &path, &[]);
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
    assert_contains(&stdout(&taken), &["warning: ", "good, "]);
    let strict = with_config("check", &path, &["--strict"]);
    assert_eq!(strict.status.code(), Some(FOUND_PROBLEMS), "{strict:?}");
    assert_contains(&stdout(&strict), &["gw.toml: 1 warning, and `--strict` takes none"]);
    let said = with_config("check", &path, &["--log-format", "json"]);
    assert_contains(&stderr(&said), &["`--format json`"]);
}

#[test]
fn check_finds_secrets_that_everybody_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let config = RULES.replace(":4\"", ":4\"\nusername = \"u\"\npassword = { file = \"alarms.pass\" }");
    let (dir, path) = written(&config);
    let secret = dir.path().join("alarms.pass");
    std::fs::write(&secret, "hush").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = stdout(&with_config("check", &path, &[]));
    assert_contains(&said, &["alarms.pass", "chmod 600"]);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let output = with_config("check", &path, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_reference_configuration_lacks_only_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tidegate.toml");
    let output = with_config("check", &path, &[]);
    for line in stdout(&output).lines() {
        let about_files = line.contains("there is no file") || line.contains(": warning: the environment variable");
        assert!(about_files, "{line}");
    }
    let minimal = std::fs::read_to_string(path.with_file_name("minimal.toml")).unwrap();
    let (_dir, path) = written(&minimal);
    let said = stdout(&with_config("check", &path, &[]));
    assert!(said.lines().all(|line| line.contains("there is no file") || line.contains(": good, ")), "{said}");
}
