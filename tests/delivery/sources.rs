//! Several brokers as one source: the next takes over, or all bring the same and each message is taken once.
//!
//! Devices publish at `b`, and a bridge of `b` brings all of it to `a`, which is preferred: both have the same stream, and `a`
//! has nothing that `b` had not before.

use super::{come_in_any_order, last_of_all};
use crate::fixture::{PATIENCE, assert_balanced, broker};
use std::collections::BTreeMap;
use tidegate_testkit::{
    Check, Client, ClientOptions, FaultProxy, Ledger, Mosquitto, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, Tidegate, Version, eventually,
};

/// Messages a second.
const RATE: u32 = 1_000;

/// Carried before something happens, and after it.
const SOME: u64 = 500;

struct Plant {
    a: Mosquitto,
    to_a: FaultProxy,
    b: Mosquitto,
    office: Mosquitto,
    tidegate: Tidegate,
    ledger: Ledger,
    subscriber: Subscriber,
}

impl Plant {
    /// `[sources.plant]` with these keys, and more of the route's source.
    #[track_caller]
    fn start(keys: &str, qos: u8) -> Self {
        let a = Mosquitto::builder().persistence(true).line("autosave_interval 0").max_inflight(2_000);
        let a = a.line("log_type error").line("log_type unsubscribe").start();
        let bridge = [
            "connection to-a".to_owned(),
            format!("address 127.0.0.1:{}", a.port()),
            "topic dev/# out 2".to_owned(),
            "cleansession false".to_owned(),
            "notifications false".to_owned(),
            "restart_timeout 1".to_owned(),
        ];
        let b = bridge.iter().fold(Mosquitto::builder().max_inflight(2_000), |b, line| b.line(line)).start();
        let office = Mosquitto::start();
        let to_a = FaultProxy::start(a.port());
        let fast = "reconnect = { min = \"20ms\", max = \"100ms\" }";
        let mut config = broker("a", &to_a.url(), fast) + &broker("b", &b.url(), fast);
        config += &broker("office", &office.url(), "");
        config += &format!("[sources.plant]\nbrokers = [\"a\", \"b\"]\n{keys}\n");
        config += &format!(
            "[[routes]]\nname = \"up\"\nfrom = {{ source = \"plant\", topics = [\"dev/#\"], qos = {qos} }}\n\
             to = [\"office\"]\n"
        );
        let tidegate = Tidegate::start(&config);
        let ledger = Ledger::new();
        let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
        let options = SubscriberOptions::new(client, "office", "dev/+/temp", qos);
        let subscriber = Subscriber::start(office.port(), options, &ledger);
        Self { a, to_a, b, office, tidegate, ledger, subscriber }
    }

    #[track_caller]
    fn publish(&self, qos: u8) -> Publisher {
        let client = ClientOptions::new(Version::V5, "publisher").clean(false);
        let mut options = PublisherOptions::new(client, "dev/{key}/temp");
        (options.qos, options.rate) = (qos, RATE);
        Publisher::start(self.b.port(), options, &self.ledger)
    }

    #[track_caller]
    fn carries_some(&self) {
        let before = self.subscriber.received();
        eventually("messages arrive", PATIENCE, || self.subscriber.received() >= before + SOME);
    }

    /// Which of `a` and `b` are subscribed to.
    fn subscribed(&self) -> (bool, bool) {
        let metrics = self.tidegate.metrics();
        let is = |broker| metrics.get("tidegate_source_subscribed", &[("source", "plant"), ("broker", broker)]);
        (is("a") == Some(1.0), is("b") == Some(1.0))
    }

    #[track_caller]
    fn is_subscribed(&self, what: &str, expected: (bool, bool)) {
        eventually(what, PATIENCE, || self.subscribed() == expected);
    }

    /// Waits until `a` is not subscribed to any more.
    #[track_caller]
    fn is_taken_away(&self) {
        eventually("the subscription is taken away", PATIENCE, || self.a.log().contains(" dev/#"));
    }

    /// Nobody reaches `a` from the gateway: it is there, and keeps our session.
    fn cut(&self) {
        self.to_a.refuse(true);
        self.to_a.reset();
    }

