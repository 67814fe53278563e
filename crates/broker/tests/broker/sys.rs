use crate::device::{Device, anonymous, filter, lasting, message, retained, with};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_broker::{Limits, Settings};
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{ReasonCode, SubscribeFilter, Version};

/// Often enough to be awaited.
fn often() -> Settings {
    Settings { sys_interval: Duration::from_millis(20), ..anonymous() }
}

fn by_topic(messages: Vec<Message>) -> BTreeMap<String, String> {
    let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
    messages.iter().map(|message| (message.topic.as_str().to_owned(), text(message))).collect()
}

/// The default interval is far longer than this test.
#[test]
fn a_new_subscriber_is_told_everything_at_once() {
    with(anonymous(), |server| async move {
        let mut device = server.device("d").await;
        device.publish(retained("kept", "x", QoS::AtLeastOnce)).await;
        let absent = Device::connect(server.addr, lasting("absent", Version::V5)).await;
        absent.goodbye().await;
        device.subscribe("a", QoS::AtMostOnce).await;
        device.subscribe("$SYS/#", QoS::ExactlyOnce).await;
        let messages = device.drain().await;
        assert!(messages.iter().all(|message| message.retain), "{messages:?}");
        let said = by_topic(messages.clone());
        assert_eq!(said.len(), messages.len(), "each once");
        let of = |topic: &str| said.get(&format!("$SYS/broker/{topic}")).map(String::as_str);
        assert_eq!(of("version"), Some(concat!("tidegate ", env!("CARGO_PKG_VERSION"))));
        let uptime = of("uptime").and_then(|text| text.strip_suffix(" seconds")).map(str::parse::<u64>);
        assert!(matches!(uptime, Some(Ok(_))), "{uptime:?}");
        assert_eq!((of("clients/connected"), of("clients/total")), (Some("1"), Some("2")));
        assert_eq!((of("messages/received"), of("messages/dropped")), (Some("1"), Some("0")));
        assert_eq!((of("retained messages/count"), of("subscriptions/count")), (Some("1"), Some("1")));
        assert!(of("messages/sent").is_some());
        assert_eq!((of("clients/disconnected"), of("clients/maximum")), (Some("1"), Some("2")));
        assert_eq!((of("store/messages/count"), of("publish/bytes/received")), (Some("1"), Some("1")));
        assert!(of("bytes/received").is_some_and(|bytes| bytes.parse::<u64>().unwrap() > 50));
        for window in ["1min", "5min", "15min"] {
            assert!(of(&format!("load/connections/{window}")).is_some_and(|load| load.contains('.')));
        }
        let mut one = server.device("one").await;
        one.subscribe("$SYS/broker/version", QoS::AtMostOnce).await;
        assert_eq!(one.next().await.topic.as_str(), "$SYS/broker/version");
    });
}

#[test]
fn what_changes_is_published_and_what_does_not_is_not() {
    with(often(), |server| async move {
        let mut watcher = server.device("watcher").await;
        let as_published = SubscribeFilter { retain_as_published: true, ..filter("$SYS/#", QoS::AtMostOnce) };
        watcher.subscribe_with(&[as_published]).await;
        watcher.drain().await;
        let _other = server.device("other").await;
        let mut seen = Vec::new();
        while !seen.contains(&("$SYS/broker/clients/connected".to_owned(), "2".to_owned())) {
            let message = watcher.next().await;
            assert!(message.retain);
            let value = String::from_utf8(message.payload.to_vec()).unwrap();
            seen.push((message.topic.as_str().to_owned(), value));
        }
        assert!(!seen.iter().any(|(topic, _)| topic.ends_with("/version")), "{seen:?}");
    });
}

#[test]
fn wildcards_at_the_first_level_do_not_reach_it() {
    with(often(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtMostOnce), ("+/broker/uptime", QoS::AtMostOnce)]);
        let mut device = server.device("d").await;
        device.subscribe("#", QoS::AtMostOnce).await;
        device.subscribe("+/broker/#", QoS::AtMostOnce).await;
        // Somebody who asks for it gets it: it was published.
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("$SYS/#", QoS::AtMostOnce).await;
        watcher.drain().await;
        let _another = server.device("another").await;
        watcher.next().await;
        assert!(device.drain().await.is_empty());
        assert_eq!(gateway.try_next(), None);
    });
}

