//! From the box's own broker, to it, and between two of them.

use super::Embedded;
use crate::fixture::{PATIENCE, Witness, assert_balanced, broker, named_route};
use tidegate_testkit::{
    Client, ClientOptions, FaultProxy, Ledger, Mosquitto, Publisher, PublisherOptions, Subscriber, SubscriberOptions,
    Tidegate, Version, eventually, free_port,
};

/// Of each publisher.
const MESSAGES: u64 = 500;

/// Publishes with every QoS at the one, and compares what comes to the other.
#[track_caller]
fn carries(tidegate: &Tidegate, from: u16, to: u16, prefix: &str) {
    for (version, name) in [(Version::V311, "3.1.1"), (Version::V5, "5")] {
        let ledger = Ledger::new();
        let client = ClientOptions::new(version, "subscriber");
        let filter = format!("{prefix}dev/+/temp");
        let subscriber = Subscriber::start(to, SubscriberOptions::new(client, "subscriber", &filter, 2), &ledger);
        let publishers: Vec<_> = (0..=2)
            .map(|qos| {
                let client = ClientOptions::new(version, &format!("publisher-{qos}"));
                let mut options = PublisherOptions::new(client, "dev/{key}/temp");
                (options.qos, options.count) = (qos, Some(MESSAGES));
                options.key_prefix = format!("{name}-{qos}-");
                // A publisher of QoS 0 is not to outrun what lies before it.
                options.rate = if qos == 0 { 2_000 } else { 0 };
                Publisher::start(from, options, &ledger)
            })
            .collect();
        for publisher in publishers {
            assert_eq!(publisher.finish(PATIENCE), MESSAGES);
        }
        eventually("everything arrives", PATIENCE, || subscriber.received() >= 3 * MESSAGES);
        assert_balanced(tidegate);
        subscriber.stop();
        ledger.check("subscriber").assert_exactly_once().assert_nothing_missing().assert_published(1_500);
    }
}

#[test]
fn everything_is_carried_from_the_box_to_a_broker() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let mut config = device.config() + &broker("office", &office.url(), "");
    config += &named_route("up", "device", &["dev/#"], 2, &["office"], "remap = { prefix = \"site/\" }");
    let tidegate = Tidegate::start(&config);
    carries(&tidegate, device.port, office.port(), "site/");
}

#[test]
fn everything_is_carried_from_a_broker_to_the_box() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let mut config = device.config() + &broker("office", &office.url(), "");
    config += &named_route("down", "office", &["dev/#"], 2, &["device"], "remap = { prefix = \"site/\" }");
    let tidegate = Tidegate::start(&config);
    carries(&tidegate, office.port(), device.port, "site/");
}

#[test]
fn everything_is_carried_between_two_brokers_of_the_box() {
    let (hall, attic) = (Embedded::new("hall"), Embedded::new("attic"));
    let mut config = hall.config() + &attic.config();
    config += &named_route("up", "hall", &["dev/#"], 2, &["attic"], "remap = { prefix = \"site/\" }");
    let tidegate = Tidegate::start(&config);
    carries(&tidegate, hall.port, attic.port, "site/");
}

#[test]
fn nothing_echoes_between_the_box_and_a_broker() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let mut config = device.config() + &broker("office", &office.url(), "");
    config += &named_route("up", "device", &["#"], 2, &["office"], "");
    config += &named_route("down", "office", &["#"], 2, &["device"], "");
    let tidegate = Tidegate::start(&config);
    let ledger = Ledger::new();
    let subscribers = [(device.port, "device"), (office.port(), "office")].map(|(port, name)| {
        let options = SubscriberOptions::new(ClientOptions::new(Version::V5, "subscriber"), name, "#", 2);
        (Subscriber::start(port, options, &ledger), name)
    });
    let publishers = [(device.port, "d"), (office.port(), "o")].map(|(port, prefix)| {
        let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
        (options.count, options.key_prefix) = (Some(MESSAGES), prefix.to_owned());
        Publisher::start(port, options, &ledger)
    });
    for publisher in publishers {
        publisher.finish(PATIENCE);
    }
    for (subscriber, _) in &subscribers {
        eventually("everything is everywhere", PATIENCE, || subscriber.received() >= 2 * MESSAGES);
    }
    let metrics = assert_balanced(&tidegate);
    for (subscriber, name) in subscribers {
        subscriber.stop();
        ledger.check(name).assert_exactly_once().assert_nothing_missing().assert_in_order();
    }
    for route in ["up", "down"] {
        let came = metrics.get("tidegate_route_received_total", &[("route", route)]);
        assert_eq!(came, Some(MESSAGES as f64), "{route}: nothing comes back");
    }
}

