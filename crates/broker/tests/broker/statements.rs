//! What MQTT 5.0 asks of a server by number and no other file shows, byte for byte: see `docs/conformance.md`. What 3.1.1
//! asks, too, is in `statements_v3.rs`.

use crate::device::{Device, Raw, Server, anonymous, config, filter, lasting, message, with};
use std::time::Duration;
use tidegate_broker::{Limits, Settings, Users};
use tidegate_message::{Message, Properties, QoS};
use tidegate_mqtt::{ClientConfig, ReasonCode, Version};

/// A packet with this in it.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first], &length(body.len())[..], &body].concat()
}

/// A remaining length, as short as it goes.
pub(crate) fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length > 127 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

/// Bytes behind their length.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// What stands where MQTT 5 has properties.
pub(crate) const fn none(level: u8) -> &'static [u8] {
    if level == 5 { &[0] } else { &[] }
}

pub(crate) fn connect(level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let properties = if level == 5 { [&length(properties.len())[..], properties].concat() } else { Vec::new() };
    packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 60], &properties, &payload.concat()])
}

/// CONNECT of a client whose session lasts a minute; with 3.1.1 as long as it may.
pub(crate) fn connect_lasting(level: u8, id: &str) -> Vec<u8> {
    connect(level, 0, &[0x11, 0, 0, 0, 60], &[&text(id)])
}

pub(crate) fn subscribe(level: u8, id: u8, filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, id], none(level), &text(filter), &[options]])
}

pub(crate) fn unsubscribe(level: u8, id: u8, filter: &str) -> Vec<u8> {
    packet(0xA2, &[&[0, id], none(level), &text(filter)])
}

pub(crate) fn publish(level: u8, first: u8, topic: impl AsRef<[u8]>, id: u8, payload: &str) -> Vec<u8> {
    let id: &[u8] = if first & 6 == 0 { &[] } else { &[0, id] };
    packet(first, &[&text(topic), id, none(level), payload.as_bytes()])
}

/// A client that is let in, and whether it had a session.
pub(crate) async fn up(server: &Server, connect: &[u8]) -> (Raw, u8) {
    let mut raw = Raw::open(server.addr).await;
    raw.send(connect).await;
    let connack = raw.packet().await.unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
    (raw, connack[2])
}

/// Sends a packet; gives back what is answered.
pub(crate) async fn ask(raw: &mut Raw, bytes: &[u8]) -> Vec<u8> {
    raw.send(bytes).await;
    raw.packet().await.unwrap()
}

/// Nothing is on its way to the client.
pub(crate) async fn assert_quiet(raw: &mut Raw) {
    assert_eq!(ask(raw, &[0xC0, 0]).await, [0xD0, 0]);
}

/// The last words to a client that sends this; nothing follows them.
pub(crate) async fn last_words(server: &Server, level: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut raw = Raw::connect(server.addr, level).await;
    raw.send(bytes).await;
    let words = raw.packet().await;
    assert!(words.is_none() || raw.packet().await.is_none(), "{bytes:?}");
    words
}

fn expiring(seconds: u32, qos: QoS) -> Message {
    let properties = Properties { message_expiry_seconds: Some(seconds), ..Properties::default() };
    Message { properties: Some(Box::new(properties)), ..message("t", "x", qos) }
}

/// MQTT-3.1.3-6 and -7, 3.2.2-16.
#[test]
fn an_id_that_was_assigned_is_the_clients_own() {
    with(anonymous(), |server| async move {
        let nameless = ClientConfig { session_expiry_s: 60, ..config("", Version::V5) };
        let (mut nameless, connected) = Device::try_connect(server.addr, nameless).await.unwrap();
        nameless.subscribe("t", QoS::AtLeastOnce).await;
        nameless.goodbye().await;
        server.device("from").await.publish(message("t", "x", QoS::AtLeastOnce)).await;
        let id = connected.assigned_client_id.unwrap();
        let (mut named, connected) = Device::try_connect(server.addr, lasting(&id, Version::V5)).await.unwrap();
        assert!(connected.session_present);
        assert_eq!(named.next_payloads(1).await, ["x"]);
    });
}

