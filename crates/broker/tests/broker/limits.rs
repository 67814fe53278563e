use crate::device::{Device, Raw, anonymous, config, filter, lasting, message, with};
use std::time::Duration;
use tidegate_broker::{Limits, Settings};
use tidegate_message::{Message, Properties, QoS};
use tidegate_mqtt::{ClientConfig, ReasonCode, Version};

#[test]
fn an_absent_client_is_kept_so_much_and_the_rest_is_counted() {
    let limits = Limits { queue_messages: 10, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        let session = device.goodbye().await;
        let mut publisher = server.device("from").await;
        for number in 0..25 {
            publisher.publish(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        let stats = server.broker.stats();
        assert_eq!((stats.queued, stats.dropped.queue_full), (10, 15));
        let (mut device, _) = Device::resume(server.addr, lasting("to", Version::V5), session).await.unwrap();
        let expected: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(device.next_payloads(10).await, expected, "the oldest are kept");
        let stats = server.broker.stats();
        assert_eq!((stats.queued, stats.queued_bytes), (0, 0));
    });
}

#[test]
fn bytes_are_bounded_too() {
    let limits = Limits { queue_bytes: 10_000, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        device.goodbye().await;
        let mut publisher = server.device("from").await;
        for _ in 0..20 {
            publisher.publish(message("t", &"x".repeat(1000), QoS::AtLeastOnce)).await;
        }
        let stats = server.broker.stats();
        assert!(stats.queued_bytes <= 10_000 && stats.queued >= 8, "{stats:?}");
        assert_eq!(stats.dropped.queue_full, 20 - stats.queued as u64);
    });
}

/// P09 in small: a client that reads nothing costs its queue and no more, and holds up nobody.
#[test]
fn a_client_that_does_not_read_costs_bounded_memory_and_no_time() {
    let limits = Limits { queue_bytes: 1_000_000, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let dropped_before = server.broker.stats().dropped.queue_full;
            let mut stuck = server.device("stuck").await;
            stuck.subscribe("t", qos).await;
            let mut well = server.device("well").await;
            well.subscribe("t", QoS::AtMostOnce).await;
            let gateway = server.gateway(&[]);
            let payload = "x".repeat(10_000);
            for _ in 0..2000 {
                gateway.local.publish(message("t", &payload, qos));
                well.next().await;
            }
            let stats = server.broker.stats();
            let dropped = stats.dropped.queue_full - dropped_before;
            assert!(dropped > 0 && stats.queued_bytes <= 1_000_000, "{stats:?}");
            // What was not dropped arrives once it reads again.
            for _ in 0..2000 - dropped {
                stuck.next().await;
            }
            assert!(stuck.drain().await.is_empty());
            stuck.goodbye().await;
            well.goodbye().await;
            server.until(|stats| stats.sessions == 0).await;
            gateway.local.close();
            assert_eq!(server.broker.stats().queued_bytes, 0);
        }
    });
}

#[test]
fn a_message_too_large_for_one_client_reaches_the_others() {
    with(anonymous(), |server| async move {
        let mut small =
            Device::connect(server.addr, ClientConfig { max_packet_size: 100, ..config("small", Version::V5) }).await;
        small.subscribe("t", QoS::AtLeastOnce).await;
        let mut large = server.device("large").await;
        large.subscribe("t", QoS::AtLeastOnce).await;
        let mut publisher = server.device("from").await;
        for text in ["x".repeat(200), "fits".to_owned()] {
            assert_eq!(publisher.publish(message("t", &text, QoS::AtLeastOnce)).await, ReasonCode::SUCCESS);
            assert_eq!(large.next().await.payload, text.as_bytes());
        }
        assert_eq!(small.next_payloads(1).await, ["fits"]);
        assert_eq!(server.broker.stats().dropped.too_large, 1);
    });
}

#[test]
fn a_packet_above_our_limit_ends_the_connection() {
    with(Settings { max_packet_size: 1000, ..anonymous() }, |server| async move {
        let (mut device, connected) = Device::try_connect(server.addr, config("d", Version::V5)).await.unwrap();
        assert_eq!(connected.max_packet_size, Some(1000));
        // Its beginning is enough.
        let mut raw = Raw::connect(server.addr, 5).await;
        raw.send(b"\x30\xFF\xFF\x7F").await;
        assert_eq!(raw.packet().await.unwrap(), [0xE0, 1, 0x95]);
        assert!(raw.is_closed().await);
        device.subscribe("t", QoS::AtMostOnce).await;
    });
}

#[test]
fn more_than_our_receive_maximum_ends_the_connection() {
    with(Settings { receive_maximum: 2, ..anonymous() }, |server| async move {
        let _gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut raw = Raw::connect(server.addr, 5).await;
        for id in 1..=3 {
            raw.send(&[0x32, 6, 0, 1, b't', 0, id, 0]).await;
        }
        assert_eq!(raw.packet().await.unwrap(), [0xE0, 1, 0x93]);
        assert!(raw.is_closed().await);
    });
}

#[test]
fn a_full_house_says_so() {
    let limits = Limits { connections: 2, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let _one = server.device("one").await;
        let other = server.device_311("other").await;
        let refused = Device::try_connect(server.addr, config("third", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::SERVER_BUSY));
        let refused = Device::try_connect(server.addr, config("third", Version::V311)).await.err();
        assert_eq!(refused, Some(ReasonCode::SERVER_UNAVAILABLE));
        // A client that takes its own session over needs no more room.
        assert!(Device::try_connect(server.addr, config("one", Version::V5)).await.is_ok());
        other.goodbye().await;
        server.until(|stats| stats.connections < 2).await;
        server.device("third").await;
        assert_eq!(server.broker.stats().refused, 2);
    });
}

#[test]
fn sessions_and_subscriptions_are_bounded() {
    let limits = Limits { sessions: 2, subscriptions: 2, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        for id in ["one", "other"] {
            Device::connect(server.addr, lasting(id, Version::V5)).await.goodbye().await;
        }
        let refused = Device::try_connect(server.addr, config("third", Version::V5)).await.err();
        assert_eq!(refused, Some(ReasonCode::QUOTA_EXCEEDED));
        let mut device = Device::connect(server.addr, lasting("one", Version::V5)).await;
        let filters = ["a", "b", "c", "a"].map(|text| filter(text, QoS::AtMostOnce));
        let codes = device.subscribe_with(&filters).await;
        assert_eq!(codes, [0, 0, 0x97, 0].map(ReasonCode));
    });
}

#[test]
fn a_queued_message_expires_and_counts_down() {
    with(anonymous(), |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        let session = device.goodbye().await;
        let mut publisher = server.device("from").await;
        for seconds in [1, 100] {
            let properties = Properties { message_expiry_seconds: Some(seconds), ..Properties::default() };
            let expiring = message("t", "x", QoS::AtLeastOnce);
            publisher.publish(Message { properties: Some(Box::new(properties)), ..expiring }).await;
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let (mut device, _) = Device::resume(server.addr, lasting("to", Version::V5), session).await.unwrap();
        let left = device.next().await.properties.unwrap().message_expiry_seconds.unwrap();
        assert!((90..100).contains(&left), "{left}");
        assert!(device.drain().await.is_empty());
        assert_eq!(server.broker.stats().dropped.expired, 1);
    });
}