/// A device is told that its message is taken care of when the target has it, and not before.
#[track_caller]
fn acknowledged_after_the_target(version: Version, qos: u8) {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let to_office = FaultProxy::start(office.port());
    let keys = "keep_alive = \"2s\"\nconnect_timeout = \"2s\"\nreconnect = { min = \"50ms\", max = \"200ms\" }";
    let mut config = device.config() + &broker("office", &to_office.url(), keys);
    config += &named_route("up", "device", &["dev/#"], 2, &["office"], "ack = \"delivered\"");
    let tidegate = Tidegate::start(&config);
    let mut subscriber = Client::connect(office.port(), &ClientOptions::new(Version::V5, "subscriber")).unwrap();
    subscriber.subscribe(&[("dev/#", 2)]).unwrap();

    to_office.black_hole(true);
    let mut publisher = Client::connect(device.port, &ClientOptions::new(version, "device")).unwrap();
    publisher.send("dev/1/temp", b"21.5", qos, false).unwrap();
    publisher.flush().unwrap();
    eventually("the gateway has it", PATIENCE, || tidegate.metrics().get("tidegate_route_in_flight", &[]) == Some(1.0));
    // Answers come in order: with this one, an acknowledgement of what was sent before it would have come.
    publisher.subscribe(&[("lab/#", 0)]).unwrap();
    assert_eq!(publisher.in_flight(), 1, "acknowledged before the target has it");
    assert!(publisher.completed().is_empty());
    eventually("it is noticed that the target is silent", PATIENCE, || {
        tidegate.metrics().get("tidegate_broker_up", &[("broker", "office")]) == Some(0.0)
    });
    publisher.subscribe(&[("lab/2/#", 0)]).unwrap();
    assert_eq!(publisher.in_flight(), 1, "acknowledged while the target is away");

    to_office.heal();
    eventually("the device is told", PATIENCE, || {
        publisher.turn(std::time::Duration::from_millis(5)).unwrap();
        publisher.in_flight() == 0
    });
    let came = subscriber.receive(PATIENCE).unwrap().expect("the message");
    assert_eq!((came.topic.as_str(), &came.payload[..], came.qos), ("dev/1/temp", &b"21.5"[..], qos));
    assert_balanced(&tidegate);
}

#[test]
fn a_device_is_told_after_the_target_has_it_at_qos_1_with_3_1_1() {
    acknowledged_after_the_target(Version::V311, 1);
}

#[test]
fn a_device_is_told_after_the_target_has_it_at_qos_1_with_5() {
    acknowledged_after_the_target(Version::V5, 1);
}

#[test]
fn a_device_is_told_after_the_target_has_it_at_qos_2_with_3_1_1() {
    acknowledged_after_the_target(Version::V311, 2);
}

#[test]
fn a_device_is_told_after_the_target_has_it_at_qos_2_with_5() {
    acknowledged_after_the_target(Version::V5, 2);
}

#[test]
fn no_loss_from_a_device_when_the_target_restarts() {
    let device = Embedded::new("device");
    let mut office = Mosquitto::builder().persistence(true).line("autosave_interval 0").start();
    let mut config = device.config();
    config += &broker("office", &office.url(), "reconnect = { min = \"50ms\", max = \"200ms\" }");
    config += &named_route("up", "device", &["dev/#"], 2, &["office"], "");
    let tidegate = Tidegate::start(&config);
    let ledger = Ledger::new();
    let client = ClientOptions::new(Version::V5, "subscriber").clean(false);
    let options = SubscriberOptions::new(client, "office", "dev/+/temp", 1);
    let subscriber = Subscriber::start(office.port(), options, &ledger);
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "device").clean(false), "dev/{key}/temp");
    options.rate = 1_500;
    let publisher = Publisher::start(device.port, options, &ledger);
    for _ in 0..3 {
        let before = subscriber.received();
        eventually("messages arrive", PATIENCE, || subscriber.received() >= before + MESSAGES);
        office.restart();
    }
    let sent = publisher.stop();
    eventually("everything has arrived", PATIENCE, || {
        subscriber.received() >= sent && ledger.check("office").lost.is_empty()
    });
    assert_balanced(&tidegate);
    subscriber.stop();
    ledger.check("office").assert_at_least_once().assert_in_order().assert_published(MESSAGES as usize);
}

