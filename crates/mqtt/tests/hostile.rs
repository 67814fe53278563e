//! Bytes from somebody who means harm, or whose memory fails: an error or events, never a panic, never a hoard.

use crate::pair::{Client, LIMITS, Server, VERSIONS, config, message};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::Instant;
use tidegate_message::Properties;
use tidegate_mqtt::{
    Accept, Batch, ClientSession, Control, ReasonCode, RetainHandling, ServerSession, SubscribeFilter, Version, Will,
};

const CASES: u32 = 4_000;

/// Small, so that a hoard shows.
const MAX_PACKET: u32 = 300;

fn cases() -> ProptestConfig {
    let asked = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse::<u32>().ok());
    let cases = asked.map_or(CASES, |total| (total / 5).max(1));
    ProptestConfig { cases, failure_persistence: None, ..Default::default() }
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(&VERSIONS[..])
}

/// Feeds a client in slices; acknowledges and answers what it asks, as an owner would.
fn feed_client(session: &mut ClientSession, bytes: &[u8], slice: usize) {
    let (now, mut rx, mut batch) = (Instant::now(), BytesMut::new(), Batch::default());
    for part in bytes.chunks(slice) {
        rx.extend_from_slice(part);
        let result = session.on_bytes(&mut rx, now, &mut batch);
        for received in batch.received.drain(..) {
            received.ack.into_iter().for_each(|token| session.ack(token));
        }
        batch.clear();
        if result.is_err() {
            assert!(!session.is_up());
            return;
        }
        assert!(rx.len() < MAX_PACKET as usize + slice, "a hoard of {} bytes", rx.len());
        session.tx().clear();
        session.sent(now, &mut batch);
    }
}

fn feed_server(session: &mut ServerSession, bytes: &[u8], slice: usize) {
    let (now, mut rx, mut batch) = (Instant::now(), BytesMut::new(), Batch::default());
    for part in bytes.chunks(slice) {
        rx.extend_from_slice(part);
        loop {
            let result = session.on_bytes(&mut rx, now, &mut batch);
            for received in batch.received.drain(..) {
                received.ack.into_iter().for_each(|token| session.ack(token, ReasonCode::SUCCESS));
            }
            let mut again = false;
            for (_, control) in batch.control.drain(..) {
                match control {
                    Control::Connect(_) => {
                        session.accept(Accept::default(), &mut batch.completed);
                        again = true;
                    }
                    Control::Subscribe { packet_id, filters, .. } => {
                        assert!(!filters.is_empty());
                        session.suback(packet_id, &vec![ReasonCode::SUCCESS; filters.len()]);
                    }
                    Control::Unsubscribe { packet_id, filters } => {
                        assert!(!filters.is_empty());
                        session.unsuback(packet_id, &vec![ReasonCode::SUCCESS; filters.len()]);
                    }
                    _ => {}
                }
            }
            batch.clear();
            if result.is_err() {
                assert!(session.is_closed());
                return;
            }
            if !again {
                break;
            }
        }
        assert!(rx.len() < MAX_PACKET as usize + slice, "a hoard of {} bytes", rx.len());
        session.tx().clear();
    }
}

/// A client in one of its stages, with messages of every kind under way.
fn client(version: Version, stage: u8) -> ClientSession {
    let config = tidegate_mqtt::ClientConfig { max_packet_size: MAX_PACKET, topic_alias_max: 3, ..config(version) };
    if stage == 0 {
        let mut session = ClientSession::new(Instant::now());
        session.connect(&config, Instant::now());
        return session;
    }
    let connack: &[u8] = if version == Version::V5 { &[0, 0, 0] } else { &[0, 0] };
    let mut client = Client::up(&config, connack);
    for key in 0..6 {
        client.session.publish(key, message("a/b", "out", (key % 3) as u8)).unwrap();
    }
    client.session.subscribe(&[SubscribeFilter::new("a/+".try_into().unwrap(), tidegate_message::QoS::AtLeastOnce)]);
    if stage == 2 {
        client.connect(&config, if version == Version::V5 { &[1, 0, 0] } else { &[1, 0] });
    }
    client.session
}

