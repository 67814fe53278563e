//! What MQTT 3.1.1 asks of a server by number and no other file shows, byte for byte: see `docs/conformance.md`. Where
//! MQTT 5 asks for the same, both are asked here.

use crate::device::{Raw, Server, anonymous, message, retained, with};
use crate::statements::{
    ask, assert_quiet, connect, connect_lasting, last_words, none, packet, publish, subscribe, text, unsubscribe, up,
};
use tidegate_broker::{Limits, Settings};
use tidegate_message::QoS;
use tokio::io::AsyncReadExt;

const LEVELS: [u8; 2] = [4, 5];

/// Of both versions: MQTT-3.1.0-1, 3.1.2-3, 3.1.3-3 and -4, 3.1.4-1. Of MQTT 5: 3.1.2-1, -9, -11 to -13 and -16 to -19, 3.1.3-11 and -12,
/// 3.14.0-1. Of 3.1.1: 3.1.2-1, -9, -11, -13 to -15 and -18 to -22, 3.1.3-10 and -11.
#[test]
fn a_connect_out_of_order_ends_the_connection_and_nothing_is_said() {
    with(anonymous(), |server| async move {
        let (id, name, topic, bad) = (text("c"), text("n"), text("gone"), text(b"a\xFF"));
        for level in LEVELS {
            let with = |flags: u8, payload: &[&[u8]]| connect(level, flags, &[], payload);
            let will = none(level);
            let mut all = vec![
                with(0x03, &[&id]),                       // the reserved flag
                with(0x06, &[&id]),                       // a will that is not there
                with(0x06, &[&id, will, &topic]),         // half a will
                with(0x0A, &[&id]),                       // the QoS of no will
                with(0x22, &[&id]),                       // the retain flag of no will
                with(0x1E, &[&id, will, &topic, &topic]), // a will at QoS 3
                with(0x82, &[&id]),                       // a name that is not there
                with(0x02, &[&id, &name]),                // a name that is not announced
                with(0xC2, &[&id, &name]),                // a password that is not there
                with(0x82, &[&id, &name, &name]),         // a password that is not announced
                with(0x02, &[]),                          // no client id
                with(0x02, &[&bad]),                      // texts that are none
                with(0x02, &[&text("a\0")]),
                with(0x06, &[&id, will, &bad, &topic]),
                with(0x82, &[&id, &bad]),
                packet(0x10, &[b"\0\x04MQTX", &[level, 2, 0, 60], none(level), &id]),
                packet(0x11, &[b"\0\x04MQTT", &[level, 2, 0, 60], none(level), &id]),
                packet(0xC0, &[]), // something else first
                subscribe(level, 1, "a", 0),
            ];
            if level == 4 {
                all.push(with(0x42, &[&id, &name])); // a password without a name
            }
            for bytes in all {
                let mut raw = Raw::open(server.addr).await;
                raw.send(&bytes).await;
                assert_eq!(raw.packet().await, None, "{level} {bytes:?}");
            }
        }
    });
}

/// Of both versions: MQTT-3.1.2-2.
#[test]
fn a_level_that_is_not_spoken_is_answered_and_the_connection_closed() {
    with(anonymous(), |server| async move {
        for level in [3, 6] {
            let mut raw = Raw::open(server.addr).await;
            assert_eq!(ask(&mut raw, &connect(level, 2, &[], &[&text("c")])).await, [0x20, 2, 0, 1]);
            assert_eq!(raw.packet().await, None);
        }
    });
}

