//! The interface: what it says is so, and what it says of itself too.

use super::{CONTROL, House};
use crate::fixture::{PATIENCE, plugin};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use tidegate_testkit::{eventually, within};

/// Listens to a stream of events: name and data.
pub(super) fn events(house: &House, path: &str) -> mpsc::Receiver<(String, String)> {
    let mut stream = TcpStream::connect(&house.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let (to, from) = mpsc::channel();
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains(" 200 "), "{first}");
    std::thread::spawn(move || {
        let mut name = String::new();
        for line in lines.map_while(Result::ok) {
            if let Some(found) = line.strip_prefix("event: ") {
                name = found.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && to.send((name.clone(), data.to_owned())).is_err()
            {
                return;
            }
        }
    });
    from
}

pub(super) fn route<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["routes"].as_array().unwrap().iter().find(|route| route["name"] == name).unwrap()
}

#[test]
fn the_status_says_what_came_where_it_went_and_what_waits() {
    let house = House::start("");
    let mut device = house.device();
    for n in 0..10 {
        device.publish("dev/1/temp", format!("{{\"temp\":{}}}", 70 + n / 5).as_bytes(), 1, false).unwrap();
    }
    device.publish("dev/2/temp", b"no json", 1, false).unwrap();
    eventually("all is accounted for", PATIENCE, || {
        let status = house.get("status");
        route(&status, "telemetry")["account"]["parked"] == 1 && status["waiting"] == 11
    });
    let status = house.get("status");
    let telemetry = route(&status, "telemetry");
    assert_eq!(telemetry["account"]["delivered"], 2, "{telemetry}");
    assert_eq!(telemetry["drops"], json!({ "unchanged": 8 }));
    assert_eq!(telemetry["plugins"][0]["failures"], 1);
    assert_eq!(route(&status, "backup")["account"]["in_flight"], 11);
    assert_eq!((&status["ready"], &status["parked"]), (&json!(false), &json!(1)));
    let problems = status["problems"].to_string();
    assert!(problems.contains("target cloud: none of its members is connected"), "{problems}");
    assert!(!problems.contains("others of its set are there"), "there are none: {problems}");
    let queue = &status["queues"][0];
    assert_eq!((&queue["target"], &queue["messages"]), (&json!("cloud"), &json!(11)));
    assert!(queue["used"].as_f64().unwrap() > 0.0, "{queue}");
    assert!(status["process"]["memory_bytes"].as_u64().unwrap() > 1_000_000);
    eventually("rates are there when somebody has looked before", PATIENCE, || {
        route(&house.get("status"), "telemetry")["rates"]["received"].is_number()
    });
    let layout = house.get("layout");
    assert_eq!(
        layout["routes"][0]["plugins"],
        json!([{ "name": "celsius", "sends_to": [] }, { "name": "changes", "sends_to": [] }])
    );
    assert_eq!(layout["sets"], json!([{ "name": "cloud", "policy": "failover", "members": ["cloud1"] }]));
}

#[test]
fn each_drop_is_listed_with_its_reason_and_topic() {
    let house = House::start("");
    let mut device = house.device();
    for n in 0..3 {
        device.publish("dev/1/temp", b"{\"temp\":70}", 1, false).unwrap();
        device.publish(&format!("dev/{}/temp", 10 + n), b"{\"temp\":70}", 1, false).unwrap();
    }
    eventually("both are dropped", PATIENCE, || house.get("dropped")["total"] == 2);
    let kept = house.get("dropped")["kept"].clone();
    for one in kept.as_array().unwrap() {
        assert_eq!(
            (&one["route"], &one["reason"], &one["topic"]),
            (&json!("telemetry"), &json!("unchanged"), &json!("dev/1/temp"))
        );
    }
}

