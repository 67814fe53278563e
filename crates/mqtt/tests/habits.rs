//! What costs itself only: messages that cannot be taken, answers given another way, exchanges ended by their owner.

use crate::frames::Frame;
use crate::pair::{Client, Server, VERSIONS, config, message, no_limits, no_properties, packet, publish, publishes};
use bytes::BytesMut;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::{Batch, ClientConfig, Completion, Control, ProtocolError, ReasonCode, Skipped, Version};

const V5: Version = Version::V5;

/// Feeds bytes one at a time, as a slow link does.
fn trickle(client: &mut Client, bytes: &[u8]) -> Batch {
    let (mut rx, mut batch) = (BytesMut::new(), Batch::default());
    for byte in bytes {
        rx.extend_from_slice(&[*byte]);
        client.session.on_bytes(&mut rx, client.now, &mut batch).unwrap();
        assert!(rx.len() < 64, "nothing of it is kept");
    }
    batch
}

#[test]
fn a_message_above_our_maximum_is_read_past_answered_and_told() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|version| (0..=2).map(move |qos| (version, qos))) {
        let mut client = Client::plain(version);
        client.connect(&ClientConfig { max_packet_size: 39, ..config(version) }, no_limits(version));
        client.said();
        let id: &[u8] = if qos == 0 { &[] } else { &[0, 7] };
        let large = [&[0, 1, b't'][..], id, no_properties(version), &[b'x'; 5000]].concat();
        let mut bytes =
            BytesMut::from(&[0x30 | qos << 1, (large.len() & 0x7F) as u8 | 0x80, (large.len() >> 7) as u8][..]);
        bytes.extend_from_slice(&large);
        let size_bytes = bytes.len();
        bytes.extend_from_slice(&publish(1, false, 8, no_properties(version)));
        let batch = trickle(&mut client, &bytes);
        let error = ProtocolError::TooLarge { size: size_bytes, max: 39 };
        let packet_id = (qos > 0).then_some(7);
        let qos_of = QoS::from_u8(qos).unwrap();
        let skipped = Skipped { error, topic: Some("t".into()), qos: qos_of, packet_id, size_bytes };
        assert_eq!(batch.skipped, std::slice::from_ref(&skipped));
        assert_eq!(skipped.reason(), "too_large");
        assert_eq!(batch.received.len(), 1, "what is behind it comes");
        let answer = match qos {
            0 => vec![],
            1 => vec![Frame::PubAck { id: 7, reason: 0 }],
            _ => vec![Frame::PubRec { id: 7, reason: 0 }],
        };
        assert_eq!(client.said(), answer);
        if qos == 2 {
            client.hear(packet(0x62, &[0, 7]));
            assert_eq!(client.said(), [Frame::PubComp { id: 7, reason: 0 }]);
        }
    }
}

#[test]
fn a_message_that_cannot_be_is_passed_over_answered_and_told() {
    for (version, qos) in VERSIONS.into_iter().flat_map(|version| (0..=2).map(move |qos| (version, qos))) {
        for topic in [&b"a/+"[..], b"", b"a\0b", b"\xFF"] {
            let mut client = Client::plain(version);
            client.said();
            let id: &[u8] = if qos == 0 { &[] } else { &[0, 7] };
            let body = [&[0, topic.len() as u8], topic, id, no_properties(version), b"x"].concat();
            let batch = client.hear(packet(0x30 | qos << 1, &body));
            assert_eq!((batch.skipped.len(), batch.skipped[0].reason()), (1, "bad_topic"));
            assert_eq!(batch.skipped[0].topic.as_deref().map(str::as_bytes), (topic != b"\xFF").then_some(topic));
            assert!(client.session.is_up());
            assert_eq!(client.said().len(), usize::from(qos > 0));
            // Once is enough, however often it comes.
            if qos == 2 {
                assert!(client.hear(packet(0x3C, &body)).is_empty());
            }
        }
    }
    let mut client = Client::plain(V5);
    client.said();
    let batch = client.hear(packet(0x32, &[0, 1, b'a', 0, 9, 2, 1, 7]));
    assert_eq!((batch.skipped[0].reason(), client.said()), ("bad_packet", vec![Frame::PubAck { id: 9, reason: 0 }]));
}

#[test]
fn a_server_answers_a_topic_that_cannot_be_and_goes_on() {
    for version in VERSIONS {
        let mut server = Server::plain(version);
        server.said();
        let body = [&[0, 3, b'a', b'/', b'#', 0, 7], no_properties(version), b"x"].concat();
        assert_eq!(server.hear(packet(0x32, &body)).skipped.len(), 1);
        let reason = if version == V5 { 0x90 } else { 0 };
        assert_eq!(server.said(), [Frame::PubAck { id: 7, reason }]);
    }
}