/// MQTT-3.2.2-8.
#[test]
fn every_refusal_is_one_that_connack_has() {
    const CODES: [u8; 21] = [
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B,
        0x9C, 0x9D, 0x9F,
    ];
    let users = format!("eve:$7$1$c2FsdHNhbHRzYWx0${}==", "A".repeat(86));
    let limits = Limits { connections: 2, sessions: 2, ..Limits::default() };
    let settings = Settings { users: Some(Users::parse(&users).unwrap()), limits, ..anonymous() };
    with(settings, |server| async move {
        drop(up(&server, &connect_lasting(5, "keeps")).await);
        let _one = server.device("one").await;
        server.until(|stats| stats.connections == 1).await;
        let will = |properties: &[u8], topic: &str| [text("c"), properties.to_vec(), text(topic), text("x")].concat();
        let content_type = [&[6, 3][..], &text("a\r\r")].concat();
        for (flags, properties, payload, expected) in [
            (0x06, &b""[..], will(&[0], "$SYS/x"), 0x87),
            (0x06, b"", will(&[0], "$share/g/x"), 0x90),
            (0x06, b"", will(&[0], "a\r"), 0x90),
            (0x06, b"", will(&content_type, "a"), 0x99),
            (0xC2, b"", [text("c"), text("eve"), text("x")].concat(), 0x86),
            (0x02, b"\x15\0\x01x", text("c"), 0x8C),
            (0x02, b"", text("third"), 0x97),
        ] {
            let mut raw = Raw::open(server.addr).await;
            let connack = ask(&mut raw, &connect(5, flags, properties, &[&payload])).await;
            assert_eq!((connack[3], raw.packet().await), (expected, None));
            assert!(CODES.contains(&expected));
        }
    });
}

/// MQTT-3.1.2-28, 3.2.2-1, 4.12.0-6: no answering topic, no method, no words.
#[test]
fn connack_says_nothing_that_was_not_asked_for() {
    with(anonymous(), |server| async move {
        for properties in [&b""[..], b"\x19\0", b"\x19\x01\x17\x01"] {
            let mut raw = Raw::open(server.addr).await;
            let connack = ask(&mut raw, &connect(5, 2, properties, &[&text("c")])).await;
            assert_eq!((connack[0], connack[2], connack[3]), (0x20, 0, 0));
            let mut rest = &connack[5..];
            while let [id, behind @ ..] = rest {
                let length = match id {
                    0x21 | 0x22 => 2,
                    0x27 => 4,
                    _ => panic!("property 0x{id:X}"),
                };
                rest = &behind[length..];
            }
        }
    });
}

/// MQTT-3.1.2-29, and that the answers have these codes: 2.2.1-5 and -6, 3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1, 3.9.3-2, 3.11.3-2.
#[test]
fn an_answer_is_a_code_without_words() {
    with(anonymous(), |server| async move {
        let deep = "/".repeat(300);
        for properties in [&[][..], &[0x17, 0], &[0x17, 1]] {
            let (mut raw, _) = up(&server, &connect(5, 2, properties, &[&text("c")])).await;
            for (sent, answer) in [
                (publish(5, 0x32, "nobody", 1, "x"), &[0x40, 3, 0, 1, 0x10][..]),
                (publish(5, 0x32, "$SYS/x", 2, "x"), &[0x40, 3, 0, 2, 0x87]),
                (publish(5, 0x32, "a\r", 3, "x"), &[0x40, 3, 0, 3, 0x90]),
                (publish(5, 0x34, "nobody", 4, "x"), &[0x50, 3, 0, 4, 0x10]),
                (publish(5, 0x34, "$SYS/x", 5, "x"), &[0x50, 3, 0, 5, 0x87]),
                (vec![0x62, 2, 0, 4], &[0x70, 2, 0, 4]),
                (vec![0x62, 2, 0, 9], &[0x70, 3, 0, 9, 0x92]),
                (vec![0x50, 2, 0, 9], &[0x62, 3, 0, 9, 0x92]),
                (subscribe(5, 6, "t", 1), &[0x90, 4, 0, 6, 0, 1]),
                (subscribe(5, 7, &deep, 1), &[0x90, 4, 0, 7, 0, 0x8F]),
                (unsubscribe(5, 8, "t"), &[0xB0, 4, 0, 8, 0, 0]),
                (unsubscribe(5, 9, "t"), &[0xB0, 4, 0, 9, 0, 0x11]),
            ] {
                assert_eq!(ask(&mut raw, &sent).await, answer, "{sent:?}");
            }
        }
    });
}

