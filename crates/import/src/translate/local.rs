//! The mosquitto that goes on: what stays with it, and how Tidegate becomes its client.

use super::Draft;
use crate::document::Toml;
use crate::problem::Place;
use crate::settings::{Bridge, Direction, Find, Mosquitto, Setting, Side, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_config::BrokerUrl;

/// The user that mosquitto is to know, where it lets nobody in without a name.
const USER: &str = "tidegate";
/// Of a listener without one.
const DEFAULT_PORT: u16 = 1883;
const LOOPBACK: &str = "127.0.0.1";

/// A place where clients come in.
pub(super) struct Entrance<'m> {
    /// `None` for what mosquitto makes of itself.
    pub(super) place: Option<&'m Place>,
    /// 0 for a Unix socket.
    pub(super) port: u16,
    pub(super) bind: Option<&'m str>,
    pub(super) settings: &'m [Setting],
}

impl Entrance<'_> {
    pub(super) fn has_tls(&self) -> bool {
        ["certfile", "psk_hint"].iter().any(|name| self.settings.setting(name).is_some())
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.settings.text("protocol") == Some("websockets")
    }
}

impl Mosquitto {
    /// Every listener, with the one that is made of settings before the first.
    pub(super) fn entrances(&self) -> Vec<Entrance<'_>> {
        let mut entrances: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| Entrance {
                place: Some(&listener.place),
                port: listener.port,
                bind: listener.bind.as_deref(),
                settings: &listener.settings,
            })
            .collect();
        let default = &self.default_listener[..];
        let makes_one = default.iter().find(|setting| match (&setting.value, setting.keyword.name) {
            (_, "allow_anonymous" | "acl_file") => false,
            (Value::Flag(flag), _) => *flag,
            (Value::Number(number), "max_connections") => *number != -1,
            (Value::Number(number), "max_qos") => *number != 2,
            (Value::Text(text), "protocol") => text != "mqtt",
            _ => true,
        });
        if makes_one.is_some() || entrances.is_empty() {
            let port = default.number("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
            entrances.push(Entrance {
                place: makes_one.map(|setting| &setting.place),
                port,
                bind: default.text("bind_address"),
                settings: default,
            });
        }
        entrances
    }

    /// Whether mosquitto listens on loopback only, and lets everybody in: nothing says where to listen.
    pub(super) fn is_local_only(&self) -> bool {
        self.listeners.is_empty()
            && ["port", "bind_address"].iter().all(|name| self.default_listener.setting(name).is_none())
    }

    /// What says who may come in at a listener.
    pub(super) fn security<'m>(&'m self, entrance: &Entrance<'m>) -> &'m [Setting] {
        match self.general.flag("per_listener_settings") {
            Some(true) => entrance.settings,
            _ => &self.general,
        }
    }

    pub(super) fn lets_anybody_in(&self, entrance: &Entrance<'_>) -> bool {
        self.is_local_only() || self.security(entrance).flag("allow_anonymous") == Some(true)
    }
}