/// Clients that come at once, and as many connections that say nothing, or not all of it.
const CROWD: usize = 200;

#[test]
fn a_crowd_at_the_door_is_taken_and_holds_nobody_up() {
    use std::io::{Read as _, Write as _};
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let mut config = device.config() + &broker("office", &office.url(), "");
    config += &named_route("up", "device", &["dev/#"], 2, &["office"], "");
    let tidegate = Tidegate::start(&config);
    let ledger = Ledger::new();
    let client = ClientOptions::new(Version::V5, "subscriber");
    let subscriber =
        Subscriber::start(office.port(), SubscriberOptions::new(client, "subscriber", "dev/#", 2), &ledger);
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    (options.qos, options.count) = (1, Some(MESSAGES));
    let publisher = Publisher::start(device.port, options, &ledger);

    let open = || {
        let stream = std::net::TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    };
    let connect =
        |number: usize| [&b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04"[..], format!("c{number:03}").as_bytes()].concat();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let (mut client, silent, mut half) = (open(), open(), open());
        client.write_all(&connect(number)).expect("written");
        half.write_all(&connect(number)[..number % 16]).expect("written");
        crowd.push((client, silent, half));
    }
    for (client, ..) in &mut crowd {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("CONNACK");
        assert_eq!(answer, [0x20, 2, 0, 0]);
    }
    // Somebody among them may say something, too.
    let (client, ..) = crowd.last_mut().expect("a crowd");
    client.write_all(b"\xC0\0").expect("written");
    let mut answer = [0; 2];
    client.read_exact(&mut answer).expect("PINGRESP");
    assert_eq!(answer, [0xD0, 0]);
    assert_eq!(publisher.finish(PATIENCE), MESSAGES);
    eventually("everything arrives", PATIENCE, || subscriber.received() >= MESSAGES);
    assert_balanced(&tidegate);
    subscriber.stop();
    ledger.check("subscriber").assert_exactly_once().assert_nothing_missing().assert_published(MESSAGES as usize);
}

/// More than the gateway keeps of messages that nobody waits for, in bytes.
const TOO_MUCH: usize = 80 << 20;

#[test]
fn devices_that_come_publish_and_go_do_not_fill_the_memory_when_a_queue_is_full() {
    let (device, office) = (Embedded::new("device"), Mosquitto::start());
    let config = |url: &str| {
        let spool = "spool = { max_messages = 10, when_full = \"block\" }";
        device.config() + &broker("office", url, spool) + &named_route("up", "device", &["dev/#"], 1, &["office"], "")
    };
    let tidegate = Tidegate::builder(&config("mqtt://127.0.0.1:1")).spawn();
    let connected = |options: &ClientOptions| {
        let mut client = None;
        eventually("it is let in", PATIENCE, || {
            client = Client::connect(device.port, options).ok();
            client.is_some()
        });
        client.expect("it is let in")
    };
    let gauge = |name: &str| tidegate.metrics().get(name, &[]).unwrap_or_default();
    let mut first = connected(&ClientOptions::new(Version::V5, "first"));
    for n in 0..10 {
        first.publish("dev/first", n.to_string().as_bytes(), 1, false).unwrap();
    }
    // This one will be back.
    let stays = ClientOptions::new(Version::V5, "stays").clean(false);
    let mut waits = connected(&stays);
    waits.send("dev/stays", b"mine", 1, false).unwrap();
    waits.flush().unwrap();
    eventually("it waits", PATIENCE, || gauge("tidegate_spool_blocked") == 1.0);
    drop(waits);
    let payload = vec![b'x'; 100_000];
    for number in 0..TOO_MUCH / (10 * payload.len()) {
        let mut goes = connected(&ClientOptions::new(Version::V311, &format!("goes-{number}")));
        for _ in 0..10 {
            goes.send("dev/goes", &payload, 1, false).unwrap();
        }
        // It may be held up, and go before all of it is read.
        let _ = goes.flush();
    }
    let dropped = || tidegate.metrics().get("tidegate_route_dropped_total", &[("reason", "quota")]).unwrap_or_default();
    eventually("what nobody waits for is forgotten", PATIENCE, || dropped() > 0.0);
    assert!(tidegate.log().contains("those who published these are gone"), "{}", tidegate.log());
    let came = Witness::start(office.port(), "office", "dev/#", &Ledger::new());
    tidegate.edit_config(&config(&office.url()));
    let of = |topic: &str| came.arrivals().iter().filter(|arrival| arrival.topic == topic).count();
    eventually("who was told, and who will be, is served", PATIENCE, || of("dev/first") == 10 && of("dev/stays") == 1);
    assert_balanced(&tidegate);
}

