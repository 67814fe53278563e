//! What outlives the process. A test is one life of a broker after another on the same disk: at the end of each it is killed, and the
//! next finds what it had written.

use crate::device::{Device, QOS, Raw, Server, anonymous, config, lasting, message, retained, with_disk};
use std::time::Duration;
use tidegate_broker::{Limits, Settings};
use tidegate_message::{Message, Properties, QoS};
use tidegate_mqtt::{ClientConfig, Version};
use tidegate_testkit::SimDisk;

/// Lives one life, and kills it.
pub(crate) fn live<F: Future<Output = ()>>(disk: &mut SimDisk, life: impl FnOnce(Server) -> F) {
    with_disk(disk, anonymous(), life);
    *disk = disk.killed();
}

#[test]
fn an_absent_client_is_sent_what_it_missed_in_order() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut disk = SimDisk::new();
        live(&mut disk, |server| async move {
            let mut publisher = server.device("from").await;
            let mut device = Device::connect(server.addr, lasting("to", version)).await;
            device.subscribe("t/#", QoS::ExactlyOnce).await;
            device.subscribe("gone", QoS::ExactlyOnce).await;
            device.unsubscribe("gone").await;
            device.goodbye().await;
            for number in 0..50 {
                publisher.publish(message("t", &number.to_string(), QOS[1 + number % 2])).await;
            }
        });
        live(&mut disk, |server| async move {
            let mut publisher = server.device("from").await;
            for number in 50..60 {
                publisher.publish(message("t/more", &number.to_string(), QOS[1 + number % 2])).await;
            }
            publisher.publish(message("gone", "x", QoS::AtLeastOnce)).await;
            let (mut device, connected) = Device::try_connect(server.addr, lasting("to", version)).await.unwrap();
            assert!(connected.session_present || version == Version::V31);
            let expected: Vec<String> = (0..60).map(|number| number.to_string()).collect();
            assert_eq!(device.next_payloads(60).await, expected);
            assert_eq!(device.drain().await, []);
            // That it is done is durable with what comes next.
            device.goodbye().await;
            publisher.publish(retained("next", "x", QoS::AtLeastOnce)).await;
        });
        live(&mut disk, |server| async move {
            let mut device = Device::connect(server.addr, lasting("to", version)).await;
            assert_eq!(device.drain().await, [], "done is done");
            // Clean start ends it.
            device.goodbye().await;
            Device::connect(server.addr, config("to", version)).await.goodbye().await;
        });
        live(&mut disk, |server| async move {
            let (_, connected) = Device::try_connect(server.addr, lasting("to", Version::V5)).await.unwrap();
            assert!(!connected.session_present);
            assert_eq!(server.broker.stats().subscriptions, 0);
        });
    }
}

