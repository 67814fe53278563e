use crate::device::{Device, Raw, anonymous, config, lasting, message, retained, with};
use tidegate_broker::Settings;
use tidegate_message::{Message, QoS, TopicFilter};
use tidegate_mqtt::{ReasonCode, RetainHandling, Version};

#[test]
fn a_device_is_acknowledged_only_after_the_gateway_says_so() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("dev/#", QoS::ExactlyOnce)]);
        let mut other = server.device("other").await;
        other.subscribe("dev/#", QoS::AtLeastOnce).await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut device = server.device("device").await;
            device.send(message("dev/1", "x", qos)).await;
            let received = gateway.next().await;
            // Others need not wait for it.
            assert_eq!(other.next().await.payload, "x");
            assert!(device.drain().await.is_empty());
            assert!(device.completed.is_empty(), "acknowledged too early");
            gateway.local.ack(received.ack.unwrap());
            assert_eq!(device.next_completed().await.reason, ReasonCode::SUCCESS);
        }
    });
}

#[test]
fn acknowledgements_leave_in_the_order_of_receipt() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device("device").await;
        for number in 0..3 {
            device.send(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        let mut acks = Vec::new();
        for _ in 0..3 {
            acks.push(gateway.next().await.ack.unwrap());
        }
        gateway.local.ack(acks[2]);
        gateway.local.ack(acks[1]);
        device.drain().await;
        assert!(device.completed.is_empty());
        gateway.local.ack(acks[0]);
        for key in 1..=3 {
            assert_eq!(device.next_completed().await.key, key);
        }
    });
}

#[test]
fn without_the_gateway_or_at_its_qos_0_nobody_waits() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("q0/#", QoS::AtMostOnce)]);
        let mut device = server.device("device").await;
        assert_eq!(device.publish(message("q0/x", "x", QoS::AtLeastOnce)).await, ReasonCode::SUCCESS);
        let received = gateway.next().await;
        assert_eq!((received.ack, received.message.qos), (None, QoS::AtMostOnce));
        device.publish(message("elsewhere", "x", QoS::ExactlyOnce)).await;
    });
}

#[test]
fn an_acknowledgement_finds_a_device_that_went_and_came_back() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        for (qos, late) in
            [(QoS::AtLeastOnce, false), (QoS::AtLeastOnce, true), (QoS::ExactlyOnce, false), (QoS::ExactlyOnce, true)]
        {
            let mut device = Device::connect(server.addr, lasting("device", Version::V5)).await;
            device.send(message("t", "x", qos)).await;
            let ack = gateway.next().await.ack.unwrap();
            let session = device.vanish();
            server.until(|stats| stats.connections == 0).await;
            if !late {
                gateway.local.ack(ack);
            }
            let (mut device, connected) =
                Device::resume(server.addr, lasting("device", Version::V5), session).await.unwrap();
            assert!(connected.session_present);
            if late {
                device.drain().await;
                gateway.local.ack(ack);
            }
            assert_eq!(device.next_completed().await.reason, ReasonCode::SUCCESS);
            assert!(gateway.try_next().is_none(), "delivered twice");
            gateway.local.ack(ack); // once too often is no harm
            device.goodbye().await;
        }
    });
}

#[test]
fn an_acknowledgement_for_a_device_that_is_gone_does_nothing() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device("device").await;
        device.send(message("t", "x", QoS::AtLeastOnce)).await;
        let ack = gateway.next().await.ack.unwrap();
        device.vanish();
        server.until(|stats| stats.sessions == 0).await;
        gateway.local.ack(ack);
        // The same slot, another session.
        let mut device = server.device("another").await;
        device.send(message("t", "y", QoS::AtLeastOnce)).await;
        gateway.next().await;
        gateway.local.ack(ack);
        device.drain().await;
        assert!(device.completed.is_empty());
    });
}

#[test]
fn the_gateway_publishes_to_devices_and_never_to_itself() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device("device").await;
        device.subscribe("out/#", QoS::ExactlyOnce).await;
        assert_eq!(
            gateway.local.publish(message("nobody", "x", QoS::AtLeastOnce)),
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        );
        for qos in crate::device::QOS {
            assert_eq!(gateway.local.publish(message("out/1", "x", qos)), ReasonCode::SUCCESS);
            assert_eq!(device.next().await.qos, qos);
        }
        gateway.local.publish(retained("out/kept", "x", QoS::AtLeastOnce));
        gateway.local.subscribe(&[(TopicFilter::new("out/#").unwrap(), QoS::AtLeastOnce, RetainHandling::Send)]);
        device.publish(message("sentinel", "s", QoS::AtMostOnce)).await;
        assert_eq!(gateway.next().await.message.payload, "s");
    });
}