/// Of MQTT 5: MQTT-3.1.2-7 and -14, 3.1.3-1 and -10. Of 3.1.1: 3.1.2-8, -12 and -16, 3.1.3-1.
#[test]
fn a_whole_connect_is_read_in_its_order_and_its_will_published_as_it_is() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone", QoS::AtLeastOnce).await;
        for level in LEVELS {
            let pair = |name: &str, value: &str| [&[0x26][..], &text(name), &text(value)].concat();
            let own = [pair("b", "1"), pair("a", "2"), pair("b", "3")].concat();
            let properties = if level == 5 { [&[own.len() as u8], &own[..]].concat() } else { Vec::new() };
            let fields = [text("c"), properties, text("gone"), text("oh"), text("name"), text(b"\xFF\0")].concat();
            drop(up(&server, &connect(level, 0xCE, &[], &[&fields])).await);
            let got = watcher.next().await;
            assert_eq!((&got.payload[..], got.qos, got.retain), (&b"oh"[..], QoS::AtLeastOnce, false));
            let user = got.properties.map(|own| own.user).unwrap_or_default();
            let user: Vec<_> = user.iter().map(|(name, value)| (&**name, &**value)).collect();
            let expected: &[_] = if level == 5 { &[("b", "1"), ("a", "2"), ("b", "3")] } else { &[] };
            assert_eq!((&user[..], server.broker.stats().retained), (expected, 0));
            // Who has none leaves none.
            drop(up(&server, &connect(level, 2, &[], &[&text("c")])).await);
            server.until(|stats| stats.connections == 1).await;
            assert!(watcher.drain().await.is_empty());
        }
    });
}

/// Of both versions: MQTT-3.1.3-5.
#[test]
fn client_ids_of_letters_and_digits_are_taken() {
    const ALL: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    with(anonymous(), |server| async move {
        for (level, id) in
            LEVELS.into_iter().flat_map(|level| [0..1, 0..23, 23..46, 39..62].map(|at| (level, &ALL[at])))
        {
            up(&server, &connect(level, 2, &[], &[&text(id)])).await;
        }
    });
}

/// Of 3.1.1: MQTT-3.1.3-6, -8 and -9, 3.1.4-4, 3.2.2-1 to -5.
#[test]
fn a_client_of_3_1_1_is_told_whether_it_had_a_session() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::open(server.addr).await;
        assert_eq!(ask(&mut raw, &connect(4, 0, &[], &[&text("")])).await, [0x20, 2, 0, 2]);
        assert_eq!(raw.packet().await, None);
        for (flags, had_session) in [(0, 0), (0, 1), (2, 0), (2, 0), (0, 0)] {
            let (mut raw, present) = up(&server, &connect(4, flags, &[], &[&text("c")])).await;
            assert_eq!(present, had_session);
            raw.send(&[0xE0, 0]).await;
            assert_eq!(raw.packet().await, None);
        }
        let nameless = connect(4, 2, &[], &[&text("")]);
        let ((mut one, _), (mut other, _)) = (up(&server, &nameless).await, up(&server, &nameless).await);
        assert_quiet(&mut one).await;
        assert_quiet(&mut other).await;
    });
}

/// Of MQTT 5: MQTT-3.1.4-2 and -6, 3.2.2-6 and -7. Of 3.1.1: 3.1.4-5, 3.2.2-4 and -5.
#[test]
fn who_is_turned_away_is_told_why_and_not_listened_to() {
    let limits = Limits { connections: 1, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        for (level, [not_authorized, busy]) in [(4, [5, 3]), (5, [0x87, 0x89])] {
            let will = [text("c"), none(level).to_vec(), text("$SYS/x"), text("x")].concat();
            let mut raw = Raw::open(server.addr).await;
            let both = [connect(level, 6, &[], &[&will]), publish(level, 0x31, "a", 0, "x")].concat();
            assert_eq!(ask(&mut raw, &both).await[2..4], [0, not_authorized]);
            assert_eq!((raw.packet().await, server.broker.stats().retained), (None, 0));
            drop(up(&server, &connect_lasting(level, "keeps")).await);
            server.until(|stats| stats.connections == 0).await;
            let other = server.device("other").await;
            let mut raw = Raw::open(server.addr).await;
            assert_eq!(ask(&mut raw, &connect_lasting(level, "keeps")).await[2..4], [0, busy], "it has a session");
            assert_eq!(raw.packet().await, None);
            other.goodbye().await;
            server.until(|stats| stats.connections == 0).await;
        }
    });
}

