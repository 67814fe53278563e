//! One test for each thing the sessions promise, on a wire without faults.

use crate::frames::Frame;
use crate::pair::{
    Client, LIMITS, Server, VERSIONS, config, message, no_limits, no_properties, packet, publish, publishes,
};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};
use tidegate_message::{Message, Properties, QoS, TopicFilter};
use tidegate_mqtt::{
    Accept, Batch, ClientConfig, ClientSession, Completion, Control, Flow, ProtocolError, PublishError, Published,
    ReasonCode, RetainHandling, ServerLimits, ServerSession, SubscribeFilter, Version, Will,
};

const V5: Version = Version::V5;

fn done(key: u64) -> Completion {
    Completion { key, reason: ReasonCode::SUCCESS }
}

// Quality of service.

#[test]
fn every_qos_goes_its_way_in_every_version() {
    for version in VERSIONS {
        let mut client = Client::plain(version);
        let mut server = Server::plain(version);
        for qos in 0..3 {
            let published = client.session.publish(u64::from(qos), message("a", "x", qos)).unwrap();
            let exactly_once = (qos == 2).then_some(1);
            assert_eq!(published, if qos == 0 { Published::Sent } else { Published::InFlight { exactly_once } });
        }
        let batch = server.hear(client.session.tx().split());
        assert_eq!(batch.received.iter().map(|r| r.message.qos as u8).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(batch.received.iter().all(|r| !r.dup));
        assert!(server.session.tx().is_empty(), "an acknowledgement nobody asked for");
        for received in &batch.received[1..] {
            server.session.ack(received.ack.unwrap(), ReasonCode::SUCCESS);
        }
        let batch = client.hear(server.session.tx().split());
        assert_eq!(batch.completed, [done(1)], "QoS 2 is not done at PUBREC");
        assert_eq!(client.said(), [Frame::PubRel { id: 2, reason: 0 }]);
        server.hear(packet(0x62, &[0, 2]));
        assert_eq!(client.hear(server.session.tx().split()).completed, [done(2)]);
        assert_eq!((client.session.in_flight(), server.session.in_flight()), (0, 0));
    }
}

#[test]
fn an_unknown_pubrel_is_answered_by_pubcomp() {
    for version in VERSIONS {
        let reason = if version == V5 { 0x92 } else { 0 };
        let mut server = Server::plain(version);
        server.hear(packet(0x62, &[0, 9]));
        assert_eq!(server.said(), [Frame::PubComp { id: 9, reason }]);
        let mut client = Client::plain(version);
        client.hear(packet(0x62, &[0, 9]));
        assert_eq!(client.said(), [Frame::PubComp { id: 9, reason }]);
    }
}

#[test]
fn a_pubrec_for_nothing_is_answered_so_that_the_peer_forgets_it() {
    let mut client = Client::plain(V5);
    client.hear(packet(0x50, &[0, 9]));
    assert_eq!(client.said(), [Frame::PubRel { id: 9, reason: 0x92 }]);
    client.hear(packet(0x50, &[0, 9, 0x97]));
    client.hear(packet(0x40, &[0, 9]));
    client.hear(packet(0x70, &[0, 9]));
    assert_eq!(client.said(), []);
}

#[test]
fn a_qos_2_id_received_three_times_is_delivered_once() {
    for version in VERSIONS {
        for dup in [false, true] {
            let sent = |dup| publish(2, dup, 5, no_properties(version));
            let mut server = Server::plain(version);
            let first = server.hear(sent(false));
            assert_eq!(first.received.len(), 1);
            assert!(server.hear(sent(dup)).is_empty(), "before it is acknowledged");
            server.ack(&first);
            assert!(server.hear(sent(dup)).is_empty(), "behind PUBREC");
            let pubrec = Frame::PubRec { id: 5, reason: 0 };
            assert_eq!(server.said(), [pubrec.clone(), pubrec.clone()]);
            let mut server = server.resume();
            assert!(server.hear(sent(dup)).is_empty(), "on the next connection");
            assert_eq!(server.said(), [pubrec]);
            server.hear(packet(0x62, &[0, 5]));
            assert_eq!(server.said(), [Frame::PubComp { id: 5, reason: 0 }]);
            assert_eq!(server.hear(sent(false)).received.len(), 1, "released, the id is free");
        }
    }
}

#[test]
fn a_message_whose_owner_still_holds_it_is_not_delivered_again() {
    for qos in [1, 2] {
        let mut server = Server::plain(V5);
        let first = server.hear(publish(qos, false, 5, &[0]));
        let mut server = server.resume();
        assert!(server.hear(publish(qos, true, 5, &[0])).is_empty());
        assert_eq!(server.said(), []);
        server.ack(&first);
        assert_eq!(server.said().len(), 1, "the token of the connection before is good");
        // And the other way round: acknowledged while the client was away.
        let second = server.hear(publish(qos, false, 6, &[0]));
        let mut flow = server.session.into_flow();
        flow.ack(second.received[0].ack.unwrap(), ReasonCode::SUCCESS);
        let mut server = Server::up(LIMITS, &config(V5), Some(flow));
        assert!(server.hear(publish(qos, true, 6, &[0])).is_empty());
        assert_eq!(server.said().len(), 1);
    }
}

#[test]
fn an_id_of_qos_1_without_dup_is_another_message() {
    let mut server = Server::plain(V5);
    let given_up = server.hear(publish(1, false, 5, &[0]));
    let mut server = server.resume();
    let next = server.hear(publish(1, false, 5, &[0]));
    assert_eq!(next.received.len(), 1);
    server.ack(&given_up);
    assert_eq!(server.said(), []);
    server.ack(&next);
    assert_eq!(server.said(), [Frame::PubAck { id: 5, reason: 0 }]);
}

#[test]
fn acknowledgements_leave_in_the_order_of_receipt() {
    for version in VERSIONS {
        let mut server = Server::plain(version);
        let mut bytes = BytesMut::new();
        for (qos, id) in [(1, 7), (2, 3), (1, 9), (2, 1)] {
            bytes.extend_from_slice(&publish(qos, false, id, no_properties(version)));
        }
        let batch = server.hear(bytes);
        for at in [3, 1, 2] {
            server.session.ack(batch.received[at].ack.unwrap(), ReasonCode::SUCCESS);
            assert_eq!(server.said(), []);
        }
        server.session.ack(batch.received[0].ack.unwrap(), ReasonCode::SUCCESS);
        let (ack, rec) = (|id| Frame::PubAck { id, reason: 0 }, |id| Frame::PubRec { id, reason: 0 });
        assert_eq!(server.said(), [ack(7), rec(3), ack(9), rec(1)]);
    }
}

#[test]
fn tokens_that_are_spent_or_stale_do_nothing() {
    let mut server = Server::plain(V5);
    let batch = server.hear(publish(1, false, 1, &[0]));
    server.ack(&batch);
    server.said();
    server.ack(&batch);
    assert_eq!(server.said(), [], "used twice");
    let old = server.hear(publish(1, false, 2, &[0]));
    // The client starts over: the new session's first message has nothing to do with the old token.
    let mut server = Server::plain(V5);
    server.hear(publish(1, false, 1, &[0]));
    server.hear(publish(1, false, 2, &[0]));
    server.ack(&batch);
    server.ack(&old);
    assert_eq!(server.said(), []);
    // The first word counts.
    let held = server.hear(publish(1, false, 3, &[0]));
    let (token, mut flow) = (held.received[0].ack.unwrap(), server.session.into_flow());
    flow.ack(token, ReasonCode::QUOTA_EXCEEDED);
    flow.ack(token, ReasonCode::SUCCESS);
    let mut server = Server::up(LIMITS, &config(V5), Some(flow));
    server.hear(publish(1, true, 3, &[0]));
    assert_eq!(server.said(), [Frame::PubAck { id: 3, reason: 0x97 }]);
}

#[test]
fn tokens_of_a_session_that_the_broker_forgot_do_nothing() {
    let mut client = Client::plain(Version::V311);
    let old = client.hear(publish(1, false, 1, &[]));
    client.connect(&config(Version::V311), &[0, 0]);
    let new = client.hear(publish(1, false, 1, &[]));
    assert_eq!(new.received.len(), 1);
    client.session.ack(old.received[0].ack.unwrap());
    assert_eq!(client.said(), []);
    client.session.ack(new.received[0].ack.unwrap());
    assert_eq!(client.said(), [Frame::PubAck { id: 1, reason: 0 }]);
}

#[test]
fn ids_of_a_session_that_the_broker_forgot_mean_nothing() {
    for version in [Version::V311, V5] {
        let sent = |id| publish(2, false, id, no_properties(version));
        let mut client = Client::plain(version);
        let old = client.hear(sent(1));
        client.hear(sent(2));
        client.session.ack(old.received[0].ack.unwrap());
        client.connect(&config(version), no_limits(version));
        client.said();
        // 1 waited for its PUBREL, 2 for its owner.
        for id in [1, 2] {
            assert_eq!(client.hear(sent(id)).received.len(), 1);
        }
        assert_eq!(client.said(), []);
    }
}

// Redelivery.

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

/// The trap of FACTS: a PUBREL sent again after a lost link must not end in a loop of reconnects.
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

// Limits.

#[test]
fn the_peers_receive_maximum_is_kept() {
    let mut client = Client::up(&config(V5), &[0, 0, 3, 33, 0, 2]);
    client.session.publish(0, message("a", "0", 1)).unwrap();
    client.session.publish(1, message("a", "1", 2)).unwrap();
    assert!(!client.session.has_room());
    assert_eq!(client.session.publish(2, message("a", "2", 1)), Err(PublishError::Full));
    assert_eq!(client.session.publish(3, message("a", "3", 0)), Ok(Published::Sent), "QoS 0 does not count");
    client.hear(packet(0x50, &[0, 2]));
    assert!(!client.session.has_room(), "PUBREC does not make room");
    client.hear(packet(0x70, &[0, 2]));
    assert!(client.session.has_room());
    // A window that shrank holds for the redelivery too.
    client.session.publish(4, message("a", "4", 1)).unwrap();
    client.said();
    client.connect(&config(V5), &[1, 0, 3, 33, 0, 1]);
    assert_eq!(publishes(&client.said()), [(1, true, 1, "0".to_owned())]);
    client.hear(packet(0x40, &[0, 1]));
    assert_eq!(publishes(&client.said()), [(1, true, 3, "4".to_owned())]);
}

#[test]
fn a_refusal_makes_room_for_the_rest_of_a_redelivery() {
    let mut client = Client::plain(V5);
    client.session.publish(0, message("a", "0", 2)).unwrap();
    client.session.publish(1, message("a", "1", 2)).unwrap();
    client.said();
    client.connect(&config(V5), &[1, 0, 3, 33, 0, 1]);
    assert_eq!(publishes(&client.said()).len(), 1);
    let refused = client.hear(packet(0x50, &[0, 1, 0x97])).refused;
    assert_eq!((refused[0].key, refused[0].reason), (0, ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(publishes(&client.said()), [(2, true, 2, "1".to_owned())]);
}

#[test]
fn our_receive_maximum_is_enforced() {
    let limits = ServerLimits { receive_maximum: 2, ..LIMITS };
    let mut server = Server::up(limits, &config(V5), None);
    let first = server.hear(publish(2, false, 1, &[0]));
    server.ack(&first);
    server.hear(publish(1, false, 2, &[0]));
    assert!(server.hear(publish(2, true, 1, &[0])).is_empty(), "a repetition takes no room");
    server.said();
    let error = server.try_hear(publish(1, false, 3, &[0])).unwrap_err();
    assert_eq!(error, ProtocolError::ReceiveMaximum(2));
    assert_eq!(server.said(), [Frame::Disconnect { reason: 0x93 }]);
    // The window starts afresh: what waits for its PUBREL since before is not counted (MQTT 5.0 section 4.9).
    let mut server = Server::up(limits, &config(V5), Some(server.session.into_flow()));
    server.hear(publish(1, true, 2, &[0]));
    server.hear(publish(1, false, 4, &[0]));
    assert!(server.try_hear(publish(1, false, 5, &[0])).is_err());
    // 3.x knows no such limit.
    let mut server = Server::up(limits, &config(Version::V311), None);
    for id in 1..10 {
        server.hear(publish(1, false, id, &[]));
    }
}

#[test]
fn the_peers_maximum_packet_size_is_kept() {
    let mut client = Client::up(&config(V5), &[0, 0, 5, 39, 0, 0, 0, 30]);
    let too_large = client.session.publish(0, message("a", vec![b'x'; 23], 1));
    assert_eq!(too_large, Err(PublishError::TooLarge { size: 31, max: 30 }));
    assert_eq!(client.said(), []);
    client.session.publish(1, message("a", vec![b'x'; 22], 1)).unwrap();
    assert_eq!(publishes(&client.said())[0].2, 1, "the refused one took no id");
    // A broker that takes less than before.
    let batch = client.connect(&config(V5), &[1, 0, 5, 39, 0, 0, 0, 20]);
    assert_eq!(batch.completed, [Completion { key: 1, reason: ReasonCode::PACKET_TOO_LARGE }]);
    assert_eq!(client.said(), []);
}

#[test]
fn our_maximum_packet_size_is_enforced() {
    for version in VERSIONS {
        let body = [&[0, 1, b't'][..], no_properties(version), &[b'x'; 40]].concat();
        let bytes = packet(0x30, &body[..38]);
        let mut client = Client::plain(version);
        client.connect(&ClientConfig { max_packet_size: 39, ..config(version) }, no_limits(version));
        client.said();
        // With some slack, for brokers that forget the header when they measure.
        assert_eq!(client.hear(bytes.clone()).received.len(), 1);
        let mut other = packet(0xE0, &[0; 50]);
        let refused = client.try_hear(other.split()).unwrap_err();
        assert_eq!(refused, ProtocolError::TooLarge { size: 52, max: 39 }, "what is not a message");
        let said = client.said();
        assert_eq!(said, if version == V5 { vec![Frame::Disconnect { reason: 0x95 }] } else { vec![] });
        let mut server = Server::up(ServerLimits { max_packet_size: 200, ..LIMITS }, &config(version), None);
        server.hear(bytes);
        let huge = server.try_hear(BytesMut::from(&[0x30, 0xC6, 1][..]));
        // A client of 3.x cannot be told the maximum.
        assert_eq!(huge.is_err(), version == V5, "201 bytes");
    }
}

#[test]
fn a_broker_that_takes_less_gets_less_also_of_a_redelivery() {
    let (max_qos, no_retain) = ([36, 0], [37, 0]);
    let connack = [&[0, 0, 4][..], &max_qos, &no_retain].concat();
    let retained = || Message { retain: true, ..message("a", "x", 2) };
    let mut client = Client::up(&config(V5), &connack);
    assert_eq!(client.session.publish(0, retained()), Ok(Published::Sent));
    let mut at_qos_0 = client.session.tx().split();
    assert_eq!(at_qos_0[0], 0x30);
    // In flight towards a better broker, then this one.
    let mut client = Client::plain(V5);
    client.session.publish(1, retained()).unwrap();
    client.said();
    let batch = client.connect(&config(V5), &connack);
    assert_eq!(batch.completed, [done(1)]);
    assert_eq!(client.session.tx().split(), at_qos_0.split());
    assert!(client.session.has_room());
    let mut client = Client::up(&config(V5), &[0, 0, 2, 36, 1]);
    client.session.publish(2, retained()).unwrap();
    assert_eq!(publishes(&client.said())[0].0, 1);
}

// Topic aliases.

#[test]
fn topic_aliases_out_save_the_topic() {
    let mut client = Client::up(&config(V5), &[0, 0, 3, 34, 0, 1]);
    for _ in 0..2 {
        client.session.publish(0, message("plant/line", "x", 1)).unwrap();
    }
    client.session.publish(0, message("plant/other", "x", 0)).unwrap();
    let topics = |frames: Vec<Frame>| {
        let of = |frame| match frame {
            Frame::Publish { topic, alias, .. } => (topic, alias),
            other => panic!("{other:?}"),
        };
        frames.into_iter().map(of).collect::<Vec<_>>()
    };
    let entry = |topic: &str| (topic.to_owned(), Some(1));
    assert_eq!(topics(client.said()), [entry("plant/line"), entry(""), entry("plant/other")]);
    // Aliases end with the connection, also for what is sent again.
    client.connect(&config(V5), &[1, 0, 3, 34, 0, 1]);
    assert_eq!(topics(client.said()), [entry("plant/line"), entry("")]);
    client.resume();
    assert!(topics(client.said()).iter().all(|(topic, alias)| topic == "plant/line" && alias.is_none()));
    // An alias that was introduced by a packet too large to send is not used.
    let mut client = Client::up(&config(V5), &[0, 0, 8, 34, 0, 1, 39, 0, 0, 0, 30]);
    client.session.publish(0, message("plant/line", vec![0; 100], 0)).unwrap_err();
    client.session.publish(0, message("plant/line", "", 0)).unwrap();
    assert_eq!(topics(client.said()), [entry("plant/line")]);
}

#[test]
fn topic_aliases_in_are_resolved_and_bad_ones_refused() {
    let alias = |topic: &str, alias: u8| {
        let body = [&[0, topic.len() as u8][..], topic.as_bytes(), &[3, 35, 0, alias], b"x"].concat();
        packet(0x30, &body)
    };
    let limits = ServerLimits { topic_alias_max: 2, ..LIMITS };
    let mut server = Server::up(limits, &config(V5), None);
    let mut bytes = alias("one", 1);
    for packet in [alias("two", 2), alias("", 1), alias("", 2), alias("three", 1), alias("", 1)] {
        bytes.extend_from_slice(&packet);
    }
    let batch = server.hear(bytes);
    let topics: Vec<_> = batch.received.iter().map(|r| r.message.topic.as_str()).collect();
    assert_eq!(topics, ["one", "two", "one", "two", "three", "three"]);
    for bad in [alias("t", 0), alias("t", 3), alias("", 3)] {
        let mut server = Server::up(limits, &config(V5), None);
        assert!(matches!(server.try_hear(bad), Err(ProtocolError::TopicAlias(_))));
        assert_eq!(server.said(), [Frame::Disconnect { reason: 0x94 }]);
    }
    // Never introduced on this connection.
    let mut server = server.resume();
    assert_eq!(server.try_hear(alias("", 1)).unwrap_err(), ProtocolError::TopicAlias(1));
    assert_eq!(Client::plain(V5).hear(alias("t", 1)).skipped[0].reason(), "bad_packet", "we offered none");
    let without = Client::plain(V5).hear(packet(0x30, &[0, 0, 0, b'x']));
    assert_eq!(without.skipped[0].reason(), "bad_topic", "neither topic nor alias");
}

// Keep-alive.

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_client_pings_and_notices_silence_within_one_and_a_half_keep_alives() {
    let mut client = Client::up(&ClientConfig { keep_alive_s: 10, ..config(V5) }, &[0, 0, 0]);
    client.said();
    assert_eq!(client.session.deadline(), Some(client.now + 10 * SECOND));
    client.pass(9 * SECOND);
    client.session.on_time(client.now).unwrap();
    assert_eq!(client.said(), []);
    client.pass(SECOND);
    client.session.on_time(client.now).unwrap();
    assert_eq!(client.said(), [Frame::Other(12)]);
    assert_eq!(client.session.deadline(), Some(client.now + 5 * SECOND));
    client.hear(packet(0xD0, &[]));
    client.pass(10 * SECOND);
    client.session.on_time(client.now).unwrap();
    assert_eq!(client.said(), [Frame::Other(12)]);
    client.pass(5 * SECOND);
    assert_eq!(client.session.on_time(client.now), Err(ProtocolError::KeepAlive(10)));
    assert_eq!(client.said(), [Frame::Disconnect { reason: 0x8D }]);
    assert_eq!(client.session.deadline(), None);
}

#[test]
fn a_client_that_only_listens_pings_too_and_once_a_keep_alive() {
    let mut client = Client::up(&ClientConfig { keep_alive_s: 10, ..config(V5) }, &[0, 0, 0]);
    client.said();
    for _ in 0..12 {
        client.pass(SECOND);
        client.hear(publish(0, false, 0, &[0]));
        // The socket is blocked: nobody calls `sent`.
        client.session.on_time(client.now).unwrap();
    }
    assert_eq!(client.said(), [Frame::Other(12)]);
}

#[test]
fn a_client_keeps_the_servers_keep_alive() {
    let mut client = Client::up(&ClientConfig { keep_alive_s: 10, ..config(V5) }, &[0, 0, 3, 19, 0, 4]);
    assert_eq!(client.session.deadline(), Some(client.now + 4 * SECOND));
    let off = client.connect(&ClientConfig { keep_alive_s: 10, ..config(V5) }, &[0, 0, 3, 19, 0, 0]);
    assert!(matches!(&off.control[..], [(0, Control::Connected(c))] if c.keep_alive_s == 0));
    assert_eq!(client.session.deadline(), None);
}

#[test]
fn a_server_notices_silence_within_one_and_a_half_keep_alives() {
    for version in VERSIONS {
        let mut server = Server::up(LIMITS, &ClientConfig { keep_alive_s: 10, ..config(version) }, None);
        assert_eq!(server.session.deadline(), Some(server.now + 15 * SECOND));
        server.now += 14 * SECOND;
        server.session.on_time(server.now).unwrap();
        server.hear(packet(0xC0, &[]));
        assert_eq!(server.said(), [Frame::Other(13)]);
        server.now += 15 * SECOND;
        assert_eq!(server.session.on_time(server.now), Err(ProtocolError::KeepAlive(10)));
        assert!(server.session.is_closed());
    }
    assert_eq!(Server::plain(V5).session.deadline(), None);
    let accept = Accept { server_keep_alive_s: Some(4), ..Accept::default() };
    let server = Server::accepted(LIMITS, &config(V5), accept);
    assert_eq!(server.session.deadline(), Some(server.now + 6 * SECOND));
}

/// Or a large message over a slow line would be cut off again and again.
#[test]
fn a_packet_that_trickles_in_is_a_sign_of_life() {
    let mut client = Client::up(&ClientConfig { keep_alive_s: 10, ..config(V5) }, &[0, 0, 0]);
    let mut server = Server::up(LIMITS, &ClientConfig { keep_alive_s: 10, ..config(V5) }, None);
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
    for byte in publish(0, false, 0, &[0]).iter().take(7) {
        to_client.extend_from_slice(&[*byte]);
        to_server.extend_from_slice(&[*byte]);
        client.pass(9 * SECOND);
        server.now += 9 * SECOND;
        client.session.on_bytes(&mut to_client, client.now, &mut Batch::default()).unwrap();
        server.session.on_bytes(&mut to_server, server.now, &mut Batch::default()).unwrap();
        client.session.on_time(client.now).unwrap();
        server.session.on_time(server.now).unwrap();
    }
}

// What is carried.

#[test]
fn wills_come_as_they_went() {
    for version in VERSIONS {
        for qos in 0..3 {
            let mut gone = message("gone", vec![0, 255], qos);
            gone.retain = qos == 1;
            gone.properties = (version == V5).then(|| Box::new(every_property()));
            let will = Will { message: gone, delay_s: if version == V5 { 5 } else { 0 } };
            let server = Server::up(LIMITS, &ClientConfig { will: Some(will.clone()), ..config(version) }, None);
            assert_eq!(server.connect.will, Some(will));
        }
    }
}

fn every_property() -> Properties {
    Properties {
        content_type: Some("application/json".into()),
        response_topic: Some("answers/1".try_into().unwrap()),
        correlation_data: Some(Bytes::from_static(&[0, 1, 255])),
        message_expiry_seconds: Some(u32::MAX),
        payload_is_utf8: true,
        user: vec![("k".into(), "v".into()), ("k".into(), "".into()), ("".into(), "w".into())],
    }
}

#[test]
fn every_publish_property_is_carried_both_ways() {
    let mut sent = message("a", "ä", 1);
    sent.retain = true;
    sent.properties = Some(Box::new(every_property()));
    let mut client = Client::plain(V5);
    client.session.publish(0, sent.clone()).unwrap();
    let batch = Server::plain(V5).hear(client.session.tx().split());
    assert_eq!(batch.received[0].message, sent);
    let mut server = Server::plain(V5);
    server.session.publish(0, sent.clone(), &[1, 268_435_455]).unwrap();
    assert_eq!(client.hear(server.session.tx().split()).received[0].message, sent);
    // 3.x has none, and says the rest.
    let mut client = Client::plain(Version::V311);
    client.session.publish(0, sent.clone()).unwrap();
    let batch = Server::plain(Version::V311).hear(client.session.tx().split());
    assert_eq!(batch.received[0].message, Message { properties: None, ..sent });
}

#[test]
fn subscribe_and_unsubscribe_come_as_they_went() {
    for version in VERSIONS {
        let v5 = version == V5;
        let filters: Vec<SubscribeFilter> = (0..9)
            .map(|n| SubscribeFilter {
                no_local: v5 && n == 1,
                retain_as_published: v5 && n == 2,
                retain_handling: match n {
                    3 if v5 => RetainHandling::SendIfNew,
                    4 if v5 => RetainHandling::Never,
                    _ => RetainHandling::Send,
                },
                ..SubscribeFilter::new(
                    TopicFilter::new(format!("a/{n}/+/#")).unwrap(),
                    QoS::from_u8(n as u8 % 3).unwrap(),
                )
            })
            .collect();
        let mut client = Client::plain(version);
        let ids = client.session.subscribe(&filters);
        assert_eq!(ids.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [8, 1]);
        let mut server = Server::plain(version);
        let mut asked = Vec::new();
        for (_, control) in server.hear(client.session.tx().split()).control {
            let Control::Subscribe { packet_id, filters, subscription_id: None } = control else { panic!() };
            let codes: Vec<_> = filters.iter().map(|f| ReasonCode(f.qos as u8)).collect();
            server.session.suback(packet_id, &codes);
            asked.extend(filters);
        }
        assert_eq!(asked, filters);
        let answers = client.hear(server.session.tx().split()).control;
        let [(0, Control::Subscribed { id, codes }), (0, Control::Subscribed { .. })] = &answers[..] else { panic!() };
        assert_eq!((*id, codes[1], codes[2]), (ids[0].0, ReasonCode::GRANTED_QOS_1, ReasonCode::GRANTED_QOS_2));
        client.session.unsubscribe(&["a/1/+/#".try_into().unwrap()]);
        let asked = server.hear(client.session.tx().split()).control;
        let [(0, Control::Unsubscribe { packet_id, filters })] = &asked[..] else { panic!() };
        assert_eq!(filters, &["a/1/+/#"]);
        server.session.unsuback(*packet_id, &[ReasonCode::SUCCESS]);
        let answers = client.hear(server.session.tx().split()).control;
        assert!(matches!(answers[..], [(0, Control::Unsubscribed { .. })]));
    }
}

#[test]
fn a_subscribe_that_cannot_be_is_refused() {
    let with = |options: u8, properties: &[u8], filter: &str| {
        let body = [&[0, 1][..], properties, &[0, filter.len() as u8], filter.as_bytes(), &[options]].concat();
        packet(0x82, &body)
    };
    let good = Server::plain(V5).hear(with(0x2E, &[2, 11, 7], "a")).control;
    assert!(matches!(good[..], [(0, Control::Subscribe { subscription_id: Some(7), .. })]));
    let user = [9, 11, 7, 38, 0, 1, b'k', 0, 1, b'v'];
    assert_eq!(Server::plain(V5).hear(with(0, &user, "a")).control.len(), 1);
    for bad in [
        with(0x03, &[0], "a"),                 // QoS 3
        with(0x30, &[0], "a"),                 // retain handling 3
        with(0x40, &[0], "a"),                 // reserved
        with(0x80, &[0], "a"),                 // reserved
        with(0x04, &[0], "$share/g/a"),        // no-local on a shared one
        with(0, &[2, 11, 0], "a"),             // subscription identifier 0
        with(0, &[4, 11, 1, 11, 2], "a"),      // two of them
        with(0, &[3, 35, 0, 1], "a"),          // a property of PUBLISH
        packet(0x82, &[0, 1, 0]),              // no filter
        packet(0x82, &[0, 0, 0, 0, 1, 97, 0]), // packet id 0
        packet(0x80, &[0, 1, 0, 0, 1, 97, 0]), // flags
        packet(0x82, &[0, 1, 0, 0, 1, 97]),    // no options
        packet(0xA2, &[0, 1, 0]),              // UNSUBSCRIBE without filters
    ] {
        assert!(Server::plain(V5).try_hear(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(Server::plain(Version::V311).try_hear(with(0x04, &[], "a")).is_err(), "an option of MQTT 5");
    // A filter that cannot be is the owner's to answer.
    let odd = Server::plain(Version::V311).hear(with(1, &[], "a/#/b")).control;
    assert!(matches!(&odd[..], [(0, Control::Subscribe { filters, .. })] if filters[0].filter.is_err()));
}

// Words and reasons.

fn connack(version: Version, bytes: &[u8]) -> Control {
    let mut client = Client::plain(version);
    let mut batch = client.connect(&config(version), bytes);
    assert!(!client.session.is_up());
    batch.control.remove(0).1
}

#[test]
fn a_refusal_is_told_with_its_words() {
    let words = [&[0, 0x8A, 7, 31, 0, 4][..], b"go!!"].concat();
    let refused = Control::Refused { reason: ReasonCode::BANNED, words: Some("go!!".into()), server_reference: None };
    assert_eq!(connack(V5, &words), refused);
    let moved = [&[0, 0x9D, 6, 28, 0, 3][..], b"b:1"].concat();
    let refused =
        Control::Refused { reason: ReasonCode::SERVER_MOVED, words: None, server_reference: Some("b:1".into()) };
    assert_eq!(connack(V5, &moved), refused);
    assert_eq!(
        connack(V5, &[0, 0xEE, 0]),
        Control::Refused { reason: ReasonCode(0xEE), words: None, server_reference: None }
    );
    for (code, reason) in [
        (1, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
        (2, ReasonCode::CLIENT_ID_NOT_VALID),
        (3, ReasonCode::SERVER_UNAVAILABLE),
        (4, ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        (5, ReasonCode::NOT_AUTHORIZED),
        (6, ReasonCode::UNSPECIFIED_ERROR),
    ] {
        assert_eq!(
            connack(Version::V311, &[0, code]),
            Control::Refused { reason, words: None, server_reference: None }
        );
        assert_eq!(connack(Version::V31, &[0, code]), Control::Refused { reason, words: None, server_reference: None });
        assert_eq!(
            connack(V5, &[0, code]),
            Control::Refused { reason, words: None, server_reference: None },
            "in the form of 3.1.1"
        );
    }
}

#[test]
fn a_broker_that_answers_mqtt_5_in_the_form_of_3_1_1_does_not_speak_it() {
    let refused =
        Control::Refused { reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, words: None, server_reference: None };
    for code in [0, 1, 0x84] {
        assert_eq!(connack(V5, &[0, code]), refused);
    }
}

#[test]
fn a_connack_that_cannot_be_is_an_error() {
    for bad in [
        &[0, 0, 3, 33, 0, 0][..],   // receive maximum 0
        &[0, 0, 5, 39, 0, 0, 0, 0], // packets of no bytes
        &[0, 0, 2, 36, 2],          // maximum QoS 2 is not said
        &[0, 0, 4, 37, 1, 37, 1],   // twice
        &[0, 0, 3, 35, 0, 1],       // a property of PUBLISH
        &[0, 0, 9, 33, 0, 1],       // past the end
        &[0, 0, 0, 0],              // behind the end
        &[0],
    ] {
        let mut client = Client::plain(V5);
        client.session.disconnected();
        client.session.connect(&config(V5), client.now);
        assert!(client.try_hear(packet(0x20, bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn what_the_broker_grants_is_told() {
    let properties = [36, 1, 37, 0, 39, 0, 0, 1, 0, 18, 0, 1, b'z', 40, 0, 42, 0, 41, 0, 33, 0, 9, 17, 0, 0, 0, 1];
    let body = [&[1, 0, properties.len() as u8][..], &properties].concat();
    let mut client = Client::plain(V5);
    let batch = client.connect(&config(V5), &body);
    let [(0, Control::Connected(granted))] = &batch.control[..] else { panic!("{batch:?}") };
    assert!(granted.session_present && !granted.retain_available);
    assert!(!granted.wildcards_available && !granted.shared_available);
    assert_eq!((granted.max_qos, granted.receive_maximum), (QoS::AtLeastOnce, 9));
    assert_eq!((granted.max_packet_size, granted.assigned_client_id.as_deref()), (Some(256), Some("z")));
}

#[test]
fn the_brokers_goodbye_is_told_with_its_words() {
    let mut client = Client::plain(V5);
    let mut bytes = packet(0xE0, &[&[0x9C, 12, 31, 0, 2][..], b"hi", &[28, 0, 4], b"b:18"].concat());
    bytes.extend_from_slice(&publish(0, false, 0, &[0]));
    let batch = client.hear(bytes);
    let goodbye = Control::Disconnected {
        reason: ReasonCode::USE_ANOTHER_SERVER,
        words: Some("hi".into()),
        server_reference: Some("b:18".into()),
        session_expiry_s: None,
    };
    assert_eq!(batch.control, [(0, goodbye)]);
    assert!(batch.received.is_empty() && !client.session.is_up(), "nothing counts behind it");
    assert!(Client::plain(Version::V311).try_hear(packet(0xE0, &[])).is_err(), "3.x brokers say none");
}

#[test]
fn the_clients_goodbye_is_told() {
    let told = |version, bytes: BytesMut| {
        let mut server = Server::plain(version);
        let mut batch = server.hear(bytes);
        assert!(server.session.is_closed());
        let Control::Disconnected { reason, session_expiry_s, .. } = batch.control.remove(0).1 else { panic!() };
        (reason, session_expiry_s)
    };
    assert_eq!(told(Version::V311, packet(0xE0, &[])), (ReasonCode::SUCCESS, None));
    assert_eq!(told(V5, packet(0xE0, &[])), (ReasonCode::SUCCESS, None));
    assert_eq!(told(V5, packet(0xE0, &[4])), (ReasonCode::DISCONNECT_WITH_WILL, None));
    assert_eq!(told(V5, packet(0xE0, &[0, 5, 17, 0, 0, 0, 9])), (ReasonCode::SUCCESS, Some(9)));
    let mut client = Client::plain(V5);
    client.session.disconnect(ReasonCode::DISCONNECT_WITH_WILL);
    assert_eq!(client.said(), [Frame::Disconnect { reason: 4 }]);
    let mut client = Client::plain(Version::V311);
    client.session.disconnect(ReasonCode::UNSPECIFIED_ERROR);
    assert_eq!(client.said(), [], "3.x cannot say so, and a plain goodbye would discard the will");
}

#[test]
fn nothing_follows_our_goodbye() {
    let mut client = Client::plain(V5);
    let held = client.hear(publish(1, false, 1, &[0]));
    client.try_hear(packet(0x90, &[])).unwrap_err();
    client.session.ack(held.received[0].ack.unwrap());
    assert_eq!(client.said(), [Frame::Disconnect { reason: 0x81 }]);
    let mut server = Server::plain(V5);
    let held = server.hear(publish(1, false, 1, &[0]));
    server.session.disconnect(ReasonCode::SERVER_SHUTTING_DOWN);
    server.ack(&held);
    assert_eq!(server.said(), [Frame::Disconnect { reason: 0x8B }]);
    // But it was heard: told as soon as the peer asks.
    let mut server = server.resume();
    assert!(server.hear(publish(1, true, 1, &[0])).is_empty());
    assert_eq!(server.said(), [Frame::PubAck { id: 1, reason: 0 }]);
}

#[test]
fn the_reason_of_a_refused_message_is_told() {
    let mut client = Client::plain(V5);
    client.session.publish(0, message("a", "x", 1)).unwrap();
    client.session.publish(1, message("a", "x", 2)).unwrap();
    client.session.publish(2, message("a", "x", 1)).unwrap();
    let mut server = Server::plain(V5);
    let batch = server.hear(client.session.tx().split());
    for received in &batch.received[..2] {
        server.session.ack(received.ack.unwrap(), ReasonCode::NOT_AUTHORIZED);
    }
    server.session.ack(batch.received[2].ack.unwrap(), ReasonCode::NO_MATCHING_SUBSCRIBERS);
    let batch = client.hear(server.session.tx().split());
    let (no, nobody) = (ReasonCode::NOT_AUTHORIZED, ReasonCode::NO_MATCHING_SUBSCRIBERS);
    let refused: Vec<_> = batch.refused.iter().map(|r| (r.key, r.reason, r.message.topic.as_str())).collect();
    assert_eq!(refused, [(0, no, "a"), (1, no, "a")], "with the message, which may be sent again");
    assert_eq!(batch.completed, [Completion { key: 2, reason: nobody }]);
    client.session.publish(3, message("a", "x", 1)).unwrap();
    client.said();
    let batch = client.hear(packet(0x40, &[0, 4, 0x97, 6, 31, 0, 3, b'n', b'o', b'!']));
    assert_eq!(batch.refused[0].words.as_deref(), Some("no!"));
    assert_eq!(client.said(), [], "a refused QoS 2 has no PUBREL");
    client.resume();
    assert_eq!(client.said(), [], "nor is it sent again");
    assert_eq!(no.to_string(), "not authorized (0x87)");
}

#[test]
fn enhanced_authentication_is_refused_in_words() {
    let mut bytes = packet(0x10, b"\0\x04MQTT\x05\x02\0\0\x06\x15\0\x03JWT\0\x01c");
    let mut server = ServerSession::new(LIMITS, Instant::now());
    let error = server.on_bytes(&mut bytes, Instant::now(), &mut Batch::default()).unwrap_err();
    assert_eq!(error, ProtocolError::EnhancedAuth);
    assert!(error.to_string().contains("enhanced authentication is not supported"));
    assert_eq!((server.tx()[0], server.tx()[3]), (0x20, 0x8C));
    let mut client = ClientSession::new(Instant::now());
    client.connect(&config(V5), Instant::now());
    let auth = packet(0xF0, &[0x18, 0]);
    let error = client.on_bytes(&mut auth.clone(), Instant::now(), &mut Batch::default()).unwrap_err();
    assert_eq!(error, ProtocolError::EnhancedAuth);
    assert_eq!(Client::plain(V5).try_hear(auth.clone()).unwrap_err(), ProtocolError::EnhancedAuth);
    assert_eq!(Server::plain(V5).try_hear(auth.clone()).unwrap_err(), ProtocolError::EnhancedAuth);
    assert!(matches!(Server::plain(Version::V311).try_hear(auth), Err(ProtocolError::Unexpected(_))));
}

#[test]
fn an_unknown_protocol_level_is_answered() {
    for level in [6, 0x83, 2] {
        let mut bytes = packet(0x10, &[b"\0\x04MQTT"[..].to_vec(), vec![level, 2, 0, 0, 0, 1, b'c']].concat());
        let mut server = ServerSession::new(LIMITS, Instant::now());
        let error = server.on_bytes(&mut bytes, Instant::now(), &mut Batch::default()).unwrap_err();
        assert_eq!(error, ProtocolError::Version(level));
        assert_eq!(server.tx()[..], [0x20, 2, 0, 1]);
    }
}

// Sessions and versions.

#[test]
fn session_expiry_and_presence_are_told() {
    for version in VERSIONS {
        let server = Server::plain(version);
        assert_eq!(server.connect.session_expiry_s, if version == V5 { 3600 } else { u32::MAX });
        let clean = ClientConfig { clean_start: true, ..config(version) };
        let server = Server::up(LIMITS, &clean, None);
        assert_eq!(server.connect.session_expiry_s, if version == V5 { 3600 } else { 0 });
        for (resumed, present) in [(None, 0), (Some(Flow::default()), 1)] {
            let now = Instant::now();
            let mut client = ClientSession::new(now);
            client.connect(&config(version), now);
            let mut server = ServerSession::new(LIMITS, now);
            server.on_bytes(client.tx(), now, &mut Batch::default()).unwrap();
            server.accept(Accept { resumed, ..Accept::default() }, &mut Vec::new());
            assert_eq!(server.tx()[2], if version == Version::V31 { 0 } else { present });
        }
    }
}

#[test]
fn a_session_is_resumed_with_what_it_owes() {
    for version in VERSIONS {
        let mut server = Server::plain(version);
        for (key, qos) in [(0, 1), (1, 2), (2, 0)] {
            server.session.publish(key, message("a", key.to_string(), qos), &[]).unwrap();
        }
        server.said();
        let mut server = server.resume();
        let said = publishes(&server.said());
        assert_eq!(said, [(1, true, 1, "0".to_owned()), (2, true, 2, "1".to_owned())]);
        let mut flow = server.session.into_flow();
        assert_eq!(flow.in_flight(), 2);
        assert_eq!(flow.take_unfinished().iter().map(|(key, _)| *key).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn the_bridge_bit_goes_with_3_x_only() {
    for version in VERSIONS {
        let server = Server::up(LIMITS, &ClientConfig { bridge: true, ..config(version) }, None);
        assert_eq!(server.connect.bridge, version != V5);
    }
}

#[test]
fn mqtt_3_1_may_set_dup_where_3_1_1_forbids_it() {
    let dup_pubrel = || packet(0x6A, &[0, 1]);
    Server::plain(Version::V31).hear(dup_pubrel());
    assert!(Server::plain(Version::V311).try_hear(dup_pubrel()).is_err());
}

#[test]
fn what_only_the_other_side_may_send_is_an_error() {
    for version in VERSIONS {
        for first in [0x20, 0x90, 0xB0, 0xD0, 0x10] {
            assert!(Server::plain(version).try_hear(packet(first, &[0, 0])).is_err(), "0x{first:X}");
        }
        for first in [0x10, 0x20, 0x82, 0xA2, 0xC0] {
            assert!(Client::plain(version).try_hear(packet(first, &[0, 0])).is_err(), "0x{first:X}");
        }
    }
    let error = Server::plain(V5).try_hear(publish(0, false, 0, &[2, 11, 1])).unwrap_err();
    assert!(matches!(error, ProtocolError::Unexpected(_)), "a subscription identifier from a client");
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

#[test]
fn a_broker_of_3_x_is_sent_at_most_twenty_messages_of_qos_2_at_a_time_and_of_qos_1_as_many_as_configured() {
    for (qos, window) in [(2, 20), (1, 100)] {
        let mut client = Client::plain(Version::V311);
        let mut sent = 0;
        while client.session.has_room() {
            client.session.publish(sent, message("a", vec![], qos)).unwrap();
            sent += 1;
        }
        assert_eq!(sent, window, "QoS {qos}");
        client.resume();
        assert!(!client.session.has_room(), "what is sent again counts too");
        if qos == 2 {
            client.hear(packet(0x50, &[0, 1]));
            assert!(!client.session.has_room(), "PUBREC does not make room");
            client.hear(packet(0x70, &[0, 1]));
        } else {
            client.hear(packet(0x40, &[0, 1]));
        }
        assert!(client.session.has_room());
    }
}