#[test]
fn what_was_in_flight_comes_again_under_its_packet_id() {
    const CONNECT: &[u8] = b"\x10\x14\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\0\x3C\0\x02to";
    let mut disk = SimDisk::new();
    let mut ids = Vec::new();
    let seen = &mut ids;
    live(&mut disk, |server| async move {
        let mut publisher = server.device("from").await;
        let mut raw = Raw::open(server.addr).await;
        raw.send(CONNECT).await;
        assert_eq!(raw.packet().await.unwrap()[2], 0, "no session yet");
        raw.send(b"\x82\x07\0\x01\0\0\x01t\x02").await;
        assert_eq!(raw.packet().await.unwrap(), b"\x90\x04\0\x01\0\x02");
        for (qos, payload) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
            publisher.publish(message("t", payload, QOS[qos])).await;
            let packet = raw.packet().await.unwrap();
            assert_eq!(packet[0], 0x30 | (qos as u8) << 1);
            seen.push([packet[5], packet[6]]);
        }
        // The third is acknowledged, the second taken over.
        raw.send(&[&[0x40, 2], &seen[2][..]].concat()).await;
        raw.send(&[&[0x50, 2], &seen[1][..]].concat()).await;
        assert_eq!(raw.packet().await.unwrap(), [&[0x62, 2], &seen[1][..]].concat());
        // What was done is durable with what comes next.
        publisher.publish(retained("next", "x", QoS::AtLeastOnce)).await;
    });
    live(&mut disk, |server| async move {
        let mut raw = Raw::open(server.addr).await;
        raw.send(CONNECT).await;
        assert_eq!(raw.packet().await.unwrap()[2], 1, "session present");
        let mut again = Vec::new();
        for _ in 0..3 {
            again.push(raw.packet().await.unwrap());
        }
        assert_eq!((again[0][0], &again[0][5..7]), (0x3A, &ids[0][..]), "PUBLISH, DUP, QoS 1");
        assert_eq!(again[1], [&[0x62, 2], &ids[1][..]].concat(), "PUBREL");
        assert_eq!((again[2][0], &again[2][5..7]), (0x3C, &ids[3][..]), "PUBLISH, DUP, QoS 2");
        // Everything is brought to its end.
        raw.send(&[&[0x40, 2], &ids[0][..]].concat()).await;
        raw.send(&[&[0x70, 2], &ids[1][..]].concat()).await;
        raw.send(&[&[0x50, 2], &ids[3][..]].concat()).await;
        assert_eq!(raw.packet().await.unwrap(), [&[0x62, 2], &ids[3][..]].concat());
        raw.send(&[&[0x70, 2], &ids[3][..]].concat()).await;
        raw.send(b"\xC0\0").await;
        assert_eq!(raw.packet().await.unwrap(), [0xD0, 0]);
        server.until(|stats| stats.queued == 0).await;
        server.device("from").await.publish(retained("next", "y", QoS::AtLeastOnce)).await;
    });
    live(&mut disk, |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        assert_eq!(device.drain().await, []);
    });
}

#[test]
fn a_message_of_a_client_is_taken_over_once() {
    let connect = b"\x10\x16\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\0\x3C\0\x04from";
    let publish = |dup: u8, payload: u8| [0x34 | dup << 3, 7, 0, 1, b't', 0, 9, 0, payload];
    for is_known_to_the_gateway in [false, true] {
        let mut disk = SimDisk::new();
        live(&mut disk, |server| async move {
            let gateway = is_known_to_the_gateway.then(|| server.gateway(&[("t", QoS::ExactlyOnce)]));
            let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
            to.subscribe("t", QoS::ExactlyOnce).await;
            to.goodbye().await;
            let mut raw = Raw::open(server.addr).await;
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[2], 0);
            raw.send(&publish(0, b'a')).await;
            match gateway {
                // It has the message, and does not say that it is safe.
                Some(gateway) => {
                    assert_eq!(gateway.next().await.message.payload, "a");
                    server.device("other").await.publish(retained("next", "x", QoS::AtLeastOnce)).await;
                }
                None => assert_eq!(raw.packet().await.unwrap(), [0x50, 2, 0, 9], "PUBREC"),
            }
        });
        live(&mut disk, |server| async move {
            let gateway = is_known_to_the_gateway.then(|| server.gateway(&[("t", QoS::ExactlyOnce)]));
            let mut raw = Raw::open(server.addr).await;
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[2], 1);
            raw.send(&publish(1, b'a')).await;
            if let Some(gateway) = &gateway {
                let again = gateway.next().await;
                assert_eq!(again.message.payload, "a", "it did not say that it had it");
                gateway.local.ack(again.ack.unwrap());
            }
            assert_eq!(raw.packet().await.unwrap(), [0x50, 2, 0, 9], "PUBREC");
        });
        live(&mut disk, |server| async move {
            let gateway = is_known_to_the_gateway.then(|| server.gateway(&[("t", QoS::ExactlyOnce)]));
            let mut raw = Raw::open(server.addr).await;
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[2], 1);
            raw.send(&publish(1, b'a')).await;
            assert_eq!(raw.packet().await.unwrap(), [0x50, 2, 0, 9], "PUBREC");
            raw.send(&[0x62, 2, 0, 9]).await;
            assert_eq!(raw.packet().await.unwrap(), [0x70, 2, 0, 9], "PUBCOMP");
            assert!(gateway.is_none_or(|gateway| gateway.try_next().is_none()), "it said that it had it");
        });
        live(&mut disk, |server| async move {
            let mut raw = Raw::open(server.addr).await;
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[2], 1);
            // The id is free: this is another message.
            raw.send(&publish(0, b'b')).await;
            assert_eq!(raw.packet().await.unwrap(), [0x50, 2, 0, 9]);
            let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
            assert_eq!(to.next_payloads(2).await, ["a", "b"]);
            assert_eq!(to.drain().await, []);
        });
    }
}

