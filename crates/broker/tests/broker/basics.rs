use crate::device::{Device, QOS, VERSIONS, anonymous, config, message, with};
use tidegate_message::{Properties, QoS, Topic};
use tidegate_mqtt::{ReasonCode, Version};

#[test]
fn every_version_and_qos_reaches_every_other() {
    with(anonymous(), |server| async move {
        for from in VERSIONS {
            for to in VERSIONS {
                let mut publisher = Device::connect(server.addr, config("from", from)).await;
                let mut subscriber = Device::connect(server.addr, config("to", to)).await;
                for granted in QOS {
                    subscriber.subscribe("t/+", granted).await;
                    for sent in QOS {
                        publisher.publish(message("t/x", "hello", sent)).await;
                        let got = subscriber.next().await;
                        assert_eq!((got.topic.as_str(), &got.payload[..]), ("t/x", &b"hello"[..]));
                        assert_eq!(got.qos, sent.min(granted), "{from} to {to}");
                        assert!(!got.retain);
                    }
                }
                publisher.goodbye().await;
                subscriber.goodbye().await;
                server.until(|stats| stats.sessions == 0).await;
            }
        }
        assert_eq!(server.broker.stats().dropped.total(), 0);
        assert_eq!(server.broker.stats().subscriptions, 0);
    });
}

#[test]
fn order_is_kept_under_a_small_window() {
    with(anonymous(), |server| async move {
        let small = tidegate_mqtt::ClientConfig { receive_maximum: 3, ..config("to", Version::V5) };
        let mut subscriber = Device::connect(server.addr, small).await;
        subscriber.subscribe("t", QoS::ExactlyOnce).await;
        let mut publisher = server.device("from").await;
        for number in 0..300 {
            publisher.send(message("t", &number.to_string(), QOS[number % 3])).await;
        }
        // Also QoS 0 waits for its turn behind what came before it.
        let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        assert_eq!(subscriber.next_payloads(300).await, expected);
        for _ in 0..200 {
            assert_eq!(publisher.next_completed().await.reason, ReasonCode::SUCCESS);
        }
    });
}

#[test]
fn all_properties_travel() {
    with(anonymous(), |server| async move {
        let mut subscriber = server.device("to").await;
        subscriber.subscribe("t", QoS::ExactlyOnce).await;
        let mut publisher = server.device("from").await;
        for qos in QOS {
            let mut sent = message("t", "x", qos);
            sent.properties = Some(Box::new(Properties {
                content_type: Some("text/plain".into()),
                response_topic: Some(Topic::new("answers").unwrap()),
                correlation_data: Some(vec![0, 255, 1].into()),
                message_expiry_seconds: Some(100),
                payload_is_utf8: true,
                user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
                key: None,
            }));
            publisher.publish(sent.clone()).await;
            assert_eq!(subscriber.next().await, sent);
        }
    });
}

#[test]
fn a_publisher_is_told_that_nobody_listens() {
    with(anonymous(), |server| async move {
        let mut device = server.device("d").await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            // PUBREC says it; PUBCOMP only says that it is over.
            device.publish(message("nobody", "x", qos)).await;
        }
        device.send(message("nobody", "x", QoS::AtLeastOnce)).await;
        assert_eq!(device.next_completed().await.reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
        device.subscribe("nobody", QoS::AtMostOnce).await;
        assert_eq!(device.publish(message("nobody", "x", QoS::AtLeastOnce)).await, ReasonCode::SUCCESS);
    });
}

#[test]
fn topic_aliases_work_both_ways() {
    with(anonymous(), |server| async move {
        let with_aliases = |id| tidegate_mqtt::ClientConfig { topic_alias_max: 2, ..config(id, Version::V5) };
        let mut subscriber = Device::connect(server.addr, with_aliases("to")).await;
        subscriber.subscribe("#", QoS::AtLeastOnce).await;
        let mut publisher = Device::connect(server.addr, with_aliases("from")).await;
        for round in 0..3 {
            for topic in ["some/topic", "another/topic", "a/third/topic", "a/fourth"] {
                publisher.publish(message(topic, &round.to_string(), QoS::AtLeastOnce)).await;
                assert_eq!(subscriber.next().await.topic.as_str(), topic);
            }
        }
    });
}

#[test]
fn a_large_message_arrives_whole() {
    with(anonymous(), |server| async move {
        let mut subscriber = server.device("to").await;
        subscriber.subscribe("t", QoS::AtLeastOnce).await;
        let mut publisher = server.device("from").await;
        let payload: String = (0..900_000).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        for _ in 0..3 {
            publisher.publish(message("t", &payload, QoS::AtLeastOnce)).await;
            assert_eq!(subscriber.next().await.payload, payload.as_bytes());
        }
    });
}

#[test]
fn stopping_says_so_and_ends() {
    with(anonymous(), |server| async move {
        let mut new = server.device("new").await;
        let mut old = server.device_311("old").await;
        server.stop.cancel();
        assert_eq!(new.ended().await, Some(ReasonCode::SERVER_SHUTTING_DOWN));
        assert_eq!(old.ended().await, None);
        server.task.await.unwrap().unwrap();
        assert_eq!(server.broker.stats().connections, 0);
    });
}

#[test]
fn only_the_clients_of_a_stopped_listener_are_sent_away() {
    with(anonymous(), |server| async move {
        let mut stays = server.device("stays").await;
        let listener = tidegate_broker::bind("127.0.0.1:0", tidegate_broker::Scheme::Mqtt).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let task = tokio::task::spawn_local(server.broker.clone().serve(listener, stop.clone()));
        let mut goes = Device::connect(addr, config("goes", Version::V5)).await;
        stop.cancel();
        assert_eq!(goes.ended().await, Some(ReasonCode::SERVER_SHUTTING_DOWN));
        task.await.unwrap().unwrap();
        stays.subscribe("t", QoS::AtMostOnce).await;
    });
}
