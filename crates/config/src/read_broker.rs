//! Reads `[brokers.<name>]`.

use crate::bounds;
use crate::broker::{
    BridgeMode, Broker, BrokerUrl, EmbeddedBroker, EmbeddedLimits, LinkBroker, Reconnect, Scheme, Tls, Version, Will,
};
use crate::problem::Span;
use crate::read_route::read_qos;
use crate::read_spool::read_spool;
use crate::reader::{At, FileKind, Reader, Section, Value};
use crate::secret::Secret;
use crate::values::{self, why_and_hint};
use std::path::PathBuf;
use tidegate_message::{QoS, Topic};
use toml::de::DeValue;

/// Keys that only a link knows.
const LINK_KEYS: [&str; 15] = [
    "url",
    "version",
    "client_id",
    "username",
    "password",
    "keep_alive",
    "receive_maximum",
    "max_packet_size",
    "session_expiry",
    "reconnect",
    "connect_timeout",
    "tls",
    "bridge",
    "topic_alias_max",
    "will",
];
/// Keys that only the box's own broker knows.
const EMBEDDED_KEYS: [&str; 3] = ["listen", "users", "limits"];

/// Makes a section into a broker, with placeholders where it cannot be used.
pub(crate) fn read_broker(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &str) -> Broker {
    if section.flag("embedded", false) {
        Broker::Embedded(read_embedded(section))
    } else {
        Broker::Link(read_link(section, name, gateway))
    }
}

fn read_link(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &str) -> LinkBroker {
    let reader = section.reader;
    let url_at = section.require("url", "\"mqtt://127.0.0.1:1883\"").and_then(|value| value.text());
    let url = url_at.as_ref().and_then(|text| {
        values::broker_url(text.value).map_err(|(what, hint)| reader.error(&text.at, what, hint)).ok()
    });
    let version = section.choice(
        "version",
        &[("auto", Version::Auto), ("3.1", Version::V31), ("3.1.1", Version::V311), ("5", Version::V5)],
    );
    let client_id_at = section.text("client_id");
    let client_id = match &client_id_at {
        Some(id) => checked_text(reader, "client_id", id).unwrap_or_default(),
        None => format!("tidegate-{gateway}-{name}"),
    };
    if version == Version::V31 && client_id.len() > bounds::MAX_CLIENT_ID_V31 {
        let at = client_id_at.map_or(section.at.clone(), |id| id.at);
        let what = format!(
            "a client id of MQTT 3.1 has at most {} characters, not {}",
            bounds::MAX_CLIENT_ID_V31,
            client_id.len()
        );
        reader.warning(&at, what, "set a shorter `client_id`; some brokers refuse this one");
    }
    let username = section.text("username").and_then(|name| checked_text(reader, "username", &name));
    let password_at = section.take("password");
    let password = password_at.as_ref().and_then(read_secret);
    if let Some(value) = &password_at
        && !section.has("username")
    {
        value.error("there is a `password` without a `username`", "add `username = \"...\"`");
    }
    let tls = read_tls(&mut section, url.as_ref());
    let bridge =
        section.choice("bridge", &[("auto", BridgeMode::Auto), ("on", BridgeMode::On), ("off", BridgeMode::Off)]);
    let spool_at = section.take("spool");
    let spool = read_spool(spool_at.as_ref());
    if let Some(value) = &spool_at
        && spool.mark_late.is_some()
        && matches!(version, Version::V31 | Version::V311)
    {
        let hint = "leave it out, or set `version = \"5\"` if the broker speaks that";
        reader.warning(&value.at, "`mark_late` adds a property to messages, which only MQTT 5 has", hint);
    }
    let session_expiry = section.duration("session_expiry", bounds::SESSION_EXPIRY);
    let broker = LinkBroker {
        url: url.unwrap_or(BrokerUrl { scheme: Scheme::Mqtt, host: String::new(), port: 0, path: String::new() }),
        version,
        client_id,
        username,
        password,
        keep_alive: section.duration("keep_alive", bounds::KEEP_ALIVE),
        receive_maximum: section.number("receive_maximum", bounds::RECEIVE_MAXIMUM) as u16,
        max_packet_size: section.size("max_packet_size", bounds::PACKET_SIZE) as u32,
        session_expiry,
        clean_start: session_expiry.is_zero(),
        reconnect: section
            .section("reconnect", "reconnect = { min = \"500ms\", max = \"60s\" }")
            .map(read_reconnect)
            .unwrap_or_default(),
        connect_timeout: section.duration("connect_timeout", bounds::CONNECT_TIMEOUT),
        tls,
        bridge,
        topic_alias_max: section.number("topic_alias_max", bounds::TOPIC_ALIAS_MAX) as u16,
        will: section.section("will", "will = { topic = \"gone\", payload = \"\" }").and_then(read_will),
        spool,
    };
    section.finish_beside(&EMBEDDED_KEYS, "add `embedded = true` if this is the box's own broker, or leave it out");
    broker
}