#[test]
fn retained_messages_are_there_as_they_were() {
    let mut disk = SimDisk::new();
    let properties = Properties {
        content_type: Some("text/plain".into()),
        user: vec![("a".into(), "b".into())],
        ..Default::default()
    };
    let rich = Message { properties: Some(Box::new(properties)), ..retained("rich", "x", QoS::ExactlyOnce) };
    let fleeting = Properties { message_expiry_seconds: Some(1), ..Properties::default() };
    let fleeting = Message { properties: Some(Box::new(fleeting)), ..retained("fleeting", "x", QoS::AtLeastOnce) };
    let lasts = Properties { message_expiry_seconds: Some(1000), ..Properties::default() };
    let lasts = Message { properties: Some(Box::new(lasts)), ..retained("lasts", "x", QoS::AtLeastOnce) };
    let published = rich.clone();
    live(&mut disk, |server| async move {
        let mut device = server.device("from").await;
        device.publish(retained("zero", "0", QoS::AtMostOnce)).await;
        for one in [retained("a", "old", QoS::AtLeastOnce), retained("b", "gone", QoS::AtLeastOnce), fleeting, lasts] {
            device.publish(one).await;
        }
        device.publish(retained("a", "new", QoS::AtLeastOnce)).await;
        device.publish(retained("b", "", QoS::AtLeastOnce)).await;
        device.publish(published).await;
        let gateway = server.gateway(&[]);
        gateway.local.publish(retained("gateway", "g", QoS::AtLeastOnce));
        let recorded = gateway.local.recorded();
        while gateway.local.durable() < recorded {
            gateway.local.durable_moved().await;
        }
    });
    std::thread::sleep(Duration::from_millis(1100));
    for _ in 0..2 {
        let rich = rich.clone();
        live(&mut disk, |server| async move {
            let mut device = server.device("to").await;
            device.subscribe("#", QoS::ExactlyOnce).await;
            let mut found = device.drain().await;
            found.sort_by_key(|message| message.topic.as_str().to_owned());
            let topics: Vec<_> = found.iter().map(|message| message.topic.as_str()).collect();
            assert_eq!(topics, ["a", "gateway", "lasts", "rich", "zero"]);
            assert_eq!(found[0], retained("a", "new", QoS::AtLeastOnce));
            let left = found[2].properties.as_ref().unwrap().message_expiry_seconds.unwrap();
            assert!((900..1000).contains(&left), "{left}");
            assert_eq!(found[3], rich);
        });
    }
}

#[test]
fn a_retained_message_for_a_new_subscriber_waits_over_a_restart_too() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        server.device("from").await.publish(retained("t", "kept", QoS::ExactlyOnce)).await;
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::ExactlyOnce).await;
        device.peek_next().await;
    });
    live(&mut disk, |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        let again = device.peek_next().await;
        assert!(again.dup && again.message.retain && again.message.payload == "kept");
        assert_eq!(server.broker.stats().retained, 1);
    });
}

#[test]
fn a_session_lasts_as_long_as_it_was_to_last() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        for (id, session_expiry_s) in [("short", 1), ("long", 1000), ("ever", u32::MAX), ("none", 0)] {
            let config = ClientConfig { session_expiry_s, ..lasting(id, Version::V5) };
            let mut device = Device::connect(server.addr, config).await;
            device.subscribe("t", QoS::AtLeastOnce).await;
            device.goodbye().await;
        }
        server.device("from").await.publish(retained("next", "x", QoS::AtLeastOnce)).await;
    });
    std::thread::sleep(Duration::from_millis(1100));
    live(&mut disk, |server| async move {
        assert_eq!(server.broker.stats().sessions, 2);
        for (id, is_there) in [("short", false), ("long", true), ("ever", true), ("none", false)] {
            let (device, connected) = Device::try_connect(server.addr, lasting(id, Version::V5)).await.unwrap();
            assert_eq!(connected.session_present, is_there, "{id}");
            device.goodbye().await;
        }
    });
}