#[test]
fn a_broker_that_answers_qos_2_as_qos_1_is_taken_at_its_word() {
    let mut client = Client::plain(Version::V311);
    client.session.publish(5, message("a", "x", 2)).unwrap();
    let batch = client.hear(packet(0x40, &[0, 1]));
    assert_eq!(batch.completed, [Completion { key: 5, reason: ReasonCode::SUCCESS }]);
    assert_eq!(batch.control, [(0, Control::AnsweredAsQos1)]);
    assert_eq!(client.session.in_flight(), 0);
}

#[test]
fn pubrec_for_pubrel_again_and_again_is_no_endless_conversation() {
    let mut client = Client::plain(Version::V311);
    client.session.publish(5, message("a", "x", 2)).unwrap();
    client.said();
    let mut said = Vec::new();
    let mut told = 0;
    for _ in 0..10 {
        let batch = client.hear(packet(0x50, &[0, 1]));
        told += batch.control.iter().filter(|(_, control)| *control == Control::PubrelUnheard).count();
        said.extend(client.said());
    }
    assert_eq!((said.len(), told), (3, 1));
    // On the next connection it is told again; or its owner knows that the broker has the message.
    client.resume();
    assert_eq!(client.said(), [Frame::PubRel { id: 1, reason: 0 }]);
    assert_eq!(client.session.release_all(), [5]);
    assert_eq!(client.session.in_flight(), 0);
}

#[test]
fn the_owner_may_send_less_at_a_time_end_an_exchange_and_lower_a_qos() {
    let mut client = Client::plain(Version::V311);
    for key in 0..3 {
        client.session.publish(key, message("a", "x", 2)).unwrap();
    }
    client.said();
    let first = client.session.first_unanswered().unwrap();
    assert_eq!((first.serial, first.key, first.message.is_some()), (0, Some(0), true));
    client.session.set_window(1, &mut Batch::default());
    assert!(client.session.lower_qos(0, QoS::AtLeastOnce));
    client.resume();
    assert_eq!(publishes(&client.said()), [(1, true, 1, "x".to_owned())], "alone, and at the QoS of its owner");
    assert_eq!(client.session.unanswered().count(), 1);
    let (key, message) = client.session.end_exchange(0).unwrap();
    assert_eq!((key, message.is_some()), (Some(0), true));
    let mut batch = Batch::default();
    client.session.set_window(u16::MAX, &mut batch);
    assert_eq!(publishes(&client.said()).len(), 2);
    assert!(client.session.end_exchange(0).is_none());
    assert!(client.hear(packet(0x40, &[0, 1])).is_empty(), "what it says of it does not count any more");
}

#[test]
fn of_an_unwatched_message_its_owner_hears_no_more() {
    let mut client = Client::plain(V5);
    for _ in 0..2 {
        client.session.publish_unwatched(message("a", "x", 1)).unwrap();
    }
    assert_eq!(publishes(&client.said()).len(), 2);
    assert!(client.session.take_back(|_| true).is_empty());
    client.resume();
    assert_eq!(publishes(&client.said()).len(), 2, "it is sent again all the same");
    assert!(client.hear(packet(0x40, &[0, 1])).is_empty());
    assert!(client.hear(packet(0x40, &[0, 2, 0x87])).is_empty(), "nor that it was refused");
    assert!(client.session.unanswered().next().is_none());
}

/// The ids come round to the one that is open, and there is none to go on with.
#[test]
fn a_client_that_answers_everything_but_one_is_hung_up_on_when_no_ids_are_left() {
    let mut server = Server::plain(Version::V311);
    server.session.publish(0, message("a", "x", 1), &[]).unwrap();
    for id in 2..=u16::MAX {
        server.session.publish(id.into(), message("a", "x", 1), &[]).unwrap();
        assert_eq!(server.session.deadline(), None, "there are ids left");
        assert_eq!(server.hear(packet(0x40, &id.to_be_bytes())).completed.len(), 1);
        server.session.tx().clear();
    }
    assert!(!server.session.has_room());
    let deadline = server.session.deadline().expect("it is to answer by then");
    assert_eq!(server.session.on_time(deadline - Duration::from_millis(1)), Ok(()));
    assert_eq!(server.session.on_time(deadline), Err(ProtocolError::Unanswered(1)));
    // On the next connection it answers that one, too.
    let mut server = server.resume();
    assert_eq!(publishes(&server.said()), [(1, true, 1, "x".to_owned())]);
    assert_eq!(server.hear(packet(0x40, &[0, 1])).completed.len(), 1);
    assert_eq!(server.session.deadline(), None);
    server.session.publish(7, message("a", "x", 1), &[]).unwrap();
    assert_eq!(publishes(&server.said()).len(), 1);
}

/// All ids are in use and the answers come, whatever their order.
#[test]
fn a_client_that_is_behind_with_all_of_its_answers_is_no_such_client() {
    let mut server = Server::plain(Version::V311);
    for id in 1..=u16::MAX {
        server.session.publish(id.into(), message("a", "x", 1), &[]).unwrap();
    }
    for id in 2..=u16::MAX / 2 {
        server.hear(packet(0x40, &id.to_be_bytes()));
        assert_eq!(server.session.deadline(), None);
    }
}
