//! What plugins say on a tick.

use crate::fixture::{PATIENCE, Witness, assert_balanced, broker, named_route, plugin};
use tidegate_testkit::{Client, ClientOptions, Ledger, Mosquitto, Tidegate, Version, eventually};

/// Holds the second message of a topic back until the interval is over.
const CALM: &str = r#"[plugins.calm]
path = "plugins/throttle.wasm"
config = { every = "2s" }
"#;

struct House {
    home: Mosquitto,
    office: Mosquitto,
}

impl House {
    #[track_caller]
    fn new() -> Self {
        Self { home: Mosquitto::start(), office: Mosquitto::start() }
    }

    /// A gateway whose route `readings` goes through `calm` and then through `behind`.
    #[track_caller]
    fn gateway(&self, calm: &str, behind: (&str, &str)) -> Tidegate {
        let (component, keys) = behind;
        let mut config = broker("home", &self.home.url(), "") + &broker("office", &self.office.url(), "");
        config += &format!("{CALM}{calm}\n[plugins.behind]\npath = \"plugins/behind.wasm\"\n{keys}\n");
        let keys = "plugins = [\"calm\", \"behind\"]\ntick = \"50ms\"";
        config += &named_route("readings", "home", &["dev/#"], 1, &["office"], keys);
        let builder = Tidegate::builder(&config).file("plugins/throttle.wasm", plugin("throttle"));
        builder.file("plugins/behind.wasm", plugin(component)).start()
    }

    #[track_caller]
    fn publish(&self, payloads: [&str; 2]) {
        let options = ClientOptions::new(Version::V5, "publisher");
        let mut client = Client::connect(self.home.port(), &options).expect("the publisher connects");
        for payload in payloads {
            client.publish("dev/1/temp", payload.as_bytes(), 1, false).expect("a message is published");
        }
    }
}

const GRANTED: &str = "grants = { topics = [\"dev/#\"] }";

fn ticked(tidegate: &Tidegate) -> f64 {
    tidegate.metrics().get("tidegate_route_ticked_total", &[]).unwrap_or(0.0)
}

#[test]
fn what_a_plugin_says_on_a_tick_goes_through_the_plugins_behind_it() {
    let house = House::new();
    let convert = r#"config = { field = "temp", from = "fahrenheit", to = "celsius", round = 0 }"#;
    let tidegate = house.gateway(GRANTED, ("convert", convert));
    let arrived = Witness::start(house.office.port(), "office", "dev/#", &Ledger::new());
    house.publish([r#"{"temp": 32}"#, r#"{"temp": 212}"#]);
    eventually("both arrive", PATIENCE, || arrived.count() == 2);
    let payloads: Vec<String> = arrived.arrivals().into_iter().map(|arrival| arrival.payload).collect();
    assert_eq!(payloads, [r#"{"temp": 0}"#, r#"{"temp": 100}"#]);
    assert_eq!(ticked(&tidegate), 1.0, "the second was held back");
    assert_balanced(&tidegate);
}

#[test]
fn what_a_plugin_behind_refuses_of_a_tick_is_kept_aside_and_said() {
    let house = House::new();
    let tidegate = house.gateway(GRANTED, ("hostile", r#"config = { mode = "reject", only = "poison" }"#));
    let arrived = Witness::start(house.office.port(), "office", "dev/#", &Ledger::new());
    house.publish(["{}", "{\"poison\":1}"]);
    let parked = || tidegate.metrics().get("tidegate_route_parked_total", &[]);
    eventually("it is parked", PATIENCE, || parked() == Some(1.0));
    assert_eq!((ticked(&tidegate), arrived.count()), (1.0, 1));
    let log = tidegate.log();
    let line = log.lines().find(|line| line.contains("what a plugin before it said on a tick"));
    let line = line.unwrap_or_else(|| panic!("not a word of it: {log}"));
    for word in ["readings", "behind", "dev/1/temp", "never"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_balanced(&tidegate);
}

#[test]
fn what_a_plugin_may_not_say_on_a_tick_is_said() {
    let house = House::new();
    let tidegate = house.gateway("", ("hostile", r#"config = { mode = "pass" }"#));
    house.publish(["{}", "{}"]);
    let refused = [("plugin", "calm"), ("kind", "foreign_topic")];
    eventually("it is refused", PATIENCE, || {
        tidegate.metrics().get("tidegate_plugin_faults_total", &refused) >= Some(1.0)
            && tidegate.log().contains("what it said on a tick is refused")
    });
    let log = tidegate.log();
    let line = log.lines().find(|line| line.contains("what it said on a tick is refused")).unwrap();
    for word in ["readings", "calm", "topic `dev/1/temp` is not within its grants"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_eq!(ticked(&tidegate), 0.0);
    assert_balanced(&tidegate);
}
