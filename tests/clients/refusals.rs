//! What does not work ends with the right code, and with words that say what to do.

use super::{NOT_PERMITTED, Sub, UNAVAILABLE, USAGE, command, run_with};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use tidegate_testkit::{Certs, Mosquitto, free_port};

const USER: &str = "sailor";
const PASSWORD: &str = "correct-horse-battery";

#[track_caller]
fn assert_ends(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for words in words {
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn wrong_use_is_said_before_anything_is_connected() {
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    for (args, words) in [
        (&["pub", "-t", "a"][..], "--message"),
        (&["pub", "-t", "a", "-m", "x", "-l"], "cannot be used with"),
        (&["pub", "-t", "a/#", "-m", "x"], "wildcards"),
        (&["pub", "-t", "a", "-f", "no-such-file"], "no-such-file"),
        (&["pub", "-t", "a", "-m", "x", "-q", "3"], "0..=2"),
        (&["sub"], "--topic"),
        (&["sub", "-t", "a/#/b"], "`#` must stand alone"),
        (&["sub", "-t", "a", "--for", "2"], "`2s`"),
        (&["sub", "-t", "a", "--mqtt-version", "3.1"], "3.1.1"),
        (&["sub", "-t", "a", "-u", "http://x"], "write `ws://`"),
        (&["sub", "-t", "a", "--ca", "ca.pem"], "not encrypted"),
        (&["sub", "-t", "a", "--password-file", "p"], "--username"),
        (&["sub", "-t", "a", "-u", "mqtts://localhost", "--ca", "no-such-file"], "no-such-file"),
        (&["sub", "-t", "a", "--username", "u", "--password-file", "no-such-file"], "no-such-file"),
    ] {
        let args = if args.contains(&"-u") { args.to_vec() } else { [args, &["-u", &nowhere]].concat() };
        assert_ends(&run_with(&args, b""), USAGE, &[words]);
    }
    let secret = run_with(&["sub", "-t", "a", "-u", "mqtt://me:hunter2@host"], b"");
    assert_ends(&secret, USAGE, &["--password-file"]);
    assert!(!String::from_utf8_lossy(&secret.stderr).contains("hunter2"));
    // No way to trust everybody, and no password that everybody on the machine could read.
    for args in [["sub", "--insecure"], ["sub", "--password"]] {
        assert_ends(&run_with(&args, b""), USAGE, &[args[1]]);
    }
}

#[test]
fn nobody_there_and_somebody_else_there() {
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    for version in ["3.1.1", "5"] {
        for args in [&["pub", "-m", "x"][..], &["sub"]] {
            let args = [args, &["-t", "a", "--mqtt-version", version, "-u"]].concat();
            assert_ends(&run_with(&[&args[..], &[&nowhere]].concat(), b""), UNAVAILABLE, &[&nowhere, "refused"]);
            let broker = Mosquitto::builder().tls(&Certs::new()).start();
            let plain = broker.tls_url().replace("mqtts", "mqtt");
            assert_ends(&run_with(&[&args[..], &[&plain]].concat(), b""), UNAVAILABLE, &["right port"]);
            let secure = broker.url().replace("mqtt:", "mqtts:");
            assert_ends(&run_with(&[&args[..], &[&secure]].concat(), b""), UNAVAILABLE, &["TLS"]);
        }
    }
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let (certs, strangers) = (Certs::new(), Certs::new());
    let broker = Mosquitto::builder().tls(&strangers).start();
    let ca = certs.ca().display().to_string();
    let output = run_with(&["pub", "-t", "a", "-m", "x", "-u", &broker.tls_url(), "--ca", &ca], b"");
    assert_ends(&output, UNAVAILABLE, &["TLS", "certificate"]);
    let wants = Mosquitto::builder().tls(&certs).require_client_cert().start();
    let output = run_with(&["pub", "-t", "a", "-m", "x", "-u", &wants.tls_url(), "--ca", &ca], b"");
    assert_ends(&output, UNAVAILABLE, &["TLS"]);
}

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_a_wrong_one_is_not_let_in() {
    let broker = Mosquitto::builder().password(USER, PASSWORD).start();
    let (url, file) = (broker.url(), tempfile::NamedTempFile::new().expect("a file"));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).expect("a mode");
    std::fs::write(file.path(), format!("{PASSWORD}\n")).expect("a password written");
    let path = file.path().display().to_string();
    for version in ["3.1.1", "5"] {
        let with = ["pub", "-u", &url, "--mqtt-version", version, "-t", "a", "-m", "x"];
        let login = [&with[..], &["--username", USER]].concat();
        assert_ends(&run_with(&[&login[..], &["--password-file", &path]].concat(), b""), 0, &[]);
        let from_environment = command(&login).env("TIDEGATE_PASSWORD", PASSWORD).output().expect("it runs");
        assert_ends(&from_environment, 0, &[]);
        let wrong = command(&login).env("TIDEGATE_PASSWORD", "incorrect-mule").output().expect("it runs");
        assert_ends(&wrong, NOT_PERMITTED, &[&url, "not authorized"]);
        assert!(!String::from_utf8_lossy(&wrong.stderr).contains("incorrect-mule"));
        assert_ends(&run_with(&with, b""), NOT_PERMITTED, &["not authorized"]);
    }
}

/// mosquitto tells a publisher of MQTT 5 that it may not; with 3.1.1 nobody can.
#[test]
fn what_the_broker_does_not_allow_is_not_taken_for_done() {
    let rules = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rules.path(), "topic readwrite mine/#\n").expect("rules written");
    std::fs::set_permissions(rules.path(), std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let broker = Mosquitto::builder().line(&format!("acl_file {}", rules.path().display())).start();
    let url = broker.url();
    for qos in ["1", "2"] {
        let output = run_with(&["pub", "-u", &url, "-q", qos, "-t", "yours", "-l"], b"one\ntwo\n");
        assert_ends(&output, NOT_PERMITTED, &["the broker refuses it: not authorized", "lines are acknowledged"]);
        assert_ends(&run_with(&["pub", "-u", &url, "-q", qos, "-t", "mine/1", "-m", "x"], b""), 0, &[]);
    }
}

#[test]
fn a_connection_that_is_lost_ends_both_with_words() {
    for version in ["3.1.1", "5"] {
        let mut broker = Mosquitto::start();
        let url = broker.url();
        let sub = Sub::start(&["-u", &url, "--mqtt-version", version, "-t", "a"], 1);
        broker.kill();
        let errors = sub.errors.path().to_owned();
        let errors = std::fs::File::open(errors).expect("its words");
        assert_eq!(sub.end().0, Some(UNAVAILABLE));
        let said = std::io::read_to_string(errors).expect("its words");
        assert!(said.contains(&url) && said.contains("closed the connection"), "{said}");
    }
}