/// MQTT-4.13.1-1 and 4.13.2-1, with 1.5.4-1 and -2, 1.5.7-1, 3.1.0-2, 3.3.1-4, 3.3.2-1, -2, -13 and -19, 3.3.4-6, 3.6.1-1, 3.8.1-1,
/// 3.8.3-1, -2, -4 and -5, 3.10.1-1, 3.10.3-1 and -2, 3.14.1-1, 3.14.2-1 and -2, 3.14.4-2, 4.7.0-1, 4.7.3-1 and -2.
#[test]
fn what_cannot_be_ends_the_connection_and_says_why() {
    with(anonymous(), |server| async move {
        let bad = text(b"a\xFF");
        let with = |properties: &[u8]| packet(0x30, &[b"\0\x01a", &[properties.len() as u8], properties, b"x"]);
        let of = |first: u8, filter: &[u8], options: &[u8]| packet(first, &[b"\0\x01\0", filter, options]);
        for (bytes, code) in [
            (connect(5, 2, &[], &[&text("c")]), 0x82),
            (packet(0x36, &[b"\0\x01a\0\x01\0"]), 0x81), // QoS 3
            (packet(0x38, &[b"\0\x01a\0"]), 0x81),       // DUP at QoS 0
            (publish(5, 0x30, b"a\xFF", 0, ""), 0x81),
            (publish(5, 0x30, "a\0", 0, ""), 0x81),
            (publish(5, 0x30, "a/+", 0, ""), 0x81),
            (with(&[&[8][..], &bad].concat()), 0x81), // response topic, content type, user property
            (with(&[&[3][..], &bad].concat()), 0x81),
            (with(&[&[38][..], &text("a"), &bad].concat()), 0x81),
            (with(&[&[38][..], &bad, &text("a")].concat()), 0x81),
            (with(&[11, 1]), 0x82),             // a subscription identifier
            (packet(0x60, &[&[0, 1]]), 0x81),   // flags of PUBREL
            (of(0x80, &text("a"), &[0]), 0x81), // flags of SUBSCRIBE
            (of(0x82, &[], &[]), 0x82),
            (of(0x82, &bad, &[0]), 0x81),
            (of(0x82, &text("a\0"), &[0]), 0x81),
            (of(0x82, &text("a"), &[0x40]), 0x81),       // reserved options
            (of(0x82, &text("$share/g/a"), &[4]), 0x82), // no-local on a shared one
            (of(0xA0, &text("a"), &[]), 0x81),           // flags of UNSUBSCRIBE
            (of(0xA2, &[], &[]), 0x82),
            (of(0xA2, &bad, &[]), 0x81),
            (packet(0xE1, &[]), 0x81), // flags of DISCONNECT
        ] {
            assert_eq!(last_words(&server, 5, &bytes).await.unwrap(), [0xE0, 1, code], "{bytes:?}");
        }
        let words = last_words(&server, 5, &publish(5, 0x30, "", 0, "")).await.unwrap();
        assert!(matches!(words[..], [0xE0, 1, 0x81 | 0x82]), "a topic of no characters: {words:?}");
    });
}

/// MQTT-3.15.1-1: whatever its flags, of who has named no method.
#[test]
fn auth_ends_the_connection() {
    with(anonymous(), |server| async move {
        for first in [0xF0, 0xF1] {
            assert_eq!(last_words(&server, 5, &packet(first, &[])).await.unwrap()[..2], [0xE0, 1]);
        }
    });
}

/// MQTT-3.14.2-1: AUTH from who has named no method, and 0x8C is no code of section 3.14.2.1. MQTT-4.13.1-1, of section 3.1.2.11.10.
#[test]
fn authentication_out_of_nothing_is_a_protocol_error() {
    with(anonymous(), |server| async move {
        assert_eq!(last_words(&server, 5, &packet(0xF0, &[])).await.unwrap(), [0xE0, 1, 0x82]);
        let mut raw = Raw::open(server.addr).await;
        raw.send(&connect(5, 2, b"\x16\0\x01x", &[&text("c")])).await;
        assert!(raw.packet().await.is_none_or(|connack| connack[3] == 0x82));
    });
}

