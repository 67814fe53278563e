//! What the gateway says of itself at each broker: `status`, its counters, and what Home Assistant finds by it.

use super::{exactly, listener};
use crate::fixture::{PATIENCE, assert_balanced, broker, route};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, Tidegate, Version, eventually, free_port};

const STATE: &str = "tidegate/test/status";
const COUNTERS: &str = "tidegate/test/counters";
const DEVICE: &str = "homeassistant/device/tidegate_test/config";

/// Who watches: keeps the last of each topic, and whether that is retained for others.
struct Watcher {
    port: u16,
    client: Client,
    last: BTreeMap<String, String>,
}

impl Watcher {
    #[track_caller]
    fn new(port: u16) -> Self {
        let mut client = Client::connect(port, &ClientOptions::new(Version::V5, "watcher")).expect("it connects");
        client.subscribe(&[("#", 1)]).expect("it subscribes");
        Self { port, client, last: BTreeMap::new() }
    }

    /// Waits until the last message on a topic is as wanted.
    #[track_caller]
    fn sees(&mut self, topic: &str, is: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !self.last.get(topic).is_some_and(|last| is(last)) {
            assert!(Instant::now() < until, "{topic}: {:?}", self.last);
            // What came before the broker says goodbye is there all the same.
            let Ok(Some(next)) = self.client.receive(PATIENCE) else { continue };
            self.last.insert(next.topic, String::from_utf8(next.payload).expect("text"));
        }
    }

    #[track_caller]
    fn is(&mut self, topic: &str, text: &str) {
        self.sees(topic, |last| last == text);
    }

    /// What is retained now, by topic.
    #[track_caller]
    fn retained(&self) -> BTreeMap<String, String> {
        let mut client = Client::connect(self.port, &ClientOptions::new(Version::V5, "late")).expect("it connects");
        client.subscribe(&[("#", 1)]).expect("it subscribes");
        client.publish("the/end", b"", 1, false).expect("it publishes");
        let mut all = BTreeMap::new();
        loop {
            let next = client.receive(PATIENCE).expect("it stays connected").expect("the end comes");
            if next.topic == "the/end" {
                return all;
            }
            if next.retain {
                all.insert(next.topic, String::from_utf8(next.payload).expect("text"));
            }
        }
    }
}

#[test]
fn online_and_offline_are_retained_through_a_start_a_stop_and_a_kill() {
    for version in ["5", "3.1.1"] {
        let (home, office) = (Mosquitto::start(), Mosquitto::start());
        let keys = format!("version = \"{version}\"\nstatus = true");
        let mut config = broker("home", &home.url(), &keys) + &broker("office", &office.url(), "");
        // Its own words are not its messages: nothing of them comes back through its routes.
        // On 3.1.1 mosquitto hands back at each SUBSCRIBE what is stored, no matter by whom: `new` does not ask again.
        config += "[[routes]]\nname = \"all\"\nto = [\"office\"]\n\
                   from = { broker = \"home\", topics = [\"tidegate/#\"], retained = \"new\" }\n";
        let mut subscriber = listener(office.port(), "subscriber");
        let mut watcher = Watcher::new(home.port());
        let mut tidegate = Tidegate::start(&config);
        watcher.is(STATE, "online");
        assert_eq!(watcher.retained().get(STATE).map(String::as_str), Some("online"));
        tidegate.terminate(PATIENCE);
        watcher.is(STATE, "offline");
        tidegate.restart();
        watcher.is(STATE, "online");
        tidegate.kill();
        watcher.is(STATE, "offline");
        assert_eq!(watcher.retained().get(STATE).map(String::as_str), Some("offline"));
        tidegate.restart();
        watcher.is(STATE, "online");
        exactly(&mut subscriber, 0);
        let metrics = assert_balanced(&tidegate);
        assert_eq!(metrics.get("tidegate_route_received_total", &[]), Some(0.0));
    }
}

#[test]
fn counters_say_what_became_of_messages() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let keys = "status = { topic = \"gw/state\", counters = \"1s\" }";
    let mut config = broker("home", &home.url(), keys) + &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    let mut watcher = Watcher::new(home.port());
    let _tidegate = Tidegate::start(&config);
    watcher.is("gw/state", "online");
    let mut device = Client::connect(home.port(), &ClientOptions::new(Version::V311, "device")).unwrap();
    for _ in 0..7 {
        device.publish("dev/1", b"x", 1, false).unwrap();
    }
    let parsed = |text: &str| serde_json::from_str::<BTreeMap<String, Value>>(text).expect("JSON");
    watcher.sees("gw/counters", |text| {
        let counters = parsed(text);
        counters["received"] == 7 && counters["forwarded"] == 7 && counters["brokers_connected"] == 2
    });
    let counters = parsed(&watcher.last["gw/counters"]);
    let keys: Vec<&str> = counters.keys().map(String::as_str).collect();
    let expected = ["brokers_connected", "dropped", "forwarded", "parked", "received", "uptime", "version", "waiting"];
    assert_eq!(keys, expected);
    assert_eq!((&counters["dropped"], &counters["waiting"], &counters["parked"]), (&json!(0), &json!(0), &json!(0)));
    assert!(counters["uptime"].is_u64() && counters["version"].is_string());
    assert!(watcher.retained().contains_key("gw/counters"));
    let before = counters["uptime"].as_u64();
    watcher.sees("gw/counters", |text| parsed(text)["uptime"].as_u64() > before);
}

