//! Logging in by SCRAM: who one is, without saying the password; once and again.

use crate::device::{Raw, Server, anonymous, message, with};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;
use tidegate_broker::{Settings, UserHash, Users, user_line};
use tidegate_message::QoS;

const CONNECT: u8 = 0x10;
const AUTH: u8 = 0xF0;

fn settings() -> Settings {
    let line = |name, password: &str, hash| user_line(name, password.as_bytes(), hash).unwrap();
    let lines = [
        line("ann", "pencil", UserHash::ScramSha256),
        line("bob", "p\u{e9}ncil", UserHash::ScramSha256),
        line("eve", "other", UserHash::Pbkdf2),
    ];
    let users = Some(Users::parse(&lines.join("\n")).unwrap());
    Settings { users, failed_login_delay: std::time::Duration::ZERO, ..Settings::default() }
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

fn properties(method: &str, data: &[u8]) -> Vec<u8> {
    let all = [&[0x15][..], &text(method.as_bytes()), &[0x16], &text(data)].concat();
    [length(all.len()), all].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &length(body.len()), body].concat()
}

fn length(bytes: usize) -> Vec<u8> {
    if bytes < 128 { vec![bytes as u8] } else { vec![bytes as u8 | 0x80, (bytes >> 7) as u8] }
}

fn connect(method: &str, data: &[u8]) -> Vec<u8> {
    let id = text(b"c");
    packet(CONNECT, &[b"\0\x04MQTT\x05\x02\0\x3c", &properties(method, data)[..], &id].concat())
}

fn auth(reason: u8, method: &str, data: &[u8]) -> Vec<u8> {
    packet(AUTH, &[&[reason][..], &properties(method, data)].concat())
}

/// The first byte, the reason, the method and the data of CONNACK or AUTH.
fn said(packet: &[u8]) -> (u8, u8, String, String) {
    let body = &packet[if packet[1] < 128 { 2 } else { 3 }..];
    let (reason, mut rest) = if packet[0] == 0x20 { (body[1], &body[2..]) } else { (body[0], &body[1..]) };
    let mut found = BTreeMap::new();
    rest = rest.get(if rest.first().is_some_and(|length| *length >= 128) { 2 } else { 1 }..).unwrap_or_default();
    while let [id, behind @ ..] = rest {
        let length = match id {
            0x15 | 0x16 | 0x1F => 2 + usize::from(u16::from_be_bytes([behind[0], behind[1]])),
            0x11 | 0x27 => 4,
            0x21 | 0x22 | 0x13 => 2,
            other => panic!("property {other}"),
        };
        found.insert(*id, String::from_utf8(behind[length.min(2)..length].to_vec()));
        rest = &behind[length..];
    }
    let mut take = |id| found.remove(&id).and_then(Result::ok).unwrap_or_default();
    (packet[0], reason, take(0x15), take(0x16))
}

/// What a client computes (RFC 5802 section 3).
struct Computed {
    last: String,
    server_signature: String,
}

fn compute(method: &str, password: &str, bare: &str, asked: &str) -> Computed {
    let part = |at: usize| &asked.split(',').nth(at).unwrap()[2..];
    let (nonce, salt) = (part(0), STANDARD.decode(part(1)).unwrap());
    let rounds = part(2).parse().unwrap();
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("{bare},{asked},{without_proof}");
    let hmac = |key: &[u8], data: &[u8]| match method {
        "SCRAM-SHA-256" => {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().to_vec()
        }
        _ => Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().to_vec(),
    };
    let (salted, stored) = if method == "SCRAM-SHA-256" {
        let mut salted = vec![0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, rounds, &mut salted);
        let stored = Sha256::digest(hmac(&salted, b"Client Key")).to_vec();
        (salted, stored)
    } else {
        let mut salted = vec![0; 64];
        pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, rounds, &mut salted);
        let stored = Sha512::digest(hmac(&salted, b"Client Key")).to_vec();
        (salted, stored)
    };
    let signature = hmac(&stored, signed.as_bytes());
    let proof: Vec<u8> = hmac(&salted, b"Client Key").iter().zip(&signature).map(|(one, other)| one ^ other).collect();
    let server_signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
    Computed {
        last: format!("{without_proof},p={}", STANDARD.encode(proof)),
        server_signature: format!("v={}", STANDARD.encode(server_signature)),
    }
}

