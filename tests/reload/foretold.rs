//! What an edit means to messages that wait is said when it is made, and by `tidegate check --running` before.

use super::backlog::{Backlog, DEAD, WAITING, route, set};
use crate::fixture::{PATIENCE, broker, run};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use tidegate_testkit::{Mosquitto, eventually};

/// A set of two that are both away.
fn two(home: &str) -> String {
    home.to_owned() + &broker("one", DEAD, "") + &broker("two", DEAD, "") + &set(&["one", "two"]) + &route("up")
}

impl Backlog {
    /// Waits for a line of the log about messages that wait.
    #[track_caller]
    fn told(&self, words: &[&str]) {
        let is_it = |line: &str| line.contains("messages wait") && words.iter().all(|word| line.contains(word));
        eventually(&format!("the log tells of {words:?}"), PATIENCE, || self.tidegate.log().lines().any(is_it));
    }

    /// What the admin listener says of the last reload.
    fn last_reload(&self) -> Value {
        let (status, body) = self.tidegate.get("/reload").expect("it answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The file as it is, with this and that replaced, under another name.
    fn candidate(&self, edits: &[(&str, &str)]) -> PathBuf {
        let mut text = std::fs::read_to_string(self.tidegate.dir().join("tidegate.toml")).unwrap();
        for (from, to) in edits {
            assert!(text.contains(from), "{from} in\n{text}");
            text = text.replacen(from, to, 1);
        }
        let path = self.tidegate.dir().join("candidate.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// `tidegate check --running`, with more arguments.
fn check(path: &std::path::Path, more: &[&str]) -> Output {
    run(&[&["check", "--running", &path.display().to_string()], more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_reload_says_how_many_waiting_messages_it_touches_and_what_becomes_of_them() {
    let backlog = Backlog::new(two);
    backlog.edit(&(broker("two", DEAD, "") + &set(&["two"]) + &route("up")));
    backlog.told(&["INFO", "target_name=\"up\"", &format!("messages={WAITING}"), "they go to `two`"]);
    let expected = json!([{ "target": "up", "messages": WAITING, "fate": "goes_to", "goes_to": ["two"] }]);
    let last = backlog.last_reload();
    assert_eq!(last["waiting"], expected, "{last}");
    let changes = last["changes"].as_array().unwrap();
    assert!(changes.contains(&json!("brokers.one removed")), "{last}");

    backlog.edit("");
    backlog.told(&["WARN", "target_name=\"up\"", &format!("messages={WAITING}"), "tidegate spool move"]);
    assert_eq!(backlog.last_reload()["waiting"][0]["fate"], "waits_for_nobody");
    let office = Mosquitto::start();
    backlog.edit(&(broker("up", &office.url(), "") + &route("up")));
    backlog.told(&["INFO", &format!("messages={WAITING}"), "they go to `up`"]);
    eventually("they do", PATIENCE, || backlog.queued() == 0);
    backlog.edit("");
    assert_eq!(backlog.last_reload()["waiting"], json!([]), "nothing waits any more");
}

#[test]
fn check_says_what_a_file_would_change_of_what_runs_and_changes_nothing() {
    let birth = "birth = { topic = \"here\", payload = \"hunter2\" }";
    let backlog = Backlog::new(|home| two(home).replace("[brokers.two]", &format!("[brokers.two]\n{birth}")));
    let same = check(&backlog.candidate(&[]), &[]);
    assert!(same.status.success() && said(&same).contains("nothing would change"), "{same:?}");

    let gone = format!("{}members = [\"one\", \"two\"]", set(&[]).split("members").next().unwrap());
    let kept = gone.replace("\"one\", ", "");
    let one = broker("one", DEAD, "");
    let edits = [
        (gone.as_str(), kept.as_str()),
        (one.as_str(), ""),
        ("hunter2", "hunter3"),
        ("name = \"test\"", "name = \"best\""),
        ("dev/#", "dev/+"),
    ];
    let candidate = backlog.candidate(&edits);
    let output = check(&candidate, &[]);
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    for line in [
        "would change now: brokers.one removed",
        "would change now: brokers.two.birth.payload changed\n",
        "would change now: routes.r.from.topics changed from [\"dev/#\"] to [\"dev/+\"]",
        "would change at the next start: gateway.name changed from test to best",
        "300 messages wait for `up`: they go to `two`",
        "to the running gateway `test`, touching 300 waiting messages",
    ] {
        assert!(words.contains(line), "no `{line}` in\n{words}");
    }
    assert!(!words.contains("client_id"), "it stays as it is until the next start:\n{words}");

    let output = check(&candidate, &["--format", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let running = &answer["running"];
    assert_eq!(running["waiting"][0]["messages"], WAITING, "{answer}");
    let payload = json!({ "key": "brokers.two.birth.payload", "what": "changed", "from": null, "to": null });
    assert!(running["changes"].as_array().unwrap().contains(&payload), "{answer}");
    assert_eq!(running["next_start"][0]["key"], "gateway.name", "{answer}");

    // Nothing that may be a secret has left either process, and nothing was changed.
    let (_, shown) = backlog.tidegate.get("/config").expect("it answers");
    assert!(shown.contains("brokers.two.birth.payload") && !shown.contains("hunter"), "{shown}");
    assert!(!words.contains("hunter"), "{words}");
    assert_eq!((backlog.queued(), backlog.gauge("tidegate_reloads_total")), (WAITING, 0.0));
}

#[test]
fn who_may_not_read_in_the_folder_is_told_what_was_not_compared() {
    let birth = "birth = { topic = \"here\", payload = \"hunter2\" }";
    let backlog = Backlog::new(|home| two(home).replace("[brokers.two]", &format!("[brokers.two]\n{birth}")));
    std::fs::remove_file(backlog.tidegate.dir().join("data/compare.key")).expect("the gateway has made it");
    let output = check(&backlog.candidate(&[("hunter2", "hunter3")]), &[]);
    let words = said(&output);
    assert!(output.status.success() && words.contains("`data_dir` cannot be read: 1 value\n"), "{words}");
    assert!(words.contains("nothing would change") && !words.contains("payload changed"), "{words}");
}

#[test]
fn check_says_so_if_no_gateway_runs_there() {
    let mut backlog = Backlog::new(two);
    let admin = {
        let text = std::fs::read_to_string(backlog.tidegate.dir().join("tidegate.toml")).unwrap();
        let (_, listen) = text.split_once("listen = \"127").expect("an admin listener");
        format!("127{}", listen.split('"').next().unwrap())
    };
    let elsewhere = backlog.candidate(&[(&format!("[admin]\nlisten = \"{admin}\""), "")]);
    let output = check(&elsewhere, &[]);
    assert!(output.status.code() == Some(78) && said(&output).contains("add `[admin]`"), "{output:?}");
    let asked = check(&elsewhere, &["--admin", &admin]);
    let words = said(&asked);
    assert!(asked.status.success() && words.contains("would change at the next start: admin removed"), "{words}");

    assert!(backlog.tidegate.terminate(PATIENCE).success());
    let output = check(&elsewhere, &["--admin", &admin]);
    let words = said(&output);
    assert!(output.status.code() == Some(69) && words.contains("good, "), "it is checked all the same: {words}");
    assert!(words.contains(&admin) && words.contains("does it run?"), "{words}");
    let output = run(&["check", &elsewhere.display().to_string(), "--admin", &admin]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}
