use crate::device::{Device, QOS, anonymous, config, filter, message, retained, with};
use std::time::Duration;
use tidegate_broker::{Limits, Settings};
use tidegate_message::{Message, Properties, QoS};
use tidegate_mqtt::{RetainHandling, SubscribeFilter, Version};

#[test]
fn the_last_of_each_topic_is_kept_until_an_empty_one() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        for qos in QOS {
            publisher.publish(retained("a/1", "old", qos)).await;
            publisher.publish(retained("a/1", "new", qos)).await;
            publisher.publish(message("a/1", "not kept", qos)).await;
            publisher.drain().await; // QoS 0 has nothing else to wait for
            for version in [Version::V31, Version::V311, Version::V5] {
                let mut late = Device::connect(server.addr, config("late", version)).await;
                late.subscribe("a/+", QoS::AtLeastOnce).await;
                let got = late.next().await;
                assert_eq!((&got.payload[..], got.retain, got.qos), (&b"new"[..], true, qos.min(QoS::AtLeastOnce)));
                assert!(late.drain().await.is_empty());
            }
            publisher.publish(retained("a/1", "", qos)).await;
            publisher.drain().await;
            let mut late = server.device("late").await;
            late.subscribe("a/+", QoS::AtLeastOnce).await;
            assert!(late.drain().await.is_empty());
            assert_eq!(server.broker.stats().retained, 0);
        }
    });
}

#[test]
fn wildcards_do_not_reach_dollar_topics() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        publisher.publish(retained("$aws/things/1", "x", QoS::AtLeastOnce)).await;
        let mut late = server.device("late").await;
        late.subscribe("#", QoS::AtMostOnce).await;
        late.subscribe("+/things/1", QoS::AtMostOnce).await;
        publisher.publish(message("$aws/things/1", "x", QoS::AtLeastOnce)).await;
        assert!(late.drain().await.is_empty());
        late.subscribe("$aws/#", QoS::AtMostOnce).await;
        assert!(late.next().await.retain);
    });
}

#[test]
fn retain_handling_is_followed() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        publisher.publish(retained("a", "x", QoS::AtLeastOnce)).await;
        let mut device = server.device("to").await;
        let asked = |retain_handling| SubscribeFilter { retain_handling, ..filter("a", QoS::AtLeastOnce) };
        for (handling, expected) in [
            (RetainHandling::Never, 0),
            (RetainHandling::SendIfNew, 0),
            (RetainHandling::Send, 1),
            (RetainHandling::Send, 1),
        ] {
            device.subscribe_with(&[asked(handling)]).await;
            assert_eq!(device.drain().await.len(), expected, "{handling:?}");
        }
        device.unsubscribe("a").await;
        device.subscribe_with(&[asked(RetainHandling::SendIfNew)]).await;
        assert_eq!(device.drain().await.len(), 1);
    });
}

#[test]
fn retain_as_published_keeps_the_flag_of_live_messages() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        for keeps in [false, true] {
            let mut device = server.device("to").await;
            let asked = SubscribeFilter { retain_as_published: keeps, ..filter("a", QoS::AtMostOnce) };
            device.subscribe_with(&[asked]).await;
            device.drain().await;
            publisher.publish(retained("a", "x", QoS::AtMostOnce)).await;
            assert_eq!(device.next().await.retain, keeps);
            publisher.publish(message("a", "x", QoS::AtMostOnce)).await;
            assert!(!device.next().await.retain);
        }
    });
}

#[test]
fn a_retained_message_expires_and_counts_down() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        let expiring = |topic, seconds| {
            let properties = Properties { message_expiry_seconds: Some(seconds), ..Properties::default() };
            Message { properties: Some(Box::new(properties)), ..retained(topic, "x", QoS::AtLeastOnce) }
        };
        publisher.publish(expiring("short", 1)).await;
        publisher.publish(expiring("long", 100)).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let mut late = server.device("late").await;
        late.subscribe("#", QoS::AtLeastOnce).await;
        let got = late.drain().await;
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].topic.as_str(), "long");
        let left = got[0].properties.as_ref().unwrap().message_expiry_seconds.unwrap();
        assert!((90..100).contains(&left), "{left}");
    });
}

#[test]
fn there_is_room_for_so_many_and_the_rest_is_counted() {
    let limits = Limits { retained_messages: 3, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut publisher = server.device("from").await;
        let mut live = server.device("live").await;
        live.subscribe("#", QoS::AtMostOnce).await;
        for number in 0..5 {
            publisher.publish(retained(&number.to_string(), "x", QoS::AtLeastOnce)).await;
            live.next().await;
        }
        let stats = server.broker.stats();
        assert_eq!((stats.retained, stats.dropped.retained_full), (3, 2));
        // What is there can be replaced.
        publisher.publish(retained("0", "y", QoS::AtLeastOnce)).await;
        assert_eq!(server.broker.stats().dropped.retained_full, 2);
    });
}

#[test]
fn all_of_many_are_sent_to_a_client_with_a_small_queue() {
    let limits = Limits { queue_messages: 10, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let gateway = server.gateway(&[]);
        let payload = "x".repeat(1000);
        for number in 0..2000 {
            gateway.local.publish(retained(&format!("a/{number}"), &payload, QoS::AtLeastOnce));
        }
        let mut late = Device::connect(
            server.addr,
            tidegate_mqtt::ClientConfig { receive_maximum: 10, ..config("late", Version::V5) },
        )
        .await;
        late.subscribe("a/#", QoS::AtLeastOnce).await;
        let mut topics: Vec<String> = Vec::new();
        for _ in 0..2000 {
            topics.push(late.next().await.topic.to_string());
        }
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), 2000);
        assert_eq!(server.broker.stats().dropped.total(), 0);
    });
}