fn server(version: Version, stage: u8) -> ServerSession {
    let limits = tidegate_mqtt::ServerLimits { max_packet_size: MAX_PACKET, topic_alias_max: 3, ..LIMITS };
    if stage == 0 {
        return ServerSession::new(limits, Instant::now());
    }
    let mut server = Server::up(limits, &config(version), None);
    for key in 0..6 {
        server.session.publish(key, message("a/b", "out", (key % 3) as u8), &[]).unwrap();
    }
    if stage == 2 {
        server = Server::up(limits, &config(version), Some(server.session.into_flow()));
    }
    server.session
}

/// Everything an honest peer says, in one stream each: `(from a client, from a server)`.
fn honest(version: Version) -> (Vec<u8>, Vec<u8>) {
    let rich = Properties {
        content_type: Some("a/b".into()),
        response_topic: Some("answer".try_into().unwrap()),
        correlation_data: Some(Bytes::from_static(&[1, 2])),
        message_expiry_seconds: Some(9),
        payload_is_utf8: true,
        user: vec![("k".into(), "v".into())],
        key: None,
    };
    let mut will = message("gone", "w", 1);
    will.properties = Some(Box::new(rich.clone()));
    let mut speaker = ClientSession::new(Instant::now());
    let config = tidegate_mqtt::ClientConfig {
        username: Some("u".into()),
        password: Some("p".into()),
        will: Some(Will { message: will, delay_s: 3 }),
        topic_alias_max: 3,
        ..config(version)
    };
    speaker.connect(&config, Instant::now());
    let mut from_client = speaker.tx().split().to_vec();
    let mut listener = Server::up(tidegate_mqtt::ServerLimits { topic_alias_max: 3, ..LIMITS }, &config, None);
    let mut from_server: Vec<u8> = if version == Version::V5 { vec![0x20, 3, 0, 0, 0] } else { vec![0x20, 2, 0, 0] };
    let mut up = Client::up(&config, if version == Version::V5 { &[0, 0, 3, 34, 0, 3] } else { &[0, 0] });
    let filter = SubscribeFilter {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
        ..SubscribeFilter::new("a/#".try_into().unwrap(), tidegate_message::QoS::ExactlyOnce)
    };
    up.session.subscribe(&[filter]);
    up.session.unsubscribe(&["a/#".try_into().unwrap()]);
    listener.session.suback(7, &[ReasonCode::GRANTED_QOS_1]);
    listener.session.unsuback(8, &[ReasonCode::SUCCESS]);
    for key in 0..6u64 {
        let mut message = message("a/b", "out", (key % 3) as u8);
        message.properties = (key > 2).then(|| Box::new(rich.clone()));
        up.session.publish(key, message.clone()).unwrap();
        listener.session.publish(key, message, if version == Version::V5 { &[5, 300] } else { &[] }).unwrap();
    }
    let acks = |id: u8| vec![0x40, 2, 0, id, 0x50, 2, 0, id, 0x62, 2, 0, id, 0x70, 2, 0, id];
    from_client.extend_from_slice(up.session.tx());
    from_server.extend_from_slice(listener.session.tx());
    for id in 1..6 {
        from_client.extend(acks(id));
        from_server.extend(acks(id));
    }
    from_client.extend([0xC0, 0, 0xE0, 0]);
    from_server.extend([0xD0, 0]);
    if version == Version::V5 {
        from_server.extend([0xE0, 9, 0x8B, 7, 31, 0, 4, b'b', b'y', b'e', b'!']);
    }
    (from_client, from_server)
}

