//! Processes die under load.

use super::*;
use crate::fixture::assert_balanced;
use std::collections::BTreeSet;
use tidegate_testkit::{Client, Direction, FaultProxy, Nats, NatsCluster, eventually};

/// How often something is killed.
const KILLS: u64 = 4;

/// From a start to the next kill: well under way, and not always at the same instant.
fn life(kill: u64) -> Duration {
    Duration::from_millis(300 + 137 * kill)
}

/// All that the publisher was told is safe is in the stream once, each key in order.
#[track_caller]
fn assert_kept(mut count: impl FnMut() -> u64, messages: impl FnOnce() -> Vec<NatsMessage>, ledger: &Ledger) {
    eventually("all is in the stream", LONG_PATIENCE, || count() >= ledger.published_count() as u64);
    let kept = messages();
    read_stream(&kept, ledger);
    let check = ledger.check("stream");
    check.assert_published(500).assert_exactly_once().assert_in_order();
    let ids: BTreeSet<_> = kept.iter().filter_map(|message| message.header("Nats-Msg-Id")).collect();
    assert_eq!(ids.len(), kept.len(), "each message has an id of its own");
}

#[test]
fn a_gateway_that_is_killed_loses_nothing_and_its_repeats_are_one_message() {
    // At QoS 1 the source would send again what the gateway had on its disk and had not acknowledged, as new messages.
    let (home, nats) = (Mosquitto::builder().max_inflight(2_000).start(), Nats::start());
    let mut gateway = Tidegate::start(&into_stream(&home, &stream(&nats.url(), "")));
    let ledger = Ledger::new();
    let publisher = publisher(&home, 2, &ledger);
    for kill in 0..KILLS {
        std::thread::sleep(life(kill));
        gateway.kill();
        gateway.relaunch();
    }
    publisher.stop();
    assert_kept(|| nats.client().count("S"), || nats.client().messages("S"), &ledger);
    assert_balanced(&gateway);
}

#[test]
fn what_was_stored_and_not_acknowledged_is_sent_again_and_stays_one_message() {
    for is_killed in [false, true] {
        let (home, nats) = (Mosquitto::start(), Nats::start());
        let proxy = FaultProxy::start(nats.port());
        let url = format!("nats://127.0.0.1:{}", proxy.port());
        let mut gateway = Tidegate::start(&into_stream(&home, &stream(&url, "")));
        proxy.freeze(Direction::ToClient, true);
        let mut client = Client::connect(home.port(), &ClientOptions::new(Version::V5, "devices")).expect("connected");
        for device in 0..20 {
            client.publish(&format!("dev/{device}/temp"), b"21", 1, false).expect("acknowledged");
        }
        eventually("the stream has all", PATIENCE, || nats.client().count("S") == 20);
        if is_killed {
            gateway.kill();
            proxy.reset();
            proxy.heal();
            gateway.relaunch();
            gateway.wait_ready(PATIENCE);
            let recovered = || gateway.metrics().get("tidegate_route_recovered_total", &[]);
            eventually("they are sent once more", PATIENCE, || recovered() == Some(20.0));
        } else {
            proxy.reset();
            proxy.heal();
        }
        assert_balanced(&gateway);
        assert_eq!(nats.client().count("S"), 20, "killed: {is_killed}");
    }
}

#[test]
fn a_server_that_is_killed_and_comes_back_has_everything() {
    let home = Mosquitto::start();
    let mut nats = Nats::start();
    let gateway = Tidegate::start(&into_stream(&home, &stream(&nats.url(), "")));
    let ledger = Ledger::new();
    let publisher = publisher(&home, 1, &ledger);
    for kill in 0..KILLS {
        std::thread::sleep(life(kill));
        nats.kill();
        std::thread::sleep(life(kill));
        nats.restart();
    }
    publisher.stop();
    assert_kept(|| nats.client().count("S"), || nats.client().messages("S"), &ledger);
    assert_balanced(&gateway);
    gateway.wait_for_log("not connected", PATIENCE);
}