/// How often the box's own broker is made anew.
const REBUILDS: usize = 16;

/// What was published to it when another took its place is done: its source is told, and nothing stays under way.
#[test]
fn what_the_box_was_given_is_done_when_its_broker_is_made_anew() {
    let (home, device, second) = (Mosquitto::start(), Embedded::new("device"), free_port());
    let config = |is_wider: bool, persists: bool| {
        let mut own = device.config();
        if is_wider {
            own = own.replace("listen = [", &format!("listen = [\"mqtt://127.0.0.1:{second}\", "));
        }
        own += &format!("persistence = {persists}\n");
        own + &broker("home", &home.url(), "")
            + &named_route("down", "home", &["dev/#"], 1, &["device"], "ack = \"delivered\"")
    };
    let tidegate = Tidegate::start(&config(false, true));
    let ledger = Ledger::new();
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    options.rate = 3_000;
    let publisher = Publisher::start(home.port(), options, &ledger);
    for n in 0..REBUILDS {
        let before = tidegate.metrics().get("tidegate_reloads_total", &[]).unwrap_or_default();
        tidegate.edit_config(&config(n % 2 == 0, n % 8 < 6));
        eventually("it is reloaded", PATIENCE, || {
            tidegate.metrics().get("tidegate_reloads_total", &[]).unwrap_or_default() > before
        });
    }
    publisher.stop();
    assert_balanced(&tidegate);
    let under_way = || tidegate.metrics().get("tidegate_unacknowledged", &[]);
    eventually("every source was told", PATIENCE, || under_way() == Some(0.0));
}

/// Publishes under a name and waits for PUBACK.
#[track_caller]
fn answers(port: u16, name: &str) {
    eventually("somebody lets it in", PATIENCE, || {
        Client::connect(port, &ClientOptions::new(Version::V5, name))
            .is_ok_and(|mut client| client.publish("a/b", b"x", 1, false).is_ok())
    });
}

#[test]
fn brokers_of_the_box_take_over_each_others_sockets() {
    let (one, other) = (free_port(), free_port());
    let own = |name: &str, listen: &[String], keys: &str| {
        format!("[brokers.{name}]\nembedded = true\nlisten = {listen:?}\n{keys}\n")
    };
    let at = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
    let tidegate = Tidegate::builder(&own("first", &[at("mqtt", one)], "")).file("nobody", Vec::new()).start();
    let mut reloads = 0.0;
    let mut edit = |config: String| {
        tidegate.edit_config(&config);
        reloads += 1.0;
        eventually("it is reloaded", PATIENCE, || {
            let metrics = tidegate.metrics();
            assert_eq!(metrics.get("tidegate_reloads_refused_total", &[]), Some(0.0), "{}", tidegate.log());
            metrics.get("tidegate_reloads_total", &[]) == Some(reloads)
        });
    };
    answers(one, "a");
    // A second address beside the one that stays.
    edit(own("first", &[at("mqtt", one), at("mqtt", other)], ""));
    answers(one, "b");
    answers(other, "c");
    // Another name, and what else can be said of it.
    edit(own("second", &[at("mqtt", one)], "persistence = false") + &own("third", &[at("mqtt", other)], ""));
    answers(one, "d");
    assert!(tidegate.log().contains("what broker `first` kept of its clients stays in"), "{}", tidegate.log());
    // They change places.
    edit(own("second", &[at("mqtt", other)], "") + &own("third", &[at("mqtt", one)], ""));
    answers(one, "e");
    answers(other, "f");
    // Another protocol at the same place.
    edit(own("second", &[at("ws", other)], "") + &own("third", &[at("mqtt", one)], ""));
    answers(one, "g");
    eventually("MQTT is not spoken there any more", PATIENCE, || {
        Client::connect(other, &ClientOptions::new(Version::V5, "h")).is_err()
    });
    // Nearly the same place is another one, and ours.
    tidegate.edit_config(&own("third", &[format!("mqtt://0.0.0.0:{one}")], "users = \"nobody\""));
    eventually("it is refused", PATIENCE, || {
        tidegate.metrics().get("tidegate_reloads_refused_total", &[]) == Some(1.0)
    });
    assert!(tidegate.log().contains("while this gateway still listens on"), "{}", tidegate.log());
    answers(one, "i");
}
