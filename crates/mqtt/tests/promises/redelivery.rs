//! What is sent again on a new connection, and how (MQTT 5.0 section 4.4).

use super::{V5, done};
use crate::frames::Frame;
use crate::pair::{Client, LIMITS, Server, VERSIONS, config, message, packet, publish, publishes};
use tidegate_message::QoS;
use tidegate_mqtt::{Batch, ClientConfig, Control, PublishError, SubscribeFilter, Version};

#[test]
fn redelivery_has_dup_the_same_ids_and_the_original_order() {
    for version in VERSIONS {
        let mut client = Client::plain(version);
        for (key, qos) in [(0, 1), (1, 2), (2, 2), (3, 1), (4, 0)] {
            client.session.publish(key, message("a", key.to_string(), qos)).unwrap();
        }
        assert!(publishes(&client.said()).iter().all(|(_, dup, ..)| !dup));
        client.hear(packet(0x50, &[0, 3])); // key 2
        client.said();
        client.resume();
        client.session.publish(5, message("a", "5", 1)).unwrap();
        let said = client.said();
        let sent = |qos, dup, id, payload: &str| (qos, dup, id, payload.to_owned());
        let expected = [sent(1, true, 1, "0"), sent(2, true, 2, "1"), sent(1, true, 4, "3"), sent(1, false, 5, "5")];
        assert_eq!(publishes(&said), expected);
        assert_eq!(said[2], Frame::PubRel { id: 3, reason: 0 }, "in its place");
    }
}

/// A trap that real brokers set: a PUBREL sent again after a lost link must not end in a loop of reconnects.
#[test]
fn a_pubrel_sent_again_comes_to_its_end() {
    for version in VERSIONS {
        let mut client = Client::plain(version);
        client.session.publish(7, message("a", "x", 2)).unwrap();
        client.hear(packet(0x50, &[0, 1]));
        for _ in 0..3 {
            client.resume();
            assert_eq!(client.said(), [Frame::PubRel { id: 1, reason: 0 }]);
        }
        let pubcomp = if version == V5 { packet(0x70, &[0, 1, 0x92]) } else { packet(0x70, &[0, 1]) };
        assert_eq!(client.hear(pubcomp).completed, [done(7)]);
        client.resume();
        assert_eq!(client.said(), []);
    }
}

#[test]
fn a_pubrec_that_comes_before_the_redelivery_counts() {
    let terms = ClientConfig { receive_maximum: 1, ..config(V5) };
    let mut server = Server::up(LIMITS, &config(V5), None);
    server.session.publish(0, message("a", "x", 2), &[]).unwrap();
    server.session.publish(1, message("a", "y", 2), &[]).unwrap();
    server.session.publish(2, message("a", "z", 2), &[]).unwrap();
    server.hear(packet(0x50, &[0, 3]));
    let mut server = Server::up(LIMITS, &terms, Some(server.session.into_flow()));
    assert_eq!(publishes(&server.said()).len(), 1, "the others wait for room");
    server.hear(packet(0x50, &[0, 3]));
    assert_eq!(server.said(), [Frame::PubRel { id: 3, reason: 0 }], "known from before");
    assert_eq!(server.hear(packet(0x70, &[0, 3])).completed, [done(2)]);
    server.hear(packet(0x50, &[0, 2]));
    assert_eq!(server.said(), [Frame::PubRel { id: 2, reason: 0 }], "not: unknown");
    assert_eq!(server.hear(packet(0x70, &[0, 2])).completed, [done(1)]);
    server.hear(packet(0x50, &[0, 1]));
    assert_eq!(server.hear(packet(0x70, &[0, 1])).completed, [done(0)]);
    assert!(server.session.has_room());
}

#[test]
fn a_lost_session_is_told_and_republished_without_dup() {
    for version in [Version::V311, V5] {
        let mut client = Client::plain(version);
        for (key, qos) in [(0, 1), (1, 2), (2, 2)] {
            client.session.publish(key, message("a", key.to_string(), qos)).unwrap();
        }
        client.hear(packet(0x50, &[0, 2])); // key 1: the broker has it
        client.said();
        let batch = client.connect(&config(version), if version == V5 { &[0, 0, 0] } else { &[0, 0] });
        assert!(matches!(
            batch.control[..],
            [(0, Control::Connected(_)), (0, Control::SessionLost { republished: 2 })]
        ));
        assert_eq!(batch.completed, [done(1)]);
        let said = publishes(&client.said());
        assert_eq!(said, [(1, false, 1, "0".to_owned()), (2, false, 3, "2".to_owned())]);
    }
}

