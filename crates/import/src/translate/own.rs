//! `--own`: Tidegate's own broker in the place of mosquitto.

use super::Draft;
use super::bridge::written;
use super::broker_settings::{Fate, fate};
use super::dynamic;
use super::local::Entrance;
use crate::document::Toml;
use crate::keywords;
use crate::settings::{Direction, Find, Setting, Side, Value};
use crate::words::expiration_hours;
use std::net::IpAddr;
use tidegate_config::ListenAddr;
use tidegate_message::TopicFilter;

/// mosquitto's default, which Tidegate's is ten times as large as.
const QUEUE_UNLIMITED: i64 = 1_000_000;
/// The bounds of `limits.max_packet_size`, in bytes.
const PACKET_BYTES: (i64, i64) = (1024, 268_435_460);
/// The most of `limits.max_connections`.
const MAX_CONNECTIONS: i64 = 1_000_000;
/// Where the own broker listens if none of the listeners can be its.
const LAST_RESORT: &str = "mqtt://127.0.0.1:1883";
/// The users of a broker that had none.
const USERS: &str = "users.txt";

/// What is to be said where it was otherwise.
const NOBODY_UNNAMED: &str = "with `users` nobody comes in without a name and a password";

/// The least of `limits.session_queue_size`, in bytes.
const QUEUE_BYTES_MIN: i64 = 64 * 1024;

impl<'a> Draft<'a> {
    pub(super) fn own_broker(&mut self) {
        let mosquitto = self.mosquitto;
        let entrances = mosquitto.entrances();
        self.names.give("home");
        self.document.blank();
        self.document
            .comment("Tidegate's own broker in the place of mosquitto, which is to be stopped before it starts.");
        for setting in mosquitto.general.iter().chain(&mosquitto.default_listener) {
            self.of_the_broker(setting);
        }
        for listener in &mosquitto.listeners {
            listener.settings.iter().for_each(|setting| self.of_the_broker(setting));
        }
        self.between_bridges();
        let dynamic = mosquitto.dynamic_security.as_ref();
        let users = match dynamic {
            Some((place, made)) => {
                self.dynamic_users(place, made);
                for entrance in &entrances {
                    if let Some(setting) = mosquitto.security(entrance).setting("password_file") {
                        let instead = "the plugin has users of its own: put both into one file";
                        self.lose(&setting.place, written(setting), instead);
                        break;
                    }
                }
                let anybody = entrances.iter().find(|entrance| mosquitto.lets_anybody_in(entrance));
                let setting = anybody.and_then(|entrance| mosquitto.security(entrance).setting("allow_anonymous"));
                if let Some(setting) = setting {
                    self.lose(&setting.place, "allow_anonymous true beside the plugin", NOBODY_UNNAMED);
                }
                Some((Toml::text(dynamic::USERS), place.to_string()))
            }
            None => self.users(&entrances),
        };
        let acl_file = self.acl_file(&entrances);
        let mut secure = Vec::new();
        let listen = self.listen(&entrances, users.is_some(), &mut secure);
        self.document.table(&["brokers", "home"]);
        self.document.key("embedded", Toml::Flag(true), "");
        self.document.key("listen", Toml::Lines(listen), "");
        if let Some((users, whence)) = users {
            self.document.key("users", users, whence);
        }
        if let Some((file, whence)) = acl_file {
            self.document.key("acl_file", file, whence);
        }
        if let Some(setting) = self.mosquitto.general.setting("persistence")
            && let Value::Flag(is_kept) = setting.value
        {
            self.document.key("persistence", Toml::Flag(is_kept), setting.place.to_string());
        }
        self.limits(&entrances);
        self.own_tls(&secure);
        if let Some((place, made)) = dynamic {
            self.dynamic_rules(place, made);
        }
    }

    fn of_the_broker(&mut self, setting: &Setting) {
        let is_dynamic = self.mosquitto.dynamic_security.is_some()
            && match (&setting.value, setting.keyword.name) {
                (Value::Text(path), "plugin") => path.contains("dynamic_security"),
                (_, name) => name == keywords::PLUGIN_CONFIG_FILE,
            };
        match if is_dynamic { Fate::Carried } else { fate(setting) } {
            Fate::Carried => {}
            Fate::NotNeeded(why) => {
                self.document.comment(format!("{}: not needed: {}: {why}", setting.place, setting.keyword.name));
            }
            Fate::Lost(instead) => self.lose(&setting.place, written(setting), instead),
        }
    }