#[test]
fn what_a_member_of_a_group_leaves_goes_to_others_over_a_restart_too() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        let brief = ClientConfig { session_expiry_s: 1, ..lasting("brief", Version::V5) };
        let mut one = Device::connect(server.addr, brief).await;
        one.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        let mut publisher = server.device("from").await;
        // One is in flight to it, the others wait.
        one.goodbye().await;
        for payload in ["a", "b", "c"] {
            publisher.publish(message("t", payload, QoS::AtLeastOnce)).await;
        }
        let mut other = Device::connect(server.addr, lasting("other", Version::V5)).await;
        other.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        other.goodbye().await;
    });
    std::thread::sleep(Duration::from_millis(1100));
    for _ in 0..2 {
        live(&mut disk, |server| async move {
            assert_eq!((server.broker.stats().sessions, server.broker.stats().queued), (1, 3));
            server.device("from").await.publish(retained("next", "x", QoS::AtLeastOnce)).await;
        });
    }
    live(&mut disk, |server| async move {
        let mut other = Device::connect(server.addr, lasting("other", Version::V5)).await;
        assert_eq!(other.next_payloads(3).await, ["a", "b", "c"]);
    });
}

#[test]
fn the_gateway_is_sent_what_is_retained_once() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        server.device("from").await.publish(retained("a", "x", QoS::AtLeastOnce)).await;
        let gateway = server.gateway(&[("a", QoS::AtLeastOnce)]);
        assert_eq!(gateway.next().await.message.payload, "x");
        // Then it is taken to have it.
        tokio::time::sleep(Duration::from_millis(2200)).await;
        server.device("from").await.publish(retained("next", "x", QoS::AtLeastOnce)).await;
    });
    live(&mut disk, |server| async move {
        let send_if_new = |text: &str| {
            let filter = tidegate_message::TopicFilter::new(text).unwrap();
            [(filter, QoS::AtLeastOnce, tidegate_mqtt::RetainHandling::SendIfNew)]
        };
        let gateway = server.gateway(&[]);
        gateway.local.subscribe(&send_if_new("a"));
        gateway.local.subscribe(&send_if_new("next"));
        assert_eq!(gateway.next().await.message.topic.as_str(), "next", "only what it had not subscribed to");
        server.device("from").await.publish(message("a", "live", QoS::AtMostOnce)).await;
        assert_eq!(gateway.next().await.message.payload, "live");
    });
}

#[test]
fn nobody_is_told_what_is_not_durable() {
    let disk = SimDisk::new();
    let limits = Limits { queue_bytes: 32 << 20, ..Limits::default() };
    with_disk(&disk.clone(), Settings { limits, ..anonymous() }, |server| async move {
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        to.subscribe("t", QoS::ExactlyOnce).await;
        let mut from = Device::connect(server.addr, lasting("from", Version::V5)).await;
        // The segment at hand has room set aside: what is longer than that is not.
        disk.fill(true);
        let big = "x".repeat(900_000);
        for _ in 0..12 {
            from.send(message("t", &big, QoS::AtLeastOnce)).await;
        }
        from.send(message("t", "exactly once", QoS::ExactlyOnce)).await;
        from.send(message("t", "zero", QoS::AtMostOnce)).await;
        let mut acknowledged = 0;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        while tokio::time::timeout_at(deadline, from.next_completed()).await.is_ok() {
            acknowledged += 1;
        }
        assert!(acknowledged < 13, "{acknowledged} were acknowledged on a full disk");
        disk.fill(false);
        for _ in acknowledged..13 {
            assert!(!from.next_completed().await.reason.is_error());
        }
        for _ in 0..12 {
            assert_eq!(to.next().await.payload.len(), big.len());
        }
        let mut rest = to.next_payloads(2).await;
        rest.sort();
        assert_eq!(rest, ["exactly once", "zero"]);
    });
}

