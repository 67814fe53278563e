//! Reads `[brokers.<name>]`.

use crate::bounds;
use crate::broker::{
    BridgeMode, Broker, BrokerUrl, EmbeddedBroker, EmbeddedLimits, LinkBroker, Reconnect, Scheme, Tls, Version,
};
use crate::checked::Gateway;
use crate::problem::Span;
use crate::read_announcement::{About, read_announcement, read_will};
use crate::read_headers::read_headers;
use crate::read_secret::read_secret;
use crate::read_spool::read_spool;
use crate::reader::{At, FileKind, Reader, Section, Value};
use crate::text;
use crate::values;
use std::path::PathBuf;
use tidegate_message::QoS;

/// Keys that only a link knows.
const LINK_KEYS: [&str; 19] = [
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
    "birth",
    "farewell",
    "max_qos",
    "headers",
];
/// Keys that only the box's own broker knows.
const EMBEDDED_KEYS: [&str; 3] = ["listen", "users", "limits"];

/// Makes a section into a broker, with placeholders where it cannot be used.
pub(crate) fn read_broker(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> Broker {
    if section.flag("embedded", false) {
        Broker::Embedded(read_embedded(section, name))
    } else {
        Broker::Link(read_link(section, name, gateway))
    }
}

fn read_link(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> LinkBroker {
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
        Some(id) => text::checked(reader, "client_id", id).unwrap_or_default(),
        None => format!("tidegate-{}-{name}", gateway.name),
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
    let username = section.text("username").and_then(|name| text::checked(reader, "username", &name));
    let password_at = section.take("password");
    let password = password_at.as_ref().and_then(|value| {
        reader.place(name, "password", &value.at);
        read_secret(value, "password")
    });
    if let Some(value) = &password_at
        && !section.has("username")
        && matches!(version, Version::V31 | Version::V311)
    {
        let hint = "add `username = \"...\"`, or set `version = \"5\"` if the broker speaks that";
        value.error("there is a `password` without a `username`, which only MQTT 5 has", hint);
    }
    let tls = read_tls(&mut section, name, url.as_ref());
    let scheme = url.as_ref().map(|url| url.scheme);
    let headers = section.take("headers").map(|value| {
        reader.place(name, "headers", &value.at);
        read_headers(&value, scheme)
    });
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
    let about = About {
        allow_control: gateway.allow_control_characters,
        may_be_v5: matches!(version, Version::Auto | Version::V5),
        session_expiry,
    };
    let mut announcement = |key, kind| {
        let section: Option<Section<'_, '_, '_, '_>> = section.section(key, kind);
        section.and_then(|section| read_announcement(section, key, about))
    };
    let birth = announcement("birth", "birth = { topic = \"here\", payload = \"\" }");
    let farewell = announcement("farewell", "farewell = { topic = \"gone\", payload = \"\" }");
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
        will: section
            .section("will", "will = { topic = \"gone\", payload = \"\" }")
            .and_then(|section| read_will(section, about)),
        birth,
        farewell,
        max_qos: section.take("max_qos").and_then(|value| read_max_qos(&value)).unwrap_or(QoS::ExactlyOnce),
        headers: headers.unwrap_or_default(),
        spool,
    };
    section.finish_beside(&EMBEDDED_KEYS, "add `embedded = true` if this is the box's own broker, or leave it out");
    broker
}

/// 0, 1 or 2.
fn read_max_qos(value: &Value<'_, '_, '_, '_>) -> Option<QoS> {
    let number = value.number(bounds::MAX_QOS)?;
    QoS::from_u8(number as u8) // at most 2
}

fn read_tls(broker: &mut Section<'_, '_, '_, '_>, name: &str, url: Option<&BrokerUrl>) -> Option<Tls> {
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
    let key_password = section.take("key_password").and_then(|value| {
        if !section.has("key") {
            value.error("`key_password` needs its `key`", "add `key = \"...\"` and `cert`, or leave it out");
        }
        reader.place(name, "tls.key_password", &value.at);
        read_secret(&value, "passphrase")
    });
    let fingerprint = section.text("fingerprint").and_then(|text| {
        let read = values::fingerprint(text.value);
        if read.is_none() {
            let hint = "write the 64 hexadecimal digits that `openssl x509 -noout -fingerprint -sha256` prints";
            reader.error(&text.at, "`fingerprint` is not a SHA-256 fingerprint", hint);
        }
        read
    });
    if section.has("fingerprint") && section.has("ca") {
        value.error("`fingerprint` is the only certificate to trust, and `ca` says others", "leave out one of them");
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
    for (place, certificates) in [("tls.ca", &ca), ("tls.cert", &cert)] {
        let Some(certificates) = certificates else { continue };
        reader.place(name, place, &certificates.at);
        reader.uses_file(FileKind::Certificates(certificates.value.clone()), &certificates.at);
    }
    if let Some(key) = &key {
        reader.place(name, "tls.key", &key.at);
        reader.uses_file(FileKind::Private { what: "private key", path: key.value.clone() }, &key.at);
    }
    let path = |file: Option<At<PathBuf>>| file.map(|file| file.value);
    Some(Tls { ca: path(ca), cert: path(cert), key: path(key), key_password, fingerprint, server_name, alpn })
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

fn read_embedded(mut section: Section<'_, '_, '_, '_>, name: &str) -> EmbeddedBroker {
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
        reader.place(name, "users", &users.at);
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
