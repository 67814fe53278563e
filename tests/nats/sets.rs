//! A stream as a member of a set, beside a broker of MQTT.

use super::*;
use crate::fixture::assert_balanced;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_testkit::{Direction, FaultProxy, Id, MosquittoSub, Nats, eventually, mosquitto_pub};

/// `home`, the stream, `office`, and everything from `home` to the set of these `members`, with more of its keys.
fn to_set(home: &Mosquitto, site: &str, office: &Mosquitto, members: &str, keys: &str) -> String {
    let set = format!("[targets.up]\nmembers = {members}\nfailback = \"1s\"\n{keys}\n");
    let brokers = broker("home", &home.url(), SOON) + site + &broker("office", &office.url(), SOON);
    let remap = "remap = { strip = \"dev/\", prefix = \"site/\" }";
    brokers + &set + &named_route("in", "home", &["dev/#"], 2, &["up"], remap)
}

/// What it has taken over, and who is subscribed, outlives it.
fn lasting() -> Mosquitto {
    Mosquitto::builder().persistence(true).line("autosave_interval 0").start()
}

/// How much of the set's messages a member gets.
fn share(gateway: &Tidegate, member: &str) -> f64 {
    gateway.metrics().get("tidegate_set_share", &[("broker", member)]).unwrap_or(0.0)
}

/// Waits until all that was published has come to the gateway and gone on.
#[track_caller]
fn assert_through(gateway: &Tidegate, ledger: &Ledger) {
    let received = || gateway.metrics().get("tidegate_route_received_total", &[]).unwrap_or(0.0);
    eventually("all has come to the gateway", PATIENCE, || received() >= ledger.published_count() as f64);
    assert_balanced(gateway);
}

/// So many were published at least, and all came to the stream, once, or to the office; each in order.
#[track_caller]
fn assert_all_came(gateway: &Tidegate, ledger: &Ledger, nats: &Nats, at_office: Subscriber, published: usize) {
    assert_through(gateway, ledger);
    read_stream(&nats.client().messages("S"), ledger);
    eventually("everything has come", PATIENCE, || ledger.lost_by_all(&["stream", "office"]).is_empty());
    at_office.stop();
    ledger.check("stream").assert_published(published).assert_at_most_once().assert_in_order();
    ledger.check("office").assert_in_order();
}

/// By key, in the order in which they came.
fn by_key(ledger: &Ledger, name: &str) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    ledger.received_by(name).into_iter().for_each(|Id { key, n }| all.entry(key).or_default().push(n));
    all
}

/// Each key went to the first, to the second, and back, in one row: what came to both is the beginning of what came to the
/// second. Returns how many messages came to both.
#[track_caller]
fn assert_turns(ledger: &Ledger, first: &str, second: &str) -> usize {
    let (at_first, mut repeats) = (by_key(ledger, first), 0);
    for (key, there) in by_key(ledger, second) {
        let (Some(from), Some(to)) = (there.iter().min(), there.iter().max()) else { continue };
        let count = there.iter().collect::<BTreeSet<_>>().len() as u64;
        assert_eq!(count, to - from + 1, "{key}: the second got them in one row: {there:?}");
        let here = at_first.get(&key).map_or(&[][..], Vec::as_slice);
        let both: BTreeSet<u64> = here.iter().copied().filter(|n| (from..=to).contains(&n)).collect();
        let begin: BTreeSet<u64> = (*from..).take(both.len()).collect();
        assert_eq!(both, begin, "{key}: only what was unacknowledged when the second took over came to both");
        repeats += both.len();
    }
    repeats
}

