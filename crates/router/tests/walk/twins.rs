//! Twins: the same message of two brokers of a source that merges. Who is told when.

use crate::source::Token;
use crate::started::{US, started};
use crate::target::Shared;
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic};
use tidegate_router::{Arrival, Audience, BrokerId, Moment, Router};

/// Brokers `a` and `b`, which are the source `plant`, and a target `c`.
struct Plant {
    router: Router<Token, Shared>,
    ids: Vec<BrokerId>,
    now: Moment,
    attempts: u64,
}

impl Plant {
    /// A route from `plant`, with these keys, and more.
    fn new(keys: &str, rest: &str) -> Self {
        let text = format!(
            "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n\
             [brokers.a]\nurl = \"mqtt://a\"\n[brokers.b]\nurl = \"mqtt://b\"\n[brokers.c]\nurl = \"mqtt://c\"\n\
             [sources.plant]\nbrokers = [\"a\", \"b\"]\npolicy = \"merge\"\n\
             [[routes]]\nname = \"r\"\nfrom = {{ source = \"plant\", topics = [\"t\"] }}\nto = [\"c\"]\n{keys}\n{rest}"
        );
        let start = Instant::now();
        let (router, ids, _) = started(&text, &["a", "b", "c"].map(|name| (name, false, true)), start);
        Self { router, ids, now: Moment { at: start, us: US }, attempts: 0 }
    }

    /// A message with this payload comes. Returns by what it is acknowledged.
    fn receive(&mut self, from: usize, payload: &str, qos: QoS) -> u64 {
        self.attempts += 1;
        let ack = (qos > QoS::AtMostOnce).then_some(Token { attempt: self.attempts, packet_id: None });
        let message = Message::new(Topic::new("t").expect("a topic"), payload.to_owned(), qos);
        let (redelivered, subscription_id, audience, topic_id) = (false, None, Audience::All, None);
        let arrival = Arrival { message, ack, redelivered, subscription_id, audience, topic_id };
        self.router.received(self.ids[from], [arrival].into_iter(), self.now, self.now.us / 1000);
        self.attempts
    }

    fn disk(&mut self) {
        self.router.flush_log();
        self.router.step_log();
        self.router.spool_news(self.now);
    }

    /// What both were told since this was asked last.
    fn acknowledged(&mut self) -> Vec<u64> {
        let mut all: Vec<u64> = (0..2)
            .flat_map(|at| self.router.take_acks(self.ids[at]).map(|ack| ack.attempt).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        all
    }

    /// The payloads that leave for the target, which acknowledges them.
    fn deliver(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((ticket, message)) = self.router.pull(self.ids[2], true, self.now) {
            all.push(String::from_utf8_lossy(&message.payload).into_owned());
            self.router.completed(self.ids[2], [(ticket, true)].into_iter(), self.now);
        }
        all
    }
}

#[test]
fn a_twin_is_acknowledged_when_the_first_copy_is_durable_and_not_before() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut plant = Plant::new("", "");
        let first = plant.receive(0, "x", qos);
        let twin = plant.receive(1, "x", qos);
        assert!(plant.acknowledged().is_empty(), "a crash now would lose both");
        plant.disk();
        assert_eq!(plant.acknowledged(), [first, twin]);
        assert_eq!(plant.deliver(), ["x"]);
        let (first, again) = (plant.receive(1, "x", qos), plant.receive(1, "x", qos));
        plant.disk();
        assert_eq!(plant.acknowledged(), [first, again]);
        let (twin, second) = (plant.receive(0, "x", qos), plant.receive(0, "x", qos));
        assert_eq!(plant.acknowledged(), [twin, second], "both are durable already");
        assert_eq!(plant.deliver(), ["x", "x"]);
        plant.disk();
        let (_, route) = plant.router.routes().next().expect("a route");
        assert_eq!(
            (route.twins, route.account.received, route.account.imbalance(), plant.router.owed()),
            (3, 3, 0, (0, 0))
        );
    }
}

#[test]
fn a_twin_waits_for_what_the_first_copy_waits_for() {
    let mut plant = Plant::new("ack = \"delivered\"", "");
    let (first, twin) = (plant.receive(0, "x", QoS::AtLeastOnce), plant.receive(1, "x", QoS::AtLeastOnce));
    plant.disk();
    assert!(plant.acknowledged().is_empty());
    assert_eq!(plant.deliver(), ["x"]);
    assert_eq!(plant.acknowledged(), [first, twin]);
}

#[test]
fn what_is_a_twin_in_one_route_and_goes_on_in_another_waits_for_both() {
    let beside = "[[routes]]\nname = \"beside\"\nfrom = { broker = \"b\", topics = [\"t\"] }\nto = [\"c\"]\nack = \"delivered\"\n";
    let mut plant = Plant::new("", beside);
    let first = plant.receive(0, "x", QoS::AtLeastOnce);
    let twin = plant.receive(1, "x", QoS::AtLeastOnce);
    plant.disk();
    assert_eq!(plant.acknowledged(), [first]);
    assert_eq!(plant.deliver(), ["x", "x"]);
    assert_eq!(plant.acknowledged(), [twin]);
    // The other way round.
    let first = plant.receive(0, "y", QoS::AtLeastOnce);
    let twin = plant.receive(1, "y", QoS::AtLeastOnce);
    assert_eq!(plant.deliver(), ["y"], "past the log");
    assert!(plant.acknowledged().is_empty());
    plant.disk();
    assert_eq!(plant.acknowledged(), [first, twin]);
}

#[test]
fn a_copy_that_may_be_lost_does_not_stand_for_one_that_may_not() {
    let mut plant = Plant::new("", "");
    plant.receive(0, "x", QoS::AtMostOnce);
    plant.receive(1, "x", QoS::AtLeastOnce);
    plant.receive(1, "x", QoS::AtMostOnce);
    plant.disk();
    assert_eq!(plant.deliver(), ["x", "x"], "the third is a twin of the first");
}

#[test]
fn a_reload_that_changes_nothing_of_a_source_keeps_its_window() {
    let mut plant = Plant::new("", "");
    plant.receive(0, "x", QoS::AtLeastOnce);
    plant.now.at += Duration::from_secs(1);
    let (now, text) =
        (plant.now, "[[routes]]\nname = \"r\"\nfrom = { source = \"plant\", topics = [\"t\", \"u\"] }\nto = [\"c\"]\n");
    let head = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.a]\nurl = \"mqtt://a\"\n[brokers.b]\nurl = \"mqtt://b\"\n\
                [brokers.c]\nurl = \"mqtt://c\"\n[sources.plant]\nbrokers = [\"a\", \"b\"]\npolicy = \"merge\"\n";
    let (config, _) =
        tidegate_config::parse(&(head.to_owned() + text), Path::new("/g/t.toml")).expect("a configuration");
    plant.router.configure(&config, now);
    plant.receive(1, "x", QoS::AtLeastOnce);
    plant.disk();
    assert_eq!(plant.deliver(), ["x"]);
}
