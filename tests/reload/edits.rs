//! The configuration edited while traffic flows.

use super::*;

const EDITS: usize = 100;

/// What the edits change; the main route stays.
#[derive(Debug, Clone, Default)]
struct Shape {
    tag: usize,
    deadline_ms: usize,
    side: usize,
    extra: bool,
    spare: Option<u16>,
    drops: bool,
}

impl Shape {
    /// The configuration without the brokers that are always there.
    fn text(&self) -> String {
        let (tag, deadline_ms, side) = (self.tag, 1000 + self.deadline_ms, self.side);
        let on_failure = if self.drops { "drop" } else { "park" };
        let mut text = format!(
            r#"
            [plugins.marked]
            path = "{PLUGIN}"
            config = {{ tag = "-{tag}" }}
            limits = {{ deadline = "{deadline_ms}ms" }}
            [[routes]]
            name = "main"
            from = {{ broker = "home", topics = ["dev/+/temp"] }}
            plugins = ["marked"]
            to = ["office"]
            remap = {{ strip = "dev/", prefix = "main/" }}
            on_failure = "{on_failure}"
            [[routes]]
            name = "side"
            from = {{ broker = "home", topics = ["side/+/temp"] }}
            to = ["office"]
            remap = {{ strip = "side/", prefix = "side/{side}/" }}
            "#
        );
        if self.extra {
            // It covers the filter of `main`: the subscription is another one, the messages are the same.
            text +=
                "[[routes]]\nname = \"extra\"\nfrom = { broker = \"home\", topics = [\"dev/#\"] }\nto = [\"office\"]\n";
            text += "remap = { strip = \"dev/\", prefix = \"extra/\" }\n";
        }
        if let Some(port) = self.spare {
            text += &format!("[brokers.spare]\nurl = \"mqtt://127.0.0.1:{port}\"\n[[routes]]\nname = \"spare\"\n");
            text += "from = { broker = \"home\", topics = [\"side/#\"] }\nto = [\"spare\"]\n";
        }
        text
    }

    /// The next good edit, and whether its plugin is another one.
    fn next(&mut self, number: usize, spare: u16) -> bool {
        match number % 8 {
            0 => self.extra = true,
            1 => self.side += 1,
            2 => self.spare = Some(spare),
            3 => self.tag += 1,
            4 => self.extra = false,
            5 => self.deadline_ms += 1,
            6 => self.drops = !self.drops,
            _ => self.spare = None,
        }
        number % 8 == 3
    }

    /// A bad edit of this shape, and what the log must say of it.
    fn spoilt(&self, number: usize) -> (String, &'static [&'static str]) {
        let text = self.text();
        let first = |from: &str, to: &str| text.replacen(from, to, 1);
        match number % 8 {
            0 => (text + "[[routes\n", &["tidegate.toml:"]),
            1 => (first("remap =", "remapp ="), &["unknown key `remapp`", "did you mean `remap`?"]),
            2 => (first("[\"marked\"]", "[\"markd\"]"), &["there is no plugin `markd`", "did you mean \"marked\"?"]),
            3 => (first("tag =", "tagg ="), &["plugin `marked`", "it refuses its configuration", "tagg"]),
            4 => (first("marked.wasm", "gone.wasm"), &["there is no file", "gone.wasm"]),
            5 => (first("marked.wasm", "bad.wasm"), &["plugin `marked`", "not a component"]),
            6 => (first("dev/+/temp", "dev/#/temp"), &["`dev/#/temp` is not a topic filter"]),
            _ => (first("to = [\"office\"]", "to = [\"ofice\"]"), &["`ofice`", "did you mean \"office\"?"]),
        }
    }
}

#[test]
fn a_hundred_edits_lose_repeat_and_reorder_nothing() {
    let house = House::new();
    let spare = Mosquitto::start();
    let mut shape = Shape::default();
    let tidegate = house.gateway(&shape.text()).file("plugins/bad.wasm", plugin("truncated")).start();
    let (witness, beside, more) = (house.witness("main"), house.witness("side"), house.witness("extra"));
    let publisher = house.publish("dev", RATE);
    let side = house.publish("side", 200);
    let (mut good, mut bad) = (0, 0);
    for number in 0..EDITS {
        if number % 3 == 2 {
            let (text, expected) = shape.spoilt(bad);
            let reason = refused_after(&tidegate, || tidegate.edit_config(&house.config(&text)));
            for words in expected {
                assert!(reason.contains(words), "edit {number}: no `{words}` in\n{reason}");
            }
            bad += 1;
        } else {
            let swapped = shape.next(good, spare.port());
            applied_after(&tidegate, || tidegate.edit_config(&house.config(&shape.text())));
            if swapped {
                let mark = format!(" v1-{}", shape.tag);
                eventually("the plugin has its new configuration", PATIENCE, || witness.last_mark() == mark);
            }
            good += 1;
        }
        let seen = witness.count();
        eventually("traffic flows on", PATIENCE, || witness.count() > seen);
    }
    house.assert_all_came("dev", publisher, &witness, "main", 10_000);
    house.assert_all_came("side", side, &beside, "side", 100);
    for arrival in witness.arrivals() {
        let tag = arrival.mark.strip_prefix(" v1-").and_then(|tag| tag.parse::<usize>().ok());
        assert!(tag.is_some_and(|tag| tag <= shape.tag), "not by exactly one version: {arrival:?}");
    }
    let metrics = assert_balanced(&tidegate);
    house.ledger.check_of("extra", |id| id.key.starts_with("dev")).assert_at_most_once().assert_in_order();
    assert!(more.count() > 0, "the route that came and went has carried something");
    assert_undisturbed(&metrics, &["home", "office"]);
    assert_eq!(value(&metrics, "tidegate_reloads_total"), good as u64);
    assert_eq!(value(&metrics, "tidegate_reloads_refused_total"), bad as u64);
}