#[test]
fn failover_from_a_stream_to_a_broker_and_back_repeats_one_message_of_a_topic_at_most() {
    let (home, office, mut nats) = (Mosquitto::start(), lasting(), Nats::start());
    let site = stream(&nats.url(), "");
    let gateway = Tidegate::start(&to_set(&home, &site, &office, "[\"site\", \"office\"]", ""));
    let ledger = Ledger::new();
    let (at_office, publisher) = (subscriber(&office, &ledger), publisher(&home, 1, &ledger));
    eventually("the stream gets it", PATIENCE, || nats.client().count("S") > 500);
    assert_eq!(at_office.received(), 0, "the broker gets nothing while the stream is well");
    nats.kill();
    eventually("the broker gets it", PATIENCE, || at_office.received() > 500);
    nats.restart();
    let before = nats.client().count("S");
    eventually("the stream gets it again", PATIENCE, || nats.client().count("S") > before + 500);
    publisher.stop();
    assert_all_came(&gateway, &ledger, &nats, at_office, 1500);
    let keys = by_key(&ledger, "office").len();
    assert!(assert_turns(&ledger, "stream", "office") <= keys, "one message of a topic is under way");
}

#[test]
fn failover_from_a_broker_to_a_stream_and_back_repeats_what_was_unacknowledged() {
    let (home, mut office, nats) = (Mosquitto::start(), lasting(), Nats::start());
    let site = stream(&nats.url(), "");
    let gateway = Tidegate::start(&to_set(&home, &site, &office, "[\"office\", \"site\"]", ""));
    let ledger = Ledger::new();
    let (at_office, publisher) = (subscriber(&office, &ledger), publisher(&home, 1, &ledger));
    eventually("the broker gets it", PATIENCE, || at_office.received() > 500);
    assert_eq!(nats.client().count("S"), 0, "the stream gets nothing while the broker is well");
    office.stop();
    eventually("the stream gets it", PATIENCE, || nats.client().count("S") > 500);
    office.restart();
    let before = at_office.received();
    eventually("the broker gets it again", PATIENCE, || at_office.received() > before + 500);
    publisher.stop();
    assert_all_came(&gateway, &ledger, &nats, at_office, 1500);
    // Its window, which is mosquitto's own.
    assert!(assert_turns(&ledger, "office", "stream") <= 20);
}

#[test]
fn balance_moves_the_topics_of_the_member_that_leaves_whichever_it_is() {
    for leaves in ["site", "office"] {
        let (home, mut office, mut nats) = (Mosquitto::start(), lasting(), Nats::start());
        let site = stream(&nats.url(), "");
        let keys = "policy = \"balance\"";
        let gateway = Tidegate::start(&to_set(&home, &site, &office, "[\"site\", \"office\"]", keys));
        let ledger = Ledger::new();
        let (at_office, publisher) = (subscriber(&office, &ledger), publisher(&home, 1, &ledger));
        eventually("both get some", PATIENCE, || at_office.received() > 100 && nats.client().count("S") > 100);
        let (left, stayed, stays) =
            if leaves == "site" { ("stream", "office", "office") } else { ("office", "stream", "site") };
        if leaves == "site" {
            nats.kill()
        } else {
            office.stop()
        }
        eventually("the other has it all", PATIENCE, || share(&gateway, stays) == 1.0);
        let before = publisher.sent();
        eventually("it goes on", PATIENCE, || publisher.sent() > before + 300);
        if leaves == "site" {
            nats.restart()
        } else {
            office.restart()
        }
        eventually("both get some again", PATIENCE, || share(&gateway, leaves) == 0.5);
        let before = publisher.sent();
        eventually("it goes on", PATIENCE, || publisher.sent() > before + 300);
        publisher.stop();
        assert_all_came(&gateway, &ledger, &nats, at_office, 800);
        let (of_left, of_stayed) = (by_key(&ledger, left), by_key(&ledger, stayed));
        let moved = of_left.keys().filter(|key| of_stayed.contains_key(*key)).count();
        let unmoved = of_stayed.keys().filter(|key| !of_left.contains_key(*key)).count();
        assert!(moved > 0 && unmoved > 0, "{leaves}: topics of the member that left moved, no others");
        assert_eq!(moved, of_left.len(), "{leaves}");
        assert_turns(&ledger, left, stayed);
    }
}

