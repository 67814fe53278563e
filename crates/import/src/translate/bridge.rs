//! One `connection`: the local broker that it is a client of, the brokers it connects to, its routes.

use super::routes::Ends;
use super::{Draft, names};
use crate::document::Toml;
use crate::settings::{Bridge, Find, Setting, Value};

/// How soon mosquitto looks whether the first of several addresses is back.
const PRIMARY_RETRY: &str = "5s";
/// The longest that Tidegate waits before it returns to the first.
const LONGEST_FAILBACK: &str = "1d";

impl Draft<'_> {
    pub(super) fn bridge(&mut self, bridge: &Bridge) {
        let base = names::made_of(&bridge.name, "remote");
        // With several bridges each is a client of its own, so that what one brings goes out by the others.
        let local = match (self.wishes.own, self.mosquitto.bridges.len()) {
            (true, _) => "home".to_owned(),
            (false, 1) => self.names.give(if base == "home" { "local" } else { "home" }),
            (false, _) => self.names.give(&format!("home-{base}")),
        };
        let addresses = &bridge.addresses[..];
        let target = self.names.give(&base);
        let members: Vec<String> = match addresses.len() {
            1 => vec![target.clone()],
            several => (1..=several).map(|number| self.names.give(&format!("{base}-{number}"))).collect(),
        };
        self.document.blank();
        self.document.comment(format!("{}: connection {}", bridge.place, bridge.name));
        if !self.wishes.own {
            self.document.comment("");
            self.local_broker(bridge, &local);
        }
        self.document.blank();
        self.of_the_bridge(bridge);
        for (at, (name, address)) in members.iter().zip(addresses).enumerate() {
            if at > 0 {
                self.document.blank();
            }
            self.remote_broker(bridge, name, at, address);
        }
        if addresses.len() > 1 {
            self.several(bridge, &target, &members);
        }
        let source = members.first().unwrap_or(&target);
        self.routes(bridge, &Ends { bridge: &base, local: &local, target: &target, source });
    }

    /// The settings that become no key.
    fn of_the_bridge(&mut self, bridge: &Bridge) {
        let settings = &bridge.settings[..];
        let lazy = settings.text("start_type") == Some("lazy");
        for setting in settings {
            let place = &setting.place;
            let name = setting.keyword.name;
            match (name, &setting.value) {
                ("start_type", Value::Text(kind)) if kind == "lazy" => {
                    self.lose(place, "start_type lazy", "Tidegate stays connected, and what waits leaves at once");
                }
                ("start_type", Value::Text(kind)) if kind == "once" => {
                    self.lose(place, "start_type once", "Tidegate connects again after each failure");
                }
                ("idle_timeout" | "threshold", _) if lazy => {
                    self.lose(place, written(setting), "it is of start_type lazy");
                }
                ("bridge_bind_address", _) => {
                    self.lose(place, written(setting), "let the system choose the address: `ip route ... src ADDRESS`");
                }
                ("bridge_max_packet_size", Value::Number(1..)) => {
                    self.lose(
                        place,
                        written(setting),
                        "what is larger than the broker takes is put aside and named in the log",
                    );
                }
                ("bridge_require_ocsp", Value::Flag(true)) => {
                    let instead =
                        "Tidegate asks no OCSP responder; `tls.fingerprint` trusts one certificate and no other";
                    self.lose(place, "bridge_require_ocsp true", instead);
                }
                ("bridge_session_expiry_interval", _) => {
                    self.lose(place, written(setting), "set `session_expiry` of the broker, which is 7d otherwise");
                }
                ("bridge_receive_maximum", _) => {
                    self.lose(place, written(setting), "set `receive_maximum` of the broker, which is 1000 otherwise");
                }
                ("bridge_max_topic_alias", _) => {
                    self.lose(place, written(setting), "set `topic_alias_max` of the broker, which is 10 otherwise");
                }
                ("bridge_tls_use_os_certs", _) => {
                    self.document.comment(format!("{place}: without `tls.ca` those of the system are trusted"));
                }
                (_, Value::Text(_)) if setting.keyword.is_newer() => {
                    self.lose(place, name, "mosquitto 2.0 does not know it");
                }
                ("cleansession", Value::Flag(true)) => {
                    let words = "cleansession true: mosquitto forgets what waits for the remote broker when it loses the \
                                 link; with Tidegate it waits, within `spool`";
                    self.remark(place, words);
                }
                ("local_cleansession", _) => {
                    let words = "not needed: the session at the local broker is kept, so that a restart of Tidegate \
                                 loses nothing";
                    self.document.comment(format!("{place}: {words}"));
                }
                ("bridge_attempt_unsubscribe", _) => {
                    let words = "not needed: Tidegate unsubscribes only what it has subscribed to itself";
                    self.document.comment(format!("{place}: {words}"));
                }
                ("round_robin", _) if bridge.addresses.len() == 1 => {
                    self.document.comment(format!("{place}: not needed: there is one address"));
                }
                ("local_clientid" | "local_username" | "local_password", _) if self.wishes.own => {
                    let words = "not needed: Tidegate's own broker needs no client for it";
                    self.document.comment(format!("{place}: {words}"));
                }
                _ => {}
            }
        }
    }

    fn several(&mut self, bridge: &Bridge, target: &str, members: &[String]) {
        let place = bridge.addresses.first().map_or(&bridge.place, |address| &address.place);
        self.document.blank();
        self.document.table(&["targets", target]);
        self.document.key("policy", Toml::text("failover"), place.to_string());
        self.document.key("members", Toml::Texts(members.to_vec()), "");
        match bridge.settings.setting("round_robin").filter(|_| bridge.settings.flag("round_robin") == Some(true)) {
            Some(setting) => {
                let instead = "it returns to the first when that was well for a day, the longest there is";
                self.lose(&setting.place, "round_robin true, which never returns by itself", instead);
                self.document.key("failback", Toml::text(LONGEST_FAILBACK), "");
            }
            None => self.document.key("failback", Toml::text(PRIMARY_RETRY), "as mosquitto looks for the first again"),
        }
        let comes_in = bridge.topics.iter().any(|line| line.direction != crate::settings::Direction::Out);
        if comes_in {
            let instead = "the routes from there take the first; a source is one broker";
            self.lose(place, "several addresses for what comes in", instead);
        }
    }
}

/// A setting as it may be shown.
pub(super) fn written(setting: &Setting) -> String {
    let name = setting.keyword.name;
    match &setting.value {
        Value::Text(_) if setting.keyword.is_secret() => name.to_owned(),
        Value::Text(text) => format!("{name} {text}"),
        Value::Flag(flag) => format!("{name} {flag}"),
        Value::Number(number) => format!("{name} {number}"),
        Value::Waits(base, Some(cap)) => format!("{name} {base} {cap}"),
        Value::Waits(base, None) => format!("{name} {base}"),
    }
}
