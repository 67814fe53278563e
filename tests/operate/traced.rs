//! Messages that are followed from their receipt to their end.

use super::House;
use super::api::{events, route};
use crate::fixture::PATIENCE;
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tidegate_testkit::{Tidegate, eventually};

struct Traces(Receiver<(String, String)>);

impl Traces {
    fn begin(house: &House, query: &str) -> Self {
        let traces = events(house, &format!("trace?{query}"));
        assert_eq!(traces.recv_timeout(PATIENCE).unwrap().0, "looking");
        Self(traces)
    }

    #[track_caller]
    fn next(&self) -> Value {
        let (name, data) = self.0.recv_timeout(PATIENCE).expect("a journey is told");
        assert_eq!(name, "journey", "{data}");
        serde_json::from_str(&data).unwrap()
    }
}

/// `what`, with the route and the target where there are some.
fn steps(journey: &Value) -> Vec<String> {
    let steps = journey["steps"].as_array().unwrap();
    let times: Vec<f64> = steps.iter().map(|step| step["after_ms"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{journey}");
    let text = |step: &Value, key: &str| step[key].as_str().map(|text| format!(" {text}")).unwrap_or_default();
    steps
        .iter()
        .map(|step| format!("{}{}{}", step["what"].as_str().unwrap(), text(step, "route"), text(step, "target")))
        .collect()
}

fn step<'a>(journey: &'a Value, what: &str) -> &'a Value {
    journey["steps"].as_array().unwrap().iter().find(|step| step["what"] == what).unwrap()
}

#[test]
fn each_step_of_a_message_is_told_in_order() {
    let mut house = House::start("");
    house.cloud.restart();
    eventually("the cloud is there", PATIENCE, || house.get("status")["ready"] == true);
    let traces = Traces::begin(&house, "filter=dev/+/temp&payloads=true");
    let mut device = house.device();
    device.publish("dev/1/temp", b"{\"temp\":70}", 1, false).unwrap();
    let journey = traces.next();
    assert_eq!((&journey["complete"], &journey["broker"]), (&json!(true), &json!("home")));
    assert_eq!(journey["came"]["payload"], "{\"temp\":70}");
    assert_eq!(step(&journey, "received")["routes"], json!(["telemetry", "backup"]));
    let said = &step(&journey, "decided")["said"];
    assert_eq!((&said[0]["plugin"], &said[0]["of"]), (&json!("celsius"), &json!(1)));
    assert_eq!(said[0]["version"].as_str().unwrap().len(), 8, "{said}");
    assert_eq!(said[1]["words"], "onward, unchanged");
    let of =
        |which: &str| -> Vec<String> { steps(&journey).into_iter().filter(|step| step.ends_with(which)).collect() };
    assert_eq!(
        of(" office"),
        ["filed telemetry office", "durable office", "sent office", "acknowledged office"],
        "{journey}"
    );
    assert_eq!(of(" cloud"), ["filed backup cloud", "durable cloud", "sent cloud", "acknowledged cloud"], "{journey}");
    let all = steps(&journey);
    let at = |what: &str| all.iter().position(|step| step == what).unwrap_or_else(|| panic!("no {what} in {all:?}"));
    assert!(at("recorded") < at("durable office") && at("recorded") < at("settled"), "{all:?}");
    assert_eq!(all.len(), 13, "{all:?}");
    let sent = |target: &str| {
        let mut steps = journey["steps"].as_array().unwrap().iter();
        steps.find(|step| step["what"] == "sent" && step["target"] == target).unwrap()["broker"].clone()
    };
    assert_eq!((sent("office"), sent("cloud")), (json!("office"), json!("cloud1")), "the latter by its member");

    // The same once more is dropped in one route, and what is no JSON is put aside; of both the rest goes on.
    device.publish("dev/1/temp", b"{\"temp\":70}", 1, false).unwrap();
    let journey = traces.next();
    assert!(steps(&journey).contains(&"ended telemetry".to_owned()), "{journey}");
    assert_eq!(
        (&step(&journey, "decided")["outcome"], &step(&journey, "ended")["reason"]),
        (&json!("dropped"), &json!("unchanged"))
    );
    device.publish("dev/1/temp", b"no json", 1, false).unwrap();
    let journey = traces.next();
    assert_eq!(step(&journey, "decided")["outcome"], "parked", "{journey}");
    assert!(step(&journey, "decided")["said"][0]["words"].as_str().unwrap().contains("not JSON"), "{journey}");
    assert!(journey["complete"] == true && steps(&journey).contains(&"settled".to_owned()), "{journey}");
    // Of others nothing is told.
    device.publish("dev/1/other", b"1", 1, false).unwrap();
    device.publish("dev/2/temp", b"{\"temp\":70}", 0, false).unwrap();
    assert_eq!(traces.next()["came"]["topic"], "dev/2/temp");
}

