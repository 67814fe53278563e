use crate::device::{Device, QOS, Raw, anonymous, config, lasting, message, with};
use std::time::Duration;
use tidegate_broker::Settings;
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version};

#[test]
fn an_absent_client_is_sent_what_it_missed_in_order() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        for version in [Version::V31, Version::V311, Version::V5] {
            let mut device = Device::connect(server.addr, lasting("to", version)).await;
            device.subscribe("t", QoS::ExactlyOnce).await;
            let session = device.goodbye().await;
            for number in 0..50 {
                publisher.publish(message("t", &number.to_string(), QOS[1 + number % 2])).await;
            }
            // QoS 0 is for those who are there.
            publisher.publish(message("t", "lost", QoS::AtMostOnce)).await;
            let (mut device, connected) = Device::resume(server.addr, lasting("to", version), session).await.unwrap();
            assert!(connected.session_present);
            let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
            assert_eq!(device.next_payloads(50).await, expected);
            device.goodbye().await;
            // Clean start ends it.
            let (device, connected) = Device::try_connect(server.addr, config("to", version)).await.unwrap();
            assert!(!connected.session_present);
            device.goodbye().await;
            server.until(|stats| stats.sessions == 1 && stats.subscriptions == 0).await;
        }
        assert_eq!(server.broker.stats().dropped.offline, 3);
    });
}

#[test]
fn what_was_in_flight_comes_again() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::ExactlyOnce).await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish(message("t", "x", qos)).await;
            assert!(!device.peek_next().await.dup);
        }
        device.vanish();
        // Raw, to see the wire: CONNECT of the same client, its session to be kept for a minute.
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x14\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\0\x3C\0\x02to").await;
        assert_eq!(raw.packet().await.unwrap()[2], 1, "session present");
        let (first, second) = (raw.packet().await.unwrap(), raw.packet().await.unwrap());
        assert_eq!((first[0], second[0]), (0x3A, 0x3C), "PUBLISH with DUP at QoS 1 and 2");
        // PUBACK; PUBREC, PUBREL, PUBCOMP.
        raw.send(&[0x40, 2, first[5], first[6]]).await;
        raw.send(&[0x50, 2, second[5], second[6]]).await;
        assert_eq!(raw.packet().await.unwrap(), [0x62, 2, second[5], second[6]]);
        drop(raw);
        // Now only PUBREL is owed.
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x14\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\0\x3C\0\x02to").await;
        assert_eq!(raw.packet().await.unwrap()[2], 1, "session present");
        assert_eq!(raw.packet().await.unwrap(), [0x62, 2, second[5], second[6]]);
    });
}

#[test]
fn another_connection_takes_the_session_over() {
    with(anonymous(), |server| async move {
        let mut first = Device::connect(server.addr, lasting("same", Version::V5)).await;
        first.subscribe("t", QoS::AtLeastOnce).await;
        let (mut second, connected) = Device::try_connect(server.addr, lasting("same", Version::V5)).await.unwrap();
        assert!(connected.session_present);
        assert_eq!(first.ended().await, Some(ReasonCode::SESSION_TAKEN_OVER));
        second.publish(message("t", "x", QoS::AtLeastOnce)).await;
        assert_eq!(second.next().await.payload, "x");
        // A session that lasts as long as its connection is not taken over, it ends.
        let mut third = server.device("short").await;
        third.subscribe("u", QoS::AtLeastOnce).await;
        let again = ClientConfig { clean_start: false, ..config("short", Version::V311) };
        let (_fourth, connected) = Device::try_connect(server.addr, again).await.unwrap();
        assert!(!connected.session_present);
        assert_eq!(third.ended().await, Some(ReasonCode::SESSION_TAKEN_OVER));
        assert_eq!(server.broker.stats().connections, 2);
    });
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    with(anonymous(), |server| async move {
        let short = ClientConfig { session_expiry_s: 1, ..lasting("short", Version::V5) };
        let mut device = Device::connect(server.addr, short.clone()).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        device.vanish();
        let mut publisher = server.device("from").await;
        server.until(|stats| stats.connections == 1).await;
        publisher.publish(message("t", "x", QoS::AtLeastOnce)).await;
        assert_eq!(server.broker.stats().queued, 1);
        server.until(|stats| stats.sessions == 1).await;
        let stats = server.broker.stats();
        assert_eq!((stats.queued, stats.queued_bytes, stats.dropped.session_ended), (0, 0, 1));
        let (_device, connected) = Device::try_connect(server.addr, short).await.unwrap();
        assert!(!connected.session_present);
    });
}