#[test]
fn the_gateway_is_sent_retained_messages_once_and_flags_as_published() {
    with(anonymous(), |server| async move {
        let mut device = server.device("device").await;
        device.publish(retained("a/1", "kept", QoS::AtLeastOnce)).await;
        let gateway = server.gateway(&[("a/#", QoS::AtLeastOnce), ("a/1", QoS::AtLeastOnce)]);
        let received = gateway.next().await;
        assert_eq!((received.ack, received.message.retain, &received.message.payload[..]), (None, true, &b"kept"[..]));
        device.send(retained("a/1", "live", QoS::AtMostOnce)).await;
        device.send(message("a/1", "plain", QoS::AtMostOnce)).await;
        for (payload, retain) in [("live", true), ("plain", false)] {
            let received = gateway.next().await;
            assert_eq!((&received.message.payload[..], received.message.retain), (payload.as_bytes(), retain));
        }
        assert!(gateway.try_next().is_none());
        gateway.local.unsubscribe(&[TopicFilter::new("a/#").unwrap(), TopicFilter::new("a/1").unwrap()]);
        let code = device.publish(message("a/1", "x", QoS::AtLeastOnce)).await;
        assert_eq!(code, ReasonCode::NO_MATCHING_SUBSCRIBERS);
    });
}

#[test]
fn a_batch_is_one_call() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = server.device("device").await;
        for number in 0..100 {
            device.session.publish(number, message("t", "x", QoS::AtMostOnce)).unwrap();
        }
        device.flush().await;
        for _ in 0..100 {
            gateway.next().await;
        }
        assert_eq!(gateway.calls(), 1);
    });
}

#[test]
fn two_in_process_clients_both_have_to_acknowledge() {
    with(anonymous(), |server| async move {
        let one = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let other = server.gateway(&[("t", QoS::ExactlyOnce)]);
        let mut device = server.device("device").await;
        device.send(message("t", "x", QoS::AtLeastOnce)).await;
        let (first, second) = (one.next().await.ack.unwrap(), other.next().await.ack.unwrap());
        one.local.ack(first);
        device.drain().await;
        assert!(device.completed.is_empty());
        other.local.ack(second);
        device.next_completed().await;
        // What one of them publishes the other gets, with nothing to acknowledge.
        one.local.publish(message("t", "y", QoS::AtLeastOnce));
        let received = other.next().await;
        assert_eq!((received.ack, &received.message.payload[..]), (None, &b"y"[..]));
        assert!(one.try_next().is_none());
        other.local.close();
        device.send(message("t", "z", QoS::AtLeastOnce)).await;
        one.local.ack(one.next().await.ack.unwrap());
        device.next_completed().await;
    });
}

#[test]
fn a_paused_gateway_holds_up_only_those_who_publish_for_it() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("up/#", QoS::AtMostOnce)]);
        let mut feeding = server.device("feeding").await;
        let mut talking = server.device("talking").await;
        talking.subscribe("side/#", QoS::AtLeastOnce).await;
        gateway.local.pause(true);
        feeding.send(message("up/1", "in the batch that was not foreseen", QoS::AtMostOnce)).await;
        gateway.next().await;
        feeding.send(message("up/1", "held up", QoS::AtMostOnce)).await;
        for _ in 0..10 {
            talking.publish(message("side/1", "x", QoS::AtLeastOnce)).await;
            talking.next().await;
        }
        assert!(gateway.try_next().is_none());
        gateway.local.pause(false);
        assert_eq!(gateway.next().await.message.payload, "held up");
    });
}

