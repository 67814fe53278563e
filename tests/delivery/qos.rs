//! Every QoS and version on each side, and what MQTT 5 says about a message.

use super::{exactly, listener};
use crate::fixture::{PATIENCE, assert_balanced, broker, named_route, route};
use std::collections::BTreeSet;
use tidegate_testkit::{Client, ClientOptions, Mosquitto, MosquittoSub, Tidegate, Version, mosquitto_pub};

/// Not text, and every byte there is.
fn payload(mark: u8) -> Vec<u8> {
    std::iter::once(mark).chain(0..=255).collect()
}

/// What mosquitto writes into its log for a protocol version.
fn logged(version: &str) -> &'static str {
    match version {
        "3.1" => "p1",
        "3.1.1" => "p2",
        _ => "p5",
    }
}

/// Publishes with each QoS, retained and not, to routes that subscribe with each QoS: the lower of both arrives.
#[track_caller]
fn every_qos_arrives(home_version: &str, office_version: &str) {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let version = |version: &str| format!("version = \"{version}\"");
    let mut config = broker("home", &home.url(), &version(home_version));
    config += &broker("office", &office.url(), &version(office_version));
    for qos in 0..=2 {
        config += &named_route(&format!("q{qos}"), "home", &[&format!("sub{qos}/#")], qos, &["office"], "");
    }
    let tidegate = Tidegate::start(&config);
    for (mosquitto, name, version) in [(&home, "home", home_version), (&office, "office", office_version)] {
        let speaks = format!("as tidegate-test-{name} ({}", logged(version));
        assert!(mosquitto.log().contains(&speaks), "no `{speaks}` in\n{}", mosquitto.log());
    }

    let mut subscriber = listener(office.port(), "subscriber");
    let mut publisher = Client::connect(home.port(), &ClientOptions::new(Version::V5, "publisher")).unwrap();
    let mut expected = BTreeSet::new();
    for (publish, subscribe) in (0..=2).flat_map(|publish| (0..=2).map(move |subscribe| (publish, subscribe))) {
        for retain in [false, true] {
            let topic = format!("sub{subscribe}/pub{publish}/{retain}/straße/");
            let payload = payload(publish);
            publisher.publish(&topic, &payload, publish, retain).unwrap();
            expected.insert((topic, payload, publish.min(subscribe), retain));
        }
    }
    let live = exactly(&mut subscriber, expected.len());
    let live: BTreeSet<_> = live.into_iter().map(|m| (m.topic, m.payload, m.qos)).collect();
    assert_eq!(live, expected.iter().cloned().map(|(topic, payload, qos, _)| (topic, payload, qos)).collect());

    // Whether a message was forwarded as retained is seen by who comes later.
    let retained = exactly(&mut listener(office.port(), "late"), expected.len() / 2);
    let retained: BTreeSet<_> = retained.into_iter().map(|m| (m.topic, m.payload, m.qos, m.retain)).collect();
    assert_eq!(retained, expected.iter().filter(|message| message.3).cloned().collect());

    let metrics = assert_balanced(&tidegate);
    assert_eq!(metrics.get("tidegate_route_out_total", &[]), Some(18.0), "each crosses once");
}