#[test]
fn a_tap_shows_what_each_plugin_says_and_only_what_is_asked_for() {
    let house = House::start("");
    let all = events(&house, "tap?filter=dev/+/temp&route=telemetry&payloads=true");
    let dropped = events(&house, "tap?only=dropped");
    let failed = events(&house, "tap?only=failed&contains=json");
    for taps in [&all, &dropped, &failed] {
        assert_eq!(taps.recv_timeout(PATIENCE).unwrap().0, "looking");
    }
    let mut device = house.device();
    for payload in [&b"{\"temp\":70}"[..], b"{\"temp\":70}", b"no json", b"\xff\xfe"] {
        device.publish("dev/1/temp", payload, 1, false).unwrap();
    }
    let mut ways: Vec<Value> = Vec::new();
    while ways.len() < 4 {
        let (name, data) = all.recv_timeout(PATIENCE).unwrap();
        assert_eq!(name, "way");
        ways.push(serde_json::from_str(&data).unwrap());
    }
    let [first, again, text, bytes] = &ways[..] else { panic!() };
    assert_eq!(
        (&first["broker"], &first["route"], &first["ending"]["how"]),
        (&json!("home"), &json!("telemetry"), &json!("onward"))
    );
    assert_eq!(first["came"]["payload"], "{\"temp\":70}");
    assert_eq!(
        (&first["said"][0]["plugin"], &first["said"][0]["words"]),
        (&json!("celsius"), &json!("1 output: onward"))
    );
    assert_eq!(first["said"][0]["made"][0]["payload"], "{\"temp\":21.1}");
    assert_eq!(
        (&first["said"][1]["plugin"], &first["said"][1]["words"]),
        (&json!("changes"), &json!("onward, unchanged"))
    );
    assert_eq!(
        (&first["out"][0]["targets"], &first["out"][0]["message"]["topic"]),
        (&json!(["office"]), &json!("site/dev/1/temp"))
    );
    assert_eq!(again["ending"], json!({ "how": "dropped", "reason": "unchanged", "by_plugin": true }));
    assert_eq!(
        (&text["ending"]["how"], &text["ending"]["plugin"], &text["ending"]["kind"]),
        (&json!("parked"), &json!("celsius"), &json!("reject"))
    );
    assert_eq!((&bytes["came"]["payload"], &bytes["came"]["payload_base64"]), (&Value::Null, &json!("//4=")));
    // The other taps: what does not go on, without payloads; and one failure.
    let mut ended = Vec::new();
    while ended.len() < 3 {
        let (_, data) = dropped.recv_timeout(PATIENCE).unwrap();
        let way: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((&way["came"]["payload"], &way["came"]["payload_base64"]), (&Value::Null, &Value::Null));
        ended.push(way["ending"]["how"].as_str().unwrap().to_owned());
    }
    assert_eq!(ended, ["dropped", "parked", "parked"]);
    let (_, data) = failed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["came"]["payload_bytes"], 7);
}

#[test]
fn a_tap_under_load_looks_at_some_and_every_message_is_accounted_for() {
    let house = House::start("");
    let taps = events(&house, "tap?rate=20");
    assert_eq!(taps.recv_timeout(PATIENCE).unwrap().0, "looking");
    let mut device = house.device();
    let began = std::time::Instant::now();
    const MESSAGES: usize = 20_000;
    for n in 0..MESSAGES {
        device.send(&format!("dev/{}/temp", n % 8), format!("{{\"temp\":{n}}}").as_bytes(), 0, false).unwrap();
    }
    device.publish("dev/1/temp", b"{\"temp\":1}", 1, false).unwrap();
    eventually("all came", PATIENCE, || {
        route(&house.get("status"), "telemetry")["account"]["received"] == MESSAGES + 1
    });
    let seconds = began.elapsed().as_secs() + 2;
    let seen = taps.try_iter().filter(|(name, _)| name == "way").count() as u64;
    assert!(seen > 0 && seen <= 20 * seconds, "{seen} in {seconds} s");
    eventually("nothing is under way", PATIENCE, || {
        let account = route(&house.get("status"), "telemetry")["account"].clone();
        account["in_flight"] == 0 && account["delivered"] == MESSAGES + 1
    });
    // Who looks no more costs no more: the next finds room, however many have looked.
    drop(taps);
    for _ in 0..40 {
        let taps = events(&house, "tap");
        assert_eq!(taps.recv_timeout(PATIENCE).unwrap().0, "looking");
        device.publish("dev/1/temp", b"{\"temp\":1}", 1, false).unwrap();
        assert_eq!(taps.recv_timeout(PATIENCE).unwrap().0, "way");
    }
}

#[test]
fn the_stream_tells_the_status_and_each_line_of_the_log() {
    let house = House::start("");
    let stream = events(&house, "stream?after=0");
    let (mut statuses, mut lines) = (0, Vec::new());
    let told = within(PATIENCE, || {
        while let Ok((name, data)) = stream.try_recv() {
            let data: Value = serde_json::from_str(&data).unwrap();
            match name.as_str() {
                "status" => statuses += 1,
                "log" => lines.push(data),
                other => panic!("{other}"),
            }
        }
        statuses > 1 && lines.iter().any(|line| line["message"] == "running")
    });
    assert!(told, "{statuses} {lines:?}");
    let about = |line: &&Value| line["fields"]["broker"] == "cloud1" && line["level"] == "WARN";
    assert!(lines.iter().any(|line| about(&line)), "{lines:?}");
    let numbers: Vec<u64> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.first() == Some(&1), "{numbers:?}");
}