/// Goes as far as CONNACK; its reason, and whether the broker knows the password.
async fn log_in(server: &Server, method: &str, name: &str, password: &str) -> (Raw, u8, bool) {
    let mut raw = Raw::open(server.addr).await;
    let bare = format!("n={name},r=abcdef");
    raw.send(&connect(method, format!("n,,{bare}").as_bytes())).await;
    let (first, reason, by, asked) = said(&raw.packet().await.unwrap());
    if first == 0x20 {
        return (raw, reason, false);
    }
    assert_eq!((first, reason, by.as_str()), (AUTH, 0x18, method));
    let Computed { last, server_signature } = compute(method, password, &bare, &asked);
    raw.send(&auth(0x18, method, last.as_bytes())).await;
    let (first, reason, by, shown) = said(&raw.packet().await.unwrap());
    assert_eq!((first, by.as_str()), (0x20, if reason == 0 { method } else { "" }));
    (raw, reason, shown == server_signature)
}

/// MQTT-4.12.0-2, 4.12.0-5, 3.15.2-1.
#[test]
fn who_knows_the_password_is_let_in_and_knows_the_broker() {
    with(settings(), |server| async move {
        for (method, name, password) in [
            ("SCRAM-SHA-256", "ann", "pencil"),
            ("SCRAM-SHA-256", "bob", "p\u{e9}ncil"),
            ("SCRAM-SHA-512", "eve", "other"),
        ] {
            let (mut raw, reason, is_known) = log_in(&server, method, name, password).await;
            assert_eq!((reason, is_known), (0, true), "{name}");
            let gateway = server.gateway(&[("t", QoS::AtMostOnce)]);
            assert_eq!(gateway.local.client("c").unwrap().client.username.as_deref(), Some(name));
            raw.send(b"\x30\x05\0\x01t\0x").await;
            assert_eq!(gateway.next().await.message.payload, "x");
            gateway.local.close();
        }
        // By their passwords, too.
        for (name, password) in [("ann", "pencil"), ("eve", "other")] {
            let config = tidegate_mqtt::ClientConfig {
                username: Some(name.into()),
                password: Some(password.into()),
                ..crate::device::config("d", tidegate_mqtt::Version::V311)
            };
            crate::device::Device::connect(server.addr, config).await;
        }
    });
}

/// MQTT-4.12.0-1, 4.12.0-4.
#[test]
fn nobody_else_is_and_all_are_asked_alike() {
    with(settings(), |server| async move {
        for (method, name, expected) in [
            ("SCRAM-SHA-256", "ann", 0x86),
            ("SCRAM-SHA-256", "nobody", 0x86),
            ("SCRAM-SHA-256", "eve", 0x86),
            ("SCRAM-SHA-512", "ann", 0x86),
            ("SCRAM-SHA-1", "ann", 0x8C),
            ("", "ann", 0x8C),
        ] {
            let (mut raw, reason, is_known) = log_in(&server, method, name, "wrong").await;
            assert_eq!((reason, is_known, raw.packet().await), (expected, false, None), "{method} {name}");
        }
        assert_eq!(server.broker.stats().failed_logins, 4);
        // Another user's name beside it; nothing, or something else, where the first or the last message was due.
        let mut raw = Raw::open(server.addr).await;
        let both = properties("SCRAM-SHA-256", b"n,,n=ann,r=x");
        raw.send(&packet(CONNECT, &[b"\0\x04MQTT\x05\x82\0\x3c", &both[..], &text(b"c"), &text(b"bob")].concat()))
            .await;
        assert_eq!(said(&raw.packet().await.unwrap()).1, 0x87);
        for first in [&b""[..], b"x", b"n,,n=ann", b"p=tls-exporter,,n=ann,r=x"] {
            let mut raw = Raw::open(server.addr).await;
            raw.send(&connect("SCRAM-SHA-256", first)).await;
            assert_eq!((said(&raw.packet().await.unwrap()).1, raw.packet().await), (0x87, None));
        }
        for (last, expected) in [
            (auth(0x18, "SCRAM-SHA-512", b"x"), 0x82),
            (auth(0x19, "SCRAM-SHA-256", b"x"), 0x82),
            (auth(0x00, "SCRAM-SHA-256", b"x"), 0x82),
            (packet(0xF1, &[]), 0x81),
            (b"\x30\x05\0\x01t\0x".to_vec(), 0x82),
            (auth(0x18, "SCRAM-SHA-256", b"x"), 0x86),
        ] {
            let mut raw = Raw::open(server.addr).await;
            raw.send(&connect("SCRAM-SHA-256", b"n,,n=ann,r=x")).await;
            assert_eq!(raw.packet().await.unwrap()[0], AUTH);
            raw.send(&last).await;
            assert_eq!((said(&raw.packet().await.unwrap()).1, raw.packet().await), (expected, None), "{last:?}");
        }
        assert_eq!(server.broker.stats().connections, 0);
    });
    with(anonymous(), |server| async move {
        assert_eq!(log_in(&server, "SCRAM-SHA-256", "ann", "x").await.1, 0x8C, "there are no users");
    });
}

