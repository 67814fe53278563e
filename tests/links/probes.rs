//! Probes: a broker that takes messages and passes nothing on.

use super::*;
use crate::fixture::assert_balanced;
use std::fs;
use std::process::Command;
use tidegate_testkit::{Mosquitto, MosquittoSub, Script};

const TOPIC: &str = "gateways/probe";

fn probed(name: &str, url: &str) -> String {
    link(name, url, "5", &format!("probe = {{ topic = \"{TOPIC}\", every = \"1s\" }}\n"))
}

#[test]
fn one_that_takes_probes_and_sends_none_back_is_taken_over_from_until_it_does() {
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let allow = |probes: &str| fs::write(rules.path(), format!("topic readwrite d/#\ntopic {probes} {TOPIC}\n"));
    allow("readwrite").expect("written");
    let first = Mosquitto::builder().line(&format!("acl_file {}", rules.path().display())).start();
    let now_allow = |probes: &str| {
        allow(probes).expect("written");
        let sent = Command::new("kill").args(["-HUP", &first.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    };
    let (s, second) = (ScriptedBroker::start(Script::new()), Mosquitto::start());
    let config = link("s", &s.url(), "5", "")
        + &probed("first", &first.url())
        + &link("second", &second.url(), "5", "")
        + "[targets.u]\nmembers = [\"first\", \"second\"]\ntakeover_after = \"2s\"\nfailback = \"1s\"\n"
        + &named_route("r", "s", &["d/#"], 1, &["u"], "");
    let tidegate = Tidegate::start(&config);
    let [at_first, at_second] =
        [&first, &second].map(|at| MosquittoSub::start(at.port(), &["-q", "1", "-t", "d/#", "-F", "MESSAGE %p"]));
    let of_first = |name: &str| tidegate.metrics().get(name, &[("broker", "first")]);
    eventually("the probe is back", PATIENCE, || of_first("tidegate_broker_probe_seconds").is_some());
    send(&s, "d/a", 1, ["one".to_owned()]);
    eventually("the first has it", PATIENCE, || at_first.lines() == ["one"]);

    now_allow("write");
    says(&tidegate, &["warn", "failover", "no probe has come back for 2s"]);
    assert!(of_first("tidegate_broker_probes_lost_total") >= Some(1.0));
    eventually("it is told", PATIENCE, || tidegate.get("/ready").is_ok_and(|(_, words)| words.contains("no probe on")));
    send(&s, "d/a", 1, ["two".to_owned()]);
    eventually("the second has it", PATIENCE, || at_second.lines() == ["two"]);

    now_allow("readwrite");
    let share = || of_first("tidegate_set_share");
    eventually("it goes to the first again", PATIENCE, || share() == Some(1.0));
    send(&s, "d/a", 1, ["three".to_owned()]);
    eventually("the first has it", PATIENCE, || at_first.lines() == ["one", "three"]);
    drained(&tidegate);
    assert_balanced(&tidegate);
}

#[test]
fn probes_enter_no_route_and_no_account_whatever_that_takes() {
    let home = Mosquitto::start();
    let config = probed("home", &home.url())
        + &link("office", &home.url(), "5", "client_id = \"other\"\n")
        + &named_route("r", "home", &["#"], 1, &["office"], "remap = { prefix = \"copy/\" }");
    let tidegate = Tidegate::start(&config);
    let rounds = || tidegate.metrics().get("tidegate_broker_probe_seconds", &[("broker", "home")]);
    eventually("a probe is back", PATIENCE, || rounds().is_some());
    let at_home = MosquittoSub::start(home.port(), &["-t", "#", "-F", "MESSAGE %t"]);
    eventually("the next one", PATIENCE, || at_home.lines().iter().any(|line| line == TOPIC));
    assert!(at_home.lines().iter().all(|line| line == TOPIC), "{:?}", at_home.lines());
    assert_eq!(tidegate.metrics().get("tidegate_route_received_total", &[]), Some(0.0));
}
