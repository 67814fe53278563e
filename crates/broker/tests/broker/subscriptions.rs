use crate::device::{Device, Raw, anonymous, config, filter, message, retained, with};
use tidegate_message::{FilterError, QoS};
use tidegate_mqtt::{ClientConfig, ReasonCode, SubscribeFilter, Version};

#[test]
fn overlapping_subscriptions_deliver_once_at_the_highest_qos() {
    with(anonymous(), |server| async move {
        let mut device = server.device("to").await;
        device.subscribe("a/#", QoS::AtLeastOnce).await;
        device.subscribe("a/+", QoS::ExactlyOnce).await;
        device.subscribe("a/b", QoS::AtMostOnce).await;
        let mut publisher = server.device("from").await;
        publisher.publish(message("a/b", "x", QoS::ExactlyOnce)).await;
        let got = device.drain().await;
        assert_eq!(got.iter().map(|m| m.qos).collect::<Vec<_>>(), [QoS::ExactlyOnce]);
    });
}

#[test]
fn all_matching_subscription_identifiers_are_told() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::connect(server.addr, 5).await;
        // SUBSCRIBE: identifier 1 to `a/#`, 300 to `a/+`, none to `a/b`.
        raw.send(b"\x82\x0B\0\x01\x02\x0B\x01\0\x03a/#\0").await;
        raw.send(b"\x82\x0C\0\x02\x03\x0B\xAC\x02\0\x03a/+\0").await;
        raw.send(b"\x82\x09\0\x03\0\0\x03a/b\0").await;
        for _ in 0..3 {
            assert_eq!(raw.packet().await.unwrap()[0], 0x90);
        }
        let mut publisher = server.device("from").await;
        publisher.publish(retained("a/b", "x", QoS::AtMostOnce)).await;
        let publish = raw.packet().await.unwrap();
        let properties = &publish[7..publish.len() - 1];
        let (one, other) = (&b"\x05\x0B\x01\x0B\xAC\x02"[..], &b"\x05\x0B\xAC\x02\x0B\x01"[..]);
        assert!(properties == one || properties == other, "{publish:?}");
        // A retained message bears the identifier of the subscription it is sent for.
        raw.send(b"\x82\x0B\0\x04\x02\x0B\x07\0\x03a/#\0").await;
        assert_eq!(raw.packet().await.unwrap()[0], 0x90);
        assert_eq!(raw.packet().await.unwrap(), b"\x31\x09\0\x03a/b\x02\x0B\x07x");
    });
}

#[test]
fn no_local_and_bridges_are_sent_nothing_back() {
    with(anonymous(), |server| async move {
        let mut own = server.device("own").await;
        own.subscribe_with(&[SubscribeFilter { no_local: true, ..filter("t", QoS::AtLeastOnce) }]).await;
        let bridge = ClientConfig { bridge: true, ..config("bridge", Version::V311) };
        let mut bridge = Device::connect(server.addr, bridge).await;
        bridge.subscribe("#", QoS::AtLeastOnce).await;
        own.publish(retained("t", "from own", QoS::AtLeastOnce)).await;
        bridge.send(message("t", "from bridge", QoS::AtMostOnce)).await;
        let got = bridge.drain().await;
        assert_eq!((got.len(), &got[0].payload[..], got[0].retain), (1, &b"from own"[..], true));
        assert_eq!(own.next_payloads(1).await, ["from bridge"]);
        assert!(own.drain().await.is_empty());
        // Nor its own retained message.
        own.subscribe_with(&[SubscribeFilter { no_local: true, ..filter("t", QoS::AtLeastOnce) }]).await;
        assert!(own.drain().await.is_empty());
        // Another subscription of the same client that does want it.
        own.subscribe("#", QoS::AtMostOnce).await;
        own.drain().await;
        own.send(message("t", "again", QoS::AtLeastOnce)).await;
        let got = own.next().await;
        assert_eq!((&got.payload[..], got.qos), (&b"again"[..], QoS::AtMostOnce));
    });
}

#[test]
fn a_bad_filter_is_answered_beside_good_ones() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::connect(server.addr, 5).await;
        raw.send(b"\x82\x10\0\x01\0\0\x01a\x01\0\x02a#\0\0\x01b\x02").await;
        assert_eq!(raw.packet().await.unwrap(), [0x90, 6, 0, 1, 0, 1, 0x8F, 2]);
        let mut raw = Raw::connect(server.addr, 4).await;
        raw.send(b"\x82\x0F\0\x01\0\x01a\x01\0\x02a#\0\0\x01b\x02").await;
        assert_eq!(raw.packet().await.unwrap(), [0x90, 5, 0, 1, 1, 0x80, 2]);
        assert_eq!(tidegate_message::TopicFilter::new("a#").unwrap_err(), FilterError::Hash);
    });
}

#[test]
fn unsubscribing_says_what_was_there() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::connect(server.addr, 5).await;
        raw.send(b"\x82\x07\0\x01\0\0\x01a\x01").await;
        raw.packet().await.unwrap();
        raw.send(b"\xA2\x0A\0\x02\0\0\x01a\0\x02a#").await;
        assert_eq!(raw.packet().await.unwrap(), [0xB0, 5, 0, 2, 0, 0, 0x8F]);
        raw.send(b"\xA2\x06\0\x03\0\0\x01a").await;
        assert_eq!(raw.packet().await.unwrap(), [0xB0, 4, 0, 3, 0, 0x11]);
        assert_eq!(server.broker.stats().subscriptions, 0);
    });
}

#[test]
fn a_filter_too_deep_is_refused() {
    with(anonymous(), |server| async move {
        let deep = "/".repeat(65_000);
        let mut device = server.device("d").await;
        assert_eq!(device.subscribe_with(&[filter(&deep, QoS::AtMostOnce)]).await, [ReasonCode::TOPIC_FILTER_INVALID]);
    });
}

#[test]
fn the_brokers_own_topics_are_not_published_to() {
    with(anonymous(), |server| async move {
        let mut device = server.device("d").await;
        device.subscribe("$SYS/+", QoS::AtLeastOnce).await;
        let code = device.publish(message("$SYS/x", "x", QoS::AtLeastOnce)).await;
        assert_eq!(code, ReasonCode::NOT_AUTHORIZED);
        let code = device.publish(message("$share/g/x", "x", QoS::AtLeastOnce)).await;
        assert_eq!(code, ReasonCode::TOPIC_NAME_INVALID);
        let mut old = server.device_311("old").await;
        assert_eq!(old.publish(message("$SYS/x", "x", QoS::AtLeastOnce)).await, ReasonCode::SUCCESS);
        assert!(device.drain().await.is_empty());
        assert_eq!(server.broker.stats().dropped.forbidden, 3);
    });
}
