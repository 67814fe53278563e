//! What a session is resumed with, and what each version of the protocol allows.

use super::V5;
use crate::pair::{Client, LIMITS, Server, VERSIONS, config, message, packet, publish, publishes};
use std::time::Instant;
use tidegate_mqtt::{Accept, Batch, ClientConfig, ClientSession, Flow, ProtocolError, ServerSession, Version};

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