#[test]
fn a_client_of_mqtt_3_1_trusts_the_broker_but_not_with_its_messages() {
    let mut client = Client::plain(Version::V31);
    client.session.publish(0, message("a", "x", 1)).unwrap();
    let old = client.hear(publish(2, false, 1, &[]));
    client.session.ack(old.received[0].ack.unwrap());
    client.said();
    // There is no session present flag: redelivered with DUP, which suits either case.
    let batch = client.connect(&config(Version::V31), &[0, 0]);
    assert!(matches!(&batch.control[..], [(0, Control::Connected(c))] if c.session_present));
    assert_eq!(publishes(&client.said()), [(1, true, 1, "x".to_owned())]);
    // The broker did forget, and starts with id 1: without DUP it is another message.
    assert_eq!(client.hear(publish(2, false, 1, &[])).received.len(), 1);
    assert!(client.hear(publish(2, true, 1, &[])).received.is_empty());
}

#[test]
fn what_was_taken_back_is_neither_sent_nor_completed_and_its_ids_are_freed() {
    let mut client = Client::plain(V5);
    for (key, qos) in [(0, 1), (1, 2), (2, 2), (3, 1)] {
        client.session.publish(key, message("a", key.to_string(), qos)).unwrap();
    }
    client.hear(packet(0x50, &[0, 3])); // key 2
    client.said();
    client.session.disconnected();
    let (taken, released) = client.session.abandon();
    assert_eq!(taken.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!((released, client.session.in_flight()), (vec![2], 0));
    // The broker may hold ids 2 and 3 of QoS 2, and would take a later message with them for these.
    let batch = client.resume();
    assert!(batch.completed.is_empty());
    assert_eq!(client.said(), [Frame::PubRel { id: 2, reason: 0 }, Frame::PubRel { id: 3, reason: 0 }]);
    let mut both = packet(0x70, &[0, 2, 0x92]);
    both.extend_from_slice(&packet(0x70, &[0, 3]));
    assert!(client.hear(both).completed.is_empty());
    client.session.publish(9, message("a", "9", 1)).unwrap();
    assert_eq!(publishes(&client.said()), [(1, false, 5, "9".to_owned())]);
    client.resume();
    assert_eq!(client.session.take_back(|key| key == 9).len(), 1, "also while connected");
    assert!(client.hear(packet(0x40, &[0, 5])).completed.is_empty());
    assert!(client.session.has_room());
}

#[test]
fn packet_ids_go_round_without_zero_and_without_collision() {
    let mut client = Client::up(&config(V5), &[0, 0, 0]);
    client.session.publish(0, message("a", "slow", 1)).unwrap();
    assert_eq!(publishes(&client.said())[0].2, 1);
    for key in 1..65_535u64 {
        client.session.publish(key, message("a", "x", 1)).unwrap();
        let id = publishes(&client.said())[0].2;
        assert_eq!(u64::from(id), key + 1);
        assert_eq!(client.hear(packet(0x40, &id.to_be_bytes())).completed, [done(key)]);
    }
    // The next would be 1, which is in use.
    assert!(!client.session.has_room());
    assert_eq!(client.session.publish(70_000, message("a", "x", 1)), Err(PublishError::Full));
    assert_eq!(client.session.subscribe(&[SubscribeFilter::new("a".try_into().unwrap(), QoS::AtMostOnce)]), []);
    assert_eq!(client.hear(packet(0x40, &[0, 1])).completed, [done(0)]);
    client.session.publish(70_000, message("a", "x", 1)).unwrap();
    assert_eq!(publishes(&client.said())[0].2, 1);
}

#[test]
fn a_long_redelivery_waits_for_the_buffer_to_drain() {
    let mut client = Client::plain(Version::V311);
    for key in 0..99 {
        client.session.publish(key, message("a", vec![0; 8 * 1024], 1)).unwrap();
    }
    client.session.tx().clear();
    client.resume();
    let (mut sent, mut turns) = (0, 0);
    while !client.session.tx().is_empty() {
        assert!(client.session.tx().len() < 300 * 1024);
        assert!(turns > 2 || !client.session.has_room(), "nothing new before the old");
        sent += client.said().len();
        turns += 1;
        let now = client.now;
        client.session.sent(now, &mut Batch::default());
    }
    assert_eq!((sent, turns), (99, 4));
    assert!(client.session.has_room());
}