#[test]
fn a_sample_is_explained_and_the_next_message_is_one() {
    let house = House::start("");
    let sample = json!({ "broker": "home", "topic": "dev/1/temp", "payload": "{\"temp\":70}", "qos": 1 });
    let (status, told) = house.ask("POST", "/api/v1/explain", &[], &sample.to_string());
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["routes"], 2);
    assert_eq!(told["deliveries"][0], json!({ "target": "office", "topic": "site/dev/1/temp" }));
    assert!(told["lines"].to_string().contains("celsius"), "{told}");
    for (wrong, words) in [
        ("{", "no sample"),
        ("{\"broker\":\"x\",\"topic\":\"a\"}", "no broker `x`"),
        ("{\"broker\":\"home\",\"topic\":\"#\"}", "`topic`"),
    ] {
        let (status, told) = house.ask("POST", "/api/v1/explain", &[], wrong);
        assert!(status == 400 && told.contains(words), "{status} {told}");
    }
    let next = std::thread::scope(|scope| {
        let next = scope.spawn(|| house.get("next?broker=home&filter=dev/%2B/temp"));
        let mut device = house.device();
        while !next.is_finished() {
            device.publish("dev/7/temp", b"{\"temp\":70}", 1, false).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        next.join().unwrap()
    });
    assert_eq!((&next["topic"], &next["payload"]), (&json!("dev/7/temp"), &json!("{\"temp\":70}")));
}

#[test]
fn what_waits_is_delivered_when_the_cloud_is_there_and_the_status_says_so() {
    let mut house = House::start(CONTROL);
    let mut device = house.device();
    for _ in 0..5 {
        device.publish("dev/1/hum", b"50", 1, false).unwrap();
    }
    eventually("it waits", PATIENCE, || house.get("status")["waiting"] == 5);
    house.cloud.restart();
    eventually("nothing waits, and all is well", PATIENCE, || {
        let status = house.get("status");
        status["waiting"] == 0 && status["ready"] == true && status["problems"] == json!([])
    });
}

#[test]
fn a_plugin_shows_its_versions_and_what_it_remembers() {
    let house = House::start("");
    let celsius = house.get("plugins/celsius");
    assert_eq!((celsius["versions"].as_array().unwrap().len(), &celsius["state_keys"]), (1, &json!(0)));
    assert_eq!(celsius["versions"][0]["version"], route(&house.get("status"), "telemetry")["plugins"][0]["version"]);
    assert_eq!(house.ask("GET", "/api/v1/plugins/nobody", &[], "").0, 404);
    // One that remembers comes by a reload.
    house.tidegate.replace_file("alarm.wasm", &plugin("alarm"));
    let text = std::fs::read_to_string(house.tidegate.dir().join("tidegate.toml")).unwrap();
    let hot = "[plugins.hot]\npath = \"alarm.wasm\"\nconfig = { field = \"temp\", above = 20, to = \"office\" }\n\
               grants = { state = true, targets = [\"office\"], topics = [\"alarm/#\"] }\n";
    let text = text.replace("plugins = [\"celsius\", \"changes\"]", "plugins = [\"celsius\", \"hot\"]");
    let text = text.replace("remap = { prefix = \"site/\" }", "remap = { prefix = \"site/\" }\ntick = \"1s\"") + hot;
    house.tidegate.replace_file("tidegate.toml", text.as_bytes());
    eventually("it is there", PATIENCE, || house.ask("GET", "/api/v1/plugins/hot", &[], "").0 == 200);
    house.device().publish("dev/1/temp", b"{\"temp\":212}", 1, false).unwrap();
    eventually("it remembers", PATIENCE, || house.get("plugins/hot")["state_keys"] == 1);
    let hot = house.get("plugins/hot");
    let key = &hot["state"][0];
    assert!(key["key"].as_str().unwrap().contains("dev/1/temp") && key["bytes"] == hot["state_bytes"], "{hot}");
}

/// Every path of the description, with what it allows and what it does not, by an independent tool.
#[test]
fn the_interface_is_as_its_own_description_says() {
    let house = House::start("");
    house.device().publish("dev/1/temp", b"no json", 1, false).unwrap();
    eventually("something is parked", PATIENCE, || house.get("status")["parked"] == 1);
    let key = std::fs::read_to_string(house.tidegate.dir().join("data/admin.key")).unwrap();
    let python = std::env::var("TIDEGATE_TEST_PYTHON").expect("scripts/test sets it");
    let tool = std::path::Path::new(&python).with_file_name("schemathesis");
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("timeout")
        .args(["-k", "1", "240"])
        .arg(tool)
        .args(["run", &format!("http://{}/api/v1/openapi.json", house.admin)])
        .args(["--header", &format!("Authorization: Bearer {}", key.trim())])
        // Streams have no end.
        .args(["--exclude-path-regex", "/(stream|tap|trace|record|next)$"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--max-examples", "25", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"])
        .current_dir(dir.path())
        .output()
        .expect("timeout runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(house.ask("GET", "/health", &[], "").0, 200);
    assert!(!house.tidegate.log().contains("panicked"), "{}", house.tidegate.log());
}
