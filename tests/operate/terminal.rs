//! The same in a terminal.

use super::House;
use crate::fixture::{PATIENCE, run};
use tidegate_testkit::{Tidegate, eventually};

#[test]
fn status_is_a_screen_of_facts() {
    let house = House::start("");
    let mut device = house.device();
    for n in 0..10 {
        device.publish("dev/1/temp", format!("{{\"temp\":{}}}", 70 + n / 5).as_bytes(), 1, false).unwrap();
    }
    eventually("all came", PATIENCE, || house.get("status")["waiting"] == 10);
    let said = house.says(&["status"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(concat!("test ", env!("CARGO_PKG_VERSION"), ": not ready, up ")), "{said}");
    for words in [
        "  target cloud: none of its members is connected",
        "what runs is the file on disk, read at the start, ",
        "20 in, 2 out, 8 dropped, 10 waiting, 0 parked; every message accounted for: yes",
        "SET    MEMBERS: WHO GETS WHAT",
        "cloud  cloud1 100 %",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(words)), "{words}\n{said}");
    }
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{said}"));
    assert!(row("cloud1").contains("away") && row("cloud1").contains("Connection refused"), "{said}");
    assert!(row("telemetry").contains("unchanged 8"), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals");
    let json: serde_json::Value = serde_json::from_str(&house.says(&["status", "--json"])).unwrap();
    assert_eq!(json["totals"]["received"], 20);
    let route = house.says(&["status", "--route", "telemetry"]);
    assert!(route.lines().count() == 2 && route.contains("telemetry"), "{route}");
}

#[test]
fn what_is_wrong_with_a_reload_stands_in_the_status_until_it_is_put_right() {
    let house = House::start("");
    let good = std::fs::read_to_string(house.tidegate.dir().join("tidegate.toml")).unwrap();
    house.tidegate.edit_config(&good.replace("round = 1", "rond = 1"));
    eventually("it is refused", PATIENCE, || house.get("status")["reload"]["is_refused"] == true);
    let said = house.says(&["status"]);
    assert!(said.contains("the file was refused ") && said.contains("unknown field `rond`"), "{said}");
    house.tidegate.edit_config(&good);
    eventually("it is put right", PATIENCE, || house.get("status")["reload"]["is_refused"] == false);
    assert!(!house.says(&["status"]).contains("the file was refused"), "{said}");
}

#[test]
fn dropped_and_parked_are_tables_with_filters() {
    let house = House::start("");
    let mut device = house.device();
    for payload in [&b"{\"temp\":70}"[..], b"{\"temp\":70}", b"no json", b"nor this"] {
        device.publish("dev/1/temp", payload, 1, false).unwrap();
    }
    device.publish("dev/2/temp", b"no json\r", 1, false).unwrap();
    eventually("three are parked", PATIENCE, || house.get("status")["parked"] == 3);
    let said = house.says(&["dropped"]);
    assert!(said.starts_with("WHEN") && said.contains("unchanged  dev/1/temp"), "{said}");
    assert!(house.says(&["dropped", "--route", "backup"]).starts_with("nothing of that was dropped"));
    let table = house.says(&["parked", "list", "--table"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("celsius") && table.contains("reject: "), "{table}");
    let json: Vec<serde_json::Value> = serde_json::from_str(&house.says(&["parked", "list"])).unwrap();
    assert_eq!(json.len(), 3, "a program gets JSON");
    assert!(
        house
            .says(&["parked", "list", "--table", "--reason", "reject", "--route", "backup"])
            .starts_with("nothing is parked")
    );
    assert_eq!(house.says(&["parked", "delete", "1", "2"]).lines().count(), 2);
    assert_eq!(house.says(&["parked", "replay", "--all", "--reason", "reject"]), "1 message: on their way again\n");
    eventually("it is parked anew", PATIENCE, || house.get("parked")[0]["number"] == 4);
    assert_eq!(house.says(&["parked", "delete", "--all"]), "1 message: deleted\n");
    let file = house.tidegate.dir().join("tidegate.toml").display().to_string();
    let output = run(&["parked", "delete", "--config", &file]);
    assert_eq!(output.status.code(), Some(64), "neither numbers nor --all: {output:?}");
}

#[test]
fn tap_prints_each_step_and_ends_when_it_is_told() {
    let house = House::start("");
    let file = house.tidegate.dir().join("tidegate.toml").display().to_string();
    let tap = |words: &[&str]| {
        let mut command = std::process::Command::new(Tidegate::binary());
        command.arg("tap").args(["--config", &file]).args(words);
        command.stdout(std::process::Stdio::piped()).spawn().expect("tidegate runs")
    };
    let (mut all, mut failed) =
        (tap(&["dev/+/temp", "-n", "2", "--route", "telemetry"]), tap(&["--failed", "-n", "1", "--json"]));
    let mut device = house.device();
    eventually("both have seen enough", PATIENCE, || {
        for payload in [&b"{\"temp\":70}"[..], b"no json"] {
            device.publish("dev/1/temp", payload, 1, false).unwrap();
        }
        all.try_wait().unwrap().is_some() && failed.try_wait().unwrap().is_some()
    });
    let said = String::from_utf8(all.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("home > telemetry: dev/1/temp QoS 1 {\"temp\":70}"), "{said}");
    assert!(said.contains("  celsius: 1 output: onward\n    dev/1/temp QoS 1 {\"temp\":21.1}\n"), "{said}");
    let output = failed.wait_with_output().unwrap();
    let way: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && way["ending"]["how"] == "parked", "{way}");
}

#[test]
fn without_a_file_there_is_a_word_of_where_it_would_be() {
    let output = run(&["status"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(64) && said.contains("/etc/tidegate/tidegate.toml"), "{output:?}");
}

#[test]
fn apply_saves_what_is_good_and_says_what_became_of_it() {
    let house = House::start("");
    let file = house.tidegate.dir().join("tidegate.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let new = house.tidegate.dir().join("new.toml").display().to_string();
    let config = file.display().to_string();
    let apply = |text: &str, words: &[&str]| {
        std::fs::write(&new, text).unwrap();
        let output = run(&[&["apply", &new, "--config", &config], words].concat());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = apply(&good.replace("round = 1", "rond = 1"), &[]);
    assert!(code == Some(78) && said.contains("it is not saved") && said.contains("rond"), "{code:?} {said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), good);
    let better = good.replace("round = 1", "round = 2");
    let (code, said) = apply(&better, &["--dry-run"]);
    assert!(code == Some(0) && said.contains("changes: plugins.celsius.config"), "{code:?} {said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), good);
    let (code, said) = apply(&better, &[]);
    assert!(code == Some(0) && said.ends_with("it runs\n"), "{code:?} {said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), better);
    assert_eq!(house.get("layout")["plugins"][0]["config"]["round"], 2);
}