/// One thing that happens to bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize, usize),
    Swap(usize, usize),
    Twice(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), prop_oneof![Just(0u8), Just(0xFF), Just(0x80), any::<u8>()])
            .prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 0usize..20).prop_map(|(at, len)| Damage::Cut(at, len)),
        (at(), at()).prop_map(|(a, b)| Damage::Swap(a, b)),
        (at(), 0usize..40).prop_map(|(at, len)| Damage::Twice(at, len)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        match *damage {
            Damage::Flip(at, bit) => bytes[at % len] ^= 1 << bit,
            Damage::Set(at, byte) => bytes[at % len] = byte,
            Damage::Cut(at, count) => drop(bytes.drain(at % len..(at % len + count).min(len))),
            Damage::Swap(a, b) => bytes.swap(a % len, b % len),
            Damage::Twice(at, count) => {
                let part = bytes[at % len..(at % len + count).min(len)].to_vec();
                bytes.splice(at % len..at % len, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn arbitrary_bytes_never_panic(version in version(), stage in 0u8..3, slice in 1usize..100,
                                   bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        feed_client(&mut client(version, stage), &bytes, slice);
        feed_server(&mut server(version, stage), &bytes, slice);
    }

    /// Arbitrary bodies in frames that are whole, so that the readers behind the header see them.
    #[test]
    fn arbitrary_packets_never_panic(version in version(), stage in 0u8..3, slice in 1usize..100,
                                     packets in prop::collection::vec(
                                         (any::<u8>(), prop::collection::vec(prop_oneof![0u8..45, any::<u8>()], 0..60)), 0..12)) {
        let mut bytes = Vec::new();
        for (first, body) in &packets {
            bytes.extend([*first, body.len() as u8]);
            bytes.extend(body);
        }
        feed_client(&mut client(version, stage), &bytes, slice);
        feed_server(&mut server(version, stage), &bytes, slice);
    }

    #[test]
    fn damaged_streams_never_panic(version in version(), slice in 1usize..400, damages in prop::collection::vec(damage(), 0..5)) {
        let (from_client, from_server) = honest(version);
        feed_server(&mut server(version, 0), &damaged(from_client, &damages), slice);
        feed_client(&mut client(version, 0), &damaged(from_server, &damages), slice);
    }
}

#[test]
fn the_streams_that_get_damaged_are_honest() {
    for version in VERSIONS {
        let (from_client, from_server) = honest(version);
        let (now, mut batch) = (Instant::now(), Batch::default());
        let mut rx = BytesMut::from(&from_client[..]);
        let mut listener = ServerSession::new(LIMITS, now);
        // The aliases of the stream are within these.
        let limits = tidegate_mqtt::ServerLimits { topic_alias_max: 3, ..LIMITS };
        listener = match version {
            Version::V5 => ServerSession::new(limits, now),
            _ => listener,
        };
        listener.on_bytes(&mut rx, now, &mut batch).unwrap();
        listener.accept(Accept::default(), &mut batch.completed);
        listener.on_bytes(&mut rx, now, &mut batch).unwrap();
        assert!(listener.is_closed() && batch.received.len() == 6, "{version}: {batch:?}");
        batch.clear();
        let mut speaker = ClientSession::new(now);
        speaker.connect(&tidegate_mqtt::ClientConfig { topic_alias_max: 3, ..config(version) }, now);
        speaker.on_bytes(&mut BytesMut::from(&from_server[..]), now, &mut batch).unwrap();
        assert_eq!(batch.received.len(), 6, "{version}: {batch:?}");
    }
}

/// The size is refused on sight, before its bytes come.
#[test]
fn a_huge_packet_is_refused_by_its_header() {
    for version in VERSIONS {
        let header = BytesMut::from(&[0xE0, 0xFF, 0xFF, 0xFF, 0x7F][..]);
        let refused = Client::plain(version).try_hear(header.clone()).unwrap_err();
        assert_eq!(refused.reason(), ReasonCode::PACKET_TOO_LARGE);
        let refused = Server::plain(version).try_hear(header.clone()).unwrap_err();
        assert_eq!(refused.reason(), ReasonCode::PACKET_TOO_LARGE);
        let mut stranger = ServerSession::new(LIMITS, Instant::now());
        assert!(stranger.on_bytes(&mut header.clone(), Instant::now(), &mut Batch::default()).is_err());
    }
}
