//! What changes is an event, for programs and in a terminal.

use super::House;
use super::api::events as listen;
use crate::fixture::PATIENCE;
use serde_json::Value;
use tidegate_testkit::{Tidegate, eventually};

fn names(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn what_changes_is_kept_by_name_and_said_as_it_happens() {
    let mut house = House::start("");
    eventually("nobody takes what is for the cloud", PATIENCE, || names(&house.get("events")).contains(&"all_away"));
    let first = house.get("events");
    for name in ["running", "disconnected"] {
        assert!(names(&first).contains(&name), "{first}");
    }
    let away = first.as_array().unwrap().iter().find(|event| event["event"] == "disconnected").unwrap();
    assert_eq!((&away["level"], &away["fields"]["broker"]), (&"WARN".into(), &"cloud1".into()));
    assert!(away["fields"]["error"].as_str().unwrap().contains("refused"), "{away}");

    let stream = listen(&house, "stream");
    house.cloud.restart();
    let last = first.as_array().unwrap().last().unwrap()["number"].as_u64().unwrap();
    let back = || house.get(&format!("events?after={last}"));
    eventually("it is back", PATIENCE, || names(&back()).contains(&"member_back"));
    assert!(names(&back()).contains(&"connected") && !names(&back()).contains(&"running"), "{}", back());
    let said = || stream.recv_timeout(PATIENCE).expect("it is said");
    while !matches!(said(), (name, data) if name == "log" && data.contains("\"event\":\"member_back\"")) {}

    // A reload that is refused says why, and where.
    let file = house.tidegate.dir().join("tidegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    house.tidegate.replace_file("tidegate.toml", text.replace("[\"office\"]", "[\"offices\"]").as_bytes());
    eventually("it is refused", PATIENCE, || names(&house.get("events")).contains(&"reload_refused"));
    let config = file.display().to_string();
    house.tidegate.replace_file("tidegate.toml", text.as_bytes());
    let events = |arguments: &[&str]| {
        let mut command = std::process::Command::new(Tidegate::binary());
        let output = command.arg("events").args(arguments).args(["--config", &config]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told, _) = events(&["--kind", "reload_refused"]);
    assert!(code == Some(0) && told.lines().count() == 1 && told.contains(" reload_refused: "), "{told}");
    assert!(told.contains("offices"), "{told}");
    let (_, told, _) = events(&["--json"]);
    let all: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(all.len() > 5 && all.iter().all(|event| event["event"].is_string()), "{told}");
    let (code, _, words) = events(&["--kind", "failovers"]);
    assert!(code == Some(64) && words.contains("'failover'"), "{words}");
}