/// A text that goes on the wire: not empty, not too long, without the null character.
fn checked_text(reader: &Reader<'_>, key: &str, text: &At<&str>) -> Option<String> {
    if text.value.is_empty() || text.value.len() > bounds::MAX_TEXT_BYTES || text.value.contains('\0') {
        let most = bounds::MAX_TEXT_BYTES;
        let hint = format!("write 1 to {most} bytes without the null character, or leave out the key");
        reader.error(&text.at, format!("`{key}` cannot be {}", values::shown(text.value)), hint);
        return None;
    }
    Some(text.value.to_owned())
}

/// `{ file = ... }`, `{ env = ... }` or `{ credential = ... }`. A message never repeats what is written.
fn read_secret(value: &Value<'_, '_, '_, '_>) -> Option<Secret> {
    const HINT: &str = "use { file = \"...\" }, { env = \"...\" } or { credential = \"...\" }";
    if !matches!(value.value, DeValue::Table(_)) {
        value.error("passwords are not written in this file", HINT);
        return None;
    }
    let mut section = value.section("password = { file = \"home.pass\" }")?;
    let file = section.path("file");
    let env = section.text("env");
    let credential = section.text("credential");
    let named = ["file", "env", "credential"].into_iter().filter(|key| section.has(key)).count();
    let reader = section.reader;
    section.finish();
    if named != 1 {
        value.error("a password has one place where it is", HINT);
        return None;
    }
    if let Some(path) = file {
        reader.uses_file(FileKind::Private { what: "password", path: path.value.clone() }, &path.at);
        return Some(Secret::File(path.value));
    }
    if let Some(name) = env {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            reader.error(&name.at, "no environment variable can be called so", "write its name, such as \"HOME_PASS\"");
            return None;
        }
        reader.uses_file(FileKind::Env(name.value.to_owned()), &name.at);
        return Some(Secret::Env(name.value.to_owned()));
    }
    let name = credential?;
    // It becomes a file name below systemd's directory, and nothing outside of it.
    if name.value.is_empty() || name.value.contains(['/', ':', '\0']) || name.value.starts_with('.') {
        reader.error(&name.at, "no systemd credential can be called so", "write the name in `LoadCredential=<name>:`");
        return None;
    }
    reader.uses_file(FileKind::Credential(name.value.to_owned()), &name.at);
    Some(Secret::Credential(name.value.to_owned()))
}

fn read_tls(broker: &mut Section<'_, '_, '_, '_>, url: Option<&BrokerUrl>) -> Option<Tls> {
    let value = broker.take("tls");
    let scheme = url.map(|url| url.scheme);
    let Some(value) = value else {
        return scheme.is_some_and(Scheme::is_tls).then(Tls::default);
    };
    if let Some(scheme) = scheme
        && !scheme.is_tls()
    {
        let what = format!("`tls` says nothing to a broker at {scheme}://");
        value.error(what, "write the url with mqtts:// or wss://, or leave out `tls`");
    }
    let mut section = value.section("tls = { ca = \"ca.pem\" }")?;
    let reader = section.reader;
    let ca = section.path("ca");
    let cert = section.path("cert");
    let key = section.path("key");
    match (section.has("cert"), section.has("key")) {
        (true, false) => value.error("`cert` needs its `key`", "add `key = \"...\"`, the private key in PEM"),
        (false, true) => value.error("`key` needs its `cert`", "add `cert = \"...\"`, the certificate chain in PEM"),
        _ => {}
    }
    let server_name = section.text("server_name").and_then(|name| {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if name.value.is_empty() || !name.value.chars().all(fine) {
            let what = format!("{} is not a server name", values::shown(name.value));
            reader.error(&name.at, what, "write the host name in the broker's certificate");
            return None;
        }
        Some(name.value.to_owned())
    });
    let mut alpn = Vec::new();
    for protocol in section.texts("alpn").unwrap_or_default() {
        if protocol.value.is_empty() || protocol.value.len() > bounds::MAX_ALPN_BYTES {
            let hint = format!("write 1 to {} bytes, such as \"mqtt\"", bounds::MAX_ALPN_BYTES);
            reader.error(&protocol.at, "this cannot be an ALPN protocol", hint);
        } else {
            alpn.push(protocol.value.to_owned());
        }
    }
    section.finish();
    for certificates in [&ca, &cert].into_iter().flatten() {
        reader.uses_file(FileKind::Certificates(certificates.value.clone()), &certificates.at);
    }
    if let Some(key) = &key {
        reader.uses_file(FileKind::Private { what: "private key", path: key.value.clone() }, &key.at);
    }
    let path = |file: Option<At<PathBuf>>| file.map(|file| file.value);
    Some(Tls { ca: path(ca), cert: path(cert), key: path(key), server_name, alpn })
}

