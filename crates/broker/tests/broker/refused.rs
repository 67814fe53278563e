use crate::device::{Device, QOS, Raw, VERSIONS, anonymous, config, lasting, message, retained, with};
use tidegate_broker::Settings;
use tidegate_message::{ByteString, Message, Properties, QoS, Topic, text};
use tidegate_mqtt::{ClientConfig, ReasonCode, Version, Will};

/// What mosquitto hangs up on, and nothing that it takes.
const BAD: [&str; 12] = [
    "\u{1}",
    "\t",
    "\r",
    "\n",
    "\u{1f}",
    "\u{7f}",
    "\u{85}",
    "\u{9f}",
    "\u{fdd0}",
    "\u{fffe}",
    "\u{1fffe}",
    "\u{10ffff}",
];
const GOOD: [&str; 6] = [" ", "~", "\u{a0}", "\u{feff}", "ä", "\u{1f600}"];

fn deep(levels: usize) -> String {
    vec!["t"; levels].join("/")
}

/// One message for each text of MQTT 5, with this in it.
fn in_each_property(bad: &str) -> Vec<Message> {
    let text = ByteString::from(format!("x{bad}"));
    let all = [
        Properties { content_type: Some(text.clone()), ..Properties::default() },
        Properties { response_topic: Some(Topic::new(text.clone()).unwrap()), ..Properties::default() },
        Properties { user: vec![("a".into(), "b".into()), (text.clone(), "b".into())], ..Properties::default() },
        Properties { user: vec![("a".into(), text)], ..Properties::default() },
    ];
    all.map(|own| Message { properties: Some(Box::new(own)), ..message("t/p", "bad", QoS::AtLeastOnce) }).into()
}

/// Every version, every quality: an error for those who can be told, an acknowledgement for the others, and whatever
/// follows arrives on the same connection.
#[test]
fn a_topic_the_next_broker_hangs_up_on_is_refused_counted_and_never_hung_up_on() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::ExactlyOnce)]);
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::ExactlyOnce).await;
        let mut expected = 0;
        for version in VERSIONS {
            let mut device = Device::connect(server.addr, config("d", version)).await;
            let told = if version == Version::V5 { ReasonCode::TOPIC_NAME_INVALID } else { ReasonCode::SUCCESS };
            for qos in QOS {
                for bad in BAD {
                    let told = if qos == QoS::AtMostOnce { ReasonCode::SUCCESS } else { told };
                    let refused = retained(&format!("t/x{bad}"), "bad", qos);
                    assert_eq!(device.publish(refused).await, told, "{version} {qos:?} {bad:?}");
                    expected += 1;
                }
            }
            device.send(message("t/ok", "ok", QoS::AtMostOnce)).await;
            assert_eq!(watcher.next().await.payload, "ok");
            assert_eq!(gateway.next().await.message.payload, "ok");
            assert_eq!(server.broker.stats().dropped.control_characters, expected);
            device.goodbye().await;
        }
        assert_eq!(server.broker.stats().retained, 0);
        assert_eq!(server.broker.stats().dropped.total(), expected);
        assert_eq!(server.broker.stats().protocol_errors, 0);
    });
}

#[test]
fn a_property_the_next_broker_hangs_up_on_is_refused_with_the_reason_for_texts() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::AtLeastOnce).await;
        let mut device = server.device("d").await;
        for refused in BAD.iter().flat_map(|bad| in_each_property(bad)) {
            let words = format!("{refused:?}");
            assert_eq!(device.publish(refused).await, ReasonCode::PAYLOAD_FORMAT_INVALID, "{words}");
        }
        for taken in GOOD.iter().flat_map(|good| in_each_property(good)) {
            assert_eq!(device.publish(taken.clone()).await, ReasonCode::SUCCESS);
            assert_eq!(watcher.next().await, taken);
        }
        assert_eq!(server.broker.stats().dropped.control_characters, BAD.len() as u64 * 4);
    });
}

/// MQTT 5.0 section 3.3.4: a packet id is free again after an error in PUBREC; no PUBREL follows.
#[test]
fn on_the_wire_a_refusal_is_one_packet_in_mqtt_5_and_the_whole_handshake_in_3() {
    with(anonymous(), |server| async move {
        let mut new = Raw::connect(server.addr, 5).await;
        new.send(b"\x34\x07\x00\x02a\r\x00\x07\x00").await;
        assert_eq!(new.packet().await.unwrap()[..5], [0x50, 3, 0, 7, 0x90]);
        new.send(b"\x34\x06\x00\x01a\x00\x07\x00").await;
        assert_eq!(new.packet().await.unwrap()[..4], [0x50, 3, 0, 7], "the id was free");
        let mut old = Raw::connect(server.addr, 4).await;
        old.send(b"\x32\x06\x00\x02a\r\x00\x07").await;
        assert_eq!(old.packet().await.unwrap(), [0x40, 2, 0, 7]);
        old.send(b"\x34\x06\x00\x02a\r\x00\x08").await;
        assert_eq!(old.packet().await.unwrap(), [0x50, 2, 0, 8]);
        old.send(&[0x62, 2, 0, 8]).await;
        assert_eq!(old.packet().await.unwrap(), [0x70, 2, 0, 8]);
    });
}

