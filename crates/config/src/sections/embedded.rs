//! Reads `[brokers.<name>]` of the box's own broker.

use super::access::read_access;
use super::broker_keys::LINK_KEYS;
use super::listen_tls::read_listen_tls;
use super::spool::read_spool;
use super::status::read_status;
use crate::bounds;
use crate::model::{EmbeddedBroker, EmbeddedLimits, Gateway};
use crate::tree::{FileKind, Section};
use crate::values;

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
        let addr = match values::listen_addr(text.value) {
            Ok(addr) => addr,
            Err((what, hint)) => {
                context.error(&text.at, what, hint);
                continue;
            }
        };
        if addr.addr.port() != 0 && listen.contains(&addr) {
            context.error(&text.at, format!("`listen` names {addr} twice"), "leave out one of them");
        }
        if !addr.addr.ip().is_loopback() && !has_users {
            on_the_network.push((text.at, addr));
        }
        listen.push(addr);
    }
    let has_tls = listen.iter().any(|addr| addr.scheme.is_tls());
    let tls = read_listen_tls(&mut section, &format!("brokers.{name}"), has_tls);
    let asks_all = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && !tls.client_optional);
    for (at, addr) in on_the_network.into_iter().filter(|(_, addr)| !(addr.scheme.is_tls() && asks_all)) {
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
    let has_names = has_users || tls.as_ref().is_some_and(|tls| tls.identity.is_some());
    let lists = read_access(&mut section, name, has_names);
    let limits = section.section("limits", "limits = { max_connections = 1000 }").map(read_limits).unwrap_or_default();
    let persistence = section.flag("persistence", true);
    let spool = read_spool(section.take("spool").as_ref());
    let status = read_status(&mut section, gateway);
    section.finish_beside(&LINK_KEYS, "leave it out, or leave out `embedded = true`: it is for brokers at a `url`");
    EmbeddedBroker { listen, tls, users: users.map(|path| path.value), lists, limits, persistence, spool, status }
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