#[test]
fn a_changed_broker_is_reconnected_and_loses_nothing_at_qos_2() {
    const CHANGES: usize = 10;
    let house = House::new();
    let rest = MAIN.replace("topics = [\"dev/+/temp\"]", "topics = [\"dev/+/temp\"], qos = 2");
    let config = |number: usize| {
        let (home, office) = (31 + number / 2, 31 + number.div_ceil(2));
        let text = house.config(&rest);
        let text = text.replace("[brokers.home]", &format!("[brokers.home]\nkeep_alive = \"{home}s\""));
        text.replace("[brokers.office]", &format!("[brokers.office]\nkeep_alive = \"{office}s\""))
    };
    let tidegate = Tidegate::builder(&config(0)).file(PLUGIN, plugin("versioned-v1")).start();
    let witness = Witness::start_at(house.office.port(), "main", ("main/#", 2), &house.ledger);
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    (options.rate, options.qos, options.key_prefix) = (1_000, 2, "dev".to_owned());
    let publisher = Publisher::start(house.home.port(), options, &house.ledger);
    for number in 1..=CHANGES {
        let connects = value(&tidegate.metrics(), "tidegate_broker_connects_total");
        tidegate.edit_config(&config(number));
        eventually("it is connected again", PATIENCE, || {
            value(&tidegate.metrics(), "tidegate_broker_connects_total") > connects && tidegate.is_ready()
        });
        let seen = witness.count();
        eventually("traffic flows on", PATIENCE, || witness.count() > seen);
    }
    house.assert_all_came("dev", publisher, &witness, "main", 1_000);
    let metrics = assert_balanced(&tidegate);
    assert_eq!(value(&metrics, "tidegate_broker_sessions_lost_total"), 0);
}

#[test]
fn a_removed_broker_takes_only_its_own_messages_along() {
    let house = House::new();
    let gone = tidegate_testkit::free_port();
    let both = format!(
        "{MAIN}[brokers.spare]\nurl = \"mqtt://127.0.0.1:{gone}\"\n[[routes]]\nname = \"spare\"\n\
         from = {{ broker = \"home\", topics = [\"side/#\"] }}\nto = [\"spare\"]\nack = \"delivered\"\n"
    );
    let tidegate = house.gateway(&both).spawn();
    eventually("it serves", PATIENCE, || tidegate.get("/health").is_ok());
    eventually("home and office are connected, and home has granted what is wanted of it", PATIENCE, || {
        let missing = tidegate.get("/ready").map_or_else(|_| String::new(), |(_, missing)| missing);
        missing.contains("spare") && !missing.contains("home") && !missing.contains("office")
    });
    let witness = house.witness("main");
    let (publisher, side) = (house.publish("dev", 500), house.publish("side", 100));
    eventually("messages wait for the broker that is not there", PATIENCE, || {
        tidegate.metrics().get("tidegate_broker_queued", &[("broker", "spare")]) > Some(20.0)
    });
    assert!(value(&tidegate.metrics(), "tidegate_unacknowledged") > 0, "their source is not told that they are safe");
    applied_after(&tidegate, || tidegate.edit_config(&house.config(MAIN)));
    side.stop();
    house.assert_all_came("dev", publisher, &witness, "main", 100);
    let metrics = assert_balanced(&tidegate);
    eventually("nothing is owed to the source any more", PATIENCE, || {
        value(&tidegate.metrics(), "tidegate_unacknowledged") == 0
    });
    assert_undisturbed(&metrics, &["home", "office"]);
}

/// Between the reading of the configuration and the first look for changes there are plugins to be compiled.
#[test]
fn what_is_saved_while_the_gateway_starts_is_followed() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).spawn();
    let (data, witness) = (tidegate.dir().join("data"), house.witness("main"));
    eventually("it has read its configuration", PATIENCE, || data.exists());
    let plugin = "[plugins.marked]\nconfig = { tag = \"-later\" }";
    tidegate.edit_config(&house.config(&MAIN.replace("[plugins.marked]", plugin)));
    tidegate.wait_ready(PATIENCE);
    let publisher = house.publish("dev", 200);
    eventually("the later configuration is in force", PATIENCE, || witness.last_mark() == " v1-later");
    house.assert_all_came("dev", publisher, &witness, "main", 10);
    assert_balanced(&tidegate);
}

#[test]
fn a_configuration_saved_in_place_is_followed() {
    let house = House::new();
    let tidegate = house.gateway(MAIN).start();
    let witness = house.witness("main");
    let publisher = house.publish("dev", 200);
    for tag in ["-a", "-b", "-c"] {
        let plugin = format!("[plugins.marked]\nconfig = {{ tag = \"{tag}\" }}");
        tidegate.edit_config_in_place(&house.config(&MAIN.replace("[plugins.marked]", &plugin)));
        let mark = format!(" v1{tag}");
        eventually("the plugin has its new configuration", PATIENCE, || witness.last_mark() == mark);
    }
    house.assert_all_came("dev", publisher, &witness, "main", 10);
    assert_balanced(&tidegate);
}

#[test]
fn sighup_reloads_also_when_nothing_was_saved() {
    let house = House::new();
    let mut tidegate = house.gateway(MAIN).start();
    for _ in 0..3 {
        let before = reloads(&tidegate);
        tidegate.sighup();
        eventually("it is reloaded", PATIENCE, || reloads(&tidegate) == before + 1);
    }
    eventually("it says so", PATIENCE, || tidegate.log().contains("reloaded, nothing has changed"));
    assert_undisturbed(&assert_balanced(&tidegate), &["home", "office"]);
}
