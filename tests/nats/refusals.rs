//! What a stream does not take, now or ever, and what is missing.

use super::*;
use crate::fixture::{assert_balanced, run};
use std::io::Write;
use tidegate_testkit::{MosquittoSub, Nats, eventually, mosquitto_pub};

#[track_caller]
fn publish(home: &Mosquitto, topic: &str, payload: &str) {
    mosquitto_pub(home.port(), &["-V", "5", "-q", "1", "-t", topic, "-m", payload]);
}

#[test]
fn a_full_stream_holds_the_messages_back_in_order() {
    let (home, nats) = (Mosquitto::start(), Nats::start());
    nats.client().make_stream("S", &["site.>"], r#""max_msgs":5,"discard":"new""#);
    let gateway = Tidegate::start(&into_stream(&home, &stream(&nats.url(), "")));
    for n in 0..12 {
        publish(&home, "dev/a", &n.to_string());
    }
    eventually("the refusal is told", PATIENCE, || {
        gateway.get("/ready").is_ok_and(|(_, text)| text.contains("maximum messages exceeded"))
    });
    assert_eq!(nats.client().count("S"), 5);
    let mut payloads = Vec::new();
    while payloads.len() < 12 {
        let kept = nats.client().messages("S");
        payloads.extend(kept.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()));
        nats.client().api("STREAM.PURGE.S", "");
        let wanted = (12 - payloads.len()).min(5) as u64;
        eventually("more come in", LONG_PATIENCE, || nats.client().count("S") == wanted);
    }
    assert_eq!(payloads, (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_balanced(&gateway);
    eventually("it is well again", PATIENCE, || gateway.is_ready());
}

#[test]
fn what_a_stream_can_never_take_holds_nothing_up() {
    let home = Mosquitto::start();
    let nats = Nats::with("max_payload: 65536");
    nats.client().make_stream("S", &["site.a", "site.b.>"], r#""max_msg_size":20000"#);
    let gateway = Tidegate::start(&into_stream(&home, &stream(&nats.url(), "")));
    let long_topic = format!("dev/b/{}", "x".repeat(5000));
    publish(&home, "dev/other", "not of this stream");
    publish(&home, "dev/a", &"x".repeat(30_000));
    publish(&home, "dev/a", &"x".repeat(70_000));
    publish(&home, &long_topic, "1");
    publish(&home, "dev/a", "last");
    eventually("the last is there", PATIENCE, || nats.client().count("S") == 1);
    let metrics = assert_balanced(&gateway);
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.get(name, labels).unwrap_or(0.0);
    assert_eq!(sum("tidegate_route_dropped_total", &[("reason", "too_large_for_target")]), 3.0, "{}", gateway.log());
    assert_eq!(sum("tidegate_route_parked_total", &[]), 1.0, "{}", gateway.log());
    gateway.wait_for_log("is for site.a, site.b.>, and not for `site.other`", PATIENCE);
}

#[test]
fn a_missing_stream_is_named_with_the_command_that_makes_it() {
    let (home, nats) = (Mosquitto::start(), Nats::start());
    let config = into_stream(&home, &stream(&nats.url(), "")).replace("subjects = [\"site.>\"]\n", "");
    let gateway = Tidegate::builder(&config).spawn();
    eventually("it says so", PATIENCE, || gateway.log().contains("nats stream add S"));
    let not_ready = || gateway.get("/ready").map_or_else(|_| String::new(), |(_, text)| text);
    eventually("only the stream is missing", PATIENCE, || {
        not_ready().contains("broker site") && !not_ready().contains("broker home")
    });
    publish(&home, "dev/a", "waits");
    nats.client().make_stream("S", &["site.>"], "");
    eventually("it goes on by itself", PATIENCE, || nats.client().count("S") == 1);
}

#[test]
fn a_server_asks_for_a_password_a_token_or_nothing() {
    let home = Mosquitto::start();
    for (lines, user) in [
        ("authorization { user: tide, password: s3cret }", "username = \"tide\""),
        ("authorization { token: s3cret }", ""),
    ] {
        let nats = Nats::with(lines);
        let mut pass = tempfile::NamedTempFile::new().expect("a file, of this user alone");
        pass.write_all(b"guess.").expect("written");
        let keys = format!("{user}\npassword = {{ file = {:?} }}", pass.path());
        let gateway = Tidegate::builder(&into_stream(&home, &stream(&nats.url(), &keys))).spawn();
        eventually("it says so", PATIENCE, || gateway.log().contains("look at `username` and `password`"));
        pass.reopen().expect("the same file").write_all(b"s3cret").expect("written");
        eventually("the right one is taken", PATIENCE, || gateway.is_ready());
    }
}

#[test]
fn tls_with_the_cluster_s_own_authority() {
    let certs = tidegate_testkit::Certs::new();
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let server = certs.server();
    let nats = Nats::with(&format!("tls {{ cert_file: {:?}, key_file: {:?} }}", server.cert, server.key));
    let url = nats.url().replace("nats://127.0.0.1", "tls://localhost");
    let site = stream(&url, &format!("tls = {{ ca = {:?} }}", certs.ca()));
    let sub = MosquittoSub::start(office.port(), &["-q", "1", "-t", "#"]);
    let _into = Tidegate::start(&into_stream(&home, &site));
    let _out = Tidegate::start(&out_of_stream(&office, &site));
    publish(&home, "dev/a", "1");
    assert_eq!(sub.expect(1, PATIENCE), ["site/a 1 0 1"]);
    let distrusted = Tidegate::builder(&into_stream(&home, &stream(&url, ""))).spawn();
    eventually("it says so", PATIENCE, || distrusted.log().contains("ertificate"));
}

#[test]
fn check_names_what_nats_does_not_have() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("gw.toml");
    let site = stream("nats://127.0.0.1:4222", "keep_alive = \"10s\"\nwill = { topic = \"a\" }\nversion = \"5\"");
    let text = format!("[gateway]\nname = \"g\"\ndata_dir = {:?}\n{site}", dir.path().join("data"))
        + &named_route("r", "site", &["$share/g/site/#"], 1, &["site"], "");
    std::fs::write(&file, text).expect("written");
    let output = run(&["check", "--no-plugins", file.to_str().expect("a path")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for key in ["`keep_alive`", "`will`", "`version`"] {
        assert!(said.contains(&format!("unknown key {key}")), "{said}");
    }
    assert!(said.contains("docs/nats.md") && said.contains("`client_id`"), "{said}");
    assert!(!output.status.success());
}