/// Of MQTT 5: MQTT-4.1.0-2, 3.1.2-8. A client that comes back and is turned away, for there is no room, has not come back.
#[test]
fn a_session_ends_in_time_though_its_client_was_turned_away() {
    let limits = Limits { connections: 1, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let will = [&[5, 0x18, 0, 0, 0, 1][..], &text("gone"), &text("oh")].concat();
        let brief = connect(5, 4, &[0x11, 0, 0, 0, 2], &[&text("brief"), &will]);
        drop(up(&server, &brief).await);
        server.until(|stats| stats.connections == 0).await;
        let mut other = server.device("other").await;
        other.subscribe("gone", QoS::AtMostOnce).await;
        let mut raw = Raw::open(server.addr).await;
        assert_eq!(ask(&mut raw, &brief).await[3], 0x89);
        assert_eq!(other.next_payloads(1).await, ["oh"]);
        server.until(|stats| stats.sessions == 1).await;
    });
}

/// Of 3.1.1: MQTT-3.1.4-2.
#[test]
fn a_client_of_3_1_1_is_sent_away_by_the_next_with_its_id() {
    with(anonymous(), |server| async move {
        let (mut first, _) = up(&server, &connect_lasting(4, "c")).await;
        let (mut second, present) = up(&server, &connect_lasting(4, "c")).await;
        assert_eq!((first.packet().await, present), (None, 1));
        assert_quiet(&mut second).await;
    });
}

/// Of 3.1.1: MQTT-4.8.0-1, with 1.5.3-1 and -2, 2.2.2-1 and -2, 2.3.1-1, 3.1.0-2, 3.3.1-4, 3.3.2-1 and -2, 3.6.1-1, 3.8.1-1, 3.8.3-1, -3 and
/// -4, 3.10.1-1, 3.10.3-1 and -2, 3.14.1-1, 4.7.1-1, 4.7.3-1 and -2.
#[test]
fn what_cannot_be_ends_a_connection_of_3_1_1_without_a_word() {
    with(anonymous(), |server| async move {
        let bad = text(b"a\xFF");
        let of = |first: u8, id: u8, filter: &[u8], options: &[u8]| packet(first, &[&[0, id], filter, options]);
        for bytes in [
            connect(4, 2, &[], &[&text("c")]),
            packet(0x36, &[b"\0\x01a\0\x01"]),
            packet(0x32, &[b"\0\x01a\0\0"]), // packet id 0
            publish(4, 0x30, b"a\xFF", 0, ""),
            publish(4, 0x30, "a\0", 0, ""),
            publish(4, 0x30, "a/+", 0, ""),
            publish(4, 0x30, "", 0, ""),
            packet(0x60, &[&[0, 1]]),
            of(0x80, 1, &text("a"), &[0]),
            of(0x82, 0, &text("a"), &[0]), // packet id 0
            of(0x82, 1, &[], &[]),
            of(0x82, 1, &bad, &[0]),
            of(0x82, 1, &text("a\0"), &[0]),
            of(0x82, 1, &text("a"), &[3]), // QoS 3
            of(0x82, 1, &text("a"), &[4]), // reserved bits
            of(0x82, 1, &text("a"), &[0x80]),
            of(0xA0, 1, &text("a"), &[]),
            of(0xA2, 0, &text("a"), &[]), // packet id 0
            of(0xA2, 1, &[], &[]),
            of(0xA2, 1, &bad, &[]),
            packet(0xE1, &[]),
        ] {
            assert_eq!(last_words(&server, 4, &bytes).await, None, "{bytes:?}");
        }
    });
}

/// Of 3.1.1: MQTT-2.2.2-2, of PINGREQ, too.
#[test]
fn a_ping_of_3_1_1_with_reserved_flags_ends_the_connection() {
    with(anonymous(), |server| async move { assert_eq!(last_words(&server, 4, &[0xC1, 0]).await, None) });
}

/// Not as MQTT-1.5.3-1 and -2 have it: a client that is hung up on for such a topic sends it again, for ever.
#[test]
fn a_topic_that_is_no_text_is_answered_where_it_can_be_and_goes_nowhere() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("#", QoS::AtMostOnce).await;
        for (level, topic) in
            LEVELS.into_iter().flat_map(|level| [&b"a\xFF"[..], b"a\0", b""].map(|topic| (level, topic)))
        {
            let mut raw = Raw::connect(server.addr, level).await;
            let answer: &[u8] = if level == 5 { &[0x40, 3, 0, 7, 0x90] } else { &[0x40, 2, 0, 7] };
            assert_eq!(ask(&mut raw, &publish(level, 0x32, topic, 7, "x")).await, answer);
            assert_quiet(&mut raw).await;
        }
        assert!(watcher.drain().await.is_empty());
    });
}