impl Draft<'_> {
    /// Says what mosquitto keeps.
    pub(super) fn stays(&mut self) {
        let mosquitto = self.mosquitto;
        let mut files: BTreeMap<&Arc<str>, Vec<(usize, &str)>> = BTreeMap::new();
        let listeners = mosquitto.listeners.iter();
        let sections = [&mosquitto.general[..], &mosquitto.default_listener]
            .into_iter()
            .chain(listeners.clone().map(|listener| &listener.settings[..]));
        let settings = sections.flatten().map(|setting| (&setting.place, setting.keyword.name));
        for (place, name) in settings.chain(listeners.map(|listener| (&listener.place, "listener"))) {
            files.entry(&place.file).or_default().push((place.line, name));
        }
        self.document.blank();
        self.document.comment(
            "mosquitto goes on as the local broker. Take its bridges out of its configuration and restart it before \
             Tidegate starts: both would send everything, and with one client id they end each other's connections.",
        );
        if files.is_empty() {
            return;
        }
        self.document.comment("These lines stay with it, as they are:");
        for (file, mut lines) in files {
            lines.sort_unstable();
            let lines: Vec<String> = lines.iter().map(|(line, name)| format!("{line} {name}")).collect();
            self.document.comment(format!("  {file}: {}", lines.join(", ")));
        }
        if let Some(setting) = mosquitto.general.setting("max_queued_messages") {
            let words = "max_queued_messages is for clients of mosquitto, Tidegate among them while it is away; what waits \
                         for a broker of Tidegate's waits on disk, within `spool = { max_bytes = \"1GiB\" }` of that broker";
            self.remark(&setting.place, words);
        }
    }

    /// `[brokers.home]`: mosquitto, as its bridge saw it.
    pub(super) fn local_broker(&mut self, bridge: &Bridge, name: &str) {
        let mosquitto = self.mosquitto;
        let entrances = mosquitto.entrances();
        let Some(entrance) = entrances.iter().min_by_key(|entrance| preference(entrance)) else { return };
        let (url, exact) = url(entrance);
        let place = entrance.place.cloned().unwrap_or_else(|| bridge.place.clone());
        if !exact {
            let words = "Tidegate could not tell how to reach this listener from this machine; it takes loopback";
            self.remark(&place, words);
        }
        if entrance.has_tls() {
            self.step(format!(
                "the listener at {place} speaks TLS: add one for Tidegate to mosquitto's configuration, such as `listener \
                 1884 127.0.0.1`, or set `tls` and its `server_name` here"
            ));
        }
        if let Some(setting) = entrance.settings.setting("mount_point") {
            let words = "its `mount_point` is before all topics of clients: Tidegate sees them without it, the bridge saw \
                         them with it";
            self.remark(&setting.place, words);
        }
        let file = format!("{name}.pass");
        let settings = &bridge.settings[..];
        let anybody = mosquitto.lets_anybody_in(entrance);
        let needs_password = !anybody && settings.setting("local_password").is_none();
        let user = settings.text("local_username").unwrap_or(USER).to_owned();
        if needs_password {
            let security = mosquitto.security(entrance);
            let passwords = security.text("password_file").unwrap_or("FILE").to_owned();
            self.step(format!(
                "mosquitto lets nobody in without a password, and a bridge needed none: `mosquitto_passwd {passwords} {user}`, \
                 the same password in the file {file} beside this one (chmod 600), and reload mosquitto"
            ));
        }
        if let Some(acl) = mosquitto.security(entrance).setting("acl_file") {
            self.acl_of_routes(
                bridge,
                &acl.place,
                if anybody && settings.setting("local_username").is_none() { None } else { Some(&user) },
            );
        }
        self.document.table(&["brokers", name]);
        let whence = match entrance.place {
            Some(place) => place.to_string(),
            None => "mosquitto's default: it listens on loopback only".to_owned(),
        };
        self.document.key("url", Toml::text(url), whence);
        self.document.key("version", Toml::text("5"), "mosquitto speaks it, and sends us nothing of our own");
        if let Some(setting) = settings.setting("local_clientid")
            && let Value::Text(id) = &setting.value
        {
            self.document.key("client_id", Toml::text(id), setting.place.to_string());
        }
        if needs_password {
            if settings.setting("local_username").is_none() {
                self.document.key("username", Toml::text(USER), "see above");
            }
            let password = Toml::Table(vec![("file", Toml::text(&file))]);
            self.login(settings, "local_username", "local_password", &file, true);
            self.document.key("password", password, "see above");
        } else {
            self.login(settings, "local_username", "local_password", &file, true);
        }
    }

    /// What an ACL must let through.
    fn acl_of_routes(&mut self, bridge: &Bridge, place: &Place, user: Option<&str>) {
        let mut lines: Vec<String> = user.map(|user| format!("  user {user}")).into_iter().collect();
        for line in &bridge.topics {
            let access = match line.direction {
                Direction::Out => "read",
                Direction::In => "write",
                Direction::Both => "readwrite",
            };
            lines.push(format!("  topic {access} {}", line.filter(Side::Local)));
        }
        let lines = lines.join("\n");
        self.step(format!("the acl_file at {place} holds for Tidegate as for any client; it needs\n{lines}"));
    }
}

/// The least is the best entrance for a client on the same machine.
fn preference(entrance: &Entrance<'_>) -> (bool, bool, bool, bool) {
    let settings = entrance.settings;
    let elsewhere = entrance.bind.is_some_and(|bind| !["localhost", LOOPBACK, "0.0.0.0"].contains(&bind));
    (
        entrance.has_tls(),
        settings.setting("mount_point").is_some() || settings.setting("bind_interface").is_some(),
        entrance.is_websocket(),
        elsewhere,
    )
}

/// How a client on the same machine reaches it, and whether that is certain.
fn url(entrance: &Entrance<'_>) -> (String, bool) {
    if entrance.port == 0 {
        let path = entrance.bind.unwrap_or_default();
        let url = format!("unix://{path}");
        return match url.parse::<BrokerUrl>() {
            Ok(_) => (url, true),
            Err(_) => (format!("mqtt://{LOOPBACK}:{DEFAULT_PORT}"), false),
        };
    }
    let scheme = match (entrance.is_websocket(), entrance.has_tls()) {
        (false, false) => "mqtt",
        (false, true) => "mqtts",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    let any = match entrance.settings.text("socket_domain") {
        Some("ipv6") => "::1",
        _ => LOOPBACK,
    };
    let host = match entrance.bind {
        None | Some("0.0.0.0") => any,
        Some("::") => "::1",
        Some(bind) => bind,
    };
    let of = |host: &str| match host.contains(':') {
        true => format!("{scheme}://[{host}]:{}", entrance.port),
        false => format!("{scheme}://{host}:{}", entrance.port),
    };
    match of(host).parse::<BrokerUrl>() {
        Ok(_) => (of(host), true),
        Err(_) => (of(any), false),
    }
}
