//! The words and the reason codes of a broker, a client and their goodbyes.

use super::V5;
use crate::frames::Frame;
use crate::pair::{Client, LIMITS, Server, config, message, packet, publish};
use bytes::BytesMut;
use std::time::Instant;
use tidegate_message::QoS;
use tidegate_mqtt::{Batch, ClientSession, Completion, Control, ProtocolError, ReasonCode, ServerSession, Version};

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
    let mut batch = Batch::default();
    server.on_bytes(&mut bytes, Instant::now(), &mut batch).unwrap();
    let Some((_, Control::Connect(connect))) = batch.control.pop() else { panic!("no CONNECT") };
    assert_eq!(connect.auth_method.as_deref(), Some("JWT"));
    // Its owner speaks another method, or none.
    server.refuse(ReasonCode::BAD_AUTHENTICATION_METHOD);
    assert_eq!((server.tx()[0], server.tx()[3]), (0x20, 0x8C));
    let mut client = ClientSession::new(Instant::now());
    client.connect(&config(V5), Instant::now());
    let auth = packet(0xF0, &[0x18, 0]);
    let error = client.on_bytes(&mut auth.clone(), Instant::now(), &mut Batch::default()).unwrap_err();
    assert_eq!(error, ProtocolError::EnhancedAuth);
    assert!(error.to_string().contains("enhanced authentication is not supported"));
    assert_eq!(Client::plain(V5).try_hear(auth.clone()).unwrap_err(), ProtocolError::EnhancedAuth);
    // Who has named no method says what it cannot (MQTT 5.0 section 4.12).
    for version in [V5, Version::V311] {
        assert!(matches!(Server::plain(version).try_hear(auth.clone()), Err(ProtocolError::Unexpected(_))));
    }
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
