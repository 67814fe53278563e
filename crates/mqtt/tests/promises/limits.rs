//! The limits of either side: receive maximum, packet size, QoS, retain (MQTT 5.0 sections 4.9, 3.2.2.3).

use super::{V5, done};
use crate::frames::Frame;
use crate::pair::{
    Client, LIMITS, Server, VERSIONS, config, message, no_limits, no_properties, packet, publish, publishes,
};
use bytes::BytesMut;
use tidegate_message::Message;
use tidegate_mqtt::{
    ClientConfig, Completion, ProtocolError, PublishError, Published, ReasonCode, ServerLimits, Version,
};

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