    /// Stops publishing, waits for the last message, and compares.
    #[track_caller]
    fn finish(self, publisher: Publisher, qos: u8) -> Check {
        publisher.stop();
        last_of_all(self.b.port(), qos, &self.ledger, "office");
        assert_balanced(&self.tidegate);
        eventually("everything has arrived", PATIENCE, || self.ledger.check("office").missing.is_empty());
        self.subscriber.stop();
        self.ledger.check("office")
    }

    fn log_has(&self, words: &[&str]) -> usize {
        self.tidegate.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

#[test]
fn failover_takes_the_next_while_the_first_is_cut_off_and_loses_nothing() {
    let plant = Plant::start("takeover_after = \"200ms\"\nfailback = \"1s\"", 1);
    let publisher = plant.publish(1);
    plant.carries_some();
    assert_eq!(plant.subscribed(), (true, false), "at one only");

    plant.cut();
    plant.is_subscribed("the next takes over", (false, true));
    plant.carries_some();
    let over = ["WARN", "failover: ", "source=\"plant\"", "to=\"b\"", "from=\"a\"", "why="];
    assert_eq!(plant.log_has(&over), 1, "{}", plant.tidegate.log());

    plant.to_a.heal();
    plant.is_subscribed("the first is subscribed to again", (true, false));
    plant.carries_some();
    assert_eq!(plant.log_has(&["INFO", "failback: ", "source=\"plant\"", "to=\"a\"", "from=\"b\""]), 1);
    let changes = plant.tidegate.metrics().get("tidegate_source_changes_total", &[("source", "plant")]);
    assert_eq!(changes, Some(2.0));
    // What `a` gathered while it was cut off came when it was back, and what both had around the changes came twice.
    plant.finish(publisher, 1).assert_at_least_once().assert_published(3 * SOME as usize);
}

#[test]
fn failover_loses_what_is_published_while_no_broker_is_subscribed_to_and_nothing_else() {
    let mut plant = Plant::start("takeover_after = \"200ms\"\nfailback = \"1s\"", 1);
    let publisher = plant.publish(1);
    plant.carries_some();
    plant.a.kill();
    plant.is_subscribed("the next takes over", (false, true));
    plant.carries_some();
    plant.a.restart();
    plant.is_subscribed("the first is subscribed to again", (true, false));
    plant.carries_some();
    publisher.stop();
    last_of_all(plant.b.port(), 1, &plant.ledger, "office");
    assert_balanced(&plant.tidegate);
    plant.subscriber.stop();
    // Of each device one stretch at most: what was published between the end of `a` and the subscription at `b`.
    let mut missing: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for id in plant.ledger.check("office").missing {
        missing.entry(id.key).or_default().push(id.n);
    }
    for (key, numbers) in missing {
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "more than one gap of {key}: {numbers:?}");
    }
}

#[test]
fn the_session_of_a_broker_that_is_not_subscribed_to_gathers_nothing() {
    let plant = Plant::start("takeover_after = \"0s\"\nfailback = \"2s\"", 1);
    let mut subscriber = super::listener(plant.office.port(), "all");
    let publish = |port: u16, text: &str| {
        let mut client = Client::connect(port, &ClientOptions::new(Version::V5, "device")).unwrap();
        client.publish("dev/1/state", text.as_bytes(), 1, false).unwrap();
    };
    publish(plant.a.port(), "before");
    come_in_any_order(&mut subscriber, &["before"]);
    plant.cut();
    plant.is_subscribed("the next takes over", (false, true));
    publish(plant.a.port(), "gathered before it is known");
    plant.to_a.heal();
    come_in_any_order(&mut subscriber, &["gathered before it is known"]);
    plant.is_taken_away();
    publish(plant.a.port(), "after");
    plant.is_subscribed("the first is subscribed to again", (true, false));
    publish(plant.a.port(), "last");
    come_in_any_order(&mut subscriber, &["last"]);
}

#[test]
fn a_start_goes_on_at_the_broker_that_was_subscribed_to() {
    let mut plant = Plant::start("takeover_after = \"200ms\"\nfailback = \"1h\"", 1);
    let publisher = plant.publish(1);
    plant.carries_some();
    plant.cut();
    plant.is_subscribed("the next takes over", (false, true));
    plant.to_a.heal();
    plant.is_taken_away();
    plant.carries_some();
    plant.tidegate.kill();
    plant.tidegate.restart();
    assert_eq!(plant.subscribed(), (false, true));
    plant.carries_some();
    plant.finish(publisher, 1).assert_at_least_once();
}

#[test]
fn what_is_stored_comes_again_at_a_takeover_unless_the_route_wants_none_of_it() {
    for (retained, stored) in [("forward", &["stored"][..]), ("new", &["stored"]), ("never", &[])] {
        let (a, b, office) = (Mosquitto::start(), Mosquitto::start(), Mosquitto::start());
        let to_a = FaultProxy::start(a.port());
        for broker in [&a, &b] {
            let mut device = Client::connect(broker.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
            device.publish("dev/1/state", b"stored", 1, true).unwrap();
        }
        let mut config = broker("a", &to_a.url(), "") + &broker("b", &b.url(), "");
        config += &broker("office", &office.url(), "");
        config += "[sources.plant]\nbrokers = [\"a\", \"b\"]\ntakeover_after = \"0s\"\n[[routes]]\nname = \"up\"\nto = [\"office\"]\n";
        config += &format!("from = {{ source = \"plant\", topics = [\"dev/#\"], retained = \"{retained}\" }}\n");
        let mut subscriber = super::listener(office.port(), "subscriber");
        let tidegate = Tidegate::start(&config);
        come_in_any_order(&mut subscriber, stored);
        to_a.refuse(true);
        to_a.reset();
        let at_b = [("source", "plant"), ("broker", "b")];
        eventually("the next takes over", PATIENCE, || {
            tidegate.metrics().get("tidegate_source_subscribed", &at_b) == Some(1.0) && tidegate.is_ready()
        });
        let mut device = Client::connect(b.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
        device.publish("dev/1/state", b"live", 1, false).unwrap();
        come_in_any_order(&mut subscriber, &[stored, &["live"]].concat());
    }
}

/// Merge with one broker cut off and back.
#[track_caller]
fn merged_once(qos: u8) {
    let plant = Plant::start("policy = \"merge\"", qos);
    let publisher = plant.publish(qos);
    plant.carries_some();
    assert_eq!(plant.subscribed(), (true, true));
    plant.cut();
    plant.carries_some();
    plant.to_a.heal();
    plant.carries_some();
    let twins = || plant.tidegate.metrics().get("tidegate_route_twins_total", &[]).unwrap_or(0.0);
    let before = twins();
    eventually("both bring the same again", PATIENCE, || twins() >= before + SOME as f64);
    let check = plant.finish(publisher, qos);
    check.assert_exactly_once().assert_published(3 * SOME as usize);
}

#[test]
fn merge_takes_each_message_once_with_one_broker_cut_off_and_back() {
    merged_once(1);
}

#[test]
fn merge_takes_each_message_once_at_qos_2() {
    merged_once(2);
}

#[test]
fn merge_lets_equal_readings_pass() {
    let plant = Plant::start("policy = \"merge\"", 1);
    let mut subscriber = super::listener(plant.office.port(), "all");
    let mut device = Client::connect(plant.b.port(), &ClientOptions::new(Version::V5, "device")).unwrap();
    for text in ["on", "on", "off", "on"] {
        device.publish("dev/1/state", text.as_bytes(), 1, false).unwrap();
    }
    eventually("each has come from both", PATIENCE, || {
        plant.tidegate.metrics().get("tidegate_route_twins_total", &[("route", "up")]) == Some(4.0)
    });
    come_in_any_order(&mut subscriber, &["on", "on", "off", "on"]);
    assert_balanced(&plant.tidegate);
}

#[test]
fn merge_loses_nothing_when_the_gateway_is_killed() {
    let mut plant = Plant::start("policy = \"merge\"", 1);
    let publisher = plant.publish(1);
    for _ in 0..5 {
        plant.carries_some();
        plant.tidegate.kill();
        plant.tidegate.relaunch();
    }
    plant.carries_some();
    plant.tidegate.wait_ready(PATIENCE);
    // A restart forgets what both have brought: some comes twice.
    plant.finish(publisher, 1).assert_at_least_once();
}