/// As <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload> has it.
fn device(counters: bool, removed: bool) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let mut components = json!({
        "connection": {
            "platform": "binary_sensor", "unique_id": "tidegate_test_connection", "name": "Connection",
            "device_class": "connectivity", "entity_category": "diagnostic",
            "state_topic": STATE, "payload_on": "online", "payload_off": "offline",
        },
    });
    let sensors = [
        ("received", "Messages received", "messages", Some("total_increasing")),
        ("forwarded", "Messages forwarded", "messages", Some("total_increasing")),
        ("dropped", "Messages dropped", "messages", Some("total_increasing")),
        ("waiting", "Messages waiting", "messages", Some("measurement")),
        ("parked", "Messages parked", "messages", Some("measurement")),
        ("brokers_connected", "Brokers connected", "brokers", Some("measurement")),
        ("uptime", "Uptime", "s", None),
    ];
    for (key, name, unit, class) in sensors {
        if counters {
            components[key] = json!({
                "platform": "sensor", "unique_id": format!("tidegate_test_{key}"), "name": name,
                "unit_of_measurement": unit, "entity_category": "diagnostic",
                "state_topic": COUNTERS, "value_template": format!("{{{{ value_json.{key} }}}}"),
                "availability_topic": STATE, "payload_available": "online", "payload_not_available": "offline",
            });
            match class {
                Some(class) => components[key]["state_class"] = json!(class),
                None => components[key]["device_class"] = json!("duration"),
            }
        } else if removed {
            components[key] = json!({ "platform": "sensor" });
        }
    }
    json!({
        "device": {
            "identifiers": ["tidegate_test"], "name": "test", "model": "Tidegate", "sw_version": version,
        },
        "origin": { "name": "Tidegate", "sw_version": version },
        "components": components,
        "qos": 1,
    })
}

#[test]
fn home_assistant_finds_the_gateway_and_forgets_it_when_the_key_goes() {
    for version in ["5", "3.1.1"] {
        let (home, office) = (Mosquitto::start(), Mosquitto::start());
        let config = |status: &str| {
            let keys = format!("version = \"{version}\"\n{status}");
            let route = route("home", &["dev/#"], &["office"], "");
            broker("home", &home.url(), &keys) + &broker("office", &office.url(), "") + &route
        };
        let mut watcher = Watcher::new(home.port());
        let is = |counters, removed| {
            move |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|found| found == device(counters, removed))
        };
        let mut tidegate = Tidegate::start(&config("status = { home_assistant = true, counters = \"1s\" }"));
        let connects =
            |tidegate: &Tidegate| tidegate.metrics().get("tidegate_broker_connects_total", &[("broker", "home")]);
        watcher.sees(DEVICE, is(true, false));
        // Told again after a restart, though nobody has asked.
        tidegate.restart();
        watcher.last.clear();
        watcher.sees(DEVICE, is(true, false));

        // Without a new connection: other prefix, no counters, nothing at all.
        let before = connects(&tidegate);
        tidegate.edit_config(&config("status = { home_assistant = \"ha\", counters = \"1s\" }"));
        watcher.is(DEVICE, "");
        let elsewhere = DEVICE.replace("homeassistant", "ha");
        watcher.sees(&elsewhere, is(true, false));
        tidegate.edit_config(&config("status = { home_assistant = true }"));
        watcher.is(&elsewhere, "");
        watcher.is(COUNTERS, "");
        watcher.sees(DEVICE, is(false, true));
        tidegate.edit_config(&config("status = true"));
        watcher.is(DEVICE, "");
        assert_eq!(connects(&tidegate), before);
        assert_eq!(watcher.retained(), BTreeMap::from([(STATE.to_owned(), "online".to_owned())]));

        // Another topic is another will: that connection alone is made anew.
        tidegate.edit_config(&config("status = { topic = \"gw/state\", home_assistant = true }"));
        watcher.is("gw/state", "online");
        watcher.is(STATE, "");
        tidegate.edit_config(&config(""));
        watcher.is("gw/state", "");
        eventually("nothing is left", PATIENCE, || watcher.retained().is_empty());
    }
}

#[test]
fn the_clients_of_the_own_broker_are_told() {
    let (port, office) = (free_port(), Mosquitto::start());
    let config = |status: &str| {
        let own = format!("[brokers.box]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:{port}\"]\n{status}\n");
        own + &broker("office", &office.url(), "") + &route("box", &["#"], &["office"], "")
    };
    let mut subscriber = listener(office.port(), "subscriber");
    let mut tidegate = Tidegate::start(&config("status = { counters = \"1s\", home_assistant = true }"));
    let mut watcher = Watcher::new(port);
    watcher.is(STATE, "online");
    watcher.sees(COUNTERS, |text| text.contains("\"brokers_connected\":2"));
    watcher.sees(DEVICE, |text| text.contains("\"connectivity\""));
    tidegate.edit_config(&config("status = true"));
    watcher.is(DEVICE, "");
    watcher.is(COUNTERS, "");
    assert_eq!(watcher.retained(), BTreeMap::from([(STATE.to_owned(), "online".to_owned())]));
    exactly(&mut subscriber, 0);
    assert_balanced(&tidegate);
    tidegate.terminate(PATIENCE);
    watcher.is(STATE, "offline");
}