fn read_reconnect(mut section: Section<'_, '_, '_, '_>) -> Reconnect {
    let at = section.at.clone();
    let min = section.duration("min", bounds::RECONNECT_MIN);
    let max = section.duration("max", bounds::RECONNECT_MAX);
    check_order(section.reader, &at, min, max);
    section.finish();
    Reconnect { min, max }
}

/// The least wait is not longer than the longest.
pub(crate) fn check_order(reader: &Reader<'_>, at: &Span, min: std::time::Duration, max: std::time::Duration) {
    if min > max {
        let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
        reader.error(at, format!("`min` is {min} and `max` is {max}"), "make `max` at least as long as `min`");
    }
}

fn read_will(mut section: Section<'_, '_, '_, '_>) -> Option<Will> {
    let reader = section.reader;
    let topic = section.require("topic", "\"gateways/cottage\"").and_then(|value| value.text());
    let payload = section.text("payload").map(|text| text.value.as_bytes().to_vec()).unwrap_or_default();
    let qos = section.take("qos").and_then(|value| read_qos(&value)).unwrap_or(QoS::AtMostOnce);
    let retain = section.flag("retain", false);
    let at = section.at.clone();
    section.finish();
    if payload.len() > bounds::MAX_TEXT_BYTES {
        let hint = format!("shorten it to {} bytes", bounds::MAX_TEXT_BYTES);
        reader.error(&at, "the payload of this will is too long", hint);
    }
    let topic = topic?;
    let checked = Topic::new(topic.value.to_owned());
    let topic = checked.map_err(|error| {
        let (why, hint) = why_and_hint(&error, "write levels separated by `/`, such as \"gateways/cottage\"");
        reader.error(&topic.at, format!("{} is not a topic: {why}", values::shown(topic.value)), hint);
    });
    Some(Will { topic: topic.ok()?, payload, qos, retain })
}

fn read_embedded(mut section: Section<'_, '_, '_, '_>) -> EmbeddedBroker {
    let reader = section.reader;
    let list = section.require("listen", "[\"mqtt://127.0.0.1:1883\"]").and_then(|value| value.texts());
    if list.as_ref().is_some_and(Vec::is_empty) {
        reader.error(&section.at, "nobody can reach a broker that listens nowhere", "name an address in `listen`");
    }
    let has_users = section.has("users");
    let users = section.path("users");
    let mut listen = Vec::new();
    for text in list.unwrap_or_default() {
        let addr = match values::listen_addr(text.value) {
            Ok(addr) => addr,
            Err((what, hint)) => {
                reader.error(&text.at, what, hint);
                continue;
            }
        };
        if addr.addr.port() != 0 && listen.contains(&addr) {
            reader.error(&text.at, format!("`listen` names {addr} twice"), "leave out one of them");
        }
        if !addr.addr.ip().is_loopback() && !has_users {
            reader.error(
                &text.at,
                format!("anyone on the network could publish at {addr}"),
                "add `users = \"users.txt\"`, made with `mosquitto_passwd -c users.txt NAME`, or listen on 127.0.0.1",
            );
        }
        listen.push(addr);
    }
    if let Some(users) = &users {
        reader.uses_file(FileKind::Private { what: "password", path: users.value.clone() }, &users.at);
    }
    let limits = section.section("limits", "limits = { max_connections = 1000 }").map(read_limits).unwrap_or_default();
    let spool = read_spool(section.take("spool").as_ref());
    section.finish_beside(&LINK_KEYS, "leave it out, or leave out `embedded = true`: it is for brokers at a `url`");
    EmbeddedBroker { listen, users: users.map(|path| path.value), limits, spool }
}

fn read_limits(mut section: Section<'_, '_, '_, '_>) -> EmbeddedLimits {
    // The bounds keep each number within its type.
    let limits = EmbeddedLimits {
        max_packet_size: section.size("max_packet_size", bounds::PACKET_SIZE) as u32,
        max_connections: section.number("max_connections", bounds::CONNECTIONS) as u32,
        session_expiry_max: section.duration("session_expiry_max", bounds::SESSION_EXPIRY),
        session_queue_max: section.number("session_queue_max", bounds::SESSION_QUEUE) as u32,
        retained_max: section.number("retained_max", bounds::RETAINED) as u32,
        receive_maximum: section.number("receive_maximum", bounds::CLIENT_RECEIVE_MAXIMUM) as u16,
    };
    section.finish();
    limits
}