#[track_caller]
fn publish_all(home: &Mosquitto, ledger: &Ledger, ids: impl Iterator<Item = Id>) {
    let client = ClientOptions::new(Version::V5, "devices");
    let mut client = tidegate_testkit::Client::connect(home.port(), &client).expect("connected");
    for id in ids {
        ledger.published(id.clone());
        client.publish(&format!("dev/{}/temp", id.key), &id.encode(0), 1, false).expect("acknowledged");
        ledger.acknowledged(&id);
    }
}

/// Numbers of each of five keys.
fn numbered(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Id> {
    numbers.flat_map(|n| (0..5).map(move |key| Id::new(key.to_string(), n)))
}

#[test]
fn a_stream_that_acknowledges_nothing_is_taken_over_from_with_what_it_had_and_comes_back() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let proxy = FaultProxy::start(nats.port());
    let site = stream(&format!("nats://127.0.0.1:{}", proxy.port()), "");
    let keys = "takeover_after = \"1s\"";
    let gateway = Tidegate::start(&to_set(&home, &site, &office, "[\"site\", \"office\"]", keys));
    let ledger = Ledger::new();
    let at_office = subscriber(&office, &ledger);
    publish_all(&home, &ledger, numbered(0..2));
    assert_through(&gateway, &ledger);
    proxy.freeze(Direction::ToClient, true);
    publish_all(&home, &ledger, numbered(2..6));
    eventually("the broker has what the stream did not acknowledge", PATIENCE, || at_office.received() == 20);
    gateway.wait_for_log("acknowledged nothing for 1s", PATIENCE);
    proxy.freeze(Direction::ToClient, false);
    eventually("it goes to the stream again", PATIENCE, || share(&gateway, "site") == 1.0);
    publish_all(&home, &ledger, numbered(6..8));
    assert_through(&gateway, &ledger);
    read_stream(&nats.client().messages("S"), &ledger);
    at_office.stop();
    ledger.check("office").assert_at_most_once().assert_in_order();
    let check = ledger.check("stream");
    check.assert_at_most_once().assert_in_order();
    assert_eq!(check.received, 25, "{check}");
    assert_eq!(assert_turns(&ledger, "stream", "office"), 5, "of each topic the one that was under way");
    assert!(ledger.lost_by_all(&["stream", "office"]).is_empty());
}

#[test]
fn topics_that_leave_a_stream_wait_until_it_has_answered_what_it_has_of_them() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let proxy = FaultProxy::start(nats.port());
    let site = stream(&format!("nats://127.0.0.1:{}", proxy.port()), "");
    let marks = named_route("marks", "home", &["mark"], 1, &["office"], "");
    let config = |members| to_set(&home, &site, &office, members, "takeover_after = \"1m\"") + &marks;
    let gateway = Tidegate::start(&config("[\"site\", \"office\"]"));
    let sub = MosquittoSub::start(office.port(), &["-q", "1", "-t", "#"]);
    let publish = |topic: &str, text: &str| mosquitto_pub(home.port(), &["-q", "1", "-t", topic, "-m", text]);
    publish("dev/a", "1");
    eventually("the stream has it", PATIENCE, || nats.client().count("S") == 1);
    assert_balanced(&gateway);

    proxy.freeze(Direction::ToClient, true);
    publish("dev/a", "2");
    eventually("the stream has it", PATIENCE, || nats.client().count("S") == 2);
    gateway.edit_config(&config("[\"office\", \"site\"]"));
    eventually("the broker is the first", PATIENCE, || share(&gateway, "office") == 1.0);
    publish("dev/a", "3");
    publish("mark", "behind");
    assert_eq!(sub.expect(1, PATIENCE), ["mark 1 0 behind"], "the third waits for the answer to the second");
    proxy.freeze(Direction::ToClient, false);
    assert_eq!(sub.expect(2, PATIENCE)[1..], ["site/a 1 0 3"]);
    assert_balanced(&gateway);
    assert_eq!(nats.client().count("S"), 2);
}

