//! What a session tells a durable owner, and what it does with what that owner recorded.

use crate::frames::Frame;
use crate::pair::{Client, Server, VERSIONS, config, message, no_properties, packet, publish};
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{
    Batch, ClientSession, Completion, Control, Published, ReasonCode, Restored, RestoredMessage, Version,
};

/// How many packet ids there are.
const IDS: u64 = 65_535;

fn sent(serial: u64, key: u64, payload: &'static str) -> RestoredMessage {
    RestoredMessage { serial, key, message: Some(message("a", payload, 2)) }
}

fn taken_over(serial: u64, key: u64) -> RestoredMessage {
    RestoredMessage { serial, key, message: None }
}

/// A new process with these records, and the keys that are finished.
fn restored(sent: Vec<RestoredMessage>, received: Vec<u16>) -> (Client, Vec<u64>) {
    let now = Instant::now();
    let mut client = Client { session: ClientSession::new(now), now };
    let finished = client.session.restore(Restored { sent, received });
    (client, finished)
}

fn connect(client: &mut Client, version: Version, session_present: bool) -> Batch {
    let connack = [u8::from(session_present), 0, 0];
    client.connect(&config(version), if version == Version::V5 { &connack } else { &connack[..2] })
}

/// `(DUP, id, payload)` of a PUBLISH, `(id)` of a PUBREL.
#[derive(Debug, PartialEq)]
enum Said {
    Publish(bool, u16, String),
    PubRel(u16),
}

fn said(client: &mut Client) -> Vec<Said> {
    let short = |frame| match frame {
        Frame::Publish { dup, id, payload, qos: 2, .. } => Said::Publish(dup, id, String::from_utf8(payload).unwrap()),
        Frame::PubRel { id, reason: 0 } => Said::PubRel(id),
        other => panic!("{other:?}"),
    };
    client.said().into_iter().map(short).collect()
}