/// Of MQTT 5: MQTT-3.3.1-3, 4.3.2-2 and -5. Of 3.1.1: 3.3.1-3, 4.3.2-2.
#[test]
fn an_id_that_was_acknowledged_is_free_and_dup_is_not_handed_on() {
    with(anonymous(), |server| async move {
        for level in LEVELS {
            let mut to = Raw::connect(server.addr, level).await;
            ask(&mut to, &subscribe(level, 1, "t", 1)).await;
            let (mut from, _) = up(&server, &connect(level, 2, &[], &[&text("from")])).await;
            for first in [0x32, 0x3A, 0x3A] {
                assert_eq!(ask(&mut from, &publish(level, first, "t", 7, "x")).await, [0x40, 2, 0, 7]);
                assert_eq!(to.packet().await.unwrap()[0], 0x32, "no DUP");
            }
        }
    });
}

/// Of MQTT 5: MQTT-3.3.1-6 and -12. Of 3.1.1: 3.3.1-8 to -10, 3.8.4-3.
#[test]
fn what_is_retained_says_so_to_new_subscriptions_only() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        for level in LEVELS {
            publisher.publish(retained("t", "old", QoS::AtLeastOnce)).await;
            let mut raw = Raw::connect(server.addr, level).await;
            for id in [1, 2] {
                ask(&mut raw, &subscribe(level, id, "t", 0)).await;
                assert_eq!(raw.packet().await.unwrap(), publish(level, 0x31, "t", 0, "old"), "each time");
            }
            for payload in ["new", ""] {
                publisher.publish(retained("t", payload, QoS::AtLeastOnce)).await;
                assert_eq!(raw.packet().await.unwrap(), publish(level, 0x30, "t", 0, payload));
            }
            ask(&mut raw, &subscribe(level, 3, "t", 0)).await;
            assert_quiet(&mut raw).await;
        }
    });
}

/// Of MQTT 5: MQTT-3.8.4-3 and -4. Of 3.1.1: 3.8.4-3.
#[test]
fn subscribing_again_replaces_and_interrupts_nothing() {
    with(anonymous(), |server| async move {
        for level in LEVELS {
            let mut raw = Raw::connect(server.addr, level).await;
            let send = |payload| publish(level, 0x30, "t", 0, payload);
            let asked = |id, qos| subscribe(level, id, "t", qos);
            raw.send(&[asked(1, 0), send("1"), asked(2, 1), send("2"), asked(3, 0), send("3")].concat()).await;
            let mut got = Vec::new();
            for _ in 0..6 {
                got.push(raw.packet().await.unwrap());
            }
            let messages: Vec<_> = got.iter().filter(|packet| packet[0] >> 4 == 3).cloned().collect();
            assert_eq!(messages, [send("1"), send("2"), send("3")]);
            assert_quiet(&mut raw).await;
            assert_eq!(server.broker.stats().subscriptions, 1);
        }
    });
}

/// Of 3.1.1: MQTT-3.3.5-1.
#[test]
fn filters_that_overlap_bring_a_client_of_3_1_1_one_message_at_the_highest_qos() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::connect(server.addr, 4).await;
        for (filter, qos) in [("a/#", 0), ("a/b", 2), ("+/b", 1)] {
            ask(&mut raw, &subscribe(4, 1, filter, qos)).await;
        }
        server.device("from").await.publish(message("a/b", "x", QoS::ExactlyOnce)).await;
        assert_eq!(raw.packet().await.unwrap()[0], 0x34);
        assert_quiet(&mut raw).await;
    });
}