#[test]
fn a_stream_that_answers_no_publish_is_taken_over_from_though_it_lets_us_in_each_time() {
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let nats = Nats::with(
        "no_auth_user: edge\nauthorization { users: [{ user: edge, permissions: { publish: { deny: \"site.>\" } } }] }",
    );
    // Longer than an answer is waited for, after which it is connected to anew.
    let keys = "takeover_after = \"6s\"";
    let gateway = Tidegate::start(&to_set(&home, &stream(&nats.url(), ""), &office, "[\"site\", \"office\"]", keys));
    let ledger = Ledger::new();
    let at_office = subscriber(&office, &ledger);
    publish_all(&home, &ledger, numbered(0..3));
    eventually("the broker has all", PATIENCE, || at_office.received() == 15);
    assert_through(&gateway, &ledger);
    at_office.stop();
    ledger.check("office").assert_exactly_once().assert_in_order();
    assert_eq!(nats.client().count("S"), 0);
}

#[test]
fn a_stream_that_refuses_is_taken_over_from_and_gets_its_topics_back_when_it_takes_them() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    nats.client().make_stream("S", &["site.>"], r#""max_msgs":5,"discard":"new""#);
    let keys = "takeover_after = \"1s\"";
    let gateway = Tidegate::start(&to_set(&home, &stream(&nats.url(), ""), &office, "[\"site\", \"office\"]", keys));
    let sub = MosquittoSub::start(office.port(), &["-q", "1", "-t", "#"]);
    let publish = |n: u64| mosquitto_pub(home.port(), &["-q", "1", "-t", "dev/a", "-m", &n.to_string()]);
    (0..12).for_each(publish);
    let lines = sub.expect(7, PATIENCE);
    let numbers: Vec<&str> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(numbers, ["5", "6", "7", "8", "9", "10", "11"]);
    let log = gateway.log();
    assert!(log.contains("failover") && log.contains("maximum messages exceeded"), "{log}");
    let metrics = assert_balanced(&gateway);
    assert_eq!(metrics.get("tidegate_route_dropped_total", &[]).unwrap_or(0.0), 0.0);
    nats.client().api("STREAM.PURGE.S", "");
    eventually("it goes to the stream again", PATIENCE, || share(&gateway, "site") == 1.0);
    publish(12);
    eventually("the stream has it", PATIENCE, || nats.client().count("S") == 1);
}

#[test]
fn a_stream_that_is_slow_gets_fewer_topics() {
    let (home, office, nats) = (Mosquitto::start(), Mosquitto::start(), Nats::start());
    let proxy = FaultProxy::start(nats.port());
    let site = stream(&format!("nats://127.0.0.1:{}", proxy.port()), "");
    let keys = "policy = \"balance\"\nrelief = { latency = \"100ms\" }\ntakeover_after = \"1m\"";
    let gateway = Tidegate::start(&to_set(&home, &site, &office, "[\"site\", \"office\"]", keys));
    let ledger = Ledger::new();
    let (at_office, publisher) = (subscriber(&office, &ledger), publisher(&home, 1, &ledger));
    eventually("both get some", PATIENCE, || at_office.received() > 100 && nats.client().count("S") > 100);
    proxy.latency(Duration::from_millis(150));
    eventually("the slow one gets less", PATIENCE, || share(&gateway, "site") < 0.2);
    let took = gateway.metrics().get("tidegate_broker_acknowledge_seconds", &[("broker", "site")]);
    assert!(took.is_some_and(|took| took > 0.1), "{took:?}");
    publisher.stop();
    proxy.latency(Duration::ZERO);
    assert_through(&gateway, &ledger);
    read_stream(&nats.client().messages("S"), &ledger);
    at_office.stop();
    for name in ["stream", "office"] {
        ledger.check(name).assert_at_most_once().assert_in_order();
    }
    assert!(ledger.lost_by_all(&["stream", "office"]).is_empty());
}