fn publish_now(client: &mut Client, key: u64, message: Message) -> Option<u64> {
    match client.session.publish(key, message) {
        Ok(Published::InFlight { exactly_once }) => exactly_once,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_serial_of_a_qos_2_message_tells_its_packet_id() {
    let mut client = Client::plain(Version::V5);
    assert_eq!(publish_now(&mut client, 7, message("a", "x", 1)), None);
    assert_eq!(publish_now(&mut client, 8, message("a", "y", 2)), Some(1));
    assert!(matches!(client.said()[..], [Frame::Publish { id: 1, .. }, Frame::Publish { id: 2, .. }]));
}

#[test]
fn a_message_lowered_to_qos_1_has_no_serial() {
    let mut client = Client::up(&config(Version::V5), &[0, 0, 2, 0x24, 1]);
    assert_eq!(publish_now(&mut client, 7, message("a", "x", 2)), None);
}

#[test]
fn a_pubrec_tells_once_that_the_peer_has_taken_over() {
    for version in VERSIONS {
        let mut client = Client::plain(version);
        publish_now(&mut client, 7, message("a", "x", 2));
        publish_now(&mut client, 8, message("a", "y", 2));
        assert_eq!(client.hear(packet(0x50, &[0, 1])).taken_over, [7]);
        assert_eq!(client.hear(packet(0x50, &[0, 1])).taken_over, [0; 0], "repeated");
        client.resume();
        assert_eq!(client.hear(packet(0x50, &[0, 1])).taken_over, [0; 0], "repeated on the next connection");
        assert_eq!(client.hear(packet(0x50, &[0, 2])).taken_over, [8]);
        assert_eq!(client.hear(packet(0x50, &[0, 9])).taken_over, [0; 0], "for nothing");
        if version == Version::V5 {
            publish_now(&mut client, 9, message("a", "z", 2));
            assert_eq!(client.hear(packet(0x50, &[0, 3, 0x97])).taken_over, [0; 0], "refused");
        }
    }
}

#[test]
fn a_pubrec_before_its_redelivery_tells_that_the_peer_has_taken_over() {
    let mut client = Client::up(&config(Version::V5), &[0, 0, 0]);
    publish_now(&mut client, 7, message("a", "x", 2));
    publish_now(&mut client, 8, message("a", "y", 2));
    // Receive maximum 1: the second waits for the first.
    client.connect(&config(Version::V5), &[1, 0, 3, 0x21, 0, 1]);
    assert_eq!(client.hear(packet(0x50, &[0, 2])).taken_over, [8]);
}

#[test]
fn what_was_taken_back_is_not_told_to_be_taken_over() {
    let mut client = Client::plain(Version::V5);
    publish_now(&mut client, 7, message("a", "x", 2));
    client.session.disconnected();
    assert_eq!(client.session.take_back(|_| true).len(), 1);
    client.resume();
    assert!(client.hear(packet(0x50, &[0, 1])).is_empty());
}

#[test]
fn a_pubrel_tells_that_the_id_is_free() {
    for version in VERSIONS {
        let mut client = Client::plain(version);
        for id in [4, 5] {
            let batch = client.hear(publish(2, false, id, no_properties(version)));
            let token = batch.received[0].ack.unwrap();
            assert_eq!((token.packet_id(), token.exactly_once()), (id, true));
            client.session.ack(token);
        }
        assert_eq!(client.hear(packet(0x62, &[0, 4])).released, [4]);
        assert_eq!(client.hear(packet(0x62, &[0, 4])).released, [0; 0], "unknown by now");
        client.resume();
        assert_eq!(client.hear(packet(0x62, &[0, 5])).released, [5], "of a connection before");
        let batch = client.hear(publish(1, false, 5, no_properties(version)));
        assert!(!batch.received[0].ack.unwrap().exactly_once());
    }
}

#[test]
fn a_pubrel_for_a_message_whose_pubrec_never_left_frees_the_id() {
    let mut client = Client::plain(Version::V5);
    client.hear(publish(2, false, 4, &[0]));
    client.resume();
    assert_eq!(client.hear(packet(0x62, &[0, 4])).released, [4]);
    assert_eq!(client.said(), [Frame::PubComp { id: 4, reason: 0x92 }]);
}

#[test]
fn a_restored_session_goes_on_in_the_original_order() {
    for version in VERSIONS {
        let (mut client, finished) = restored(vec![sent(12, 3, "c"), sent(4, 1, "a"), taken_over(7, 2)], vec![]);
        assert!(finished.is_empty());
        assert_eq!(client.session.in_flight(), 3);
        let batch = connect(&mut client, version, true);
        assert!(matches!(batch.control[..], [(0, Control::Connected(_))]) && batch.completed.is_empty());
        let expected = [Said::Publish(true, 5, "a".into()), Said::PubRel(8), Said::Publish(true, 13, "c".into())];
        assert_eq!(said(&mut client), expected);
        assert_eq!(publish_now(&mut client, 4, message("a", "d", 2)), Some(13), "ids go on behind");
        for id in [5, 13] {
            client.hear(packet(0x50, &[0, id]));
        }
        let done = |key| Completion { key, reason: ReasonCode::SUCCESS };
        let finish = |client: &mut Client, id| client.hear(packet(0x70, &[0, id])).completed;
        assert_eq!([5, 8, 13].map(|id| finish(&mut client, id)), [[done(1)], [done(2)], [done(3)]].map(Vec::from));
        assert_eq!(client.session.in_flight(), 1);
    }
}

#[test]
fn a_broker_without_the_session_gets_restored_messages_as_new_but_not_those_it_took_over() {
    for version in [Version::V311, Version::V5] {
        let (mut client, _) = restored(vec![sent(4, 1, "a"), taken_over(5, 2)], vec![9]);
        let batch = connect(&mut client, version, false);
        assert!(matches!(batch.control[1], (0, Control::SessionLost { republished: 1 })), "{batch:?}");
        assert_eq!(batch.completed, [Completion { key: 2, reason: ReasonCode::SUCCESS }]);
        assert_eq!(said(&mut client), [Said::Publish(false, 5, "a".into())]);
        let batch = client.hear(publish(2, false, 9, no_properties(version)));
        assert_eq!(batch.received.len(), 1, "the id is another message's");
    }
}

#[test]
fn what_was_received_before_the_restart_is_acknowledged_and_not_delivered() {
    for version in VERSIONS {
        let (mut client, _) = restored(vec![], vec![5, 6]);
        connect(&mut client, version, true);
        assert!(client.hear(publish(2, true, 5, no_properties(version))).is_empty());
        assert_eq!(client.said(), [Frame::PubRec { id: 5, reason: 0 }]);
        for id in [5, 6] {
            assert_eq!(client.hear(packet(0x62, &[0, id])).released, [u16::from(id)]);
            assert_eq!(client.said(), [Frame::PubComp { id: id.into(), reason: 0 }]);
        }
        assert_eq!(client.hear(publish(2, false, 5, no_properties(version))).received.len(), 1, "the id is free");
    }
}

#[test]
fn restored_messages_that_cannot_be_under_way_are_finished() {
    let last = IDS + 10;
    let (mut client, finished) = restored(
        vec![sent(last, 5, "e"), sent(3, 1, "a"), sent(10, 2, "b"), sent(last, 4, "d"), taken_over(11, 3)],
        vec![],
    );
    assert_eq!(finished, [1, 2, 4], "too old, the same id, the same serial");
    connect(&mut client, Version::V5, true);
    assert_eq!(said(&mut client), [Said::PubRel(12), Said::Publish(true, 11, "e".into())]);
    assert!(!client.session.has_room(), "all ids from the oldest to the newest are taken");
    client.hear(packet(0x70, &[0, 12]));
    assert_eq!(publish_now(&mut client, 6, message("a", "f", 2)), Some(last + 1));
}

#[test]
fn a_restored_message_goes_to_a_broker_that_takes_less() {
    let (mut client, _) = restored(vec![sent(0, 1, "a")], vec![]);
    client.connect(&config(Version::V5), &[1, 0, 2, 0x24, 1]);
    assert!(matches!(client.said()[..], [Frame::Publish { qos: 1, dup: true, id: 1, .. }]));
    assert_eq!(client.hear(packet(0x40, &[0, 1])).completed, [Completion { key: 1, reason: ReasonCode::SUCCESS }]);
}

#[test]
fn restored_messages_can_be_taken_back_before_the_first_connection() {
    let (mut client, _) = restored(vec![sent(0, 1, "a"), taken_over(1, 2), sent(2, 3, "c")], vec![]);
    let taken: Vec<(u64, QoS)> = client.session.take_back(|key| key < 3).iter().map(|(k, m)| (*k, m.qos)).collect();
    assert_eq!(taken, [(1, QoS::ExactlyOnce)]);
    connect(&mut client, Version::V5, true);
    assert_eq!(said(&mut client), [Said::PubRel(1), Said::PubRel(2), Said::Publish(true, 3, "c".into())]);
    let (mut client, _) = restored(vec![sent(0, 1, "a"), taken_over(1, 2)], vec![]);
    let (taken, released) = client.session.abandon();
    assert_eq!((taken.len(), released), (1, vec![2]));
    connect(&mut client, Version::V5, true);
    assert!(client.hear(packet(0x70, &[0, 1])).is_empty() && client.hear(packet(0x70, &[0, 2])).is_empty());
}

#[test]
fn a_server_tells_the_same_of_its_client() {
    let mut server = Server::plain(Version::V5);
    let batch = server.hear(publish(2, false, 5, &[0]));
    server.ack(&batch);
    assert_eq!(server.hear(packet(0x62, &[0, 5])).released, [5]);
    server.session.publish(7, message("a", "x", 2), &[]).unwrap();
    assert_eq!(server.hear(packet(0x50, &[0, 1])).taken_over, [7]);
}