macro_rules! every_qos_arrives {
    ($($test:ident: $home:literal to $office:literal;)*) => {
        $(#[test] fn $test() { every_qos_arrives($home, $office); })*
    };
}

every_qos_arrives! {
    every_qos_arrives_from_3_1_to_3_1: "3.1" to "3.1";
    every_qos_arrives_from_3_1_1_to_3_1_1: "3.1.1" to "3.1.1";
    every_qos_arrives_from_3_1_1_to_5: "3.1.1" to "5";
    every_qos_arrives_from_5_to_3_1_1: "5" to "3.1.1";
    every_qos_arrives_from_5_to_5: "5" to "5";
    every_qos_arrives_with_the_version_found_out: "auto" to "auto";
}

/// What `mosquitto_sub` shows of a message, in MQTT 5.
const EVERYTHING: &str = "MESSAGE %t %q %C|%D|%F|%R|%P|%p";

const PROPERTIES: &[&str] = &[
    "-D publish content-type text/plain",
    "-D publish correlation-data order-66",
    "-D publish payload-format-indicator 1",
    "-D publish response-topic dev/answers",
    "-D publish user-property site cottage",
    "-D publish user-property room attic",
    "-D publish user-property site shed",
];

/// Publishes one message with all properties, for each QoS.
fn publish_with_properties(port: u16) {
    for qos in ["0", "1", "2"] {
        let properties = PROPERTIES.iter().flat_map(|line| line.split(' '));
        let args: Vec<&str> =
            ["-V", "5", "-t", "dev/1/temp", "-q", qos, "-m", "21.5"].into_iter().chain(properties).collect();
        mosquitto_pub(port, &args);
    }
}

#[test]
fn everything_mqtt_5_says_about_a_message_arrives_with_it() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = broker("home", &home.url(), "version = \"5\"");
    config += &broker("office", &office.url(), "version = \"5\"");
    config += &route("home", &["dev/#"], &["office"], "");
    let tidegate = Tidegate::start(&config);
    let sub = MosquittoSub::start(office.port(), &["-V", "5", "-q", "2", "-t", "#", "-F", EVERYTHING]);
    publish_with_properties(home.port());
    let mut lines = sub.expect(3, PATIENCE);
    lines.sort();
    let same = "text/plain|order-66|1|dev/answers|site:cottage room:attic site:shed tidegate-hops:test/office|21.5";
    assert_eq!(lines, [0, 1, 2].map(|qos| format!("dev/1/temp {qos} {same}")));
    assert_balanced(&tidegate);
}

#[test]
fn a_message_with_properties_arrives_bare_where_the_target_knows_none() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = broker("home", &home.url(), "version = \"5\"");
    config += &broker("office", &office.url(), "version = \"3.1.1\"");
    config += &route("home", &["dev/#"], &["office"], "");
    let tidegate = Tidegate::start(&config);
    let sub = MosquittoSub::start(office.port(), &["-V", "5", "-q", "2", "-t", "#", "-F", EVERYTHING]);
    publish_with_properties(home.port());
    let mut lines = sub.expect(3, PATIENCE);
    lines.sort();
    assert_eq!(lines, [0, 1, 2].map(|qos| format!("dev/1/temp {qos} |||||21.5")));
    assert_balanced(&tidegate);
}

#[test]
fn a_message_expires_no_later_than_its_publisher_said() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = broker("home", &home.url(), "") + &broker("office", &office.url(), "");
    config += &route("home", &["dev/#"], &["office"], "");
    let tidegate = Tidegate::start(&config);
    let sub = MosquittoSub::start(office.port(), &["-V", "5", "-q", "1", "-t", "#", "-F", "MESSAGE %E"]);
    let args = "-V 5 -t dev/1 -q 1 -m x -D publish message-expiry-interval 1000";
    mosquitto_pub(home.port(), &args.split(' ').collect::<Vec<_>>());
    let left: u32 = sub.expect(1, PATIENCE)[0].parse().expect("an expiry interval");
    assert!((900..=1000).contains(&left), "{left}");
    assert_balanced(&tidegate);
}

#[test]
fn a_route_can_fix_the_qos_of_what_goes_out() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let mut config = broker("home", &home.url(), "") + &broker("office", &office.url(), "");
    for qos in 0..=2 {
        let keys = format!("qos = {qos}");
        config += &named_route(&format!("q{qos}"), "home", &[&format!("out{qos}/#")], 2, &["office"], &keys);
    }
    let tidegate = Tidegate::start(&config);
    let mut subscriber = listener(office.port(), "subscriber");
    let mut publisher = Client::connect(home.port(), &ClientOptions::new(Version::V311, "publisher")).unwrap();
    for (out, publish) in (0..=2).flat_map(|out| (0..=2).map(move |publish| (out, publish))) {
        publisher.publish(&format!("out{out}/pub{publish}"), b"x", publish, false).unwrap();
    }
    for message in exactly(&mut subscriber, 9) {
        assert!(message.topic.starts_with(&format!("out{}/", message.qos)), "{message:?}");
    }
    assert_balanced(&tidegate);
}
