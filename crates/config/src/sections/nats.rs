//! Reads `[brokers.<name>]` of a NATS JetStream.

use super::broker::read_reconnect;
use super::broker_keys::MQTT_KEYS;
use super::secret::read_secret;
use super::spool::read_spool;
use super::text;
use super::tls::{Carrier, read_tls};
use crate::bounds;
use crate::model::{Gateway, NatsBroker, NatsServer};
use crate::tree::{At, Context, Section};
use crate::values::{self, Wrong, shown};

/// What begins the url of a NATS server: as users of NATS write it.
const PLAIN: &str = "nats://";
const SECURE: &str = "tls://";

/// Unless a url says another (`nats-server`, its setting `port`).
const PORT: u16 = 4222;

/// The longest name of a stream or consumer that a server takes, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Whether this is the url of a NATS server; `tls://` is also what some write for MQTT.
pub(super) fn is_nats(url: &str, has_stream: bool) -> bool {
    url.starts_with(PLAIN) || url.starts_with(SECURE) && has_stream
}

/// Makes a section into a broker.
pub(super) fn read_nats(mut section: Section<'_, '_, '_, '_>, name: &str, gateway: &Gateway) -> NatsBroker {
    let context = section.context;
    let url = section.require("url", "\"nats://127.0.0.1:4222\"").and_then(|value| value.text());
    let is_secure = url.as_ref().is_some_and(|url| url.value.starts_with(SECURE));
    if let Some(url) = &url {
        context.place(format!("brokers.{name}.url"), &url.at);
    }
    let mut servers = Vec::new();
    for url in url.into_iter().chain(section.texts("servers").unwrap_or_default()) {
        match server(url.value, if is_secure { SECURE } else { PLAIN }) {
            Ok(server) if servers.contains(&server) => {
                context.error(&url.at, format!("`{server}` is named twice"), "leave out one of them");
            }
            Ok(server) => servers.push(server),
            Err((what, hint)) => context.error(&url.at, what, hint),
        }
    }
    let stream = section.require("stream", "\"SITE\"").and_then(|value| value.text());
    let stream = stream.and_then(|stream| nats_name(context, "a stream", &stream)).unwrap_or_default();
    let mut subjects = Vec::new();
    for subject in section.texts("subjects").unwrap_or_default() {
        if is_subject(subject.value) {
            subjects.push(subject.value.to_owned());
        } else {
            let what = format!("{} is not a subject of NATS", shown(subject.value));
            context.error(
                &subject.at,
                what,
                "write tokens between dots, with `*` for one and a last `>` for all others",
            );
        }
    }
    if section.has("replicas") && !section.has("subjects") {
        context.error(
            &section.at,
            "`replicas` is of a stream that is made, and without `subjects` none is",
            "add `subjects`, or leave it out",
        );
    }
    let client_id = match section.text("client_id") {
        Some(id) => nats_name(context, "a consumer", &id).unwrap_or_default(),
        None => Gateway::default_client_id(&gateway.name, name),
    };
    let password = section.take("password").and_then(|value| {
        context.place(format!("brokers.{name}.password"), &value.at);
        read_secret(&value, "password")
    });
    let carrier = Carrier {
        to: "a broker",
        scheme: if is_secure { "tls" } else { "nats" },
        is_tls: is_secure,
        with_tls: "tls://",
    };
    let tls = read_tls(&mut section, &format!("brokers.{name}"), Some(carrier));
    if tls.as_ref().is_some_and(|tls| tls.server_name.is_some() || !tls.alpn.is_empty()) {
        let what = "each server of NATS has a name of its own, and none speaks ALPN";
        context.error(&section.at, what, "leave out `server_name` and `alpn` of `tls`");
    }
    let broker = NatsBroker {
        servers,
        tls,
        stream,
        subjects,
        replicas: section.number("replicas", bounds::REPLICAS) as u8,
        client_id,
        username: section.text("username").and_then(|name| text::checked(context, "username", &name)),
        password,
        receive_maximum: section.number("receive_maximum", bounds::RECEIVE_MAXIMUM) as u16,
        reconnect: read_reconnect(&mut section),
        connect_timeout: section.duration("connect_timeout", bounds::CONNECT_TIMEOUT),
        spool: read_spool(section.take("spool").as_ref()),
    };
    section.finish_beside(&MQTT_KEYS, "leave it out: it is of MQTT; docs/nats.md says what NATS has in its place");
    broker
}

/// A server by its url. No message repeats the text: there may be a password in it.
fn server(url: &str, scheme: &str) -> Result<NatsServer, Wrong> {
    let wrong = |what: &str, hint: String| Err((what.to_owned(), hint));
    let Some(rest) = url.strip_prefix(scheme) else {
        return wrong(
            "this server of NATS has another scheme than `url`",
            format!("write it as \"{scheme}host:4222\""),
        );
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        let hint = "use the keys `username` and `password` instead; a password alone is a token".to_owned();
        return wrong("this url has a user name or token in it", hint);
    }
    if rest.contains(',') {
        return wrong("this url names several servers", "name the others in `servers`".to_owned());
    }
    if rest.contains('/') || rest.contains('%') {
        return wrong("this url has a path or a zone", format!("write it as \"{scheme}host:4222\""));
    }
    let (host, port) = values::host_and_port(rest)
        .map_err(|(what, _)| (what, format!("write it as \"{scheme}host:4222\", an IPv6 address in brackets")))?;
    match port.unwrap_or(PORT) {
        0 => wrong("nothing can be connected to at port 0", "write the server's port".to_owned()),
        port => Ok(NatsServer { host, port }),
    }
}

/// The name of a stream or consumer, which is a token of subjects.
fn nats_name(context: &Context<'_>, of: &str, name: &At<&str>) -> Option<String> {
    let text = name.value;
    let fine = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.chars().all(fine) {
        let what = format!("{} cannot be the name of {of}", shown(text));
        let hint = format!("write 1 to {MAX_NAME_BYTES} characters without blanks, `.`, `*`, `>` and slashes");
        context.error(&name.at, what, hint);
        return None;
    }
    Some(text.to_owned())
}

/// A subject, perhaps with wildcards.
fn is_subject(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    tokens.iter().enumerate().all(|(at, token)| {
        let is_last = at + 1 == tokens.len();
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '*' | '>');
        *token == "*" || (*token == ">" && is_last) || (!token.is_empty() && token.chars().all(plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_users_of_nats_do() {
        let read = |url: &str| server(url, PLAIN).map(|server| server.to_string()).ok();
        for (url, shown) in
            [("nats://a", "a:4222"), ("nats://10.0.0.1:4223/", "10.0.0.1:4223"), ("nats://[::1]", "[::1]:4222")]
        {
            assert_eq!(read(url).as_deref(), Some(shown));
        }
        let bad = [
            "nats://",
            "nats://u:p@a",
            "nats://a,nats://b",
            "nats://a:0",
            "nats://a/b",
            "tls://a",
            "nats://[fe80::1%x]",
        ];
        for url in bad {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn subjects_have_tokens() {
        for fine in [">", "a", "a.*.b", "a.>", "*.>", "%.a"] {
            assert!(is_subject(fine), "{fine}");
        }
        for bad in ["", ".", "a.", "a..b", "a b", ">.a", "a*", "a.>b"] {
            assert!(!is_subject(bad), "{bad}");
        }
    }
}
