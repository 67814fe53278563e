//! paho, mqtt.js and mosquitto's clients are at home on the box's own broker.

use super::Embedded;
use super::at_home::{Box, at_home, limited, python, script};
use super::lists::user;
use crate::fixture::{PATIENCE, assert_balanced};
use std::path::PathBuf;
use std::process::Command;
use tidegate_testkit::{MosquittoSub, Tidegate, mosquitto_pub};

/// The `node_modules` that mqtt.js is in.
#[track_caller]
fn node_modules() -> PathBuf {
    let install =
        "run scripts/test, which installs it, or set TIDEGATE_TEST_NODE_MODULES to a node_modules with `mqtt`";
    let Some(modules) = std::env::var_os("TIDEGATE_TEST_NODE_MODULES").map(PathBuf::from) else {
        panic!("no mqtt.js: {install}");
    };
    assert!(modules.join("mqtt/package.json").is_file(), "no mqtt.js in {}: {install}", modules.display());
    let node = Command::new("node").arg("--version").output();
    assert!(node.is_ok_and(|output| output.status.success()), "no Node: install nodejs, or run scripts/test");
    modules
}

#[track_caller]
fn paho(transport: &str, version: &str) {
    // A module that paho has since 2.0.
    at_home(limited(python("paho.mqtt.enums")), "paho_at_home.py", transport, version);
}

#[track_caller]
fn mqtt_js(transport: &str, version: &str) {
    let mut node = limited("node");
    node.env("NODE_PATH", node_modules());
    at_home(node, "mqtt_js_at_home.js", transport, version);
}

#[test]
fn paho_is_at_home_over_tcp_with_3_1_1() {
    paho("tcp", "3.1.1");
}

#[test]
fn paho_is_at_home_over_tcp_with_5() {
    paho("tcp", "5");
}

#[test]
fn paho_is_at_home_over_websockets_with_3_1_1() {
    paho("ws", "3.1.1");
}

#[test]
fn paho_is_at_home_over_websockets_with_5() {
    paho("ws", "5");
}

#[test]
fn mqtt_js_is_at_home_over_tcp_with_3_1_1() {
    mqtt_js("tcp", "3.1.1");
}

#[test]
fn mqtt_js_is_at_home_over_tcp_with_5() {
    mqtt_js("tcp", "5");
}

#[test]
fn mqtt_js_is_at_home_over_websockets_with_3_1_1() {
    mqtt_js("ws", "3.1.1");
}

#[test]
fn mqtt_js_is_at_home_over_websockets_with_5() {
    mqtt_js("ws", "5");
}

#[track_caller]
fn mosquitto_clients(version: &str) {
    let Box { device, office, tidegate } = Box::start();
    let port = device.port;
    let at_office = MosquittoSub::start(office.port(), &["-t", "dev/#", "-q", "2"]);

    let sub = MosquittoSub::start(port, &["-V", version, "-t", "lab/#", "-q", "2"]);
    for qos in ["0", "1", "2"] {
        for topic in ["lab/temp", "dev/temp"] {
            mosquitto_pub(port, &["-V", version, "-t", topic, "-q", qos, "-m", "21.5"]);
        }
    }
    assert_eq!(sub.expect(3, PATIENCE), ["lab/temp 0 0 21.5", "lab/temp 1 0 21.5", "lab/temp 2 0 21.5"]);

    mosquitto_pub(port, &["-V", version, "-t", "lab/kept", "-q", "1", "-r", "-m", "kept"]);
    let late = MosquittoSub::start(port, &["-V", version, "-t", "lab/kept", "-q", "1"]);
    assert_eq!(late.expect(1, PATIENCE), ["lab/kept 1 1 kept"]);

    // Killed when it is dropped.
    let will = ["--will-topic", "lab/will", "--will-payload", "gone", "--will-qos", "1"];
    drop(MosquittoSub::start(port, &[&["-V", version, "-t", "other"], &will[..]].concat()));
    assert_eq!(sub.expect(5, PATIENCE)[4], "lab/will 1 0 gone");

    let kept = ["-V", version, "-c", "-i", "kept", "-q", "1", "-t", "lab/session"];
    drop(MosquittoSub::start(port, &kept));
    mosquitto_pub(port, &["-V", version, "-t", "lab/session", "-q", "1", "-m", "while away"]);
    let again = MosquittoSub::start(port, &kept);
    assert_eq!(again.expect(1, PATIENCE), ["lab/session 1 0 while away"]);

    let shared = ["-V", version, "-q", "1", "-t", "$share/group/lab/shared"];
    let members = [MosquittoSub::start(port, &shared), MosquittoSub::start(port, &shared)];
    mosquitto_pub(port, &["-V", version, "-t", "lab/shared", "-q", "1", "-m", "x", "--repeat", "10"]);
    tidegate_testkit::eventually("each member has its share", PATIENCE, || {
        members.iter().map(|member| member.lines().len()).sum::<usize>() >= 10
    });
    let shares = members.map(|member| member.lines().len());
    assert!(shares[0] + shares[1] == 10 && shares.iter().all(|share| *share > 0), "{shares:?}");

    let mut came = at_office.expect(3, PATIENCE);
    came.sort();
    assert_eq!(came, ["dev/temp 0 0 21.5", "dev/temp 1 0 21.5", "dev/temp 2 0 21.5"]);
    assert_balanced(&tidegate);
}

#[test]
fn mosquitto_clients_are_at_home_with_3_1_1() {
    mosquitto_clients("mqttv311");
}

#[test]
fn mosquitto_clients_are_at_home_with_5() {
    mosquitto_clients("mqttv5");
}

#[test]
fn mqtt_js_says_who_it_is_without_saying_its_password() {
    const LET_IN: &str = "in\nagain\nagain\nagain\n";
    let (device, dir) = (Embedded::new("device"), tempfile::tempdir().expect("a folder"));
    let file = dir.path().join("users.txt").display().to_string();
    for (name, hash) in [("ann", "scram-sha-256"), ("bob", "pbkdf2")] {
        assert!(user(&["add", "--hash", hash, name, "--file", &file], &format!("{name} is in")).status.success());
    }
    let listed = user(&["list", "--file", &file], "");
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "ann\tSCRAM-SHA-256\nbob\tPBKDF2-SHA512\n");
    assert!(user(&["check", "ann", "--file", &file], "ann is in").status.success());
    let _tidegate = Tidegate::start(&format!("{}users = {file:?}\n", device.config()));
    let says = |method: &str, name: &str, password: &str| {
        let mut command = limited("node");
        command.env("NODE_PATH", node_modules()).arg(script("mqtt_js_scram.js"));
        let output =
            command.args([&device.port.to_string(), method, name, password]).output().expect("the script runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(says("SCRAM-SHA-512", "bob", "bob is in"), LET_IN);
    assert_eq!(says("SCRAM-SHA-256", "ann", "ann is in"), LET_IN);
    assert_eq!(says("SCRAM-SHA-256", "ann", "bob is in"), "refused 134\n");
    assert_eq!(says("SCRAM-SHA-256", "bob", "bob is in"), "refused 134\n");
}