#[test]
fn an_old_client_beyond_our_window_waits_instead_of_filling_memory() {
    let settings = Settings { receive_maximum: 5, ..anonymous() };
    with(settings, |server| async move {
        let gateway = server.gateway(&[("#", QoS::AtLeastOnce)]);
        let mut device = Device::connect(server.addr, config("old", Version::V311)).await;
        let mut acks = Vec::new();
        for number in 0..20 {
            device.send(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
            // One read each.
            if number < 5 {
                acks.extend(gateway.next().await.ack);
            }
        }
        let mut talking = server.device("talking").await;
        talking.drain().await;
        assert!(gateway.try_next().is_none(), "read on beyond the window");
        assert_eq!(server.broker.stats().received, 5);
        for _ in 0..15 {
            acks.drain(..).for_each(|ack| gateway.local.ack(ack));
            acks.extend(gateway.next().await.ack);
        }
        acks.drain(..).for_each(|ack| gateway.local.ack(ack));
        for key in 1..=20 {
            assert_eq!(device.next_completed().await.key, key);
        }
    });
}

/// However many there are, in steps; and each topic in its order, whatever is published on it meanwhile.
#[test]
fn the_gateway_is_sent_what_is_retained_in_steps() {
    with(anonymous(), |server| async move {
        const TOPICS: usize = 5_000;
        let other = server.gateway(&[]);
        for number in 0..TOPICS {
            other.local.publish(retained(&format!("t/{number:04}"), "old", QoS::AtLeastOnce));
        }
        let gateway = server.gateway(&[]);
        let filter = |text| (TopicFilter::new(text).unwrap(), QoS::AtLeastOnce, RetainHandling::Send);
        gateway.local.subscribe(&[filter("t/4999"), filter("t/#"), filter("+/0001"), filter("gone/#")]);
        gateway.local.unsubscribe(&[TopicFilter::new("gone/#").unwrap()]);
        let published = [("t/4990", false), ("t/4990", false), ("t/4991", true), ("t/5000", true), ("t/4999", false)];
        for (topic, retain) in published {
            other.local.publish(Message { retain, ..message(topic, "new", QoS::AtLeastOnce) });
        }
        let mut came: std::collections::BTreeMap<String, Vec<(String, bool)>> = Default::default();
        for _ in 0..TOPICS + published.len() {
            let received = gateway.next().await;
            let payload = String::from_utf8(received.message.payload.to_vec()).unwrap();
            came.entry(received.message.topic.to_string()).or_default().push((payload, received.stored));
        }
        assert!(gateway.calls() >= TOPICS / 1000, "in {} calls", gateway.calls());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(gateway.try_next().is_none());
        assert_eq!(came.len(), TOPICS + 1);
        let (old, new) = (("old".to_owned(), true), ("new".to_owned(), false));
        for (topic, messages) in came {
            let expected = match &*topic {
                "t/4990" => vec![old.clone(), new.clone(), new.clone()],
                "t/4991" | "t/4999" => vec![old.clone(), new.clone()],
                "t/5000" => vec![new.clone()],
                _ => vec![old.clone()],
            };
            assert_eq!(messages, expected, "{topic}");
        }
    });
}

/// The gateway has as many of its messages as it may, and its client, of MQTT 3, is not read from; that it has gone is seen all the same, and
/// what it had said before is taken.
#[test]
fn who_waits_for_the_gateway_and_goes_is_missed() {
    with(Settings { receive_maximum: 1, ..anonymous() }, |server| async move {
        let gateway = server.gateway(&[("t", QoS::AtLeastOnce)]);
        let mut hears = server.device("hears").await;
        hears.subscribe("will", QoS::AtMostOnce).await;
        for says_goodbye in [false, true] {
            let mut raw = Raw::open(server.addr).await;
            // A will on `will`, keep-alive 0.
            raw.send(b"\x10\x18\0\x04MQTT\x04\x06\0\0\0\x03raw\0\x04will\0\x01x").await;
            assert_eq!(raw.packet().await.unwrap(), b"\x20\x02\0\0");
            raw.send(b"\x32\x06\0\x01t\0\x01a").await;
            gateway.next().await;
            for id in 2..5 {
                raw.send(&[0x32, 6, 0, 1, b't', 0, id, b'b']).await;
            }
            if says_goodbye {
                raw.send(b"\xE0\0").await;
            }
            drop(raw);
            for _ in 2..5 {
                assert_eq!(gateway.next().await.message.payload, "b");
            }
            if !says_goodbye {
                assert_eq!(hears.next().await.payload, "x");
            }
            server.until(|stats| stats.connections == 1).await;
        }
        assert!(hears.drain().await.is_empty());
    });
}