/// Of both versions: MQTT-3.10.4-1 to -6.
#[test]
fn unsubscribing_takes_that_filter_and_what_was_begun_goes_on() {
    with(anonymous(), |server| async move {
        let mut publisher = server.device("from").await;
        for level in LEVELS {
            let none_existed: &[u8] = if level == 5 { &[0, 0x11] } else { &[] };
            let mut raw = Raw::connect(server.addr, level).await;
            ask(&mut raw, &subscribe(level, 1, "a/+", 2)).await;
            ask(&mut raw, &subscribe(level, 1, "x", 2)).await;
            for other in ["a/b", "A/+", "a/#", "a/+/"] {
                let unsuback = ask(&mut raw, &unsubscribe(level, 2, other)).await;
                assert_eq!(unsuback, packet(0xB0, &[&[0, 2], none_existed]));
            }
            publisher.publish(message("a/b", "1", QoS::ExactlyOnce)).await;
            let first = raw.packet().await.unwrap();
            assert_eq!((first[0], first.last()), (0x34, Some(&b'1')));
            let several = packet(0xA2, &[&[0, 3], none(level), &text("a/+"), &text("y"), &text("x")]);
            let codes: &[u8] = if level == 5 { &[0, 0, 0x11, 0] } else { &[] };
            assert_eq!(ask(&mut raw, &several).await, packet(0xB0, &[&[0, 3], codes]));
            for topic in ["a/b", "x"] {
                publisher.publish(message(topic, "2", QoS::ExactlyOnce)).await;
            }
            let id = &first[7..9];
            assert_eq!(ask(&mut raw, &packet(0x50, &[id])).await, packet(0x62, &[id]));
            raw.send(&packet(0x70, &[id])).await;
            assert_quiet(&mut raw).await;
        }
    });
}

/// Of MQTT 5: MQTT-1.5.4-3, 4.7.3-4. Of 3.1.1: 1.5.3-3, 4.7.3-4.
#[test]
fn texts_are_compared_and_handed_on_byte_by_byte() {
    const ASKED: [&str; 4] = ["\u{feff}a", "b//c", "\u{e9}", "D"];
    with(anonymous(), |server| async move {
        for level in LEVELS {
            let mut raw = Raw::connect(server.addr, level).await;
            for filter in ASKED {
                ask(&mut raw, &subscribe(level, 1, filter, 0)).await;
            }
            for topic in ["a", "b/c", "e\u{301}", "d", "\u{feff}D", " D"] {
                raw.send(&publish(level, 0x30, topic, 0, "x")).await;
            }
            for topic in ASKED {
                let sent = publish(level, 0x30, topic, 0, "x");
                assert_eq!(ask(&mut raw, &sent).await, sent);
            }
        }
    });
}

/// Of MQTT 5: MQTT-1.5.5-1. In 3.1.1 it is section 2.2.3, without a number.
#[test]
fn lengths_are_written_as_short_as_they_go() {
    with(anonymous(), |server| async move {
        for (level, head) in [(4, 3), (5, 4)] {
            let mut raw = Raw::connect(server.addr, level).await;
            ask(&mut raw, &subscribe(level, 1, "t", 0)).await;
            for (length, bytes) in
                [(127, &[127][..]), (128, &[0x80, 1]), (16_383, &[0xFF, 0x7F]), (16_384, &[0x80, 0x80, 1])]
            {
                let payload = "x".repeat(length - head);
                server.device("from").await.publish(message("t", &payload, QoS::AtLeastOnce)).await;
                let got = raw.packet().await.unwrap();
                assert_eq!(got[..=bytes.len()], [&[0x30], bytes].concat());
            }
        }
    });
}

/// The subprotocol that the broker chooses of these.
async fn chosen(server: &Server, offered: &str) -> String {
    let mut raw = Raw::open(server.ws).await;
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let host = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    raw.send(format!("{host}{key}Sec-WebSocket-Protocol: {offered}\r\n\r\n").as_bytes()).await;
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        answer.push(char::from(raw.stream.read_u8().await.unwrap()));
    }
    let header = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-protocol:");
    let line = answer.lines().find(header).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

/// Of both versions: MQTT-6.0.0-4.
#[test]
fn of_several_subprotocols_mqtt_is_chosen() {
    with(anonymous(), |server| async move {
        assert_eq!(chosen(&server, "chat, mqtt").await, "mqtt");
        assert_eq!(chosen(&server, "mqtt, mqttv3.1").await, "mqtt");
    });
}

/// Of both versions: MQTT-6.0.0-4, whatever comes first.
#[test]
fn mqtt_is_chosen_wherever_it_stands() {
    with(anonymous(), |server| async move { assert_eq!(chosen(&server, "mqttv3.1, mqtt").await, "mqtt") });
}
