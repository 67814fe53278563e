//! Reads `[brokers.<name>]`.

use super::announcement::{About, read_announcement, read_will};
use super::broker_keys::{EMBEDDED_KEYS, NATS_KEYS};
use super::embedded::read_embedded;
use super::headers::read_headers;
use super::nats::{is_nats, read_nats};
use super::probe::read_probe;
use super::scalars::check_order;
use super::secret::read_secret;
use super::spool::read_spool;
use super::status::read_status;
use super::text;
use super::tls::{Carrier, read_tls};
use crate::bounds;
use crate::model::{BridgeMode, Broker, BrokerUrl, Gateway, LinkBroker, Reconnect, Scheme, Version};
use crate::presets;
use crate::problem::did_you_mean;
use crate::tree::{Section, Value};
use crate::values;
use tidegate_message::QoS;

/// Makes a section into a broker, with placeholders where it cannot be used.
pub(crate) fn read_broker(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> Broker {
    if section.flag("embedded", false) {
        Broker::Embedded(read_embedded(section, name, gateway))
    } else if section.written("url").is_some_and(|url| is_nats(url, section.has("stream"))) {
        Broker::Nats(read_nats(section, name, gateway))
    } else {
        Broker::Link(read_link(section, name, gateway))
    }
}

fn read_link(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> LinkBroker {
    let context = section.context;
    if let Some(name) = section.text("preset")
        && presets::named(name.value).is_none()
    {
        let names: Vec<&str> = presets::all().iter().map(|preset| preset.name).collect();
        let hint = match did_you_mean(name.value, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}", names.join(", ")),
        };
        context.error(&name.at, format!("there is no preset {}", values::shown(name.value)), hint);
    }
    let url_at = section.require("url", "\"mqtt://127.0.0.1:1883\"").and_then(|value| value.text());
    if let Some(url) = &url_at {
        context.place(format!("brokers.{name}.url"), &url.at);
    }
    let url = url_at.as_ref().and_then(|text| {
        values::broker_url(text.value).map_err(|(what, hint)| context.error(&text.at, what, hint)).ok()
    });
    let version = section.choice(
        "version",
        &[("auto", Version::Auto), ("3.1", Version::V31), ("3.1.1", Version::V311), ("5", Version::V5)],
    );
    let client_id_at = section.text("client_id");
    let client_id = match &client_id_at {
        Some(id) => text::checked(context, "client_id", id).unwrap_or_default(),
        None => Gateway::default_client_id(&gateway.name, name),
    };
    if version == Version::V31 && client_id.len() > bounds::MAX_CLIENT_ID_V31 {
        let at = client_id_at.map_or(section.at.clone(), |id| id.at);
        let what = format!(
            "a client id of MQTT 3.1 has at most {} characters, not {}",
            bounds::MAX_CLIENT_ID_V31,
            client_id.len()
        );
        context.warning(&at, what, "set a shorter `client_id`; some brokers refuse this one");
    }
    let username = section.text("username").and_then(|name| text::checked(context, "username", &name));
    let password_at = section.take("password");
    let password = password_at.as_ref().and_then(|value| {
        context.place(format!("brokers.{name}.password"), &value.at);
        read_secret(value, "password")
    });
    if let Some(value) = &password_at
        && !section.has("username")
        && matches!(version, Version::V31 | Version::V311)
    {
        let hint = "add `username = \"...\"`, or set `version = \"5\"` if the broker speaks that";
        value.error("there is a `password` without a `username`, which only MQTT 5 has", hint);
    }
    let scheme = url.as_ref().map(|url| url.scheme);
    let carrier = |scheme: Scheme| Carrier {
        to: "a broker",
        scheme: scheme.as_str(),
        is_tls: scheme.is_tls(),
        with_tls: "mqtts:// or wss://",
    };
    let tls = read_tls(&mut section, &format!("brokers.{name}"), scheme.map(carrier));
    let headers = section.take("headers").map(|value| {
        context.place(format!("brokers.{name}.headers"), &value.at);
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
        context.warning(&value.at, "`mark_late` adds a property to messages, which only MQTT 5 has", hint);
    }
    let session_expiry = section.duration("session_expiry", bounds::SESSION_EXPIRY);
    let status = read_status(&mut section, gateway);
    let probe = read_probe(&mut section, gateway, version, bridge);
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
        reconnect: read_reconnect(&mut section),
        connect_timeout: section.duration("connect_timeout", bounds::CONNECT_TIMEOUT),
        tls,
        bridge,
        topic_alias_max: section.number("topic_alias_max", bounds::TOPIC_ALIAS_MAX) as u16,
        will: section
            .section("will", "will = { topic = \"gone\", payload = \"\" }")
            .and_then(|section| read_will(section, about)),
        birth,
        farewell,
        status,
        probe,
        max_qos: section.take("max_qos").and_then(|value| read_max_qos(&value)).unwrap_or(QoS::ExactlyOnce),
        headers: headers.unwrap_or_default(),
        spool,
    };
    let hint = "add `embedded = true` if this is the box's own broker, or leave it out";
    let nats = "write the url as nats:// if this is a NATS JetStream, or leave it out";
    section.finish_beside_all(&[(&EMBEDDED_KEYS, hint), (&NATS_KEYS, nats)]);
    broker
}

/// 0, 1 or 2.
fn read_max_qos(value: &Value<'_, '_, '_, '_>) -> Option<QoS> {
    let number = value.number(bounds::MAX_QOS)?;
    QoS::from_u8(number as u8) // at most 2
}

pub(super) fn read_reconnect(broker: &mut Section<'_, '_, '_, '_>) -> Reconnect {
    let Some(mut section) = broker.section("reconnect", "reconnect = { min = \"500ms\", max = \"60s\" }") else {
        return Reconnect::default();
    };
    let at = section.at.clone();
    let min = section.duration("min", bounds::RECONNECT_MIN);
    let max = section.duration("max", bounds::RECONNECT_MAX);
    check_order(section.context, &at, min, max);
    section.finish();
    Reconnect { min, max }
}
