//! Keep-alive: pings, and silence that is noticed (MQTT 5.0 section 3.1.2.10).

use super::V5;
use crate::frames::Frame;
use crate::pair::{Client, LIMITS, Server, VERSIONS, config, packet, publish};
use bytes::BytesMut;
use std::time::Duration;
use tidegate_mqtt::{Accept, Batch, ClientConfig, Control, ProtocolError};

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