#[test]
fn nothing_is_kept_of_what_ends_with_its_connection() {
    let disk = SimDisk::new();
    let settings = Settings::default();
    assert!(settings.users.is_none());
    with_disk(&disk, anonymous(), |server| async move {
        let mut to = server.device_311("to").await;
        to.subscribe("t", QoS::ExactlyOnce).await;
        let mut from = server.device("from").await;
        for number in 0..20 {
            from.publish(message("t", &number.to_string(), QOS[number % 3])).await;
            to.next().await;
        }
    });
    let written: u64 = disk.killed().files().iter().map(|(name, _)| disk.contents(name).len() as u64).sum();
    let head = disk.contents("0000000000000001.log").iter().rposition(|byte| *byte != 0).unwrap();
    assert!(head < 64, "{head} bytes of {written} were written for clean sessions");
}

/// What the gateway records of a client's packet ids says nothing of the client's next session.
#[test]
fn the_gateway_hears_of_ids_that_are_free_again_before_they_are_used() {
    let disk = SimDisk::new();
    with_disk(&disk, anonymous(), |server| async move {
        let gateway = server.gateway(&[("t", QoS::ExactlyOnce)]);
        // Clean start, and a session that lasts a minute.
        let connect = b"\x10\x16\0\x04MQTT\x05\x02\0\x3C\x05\x11\0\0\0\x3C\0\x04from";
        let publish = |payload: u8| [0x34, 7, 0, 1, b't', 0, 9, 0, payload];
        for (payload, is_released) in [(b'a', true), (b'b', false), (b'c', true)] {
            let mut raw = Raw::open(server.addr).await;
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[2], 0);
            let wanted = if payload == b'c' { vec![("from".to_owned(), 0)] } else { Vec::new() };
            assert_eq!(gateway.released(), wanted, "before the client is told that it has a new session");
            raw.send(&publish(payload)).await;
            let received = gateway.next().await;
            assert_eq!((&received.message.payload[..], received.client.as_deref()), (&[payload][..], Some("from")));
            gateway.local.ack(received.ack.unwrap());
            assert_eq!(raw.packet().await.unwrap()[0], 0x50, "PUBREC");
            if is_released {
                raw.send(&[0x62, 2, 0, 9]).await;
                assert_eq!(raw.packet().await.unwrap(), [0x70, 2, 0, 9], "PUBCOMP");
                assert_eq!(gateway.released(), [("from".to_owned(), 9)]);
            }
        }
        // As the gateway has it from another process.
        gateway.local.remembers("other");
        let mut other = server.device_311("unknown").await;
        assert_eq!(gateway.released(), []);
        other.publish(message("x", "x", QoS::AtMostOnce)).await;
        let _other = Device::connect(server.addr, lasting("other", Version::V5)).await;
        assert_eq!(gateway.released(), [("other".to_owned(), 0)]);
    });
}

/// Its own large message waits for the disk, so that more is unwritten than a client is read behind; then all of it is written at once.
#[test]
fn who_hears_a_large_message_of_its_own_is_heard_afterwards() {
    const CONNECT: &[u8] = b"\x10\x0F\0\x04MQTT\x04\0\0\x3C\0\x03own";
    let payload = vec![b'x'; 900_000];
    let body = [b"\0\x01t\0\x07", &payload[..]].concat();
    let length = [body.len() as u8 | 0x80, (body.len() >> 7) as u8 | 0x80, (body.len() >> 14) as u8];
    live(&mut SimDisk::new(), |server| async move {
        let mut raw = Raw::open(server.addr).await;
        raw.send(CONNECT).await;
        assert_eq!(raw.packet().await.unwrap(), b"\x20\x02\0\0");
        raw.send(b"\x82\x06\0\x01\0\x01t\x02").await;
        assert_eq!(raw.packet().await.unwrap(), b"\x90\x03\0\x01\x02");
        for _ in 0..10 {
            raw.send(&[&b"\x32"[..], &length, &body].concat()).await;
            let (one, other) = (raw.packet().await.unwrap(), raw.packet().await.unwrap());
            let (acked, heard) = if one[0] == 0x40 { (one, other) } else { (other, one) };
            assert_eq!((&acked[..], heard.len()), (&b"\x40\x02\0\x07"[..], 1 + 3 + body.len()));
            raw.send(b"\xC0\0").await;
            assert_eq!(raw.packet().await.unwrap(), b"\xD0\0", "it is read from again");
            raw.send(&[&b"\x40\x02"[..], &heard[7..9]].concat()).await;
        }
    });
}
