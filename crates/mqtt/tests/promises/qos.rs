//! What each quality of service means: the acknowledgements, and that exactly once is once (MQTT 5.0 sections 4.3, 4.6).

use super::{V5, done};
use crate::frames::Frame;
use crate::pair::{Client, LIMITS, Server, VERSIONS, config, message, no_limits, no_properties, packet, publish};
use bytes::BytesMut;
use tidegate_mqtt::{Published, ReasonCode, Version};

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

#[test]
fn another_message_under_an_id_that_was_never_released_is_delivered() {
    for version in VERSIONS {
        let mut server = Server::plain(version);
        let publish = |dup: bool, payload: &'static [u8]| {
            let properties = no_properties(version);
            let body = [&[0, 1, b't', 0, 5][..], properties, payload].concat();
            packet(if dup { 0x3C } else { 0x34 }, &body)
        };
        let first = server.hear(publish(false, b"a"));
        server.ack(&first);
        assert!(server.hear(publish(false, b"a")).is_empty(), "the same");
        assert!(server.hear(publish(true, b"b")).is_empty(), "it says that it is the same");
        let other = server.hear(publish(false, b"b"));
        assert_eq!(other.received[0].message.payload, "b");
        server.ack(&other);
        assert!(server.hear(publish(true, b"b")).is_empty());
    }
}