#[test]
fn a_cluster_whose_leader_is_killed_has_everything_in_order() {
    let home = Mosquitto::start();
    let mut cluster = NatsCluster::start();
    let keys = cluster.keys();
    let (url, servers) = keys.split_once('\n').expect("two keys");
    let url = url.split('"').nth(1).expect("a url");
    let gateway = Tidegate::start(&into_stream(&home, &stream(url, &format!("{servers}\nreplicas = 3"))));
    let ledger = Ledger::new();
    let publisher = publisher(&home, 1, &ledger);
    for kill in 0..3 {
        std::thread::sleep(life(kill));
        let leader = cluster.leader_of("S");
        cluster.server(leader).kill();
        let before = publisher.sent();
        eventually("the publisher goes on", PATIENCE, || publisher.sent() > before + 500);
        cluster.server(leader).restart();
        eventually("the three are one again", LONG_PATIENCE, || {
            let info = cluster.client().api("STREAM.INFO.S", "{}");
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            replicas.len() == 2 && replicas.iter().all(|one| one["current"] == true && one["offline"] != true)
        });
    }
    publisher.stop();
    let mut client = cluster.client();
    let mut reader = cluster.client();
    assert_kept(|| client.count("S"), || reader.messages("S"), &ledger);
    assert_balanced(&gateway);
}

/// Two gateways on one consumer carry a stream to `office`; one of them is killed again and again, or the server is.
#[track_caller]
fn shared(office: &Mosquitto, mut disturb: impl FnMut(&mut Nats, &mut Tidegate, u64)) -> Ledger {
    let (home, mut nats) = (Mosquitto::start(), Nats::start());
    let site = stream(&nats.url(), "client_id = \"out\"");
    let into = Tidegate::start(&into_stream(&home, &site));
    eventually("the stream is there", PATIENCE, || !nats.client().api("STREAM.INFO.S", "{}")["config"].is_null());
    // Soon delivered again.
    nats.client().make_consumer("S", "out", "\"ack_wait\":2000000000,\"max_ack_pending\":65536");
    let mut one = Tidegate::start(&out_of_stream(office, &site));
    let two = Tidegate::start(&out_of_stream(office, &site));
    let ledger = Ledger::new();
    let (subscriber, publisher) = (subscriber(office, &ledger), publisher(&home, 1, &ledger));
    let received = |gateway: &Tidegate| gateway.metrics().get("tidegate_route_received_total", &[]).unwrap_or(0.0);
    eventually("both carry", PATIENCE, || received(&one) > 50.0 && received(&two) > 50.0);
    for kill in 0..KILLS {
        std::thread::sleep(life(kill));
        disturb(&mut nats, &mut one, kill);
    }
    publisher.stop();
    eventually("everything has come", LONG_PATIENCE, || ledger.lost_by_all(&["office"]).is_empty());
    eventually("all is acknowledged", LONG_PATIENCE, || {
        let info = nats.client().api("CONSUMER.INFO.S.out", "");
        info["num_ack_pending"] == 0 && info["num_pending"] == 0
    });
    subscriber.stop();
    assert_balanced(&into);
    assert_balanced(&two);
    ledger
}

#[test]
fn two_gateways_on_one_consumer_lose_nothing_when_one_is_killed() {
    let office = Mosquitto::builder().persistence(true).start();
    let ledger = shared(&office, |_, one, _| {
        one.kill();
        one.relaunch();
    });
    let check = ledger.check("office");
    check.assert_published(500).assert_at_least_once();
    // Only what was unacknowledged at a kill comes twice: at most `receive_maximum` each time.
    assert!(check.repeated.len() as u64 <= KILLS * 1000, "{check}");
}

#[test]
fn an_acknowledgement_that_is_lost_with_the_server_makes_no_second_message() {
    let office = Mosquitto::start();
    let ledger = shared(&office, |nats, _, kill| {
        if kill == 0 {
            nats.kill();
            nats.restart();
        }
    });
    ledger.check("office").assert_published(500).assert_at_least_once();
}