/// MQTT-4.12.1-2.
#[test]
fn it_is_said_again_while_messages_flow() {
    const METHOD: &str = "SCRAM-SHA-256";
    with(settings(), |server| async move {
        let gateway = server.gateway(&[]);
        let (mut raw, ..) = log_in(&server, METHOD, "ann", "pencil").await;
        raw.send(b"\x82\x07\0\x01\0\0\x01t\0").await;
        assert_eq!(raw.packet().await.unwrap()[0], 0x90);
        for _ in 0..2 {
            raw.send(&auth(0x19, METHOD, b"n,,n=ann,r=again")).await;
            let (first, reason, _, asked) = said(&raw.packet().await.unwrap());
            assert_eq!((first, reason), (AUTH, 0x18));
            gateway.local.publish(message("t", "meanwhile", QoS::AtMostOnce));
            assert_eq!(raw.packet().await.unwrap()[0], 0x30);
            let Computed { last, server_signature } = compute(METHOD, "pencil", "n=ann,r=again", &asked);
            raw.send(&auth(0x18, METHOD, last.as_bytes())).await;
            let expected = (AUTH, 0, METHOD.to_owned(), server_signature);
            assert_eq!(said(&raw.packet().await.unwrap()), expected);
        }
        for (wrong, reason) in [
            (auth(0x19, METHOD, b"n,,n=bob,r=x"), 0x87),
            (auth(0x19, METHOD, b"x"), 0x87),
            (auth(0x18, METHOD, b"x"), 0x82),
            (auth(0x19, "SCRAM-SHA-512", b"n,,n=ann,r=x"), 0x82),
            (auth(0x00, METHOD, b"x"), 0x82),
            ([auth(0x19, METHOD, b"n,,n=ann,r=x"), auth(0x18, METHOD, b"c=biws,r=x,p=eA==")].concat(), 0x87),
        ] {
            let (mut raw, ..) = log_in(&server, METHOD, "ann", "pencil").await;
            raw.send(&wrong).await;
            let mut last = Vec::new();
            while let Some(packet) = raw.packet().await {
                last = packet;
            }
            assert_eq!(last, [0xE0, 1, reason], "{wrong:?}");
        }
    });
}

/// A password that was changed between the question and the answer is not good any more.
#[test]
fn what_is_changed_meanwhile_holds() {
    for changes in [false, true] {
        with(settings(), move |server| async move {
            let mut raw = Raw::open(server.addr).await;
            raw.send(&connect("SCRAM-SHA-256", b"n,,n=ann,r=x")).await;
            let asked = said(&raw.packet().await.unwrap()).3;
            let mut changed = settings();
            if !changes {
                changed.users = None;
            }
            server.broker.reconfigure(changed);
            let last = compute("SCRAM-SHA-256", "pencil", "n=ann,r=x", &asked).last;
            raw.send(&auth(0x18, "SCRAM-SHA-256", last.as_bytes())).await;
            assert_eq!(said(&raw.packet().await.unwrap()).1, 0x87);
        });
    }
}
