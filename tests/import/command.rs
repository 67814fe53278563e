//! What the command writes, and what it never writes.

use super::{import, written};
use crate::command::{FOUND_PROBLEMS, USAGE};
use crate::fixture::run;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const CONFIGURATION: i32 = 78;

const BRIDGE: &str = "listener 1883\nallow_anonymous true\nconnection office\naddress office.example\nremote_username ann\n\
                      password hunter2 # b \ntopic a out 1\nnotifications false\n";

const PASSWORD: &str = "hunter2 # b";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn is_private(file: &Path) {
    assert_eq!(std::fs::metadata(file).expect("a file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn out_writes_the_configuration_and_its_passwords_and_check_takes_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, out) = (written(dir.path(), BRIDGE), dir.path().join("gateway.toml"));
    let (out_arg, password) = (out.to_str().expect("a path"), dir.path().join("office.pass"));
    let output = import(&file, &["--out", out_arg]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    let toml = std::fs::read_to_string(&out).expect("written");
    assert!(toml.contains("password = { file = \"office.pass\" }") && !toml.contains("hunter2"), "{toml}");
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(&password).expect("written"), PASSWORD);
    is_private(&password);
    let check = run(&["check", out_arg]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

    std::fs::write(&out, "mine").expect("written");
    let output = import(&file, &["--out", out_arg]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(said(&output).contains("office.pass is there already"), "{}", said(&output));
    std::fs::remove_file(&password).expect("gone");
    assert_eq!(import(&file, &["--out", out_arg]).status.code(), Some(USAGE));
    assert_eq!(std::fs::read_to_string(&out).expect("there"), "mine");
    assert!(!password.exists(), "all or nothing");

    std::fs::write(&password, "old").expect("written");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(import(&file, &["--out", out_arg, "--force"]).status.success());
    assert_eq!(std::fs::read_to_string(&password).expect("written"), PASSWORD);
    is_private(&password);
}

#[test]
fn users_of_the_plugin_are_written_by_out_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let users = r#"{"clients": [{"username": "ann", "password": "YQ==", "salt": "YQ==", "iterations": 101}]}"#;
    std::fs::write(dir.path().join("dynamic.json"), users).expect("written");
    let plugin = "listener 1883\nplugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file ";
    let config = format!("{plugin}{}/dynamic.json\n", dir.path().display());
    let output = import(&written(dir.path(), &config), &["--own"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("to do: run it with `--out FILE`, which writes "), "{}", said(&output));
}

#[test]
fn without_out_the_command_for_the_password_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = import(&written(dir.path(), BRIDGE), &[]);
    let (told, toml) = (said(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(toml.contains("office.pass") && !toml.contains("hunter2") && !told.contains("hunter2"), "{told}{toml}");
    let command = told.lines().find_map(|line| line.strip_prefix("to do: ")).expect("a command");
    assert!(Command::new("sh").arg("-c").arg(command).current_dir(dir.path()).status().expect("sh runs").success());
    let file = dir.path().join("office.pass");
    assert_eq!(std::fs::read_to_string(&file).expect("made").trim_end_matches('\n'), PASSWORD);
    is_private(&file);
}

#[test]
fn what_has_no_counterpart_is_told_and_strict_fails_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), &format!("{BRIDGE}start_type lazy\n"));
    let output = import(&file, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let place = format!("{}:9", file.display());
    assert!(
        said(&output).contains(&format!("1 without a counterpart:\n  {place}: start_type lazy;")),
        "{}",
        said(&output)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("no counterpart: start_type lazy"));

    let out = dir.path().join("gateway.toml");
    let output = import(&file, &["--strict", "--out", out.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(FOUND_PROBLEMS));
    assert!(said(&output).contains(&place) && !out.exists() && !dir.path().join("office.pass").exists());
    assert!(import(&written(dir.path(), BRIDGE), &["--strict"]).status.success());
}

#[test]
fn what_mosquitto_refuses_is_told_with_its_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), "listener 1883\nnonsense 1\ntopic a\n");
    let output = import(&file, &[]);
    assert_eq!(output.status.code(), Some(CONFIGURATION));
    for line in [2, 3] {
        assert!(said(&output).contains(&format!("{}:{line}: ", file.display())), "{}", said(&output));
    }
    let output = import(&dir.path().join("none.conf"), &[]);
    assert_eq!(output.status.code(), Some(CONFIGURATION));
    assert!(said(&output).contains("none.conf: cannot read this file"), "{}", said(&output));
}

#[test]
fn a_file_without_bridges_is_for_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), "listener 1883 127.0.0.1\nallow_anonymous true\n");
    let output = import(&file, &[]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(said(&output).contains("--own"), "{}", said(&output));
    let output = import(&file, &["--own"]);
    let toml = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && toml.contains("\"mqtt://127.0.0.1:1883\""), "{toml}");
}