/// MQTT-2.1.3-1 with 4.13.1-1: of PINGREQ, too.
#[test]
fn a_ping_with_reserved_flags_ends_the_connection() {
    with(anonymous(), |server| async move {
        assert_eq!(last_words(&server, 5, &[0xC1, 0]).await.unwrap(), [0xE0, 1, 0x81]);
    });
}

/// MQTT-3.1.2-24: of all packets, not of PUBLISH alone.
#[test]
fn no_packet_is_larger_than_its_client_takes() {
    with(anonymous(), |server| async move {
        let filters: Vec<u8> = (0..60).flat_map(|_| [&text("a")[..], &[0]].concat()).collect();
        for max in [8, 40] {
            let mut raw = Raw::open(server.addr).await;
            let connect = connect(5, 2, &[0x27, 0, 0, 0, max], &[&text("c")]);
            raw.send(&[connect, packet(0x82, &[b"\0\x01\0", &filters]), vec![0xE0, 0]].concat()).await;
            while let Some(packet) = raw.packet().await {
                assert!(packet.len() <= usize::from(max), "{} bytes, {max} are taken", packet.len());
            }
        }
    });
}

/// MQTT-3.3.4-9 and -10, 4.9.0-1 to -3.
#[test]
fn a_window_that_is_used_up_holds_up_nothing_but_messages() {
    with(anonymous(), |server| async move {
        let (mut raw, _) = up(&server, &connect(5, 2, &[0x21, 0, 1], &[&text("c")])).await;
        assert_eq!(ask(&mut raw, &subscribe(5, 1, "t", 2)).await, [0x90, 4, 0, 1, 0, 2]);
        let mut publisher = server.device("from").await;
        for payload in ["1", "2"] {
            publisher.publish(message("t", payload, QoS::ExactlyOnce)).await;
        }
        let first = raw.packet().await.unwrap();
        assert_eq!((first[0], first.last()), (0x34, Some(&b'1')));
        assert_quiet(&mut raw).await;
        assert_eq!(ask(&mut raw, &publish(5, 0x32, "u", 3, "x")).await[..4], [0x40, 3, 0, 3]);
        assert_eq!(ask(&mut raw, &subscribe(5, 4, "v", 0)).await, [0x90, 4, 0, 4, 0, 0]);
        assert_eq!(ask(&mut raw, &[0x50, 2, first[5], first[6]]).await, [0x62, 2, first[5], first[6]]);
        assert_quiet(&mut raw).await;
        let second = ask(&mut raw, &[0x70, 2, first[5], first[6]]).await;
        assert_eq!((second[0], second.last()), (0x34, Some(&b'2')));
    });
}

/// MQTT-4.3.3-7 and -13.
#[test]
fn what_was_begun_at_qos_2_is_brought_to_its_end_though_it_has_expired() {
    with(anonymous(), |server| async move {
        let (mut raw, _) = up(&server, &connect_lasting(5, "to")).await;
        ask(&mut raw, &subscribe(5, 1, "t", 2)).await;
        let mut from = Raw::connect(server.addr, 5).await;
        let expires = [&b"\0\x01t\0\x07\x05\x02\0\0\0\x01x"[..]];
        assert_eq!(ask(&mut from, &packet(0x34, &expires)).await, [0x50, 2, 0, 7]);
        let sent = raw.packet().await.unwrap();
        drop(raw);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(ask(&mut from, &[0x62, 2, 0, 7]).await, [0x70, 2, 0, 7]);
        let (mut raw, present) = up(&server, &connect_lasting(5, "to")).await;
        let again = raw.packet().await.unwrap();
        assert_eq!((present, sent[0], again[0], &again[5..7]), (1, 0x34, 0x3C, &sent[5..7]));
    });
}

/// MQTT-3.3.2-6: a message that is sent again has waited meanwhile.
#[test]
fn the_expiry_of_what_is_sent_again_counts_down() {
    with(anonymous(), |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        server.device("from").await.publish(expiring(100, QoS::AtLeastOnce)).await;
        device.peek_next().await;
        device.vanish();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        let left = device.next().await.properties.unwrap().message_expiry_seconds.unwrap();
        assert!((90..100).contains(&left), "{left}");
    });
}

