//! Reads `[brokers.<name>]` of the box's own broker.

use super::access::{Known, names_whole_levels, read_access};
use super::broker_keys::LINK_KEYS;
use super::listen_tls::read_listen_tls;
use super::spool::read_spool;
use super::status::read_status;
use crate::bounds;
use crate::listening;
use crate::model::{EmbeddedBroker, EmbeddedLimits, Gateway, ListenAddr};
use crate::tree::{At, FileKind, Section};
use crate::values::shown;
use ipnet::IpNet;
use std::num::{NonZeroU32, NonZeroU64};
use tidegate_message::Topic;

/// Makes a section into the box's own broker.
pub(super) fn read_embedded(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> EmbeddedBroker {
    let context = section.context;
    let list = section.require("listen", "[\"mqtt://127.0.0.1:1883\"]").and_then(|value| value.texts());
    if list.as_ref().is_some_and(Vec::is_empty) {
        context.error(&section.at, "nobody can reach a broker that listens nowhere", "name an address in `listen`");
    }
    let has_users = section.has("users");
    let users = section.path("users");
    let (mut listen, mut on_the_network) = (Vec::new(), Vec::new());
    for text in list.unwrap_or_default() {
        let addr = match listening::listen_addr(text.value) {
            Ok(addr) => addr,
            Err((what, hint)) => {
                context.error(&text.at, what, hint);
                continue;
            }
        };
        if addr.is_fixed() && listen.contains(&addr) {
            context.error(&text.at, format!("`listen` names {addr} twice"), "leave out one of them");
        }
        if !addr.is_local() && !has_users {
            on_the_network.push((text.at, addr.clone()));
        }
        listen.push(addr);
    }
    let has_tls = listen.iter().any(ListenAddr::is_tls);
    let tls = read_listen_tls(&mut section, &format!("brokers.{name}"), has_tls);
    let asks_all = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && !tls.client_optional);
    for (at, addr) in on_the_network.into_iter().filter(|(_, addr)| !(addr.is_tls() && asks_all)) {
        context.error(
            &at,
            format!("anyone on the network could publish at {addr}"),
            "add `users = \"users.txt\"`, made with `tidegate user add`, or listen on 127.0.0.1; or on \"mqtts://\" with `tls = { client_ca = \"ca.pem\" }`",
        );
    }
    if let Some(users) = &users {
        context.place(format!("brokers.{name}.users"), &users.at);
        context.uses_file(FileKind::Private { what: "password", path: users.value.clone() }, &users.at);
    }
    let known = Known {
        users: has_users || tls.as_ref().is_some_and(|tls| tls.identity.is_some()),
        certificates: tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
    };
    let lists = read_access(&mut section, name, known);
    let limits = section.section("limits", "limits = { max_connections = 1000 }").map(read_limits).unwrap_or_default();
    let persistence = section.flag("persistence", true);
    let proxies = read_proxies(&mut section, has_users || asks_all && listen.iter().all(ListenAddr::is_tls));
    let server_reference = read_server_reference(&mut section);
    let response_information = read_response_information(&mut section);
    let spool = read_spool(section.take("spool").as_ref());
    let status = read_status(&mut section, gateway);
    section.finish_beside(&LINK_KEYS, "leave it out, or leave out `embedded = true`: it is for brokers at a `url`");
    let users = users.map(|path| path.value);
    EmbeddedBroker {
        listen,
        tls,
        users,
        lists,
        limits,
        persistence,
        proxies,
        server_reference,
        response_information,
        spool,
        status,
    }
}

/// Who speaks for a client is believed where it is from: it must not be let in for that alone.
fn read_proxies(section: &mut Section<'_, '_, '_, '_>, asks_who: bool) -> Vec<IpNet> {
    let context = section.context;
    let texts = section.texts("proxies").unwrap_or_default();
    if let Some(first) = texts.first().filter(|_| !asks_who) {
        context.error(
            &first.at,
            "anyone whom the proxy lets in could publish here",
            "add `users = \"users.txt\"`, made with `tidegate user add`",
        );
    }
    let net = |text: At<&str>| match listening::ip_net(text.value) {
        Ok(net) => Some(net),
        Err((what, hint)) => {
            context.error(&text.at, what, hint);
            None
        }
    };
    texts.into_iter().filter_map(net).collect()
}

fn read_server_reference(section: &mut Section<'_, '_, '_, '_>) -> Option<String> {
    let text = section.text("server_reference")?;
    if text.value.is_empty()
        || text.value.len() > bounds::SERVER_REFERENCE_BYTES
        || text.value.chars().any(char::is_control)
    {
        let hint = "write hosts, with a port where it is not that of the protocol: \"other.example:8883\"";
        section.context.error(&text.at, "this names no server that clients could use", hint);
        return None;
    }
    Some(text.value.to_owned())
}

/// A topic that has something of its client's in it.
fn read_response_information(section: &mut Section<'_, '_, '_, '_>) -> Option<String> {
    let text = section.text("response_information")?;
    let context = section.context;
    if let Err(error) = Topic::new(text.value) {
        let what = format!("{} is no topic that answers could be sent to: {error}", shown(text.value));
        context.error(&text.at, what, "write one with the client's identifier in it: \"answers/%c\"");
        return None;
    }
    names_whole_levels(context, &text).then(|| text.value.to_owned())
}

/// A number without which there is no limit.
fn rate(section: &mut Section<'_, '_, '_, '_>, key: &'static str) -> Option<NonZeroU32> {
    let number = section.take(key)?.number(bounds::RATE)?;
    NonZeroU32::new(number as u32)
}

fn read_limits(mut section: Section<'_, '_, '_, '_>) -> EmbeddedLimits {
    // The bounds keep each number within its type.
    let limits = EmbeddedLimits {
        max_packet_size: section.size("max_packet_size", bounds::PACKET_SIZE) as u32,
        max_connections: section.number("max_connections", bounds::CONNECTIONS) as u32,
        session_expiry_max: section.duration("session_expiry_max", bounds::SESSION_EXPIRY),
        keep_alive_max: section.take("keep_alive_max").and_then(|value| value.duration(bounds::KEEP_ALIVE_MAX)),
        session_subscriptions_max: section.number("session_subscriptions_max", bounds::SESSION_SUBSCRIPTIONS) as u32,
        session_queue_max: section.number("session_queue_max", bounds::SESSION_QUEUE) as u32,
        session_queue_size: section.size("session_queue_size", bounds::SESSION_QUEUE_SIZE),
        queues_size: section.size("queues_size", bounds::QUEUES_SIZE),
        retained_max: section.number("retained_max", bounds::RETAINED) as u32,
        retained_size: section.size("retained_size", bounds::RETAINED_SIZE),
        message_rate: rate(&mut section, "message_rate"),
        byte_rate: section.take("byte_rate").and_then(|value| value.size(bounds::BYTE_RATE)).and_then(NonZeroU64::new),
        connections_per_address: rate(&mut section, "connections_per_address"),
        connect_rate: rate(&mut section, "connect_rate"),
        receive_maximum: section.number("receive_maximum", bounds::CLIENT_RECEIVE_MAXIMUM) as u16,
    };
    section.finish();
    limits
}