#[test]
fn a_key_takes_control_characters_all_the_same() {
    with(Settings { allow_control_characters: true, ..anonymous() }, |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device_311("d").await;
        for bad in BAD {
            let taken = message(&format!("t/x{bad}"), "x", QoS::AtLeastOnce);
            device.send(taken.clone()).await;
            let received = gateway.next().await;
            assert_eq!(received.message, taken);
            gateway.local.ack(received.ack.unwrap());
            device.next_completed().await;
        }
        let deep = message(&deep(text::PORTABLE_LEVELS_MAX + 1), "x", QoS::AtLeastOnce);
        assert_eq!(device.publish(deep).await, ReasonCode::SUCCESS, "3.x");
        let dropped = server.broker.stats().dropped;
        assert_eq!((dropped.control_characters, dropped.too_deep), (0, 1), "the key is not about levels");
    });
}

#[test]
fn a_topic_with_more_levels_than_other_brokers_take_is_refused() {
    with(anonymous(), |server| async move {
        let mut device = server.device("d").await;
        device.subscribe("#", QoS::AtMostOnce).await;
        let just = deep(text::PORTABLE_LEVELS_MAX);
        assert_eq!(device.publish(retained(&just, "x", QoS::AtLeastOnce)).await, ReasonCode::SUCCESS);
        assert_eq!(device.next().await.topic.as_str(), just);
        let reason = device.publish(retained(&deep(201), "x", QoS::AtLeastOnce)).await;
        assert_eq!(reason, ReasonCode::TOPIC_NAME_INVALID);
        assert_eq!(server.broker.stats().dropped.too_deep, 1);
    });
}

/// What comes from elsewhere through the gateway is held to the same: clients hang up too.
#[test]
fn the_gateway_is_refused_what_clients_are_refused() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[]);
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::AtLeastOnce).await;
        let publish = |message| gateway.local.publish(message);
        assert_eq!(publish(retained("t/\r", "x", QoS::AtLeastOnce)), ReasonCode::TOPIC_NAME_INVALID);
        for refused in in_each_property("\u{7f}") {
            assert_eq!(publish(refused), ReasonCode::PAYLOAD_FORMAT_INVALID);
        }
        assert_eq!(publish(message("t/ok", "ok", QoS::AtLeastOnce)), ReasonCode::SUCCESS);
        assert_eq!(watcher.next().await.payload, "ok");
        assert_eq!(gateway.local.stats().dropped.control_characters, 5);
    });
}

/// What no session can make a message of costs itself, not the connection.
#[test]
fn what_cannot_be_taken_from_a_client_is_counted_and_the_next_message_arrives() {
    with(Settings { max_packet_size: 1000, ..anonymous() }, |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::AtLeastOnce).await;
        let mut raw = Raw::connect(server.addr, 4).await;
        raw.send(b"\x32\x06\x00\x02a+\x00\x07").await;
        assert_eq!(raw.packet().await.unwrap(), [0x40, 2, 0, 7]);
        let large = [b"\x32\xD4\x0F\x00\x01a\x00\x08", &[b'x'; 1998][..]].concat();
        raw.send(&[&large[..], b"x\x32\x07\x00\x01a\x00\x09ok"].concat()).await;
        assert_eq!(raw.packet().await.unwrap(), [0x40, 2, 0, 8]);
        assert_eq!(raw.packet().await.unwrap(), [0x40, 2, 0, 9]);
        assert_eq!(watcher.next_payloads(1).await, ["ok"]);
        assert_eq!(server.broker.stats().dropped.unusable, 2);
    });
}

fn with_will(version: Version, will: Message) -> ClientConfig {
    ClientConfig { will: Some(Will { message: will, delay_s: 0 }), ..config("d", version) }
}

#[test]
fn a_will_the_next_broker_hangs_up_on_keeps_an_mqtt_5_client_out_and_says_why() {
    with(anonymous(), |server| async move {
        let refused = async |will| Device::try_connect(server.addr, with_will(Version::V5, will)).await.err();
        let topic = refused(message("gone/\r", "x", QoS::AtLeastOnce)).await;
        assert_eq!(topic, Some(ReasonCode::TOPIC_NAME_INVALID));
        assert_eq!(refused(message(&deep(300), "x", QoS::AtLeastOnce)).await, Some(ReasonCode::TOPIC_NAME_INVALID));
        for will in in_each_property("\u{85}") {
            assert_eq!(refused(will).await, Some(ReasonCode::PAYLOAD_FORMAT_INVALID));
        }
        assert_eq!(refused(message("gone/d", "x", QoS::AtLeastOnce)).await, None);
    });
}

#[test]
fn a_3_client_with_such_a_will_is_let_in_and_the_will_is_dropped_and_counted() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::AtLeastOnce).await;
        for (count, version) in [Version::V31, Version::V311].into_iter().enumerate() {
            let will = retained("gone/\r", "x", QoS::AtLeastOnce);
            let mut device = Device::connect(server.addr, with_will(version, will)).await;
            device.publish(message("t/ok", "ok", QoS::AtLeastOnce)).await;
            assert_eq!(watcher.next().await.payload, "ok");
            device.vanish();
            server.until(|stats| stats.dropped.control_characters == count as u64 + 1).await;
        }
        assert!(watcher.drain().await.is_empty());
        assert_eq!(server.broker.stats().retained, 0);
    });
}

/// A device of 3.1.1 that keeps its session sends again what was not acknowledged: here nothing is left to be sent.
#[test]
fn a_device_does_not_come_back_with_the_message_that_was_refused() {
    with(anonymous(), |server| async move {
        let (mut device, _) = Device::try_connect(server.addr, lasting("d", Version::V311)).await.unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            device.publish(message("up/temp\r", "21", qos)).await;
        }
        let session = device.goodbye().await;
        let (mut device, _) = Device::resume(server.addr, lasting("d", Version::V311), session).await.unwrap();
        assert!(device.drain().await.is_empty());
        assert_eq!(server.broker.stats().dropped.control_characters, 2);
    });
}