/// MQTT-4.8.2-1 and -2, 4.7.1-1 and -2, 4.7.3-1, 3.8.4-5 to -7, 3.9.3-1.
#[test]
fn filters_that_cannot_be_are_refused_one_by_one() {
    const BAD: [&str; 11] =
        ["$share", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#/a", "", "a/#/b", "a#", "a+", "##"];
    with(anonymous(), |server| async move {
        let mut device = Raw::connect(server.addr, 5).await;
        let (mut payload, mut codes) = (Vec::new(), Vec::new());
        for (bad, good) in
            BAD.into_iter().zip(["$share/g/a", "$share/g/#", "#", "+", "a/+/b", "+/#", "/"].iter().cycle())
        {
            payload.extend([text(bad), vec![0], text(good), vec![1]].concat());
            codes.extend([0x8F, 1]);
        }
        let suback = ask(&mut device, &packet(0x82, &[b"\0\x01\0", &payload])).await;
        assert_eq!(suback, packet(0x90, &[b"\0\x01\0", &codes]));
    });
}

/// MQTT-4.8.2-3 and -4.
#[test]
fn a_message_of_qos_2_waits_for_the_member_that_it_was_sent_to() {
    with(anonymous(), |server| async move {
        let mut one = Device::connect(server.addr, lasting("one", Version::V5)).await;
        one.subscribe("$share/g/t", QoS::ExactlyOnce).await;
        let mut publisher = server.device("from").await;
        publisher.publish(message("t", "x", QoS::ExactlyOnce)).await;
        one.peek_next().await;
        let mut other = server.device("other").await;
        other.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        one.vanish();
        server.until(|stats| stats.connections == 2).await;
        publisher.publish(message("t", "y", QoS::ExactlyOnce)).await;
        let got = other.drain().await;
        assert_eq!(got, [message("t", "y", QoS::AtLeastOnce)], "as it was granted, and only what is its own");
        let mut one = Device::connect(server.addr, lasting("one", Version::V5)).await;
        let again = one.peek_next().await;
        assert!(again.dup && again.message == message("t", "x", QoS::ExactlyOnce));
    });
}

/// MQTT-4.8.2-6, 4.4.0-2.
#[test]
fn what_a_member_refuses_goes_to_nobody_and_does_not_come_again() {
    with(anonymous(), |server| async move {
        let (mut one, _) = up(&server, &connect_lasting(5, "one")).await;
        ask(&mut one, &subscribe(5, 1, "$share/g/t", 2)).await;
        let mut publisher = server.device("from").await;
        for (qos, answer) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
            publisher.publish(message("t", "x", qos)).await;
            let sent = one.packet().await.unwrap();
            one.send(&[answer, 3, sent[5], sent[6], 0x80]).await;
        }
        assert_quiet(&mut one).await;
        let mut other = server.device("other").await;
        other.subscribe("$share/g/t", QoS::ExactlyOnce).await;
        drop(one);
        let (mut one, present) = up(&server, &connect_lasting(5, "one")).await;
        assert_eq!(present, 1);
        assert_quiet(&mut one).await;
        assert!(other.drain().await.is_empty());
    });
}

/// MQTT-3.3.2-2 and -14: what says that it can be answered is told, and goes nowhere.
#[test]
fn a_topic_with_a_wildcard_goes_nowhere() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe_with(&[filter("#", QoS::AtMostOnce)]).await;
        let mut raw = Raw::connect(server.addr, 5).await;
        let answering = [&[5, 8][..], &text("a/"), b"x"].concat();
        assert_eq!(ask(&mut raw, &packet(0x32, &[b"\0\x01a\0\x01", &answering])).await, [0x40, 2, 0, 1]);
        watcher.next().await;
        let answering = [&[6, 8][..], &text("a/+"), b"x"].concat();
        for (id, body) in [(2, [&b"\0\x01a\0\x02"[..], &answering].concat()), (3, b"\0\x03a/+\0\x03\0x".to_vec())] {
            assert_eq!(
                ask(&mut raw, &packet(0x32, &[&body])).await,
                [0x40, 3, 0, id, ReasonCode::TOPIC_NAME_INVALID.0]
            );
        }
        assert!(watcher.drain().await.is_empty());
    });
}
