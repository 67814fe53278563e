//! What the gateway publishes of its own state: the messages.
//!
//! They are retained, pass no route and are counted nowhere. What Home Assistant is told follows its MQTT discovery for
//! devices (<https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>).

use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tidegate_config::Status;
use tidegate_message::{Message, QoS, Topic};

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A counter: its key, what people call it, its unit, and whether it only rises.
struct Counter {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    rises: bool,
    of: fn(&Snapshot) -> u64,
}

/// All that are numbers of the snapshot.
const COUNTERS: [Counter; 6] = [
    Counter {
        key: "received",
        name: "Messages received",
        unit: "messages",
        rises: true,
        of: |all| all.routes.iter().map(|route| route.account.received).sum(),
    },
    Counter {
        key: "forwarded",
        name: "Messages forwarded",
        unit: "messages",
        rises: true,
        of: |all| all.routes.iter().map(|route| route.account.out).sum(),
    },
    Counter {
        key: "dropped",
        name: "Messages dropped",
        unit: "messages",
        rises: true,
        of: |all| all.routes.iter().map(|route| route.account.dropped_total()).sum(),
    },
    Counter {
        key: "waiting",
        name: "Messages waiting",
        unit: "messages",
        rises: false,
        of: |all| all.routes.iter().map(|route| route.account.in_flight).sum(),
    },
    Counter { key: "parked", name: "Messages parked", unit: "messages", rises: false, of: |all| all.parked_now as u64 },
    Counter {
        key: "brokers_connected",
        name: "Brokers connected",
        unit: "brokers",
        rises: false,
        of: |all| all.brokers.iter().filter(|broker| broker.up).count() as u64,
    },
];

/// The key of the time since the start, in seconds.
const UPTIME: &str = "uptime";

/// That the gateway is here, and that it is not.
pub(crate) struct Announced {
    pub(crate) online: Message,
    pub(crate) offline: Message,
}

/// At a broker that takes messages of this QoS at most.
pub(crate) fn announced(status: &Status, max_qos: QoS) -> Announced {
    let qos = QoS::AtLeastOnce.min(max_qos);
    let say = |payload: &'static str| Message { retain: true, ..Message::new(status.topic.clone(), payload, qos) };
    Announced { online: say(ONLINE), offline: say(OFFLINE) }
}

/// What is published again at each connection: the device of Home Assistant. `had_counters`: sensors that it may know of them
/// are named as gone, if there are none.
pub(crate) fn lasting(gateway: &str, status: &Status, had_counters: bool) -> Option<Message> {
    let topic = device_topic(gateway, status)?;
    Some(retained(topic, discovery(gateway, status, had_counters).to_string(), QoS::AtLeastOnce))
}

fn device_topic(gateway: &str, status: &Status) -> Option<Topic> {
    let prefix = status.home_assistant.as_ref()?;
    Topic::new(format!("{prefix}/device/{}/config", device_id(gateway))).ok()
}

/// The topics on which something retained of this status is, beside the state itself.
pub(crate) fn topics(gateway: &str, status: &Status) -> Vec<Topic> {
    let counters = status.counters.and_then(|_| Topic::new(status.counters_topic()).ok());
    device_topic(gateway, status).into_iter().chain(counters).collect()
}

/// What takes a retained message away.
pub(crate) fn removal(topic: Topic) -> Message {
    retained(topic, String::new(), QoS::AtLeastOnce)
}

/// The counters, if they are published.
pub(crate) fn counters(status: &Status, all: &Snapshot, uptime: Duration) -> Option<Message> {
    let mut values: Map<String, Value> =
        COUNTERS.iter().map(|one| (one.key.to_owned(), json!((one.of)(all)))).collect();
    values.insert(UPTIME.to_owned(), json!(uptime.as_secs()));
    values.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let topic = Topic::new(status.counters_topic()).ok()?;
    Some(retained(topic, Value::Object(values).to_string(), QoS::AtMostOnce))
}

fn retained(topic: Topic, payload: String, qos: QoS) -> Message {
    Message { retain: true, ..Message::new(topic, payload, qos) }
}

/// A name of a gateway has only characters that an id may have.
fn device_id(gateway: &str) -> String {
    format!("tidegate_{gateway}")
}

fn discovery(gateway: &str, status: &Status, had_counters: bool) -> Value {
    let id = device_id(gateway);
    let connection = json!({
        "platform": "binary_sensor",
        "unique_id": format!("{id}_connection"),
        "name": "Connection",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": status.topic.as_str(),
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
    });
    let mut components = Map::from_iter([("connection".to_owned(), connection)]);
    let sensors = COUNTERS.iter().map(|one| {
        let kind = if one.rises { "total_increasing" } else { "measurement" };
        (one.key, json!({ "name": one.name, "unit_of_measurement": one.unit, "state_class": kind }))
    });
    let uptime = (UPTIME, json!({ "name": "Uptime", "unit_of_measurement": "s", "device_class": "duration" }));
    let has_counters = status.counters.is_some();
    for (key, mut sensor) in sensors.chain([uptime]).filter(|_| has_counters || had_counters) {
        let shared = json!({
            "unique_id": format!("{id}_{key}"),
            "entity_category": "diagnostic",
            "state_topic": status.counters_topic(),
            "value_template": format!("{{{{ value_json.{key} }}}}"),
            "availability_topic": status.topic.as_str(),
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
        });
        // A component of which there is nothing but its platform is one that is gone.
        let mut component = Map::from_iter([("platform".to_owned(), json!("sensor"))]);
        if has_counters {
            for part in [&mut sensor, &mut shared.clone()] {
                component.extend(part.as_object_mut().map(std::mem::take).unwrap_or_default());
            }
        }
        components.insert(key.to_owned(), Value::Object(component));
    }
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "device": { "identifiers": [id], "name": gateway, "model": "Tidegate", "sw_version": version },
        "origin": { "name": "Tidegate", "sw_version": version },
        "components": components,
        "qos": 1,
    })
}