#[test]
fn a_client_that_comes_back_in_time_keeps_its_session() {
    with(anonymous(), |server| async move {
        let short = ClientConfig { session_expiry_s: 1, ..lasting("short", Version::V5) };
        let device = Device::connect(server.addr, short.clone()).await;
        device.goodbye().await;
        let (mut device, connected) = Device::try_connect(server.addr, short).await.unwrap();
        assert!(connected.session_present);
        // Time passes only while it is away: this waits for the very thing that must not happen.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        device.subscribe("t", QoS::AtMostOnce).await;
        assert_eq!(server.broker.stats().sessions, 1);
    });
}

#[test]
fn expiry_is_bounded_and_said_so() {
    with(Settings { session_expiry_max_s: 100, ..anonymous() }, |server| async move {
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x14\0\x04MQTT\x05\0\0<\x05\x11\xFF\xFF\xFF\xFF\0\x02to").await;
        let connack = raw.packet().await.unwrap();
        assert!(connack.windows(5).any(|w| w == [0x11, 0, 0, 0, 100]), "{connack:?}");
        // DISCONNECT may change it, also to nothing.
        raw.send(b"\xE0\x07\0\x05\x11\0\0\0\0").await;
        server.until(|stats| stats.sessions == 0).await;
        // But not from nothing to something.
        let mut raw = Raw::connect(server.addr, 5).await;
        raw.send(b"\xE0\x07\0\x05\x11\0\0\0\x09").await;
        assert!(raw.is_closed().await);
        server.until(|stats| stats.sessions == 0 && stats.protocol_errors == 1).await;
    });
}

#[test]
fn a_client_without_an_id_is_given_one() {
    with(anonymous(), |server| async move {
        let (_one, connected) = Device::try_connect(server.addr, config("", Version::V5)).await.unwrap();
        let first = connected.assigned_client_id.unwrap();
        let (_other, connected) = Device::try_connect(server.addr, config("", Version::V5)).await.unwrap();
        assert_ne!(first, connected.assigned_client_id.unwrap());
        assert!(Device::try_connect(server.addr, config("", Version::V311)).await.is_ok());
        let nameless = ClientConfig { clean_start: false, ..config("", Version::V311) };
        let refused = Device::try_connect(server.addr, nameless).await.err();
        assert_eq!(refused, Some(ReasonCode::CLIENT_ID_NOT_VALID));
    });
}

#[test]
fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    with(anonymous(), |server| async move {
        let started = std::time::Instant::now();
        let mut silent =
            Device::connect(server.addr, ClientConfig { keep_alive_s: 1, ..config("silent", Version::V5) }).await;
        assert_eq!(silent.ended().await, Some(ReasonCode::KEEP_ALIVE_TIMEOUT));
        assert!((1400..4000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    });
}

#[test]
fn a_keep_alive_can_be_bounded() {
    with(Settings { keep_alive_max_s: Some(30), ..anonymous() }, |server| async move {
        for (asked, granted) in [(0, 30), (60, 30), (10, 10)] {
            let config = ClientConfig { keep_alive_s: asked, ..config("d", Version::V5) };
            let (_device, connected) = Device::try_connect(server.addr, config).await.unwrap();
            assert_eq!(connected.keep_alive_s, granted);
        }
    });
}

#[test]
fn a_client_that_never_releases_an_id_and_uses_it_again_loses_nothing() {
    for is_lasting in [false, true] {
        with(anonymous(), |server| async move {
            let mut to = server.device("to").await;
            to.subscribe("t", QoS::ExactlyOnce).await;
            let mut raw = Raw::open(server.addr).await;
            let connect: &[u8] = match is_lasting {
                true => b"\x10\x10\0\x04MQTT\x04\0\0\x3C\0\x04from",
                false => b"\x10\x10\0\x04MQTT\x04\x02\0\x3C\0\x04from",
            };
            raw.send(connect).await;
            assert_eq!(raw.packet().await.unwrap()[0], 0x20);
            for (dup, payload) in [(0, b'a'), (0, b'a'), (0, b'b'), (1, b'b'), (0, b'c')] {
                raw.send(&[0x34 | dup << 3, 6, 0, 1, b't', 0, 9, payload]).await;
                assert_eq!(raw.packet().await.unwrap(), [0x50, 2, 0, 9], "PUBREC");
            }
            assert_eq!(to.next_payloads(3).await, ["a", "b", "c"]);
            assert_eq!(to.drain().await, []);
        });
    }
}