#[test]
fn what_waits_for_its_target_is_told_as_far_as_it_has_come_and_then_to_its_end() {
    let mut house = House::start("");
    let traces = Traces::begin(&house, "filter=dev/1/other");
    house.device().publish("dev/1/other", b"1", 1, false).unwrap();
    let first = traces.next();
    assert_eq!((&first["complete"], &first["came"]["payload"]), (&json!(false), &Value::Null));
    assert_eq!(steps(&first).last().unwrap(), "durable cloud", "{first}");
    house.cloud.restart();
    let second = traces.next();
    assert_eq!((&second["complete"], &second["number"]), (&json!(true), &first["number"]));
    assert_eq!(steps(&second)[..steps(&first).len()], steps(&first));
    assert_eq!(steps(&second)[steps(&first).len()..], ["sent cloud", "acknowledged cloud"]);
}

#[test]
fn a_trace_under_load_follows_some_and_every_message_is_accounted_for() {
    let house = House::start("");
    let traces = Traces::begin(&house, "rate=20&route=telemetry");
    let mut device = house.device();
    const MESSAGES: usize = 20_000;
    let began = std::time::Instant::now();
    for n in 0..MESSAGES {
        device.send(&format!("dev/{}/temp", n % 8), format!("{{\"temp\":{n}}}").as_bytes(), 0, false).unwrap();
    }
    device.publish("dev/1/temp", b"{\"temp\":1}", 1, false).unwrap();
    eventually("nothing is under way", PATIENCE, || {
        let account = route(&house.get("status"), "telemetry")["account"].clone();
        account["in_flight"] == 0 && account["delivered"] == MESSAGES + 1
    });
    // For the cloud they wait: they are told as far as they have come.
    let seconds = began.elapsed().as_secs() + 2;
    traces.next();
    std::thread::sleep(Duration::from_secs(1));
    let seen = traces.0.try_iter().filter(|(name, _)| name == "journey").count() as u64 + 1;
    assert!(seen <= 2 * 20 * (seconds + 1), "{seen} in {seconds} s");
    // Who follows no more costs no more: the next finds room, however many have followed.
    drop(traces);
    for _ in 0..40 {
        let traces = Traces::begin(&house, "filter=dev/1/temp");
        device.publish("dev/1/temp", b"no json", 1, false).unwrap();
        assert_eq!(traces.next()["came"]["topic"], "dev/1/temp");
    }
}

#[test]
fn the_terminal_prints_each_step_with_its_time() {
    let mut house = House::start("");
    house.cloud.restart();
    let file = house.tidegate.dir().join("tidegate.toml").display().to_string();
    let trace = |words: &[&str]| {
        let mut command = std::process::Command::new(Tidegate::binary());
        command.arg("trace").args(["--config", &file]).args(words);
        command.stdout(std::process::Stdio::piped()).spawn().expect("tidegate runs")
    };
    let (mut people, mut programs) =
        (trace(&["dev/+/other", "-n", "1"]), trace(&["dev/+/other", "-n", "1", "--json", "--no-payloads"]));
    let mut device = house.device();
    let told = |trace: std::process::Child| String::from_utf8(trace.wait_with_output().unwrap().stdout).unwrap();
    eventually("both have seen one", PATIENCE, || {
        device.publish("dev/1/other", b"1", 1, false).unwrap();
        people.try_wait().unwrap().is_some() && programs.try_wait().unwrap().is_some()
    });
    let said = told(people);
    assert!(said.contains(" home: dev/1/other QoS 1 1\n") && said.contains(" ms  received, for backup\n"), "{said}");
    assert!(said.contains("  route `backup`\n") && said.contains("    to `cloud`\n"), "{said}");
    assert!(said.contains(" ms      acknowledged by its member cloud1\n"), "{said}");
    let journey: Value = serde_json::from_str(&told(programs)).unwrap();
    assert_eq!((&journey["complete"], &journey["came"].get("payload")), (&json!(true), &None));
}