/// A route of the gateway that names it carries it, as it is and as it changes.
#[test]
fn the_gateway_gets_it_if_it_asks_for_it() {
    with(often(), |server| async move {
        let gateway = server.gateway(&[("$SYS/broker/clients/+", QoS::AtLeastOnce)]);
        let mut first = Vec::new();
        for _ in 0..7 {
            first.push(gateway.next().await);
        }
        first.sort_by_key(|received| received.message.topic.clone());
        let topics: Vec<_> = first
            .iter()
            .filter_map(|received| received.message.topic.as_str().strip_prefix("$SYS/broker/clients/"))
            .collect();
        assert_eq!(topics, ["active", "connected", "disconnected", "expired", "inactive", "maximum", "total"]);
        assert!(first.iter().all(|received| received.message.retain && received.ack.is_none()));
        let _device = server.device("d").await;
        assert_eq!(gateway.next().await.message.payload, "1");
    });
}

#[test]
fn nobody_else_can_speak_for_the_broker() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[]);
        let told = gateway.local.publish(retained("$SYS/broker/version", "other 1.0", QoS::AtLeastOnce));
        assert_eq!(told, ReasonCode::NOT_AUTHORIZED);
        // What another broker says of itself is not ours.
        let told = gateway.local.publish(retained("$SYS/broker/load", "7", QoS::AtLeastOnce));
        assert_eq!(told, ReasonCode::NO_MATCHING_SUBSCRIBERS);
        let mut device = server.device("d").await;
        for topic in ["$SYS/broker/version", "$SYS/broker/uptime", "$SYS"] {
            let told = device.publish(retained(topic, "other", QoS::AtLeastOnce)).await;
            assert_eq!(told, ReasonCode::NOT_AUTHORIZED, "{topic}");
        }
        device.subscribe("$SYS/broker/+", QoS::AtMostOnce).await;
        let said = by_topic(device.drain().await);
        assert!(said["$SYS/broker/version"].starts_with("tidegate "), "{said:?}");
        assert_eq!(said["$SYS/broker/load"], "7");
        assert_eq!(server.broker.stats().dropped.forbidden, 4);
    });
}

/// No room for retained messages, and an absent subscriber: neither has anything to do with it.
#[test]
fn it_takes_nothing_of_anybodys_quota() {
    let limits = Limits { retained_messages: 0, ..Limits::default() };
    with(Settings { limits, ..often() }, |server| async move {
        let mut absent = Device::connect(server.addr, lasting("absent", Version::V5)).await;
        absent.subscribe("$SYS/#", QoS::AtLeastOnce).await;
        assert!(!absent.drain().await.is_empty());
        absent.goodbye().await;
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("$SYS/#", QoS::AtLeastOnce).await;
        watcher.drain().await;
        let _other = server.device("other").await;
        watcher.next().await;
        let stats = server.broker.stats();
        assert_eq!((stats.retained, stats.queued, stats.dropped.total()), (0, 0, 0));
    });
}

#[test]
fn messages_are_counted_as_they_come_and_go() {
    with(anonymous(), |server| async move {
        let mut device = server.device("d").await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        for _ in 0..3 {
            device.publish(message("t", "x", QoS::AtLeastOnce)).await;
            device.next().await;
        }
        device.publish(message("t/\r", "x", QoS::AtLeastOnce)).await;
        let mut late = server.device("late").await;
        late.subscribe("$SYS/broker/#", QoS::AtMostOnce).await;
        let said = by_topic(late.drain().await);
        let of = |name: &str| {
            let [short, long] =
                ["", "publish/"].map(|middle| said[&format!("$SYS/broker/{middle}messages/{name}")].clone());
            assert_eq!(short, long, "{name}");
            short
        };
        assert_eq!((of("received"), of("sent"), of("dropped")), ("4".into(), "3".into(), "1".into()));
    });
}
