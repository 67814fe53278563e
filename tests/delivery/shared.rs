//! `share = "gateways"`: several gateways take a route's messages in turn.

use crate::fixture::{PATIENCE, assert_balanced, broker};
use tidegate_testkit::{
    ClientOptions, Ledger, Mosquitto, Publisher, PublisherOptions, Subscriber, SubscriberOptions, Tidegate, Version,
    eventually, free_port,
};

const MESSAGES: u64 = 6_000;

/// So many of one gateway may be unacknowledged at the source, and as many at the target.
const WINDOW: usize = 20;

#[track_caller]
fn member(n: u32, hub: &str, office: &Mosquitto, version: &str) -> Tidegate {
    let keys = format!(
        "version = \"{version}\"\nclient_id = \"gateway-{n}\"\nreceive_maximum = {WINDOW}\n\
         reconnect = {{ min = \"20ms\", max = \"100ms\" }}"
    );
    let target = format!("client_id = \"gateway-{n}\"");
    let mut config = broker("hub", hub, &keys) + &broker("office", &office.url(), &target);
    config += "[[routes]]\nname = \"up\"\nfrom = { broker = \"hub\", topics = [\"dev/#\"], share = \"gateways\" }\n\
               to = [\"office\"]\n";
    Tidegate::start(&config)
}

/// Three gateways, and one of them is killed while messages flow.
#[track_caller]
fn one_of_three_is_killed(version: &str) {
    let (port, office) = (free_port(), Mosquitto::builder().max_inflight(WINDOW as u16).start());
    let hub = format!("mqtt://127.0.0.1:{port}");
    let own = format!("[brokers.box]\nembedded = true\nlisten = [\"{hub}\"]\n");
    let _hub = Tidegate::start(&(own + "[brokers.none]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:0\"]\n"));
    let ledger = Ledger::new();
    let options = SubscriberOptions::new(ClientOptions::new(Version::V5, "subscriber"), "office", "dev/#", 1);
    let subscriber = Subscriber::start(office.port(), options, &ledger);
    let mut members: Vec<Tidegate> = (0..3).map(|n| member(n, &hub, &office, version)).collect();
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    (options.qos, options.count, options.rate) = (1, Some(MESSAGES), 2_000);
    let publisher = Publisher::start(port, options, &ledger);
    let took = |tidegate: &Tidegate| tidegate.metrics().get("tidegate_route_received_total", &[]).unwrap_or(0.0);
    eventually("all take part", PATIENCE, || members.iter().all(|member| took(member) >= 200.0));
    members[1].kill();
    assert_eq!(publisher.finish(PATIENCE), MESSAGES);
    let others = took(&members[0]) + took(&members[2]);
    members[1].restart();
    eventually("everything arrives", PATIENCE, || ledger.check("office").missing.is_empty());
    for member in &members {
        assert_balanced(member);
    }
    subscriber.stop();
    let check = ledger.check("office");
    check.assert_at_least_once().assert_nothing_missing().assert_published(MESSAGES as usize);
    assert!(check.repeated.len() <= 2 * WINDOW, "only what was unacknowledged: {:?}", check.repeated);
    assert!(others >= MESSAGES as f64 / 2.0, "the others have taken what the killed one could not: {others}");
}

#[test]
fn nothing_is_lost_when_one_of_three_gateways_on_a_share_is_killed() {
    one_of_three_is_killed("5");
}

#[test]
fn nor_with_mqtt_3_1_1() {
    one_of_three_is_killed("3.1.1");
}