    /// What one bridge brings, others do not carry on: what the gateway publishes at its own broker it is never sent.
    fn between_bridges(&mut self) {
        let bridges = &self.mosquitto.bridges;
        let lines = |out: bool| {
            let way = if out { Direction::Out } else { Direction::In };
            let lines = bridges.iter().flat_map(|bridge| bridge.topics.iter().map(move |line| (&bridge.name, line)));
            lines.filter(move |(_, line)| line.direction == way || line.direction == Direction::Both)
        };
        for (name, comes) in lines(false) {
            for (other, goes) in lines(true).filter(|(other, _)| *other != name) {
                let filters = [comes, goes].map(|line| TopicFilter::new(line.filter(Side::Local)));
                let [Ok(comes_as), Ok(goes_as)] = filters else { continue };
                if comes_as.overlaps(&goes_as) {
                    let instead = format!(
                        "add a route from the broker of `{name}` to that of `{other}`: what Tidegate publishes at its own \
                         broker goes to clients, not to its routes"
                    );
                    let what = format!("what comes by `{name}` goes out by `{other}` ({})", goes.place);
                    self.lose(&comes.place, what, instead);
                }
            }
        }
    }

    /// The file of access lists, which is read as it is.
    fn acl_file(&mut self, entrances: &[Entrance<'a>]) -> Option<(Toml, String)> {
        let setting =
            self.only_one(entrances, "acl_file", "one broker has one file of access lists: put both into one")?;
        let Value::Text(path) = &setting.value else { return None };
        Some((self.path(path), setting.place.to_string()))
    }

    /// What the first entrance says that says it; of the others it is told that it is lost.
    fn only_one(&mut self, entrances: &[Entrance<'a>], name: &str, instead: &str) -> Option<&'a Setting> {
        let mosquitto = self.mosquitto;
        let mut files: Vec<&Setting> =
            entrances.iter().filter_map(|entrance| mosquitto.security(entrance).setting(name)).collect();
        files.dedup_by_key(|setting| &setting.place);
        for setting in files.iter().skip(1) {
            self.lose(&setting.place, written(setting), instead);
        }
        files.first().copied()
    }

    fn users(&mut self, entrances: &[Entrance<'a>]) -> Option<(Toml, String)> {
        let mosquitto = self.mosquitto;
        let file = self.only_one(entrances, "password_file", "one broker has one file of users: put both into one");
        let anybody = entrances.iter().find(|entrance| mosquitto.lets_anybody_in(entrance));
        match (file, anybody) {
            (Some(setting), anybody) => {
                if let Some(setting) =
                    anybody.and_then(|entrance| mosquitto.security(entrance).setting("allow_anonymous"))
                {
                    self.lose(&setting.place, "allow_anonymous true beside a password_file", NOBODY_UNNAMED);
                }
                let Value::Text(path) = &setting.value else { return None };
                Some((self.path(path), setting.place.to_string()))
            }
            (None, Some(_)) => None,
            (None, None) if entrances.iter().all(Entrance::names_by_certificate) => None,
            (None, None) => {
                self.step(format!(
                    "mosquitto let nobody in by name and password: `mosquitto_passwd -c {USERS} NAME` beside this file (chmod \
                     600) for those who are to come in"
                ));
                Some((Toml::text(USERS), "see above".to_owned()))
            }
        }
    }

    /// Urls to listen on, each once.
    fn listen<'e>(
        &mut self,
        entrances: &'e [Entrance<'a>],
        users: bool,
        secure: &mut Vec<&'e Entrance<'a>>,
    ) -> Vec<(String, String)> {
        let mut listen: Vec<(String, String)> = Vec::new();
        for entrance in entrances {
            let (whence, place) = match entrance.place {
                Some(place) => (place.to_string(), Some(place.clone())),
                None => ("mosquitto's default".to_owned(), None),
            };
            let (local_only, wishes) = (self.mosquitto.is_local_only(), self.wishes);
            let mut lose = |what: &str, instead: &str| {
                if let Some(place) = &place {
                    self.lose(place, what, instead);
                }
            };
            if entrance.has_tls() {
                if let Some(instead) = entrance.tls_is_lost(secure.first().copied()) {
                    lose("a listener with TLS", instead);
                    continue;
                }
                secure.push(entrance);
            }
            if entrance.port == 0 {
                let path = wishes.base.join(entrance.bind.unwrap_or_default());
                let url = format!("unix://{}", path.display());
                if url.parse::<ListenAddr>().is_err() {
                    lose("a listener at a Unix socket", "give it a path that is shorter");
                } else if !listen.iter().any(|(other, _)| *other == url) {
                    listen.push((url, whence));
                }
                continue;
            }
            let any = match entrance.settings.text("socket_domain") {
                Some("ipv6") => "::",
                _ => "0.0.0.0",
            };
            let addresses: Vec<IpAddr> = match entrance.bind {
                None if local_only => ["127.0.0.1", "::1"].iter().flat_map(|bind| bind.parse()).collect(),
                Some("localhost") => "127.0.0.1".parse().into_iter().collect(),
                bind => bind.unwrap_or(any).parse().into_iter().collect(),
            };
            if addresses.is_empty() {
                lose("a listener at a host name", "write the IP address of its interface");
            }
            let scheme = match (entrance.is_websocket(), entrance.has_tls()) {
                (true, true) => "wss",
                (true, false) => "ws",
                (false, true) => "mqtts",
                (false, false) => "mqtt",
            };
            for address in addresses {
                let address = match users || entrance.requires_certificate() || address.is_loopback() {
                    true => address,
                    false => {
                        lose(
                            "a listener on the network that lets anybody in",
                            "it is moved to loopback: make `users` with `mosquitto_passwd -c users.txt NAME`, then listen on 0.0.0.0",
                        );
                        if address.is_ipv6() { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() }
                    }
                };
                let socket = std::net::SocketAddr::new(address, entrance.port);
                // Two protocols at one port are an error, two lines for one listener are one.
                if !listen.iter().any(|(url, _)| url.ends_with(&format!("//{socket}"))) {
                    listen.push((format!("{scheme}://{socket}"), whence.clone()));
                }
            }
        }
        if listen.is_empty() {
            listen.push((LAST_RESORT.to_owned(), "none of the listeners can be Tidegate's".to_owned()));
        }
        listen
    }

    fn limits(&mut self, entrances: &[Entrance<'a>]) {
        let mut limits = Vec::new();
        let counts: Vec<i64> = entrances
            .iter()
            .filter_map(|entrance| entrance.settings.number("max_connections").filter(|count| *count > 0))
            .map(i64::from)
            .collect();
        if !counts.is_empty() && counts.len() == entrances.len() {
            let places = entrances.iter().filter_map(|entrance| entrance.settings.setting("max_connections"));
            let places: Vec<String> = places.map(|setting| setting.place.to_string()).collect();
            let count = counts.iter().sum::<i64>().min(MAX_CONNECTIONS);
            limits.push(("max_connections", Toml::Number(count), places.join(", ")));
        }
        let general = &self.mosquitto.general;
        let number = |name: &str| Some((i64::from(general.number(name)?), general.setting(name)?.place.to_string()));
        if let Some((bytes, place)) = number("max_packet_size") {
            let bytes = bytes.clamp(PACKET_BYTES.0, PACKET_BYTES.1);
            limits.push(("max_packet_size", Toml::text(format!("{bytes}B")), place));
        } else {
            limits.push(("max_packet_size", Toml::text("256MiB"), "mosquitto 2.0 has no limit of its own".to_owned()));
        }
        if let Some((messages, place)) = number("max_queued_messages") {
            let messages = if messages == 0 { QUEUE_UNLIMITED } else { messages.min(QUEUE_UNLIMITED) };
            limits.push(("session_queue_max", Toml::Number(messages), place));
        }
        if let Some((bytes, place)) = number("max_queued_bytes").filter(|(bytes, _)| *bytes > 0) {
            let bytes = bytes.max(QUEUE_BYTES_MIN);
            limits.push(("session_queue_size", Toml::text(format!("{bytes}B")), place));
        }
        if let Some((seconds, place)) = number("max_keepalive").filter(|(seconds, _)| *seconds > 0) {
            limits.push(("keep_alive_max", Toml::text(format!("{seconds}s")), place));
        }
        if let Some(setting) = general.setting("persistent_client_expiration")
            && let Value::Text(text) = &setting.value
            && let Some(hours) = expiration_hours(text)
        {
            limits.push(("session_expiry_max", Toml::text(format!("{hours}h")), setting.place.to_string()));
        }
        self.document.blank();
        self.document.table(&["brokers", "home", "limits"]);
        for (key, value, whence) in limits {
            self.document.key(key, value, whence);
        }
    }
}
