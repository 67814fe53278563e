//! `[brokers.NAME]` of what a bridge connects to.

use super::Draft;
use super::bridge::written;
use crate::document::Toml;
use crate::settings::{Address, Bridge, Find, Setting, Value};
use tidegate_message::Topic;

/// Where the system keeps the certificates that it trusts, which Tidegate asks without being told.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs";
/// The most of `reconnect` in seconds: its `min` and its `max`.
const RECONNECT_MAX_S: (i32, i32) = (3600, 86_400);

impl Draft<'_> {
    /// The broker at one of the addresses, counted from 0.
    pub(super) fn remote_broker(&mut self, bridge: &Bridge, name: &str, at: usize, address: &Address) {
        let settings = &bridge.settings[..];
        let trusts = ["bridge_cafile", "bridge_capath", "bridge_psk", "bridge_tls_use_os_certs"];
        let tls = trusts.iter().any(|name| settings.setting(name).is_some());
        let remote_id = settings.text("remote_clientid").map(str::to_owned);
        let remote_id = remote_id.unwrap_or_else(|| format!("{}.{}", self.wishes.host_name, bridge.name));
        if at == 0 {
            self.not_with_tls(settings, tls);
        }
        self.document.table(&["brokers", name]);
        let url = address.url(if tls { "mqtts" } else { "mqtt" });
        self.document.key("url", Toml::text(url), address.place.to_string());
        self.version(settings);
        let id = if at == 0 { remote_id.clone() } else { format!("{remote_id}-{}", at + 1) };
        let whence = match settings.setting("remote_clientid") {
            Some(setting) if at == 0 => setting.place.to_string(),
            None if at == 0 => {
                "as mosquitto makes it: HOST.CONNECTION; it takes over the session of the bridge".to_owned()
            }
            _ => "both are connected at a time, so their ids differ".to_owned(),
        };
        self.document.key("client_id", Toml::text(id), whence);
        self.login(settings, "remote_username", "remote_password", &format!("{name}.pass"), at == 0);
        if let Some(setting) = settings.setting("keepalive_interval")
            && let Value::Number(seconds) = setting.value
        {
            self.document.key("keep_alive", Toml::text(format!("{seconds}s")), setting.place.to_string());
        }
        if let Some(setting) = settings.setting("cleansession")
            && setting.value == Value::Flag(true)
        {
            self.document.key("session_expiry", Toml::text("0s"), setting.place.to_string());
        }
        if let Some(setting) = settings.setting("restart_timeout")
            && let Value::Waits(base, cap) = setting.value
        {
            let min = base.min(RECONNECT_MAX_S.0);
            let max = cap.unwrap_or(base).clamp(min, RECONNECT_MAX_S.1);
            let seconds = |seconds: i32| Toml::text(format!("{seconds}s"));
            let waits = Toml::Table(vec![("min", seconds(min)), ("max", seconds(max))]);
            self.document.key("reconnect", waits, setting.place.to_string());
        }
        if tls {
            self.tls(settings);
        }
        if at == 0 {
            self.notifications(bridge, &remote_id);
        }
    }

    fn version(&mut self, settings: &[Setting]) {
        let (version, whence) = match settings.text("bridge_protocol_version") {
            Some("mqttv31") => ("3.1", ""),
            Some("mqttv50") => ("auto", ", and 3.1.1 where the broker knows no 5"),
            Some(_) => ("3.1.1", ""),
            None => ("3.1.1", "mosquitto's default; \"auto\" speaks 5 where the broker does"),
        };
        let place = settings.setting("bridge_protocol_version").map(|setting| setting.place.to_string());
        self.document.key("version", Toml::text(version), place.unwrap_or_default() + whence);
        if let Some(setting) = settings.setting("try_private")
            && setting.value == Value::Flag(false)
        {
            self.document.key("bridge", Toml::text("off"), setting.place.to_string());
        }
    }

    /// `username` and `password`, the password in a file.
    pub(super) fn login(&mut self, settings: &[Setting], user: &str, password: &'static str, file: &str, first: bool) {
        if let Some(setting) = settings.setting(user)
            && let Value::Text(name) = &setting.value
        {
            self.document.key("username", Toml::text(name), setting.place.to_string());
        }
        let Some(setting) = settings.setting(password) else { return };
        let Value::Text(value) = &setting.value else { return };
        if settings.setting(user).is_none() {
            if first {
                self.lose(&setting.place, password, "MQTT 3 has no password without a user name: add one, then it");
            }
            return;
        }
        let whence = format!("{}, which goes into this file", setting.place);
        self.document.key("password", Toml::Table(vec![("file", Toml::text(file))]), whence);
        self.secrets.push(super::SecretFile {
            name: file.to_owned(),
            password: value.clone(),
            place: setting.place.clone(),
            keyword: password,
        });
    }

    /// Says what has no counterpart in `tls`, or no effect without it.
    fn not_with_tls(&mut self, settings: &[Setting], tls: bool) {
        for setting in settings {
            let place = &setting.place;
            let name = setting.keyword.name;
            match (name, &setting.value) {
                (
                    "bridge_certfile" | "bridge_keyfile" | "bridge_alpn" | "bridge_tls_version" | "bridge_insecure",
                    _,
                ) if !tls => {
                    let words = format!("{name} has no effect: without `bridge_cafile` mosquitto speaks no TLS here");
                    self.remark(place, words);
                }
                ("bridge_insecure", Value::Flag(true)) => {
                    let instead = "the name in the certificate is looked at: set `tls.server_name` to it, or `tls.fingerprint` \
                                   (openssl x509 -noout -fingerprint -sha256) in place of `tls.ca`";
                    self.lose(place, "bridge_insecure true", instead);
                }
                ("bridge_psk", _) => {
                    let instead =
                        "TLS with a pre-shared key is not spoken: use certificates, or a tunnel such as stunnel";
                    self.lose(place, "bridge_psk and bridge_identity", instead);
                }
                ("bridge_capath", Value::Text(path)) => match path.trim_end_matches('/') {
                    SYSTEM_CERTIFICATES => {
                        self.document
                            .comment(format!("{place}: not needed: without `tls.ca` those of the system are trusted"));
                    }
                    _ => {
                        let instead = "put the certificates into one file: `cat DIR/*.crt > ca.pem`, and set `tls.ca`";
                        self.lose(place, written(setting), instead);
                    }
                },
                ("bridge_tls_version", Value::Text(version)) => match version.as_str() {
                    "tlsv1.2" | "tlsv1.3" => {
                        self.document.comment(format!("{place}: not needed: TLS 1.2 and 1.3 are spoken"));
                    }
                    _ => self.lose(place, written(setting), "TLS 1.2 and 1.3 are spoken, nothing older"),
                },
                ("bridge_certfile", _) if settings.setting("bridge_keyfile").is_none() => {
                    self.lose(place, written(setting), "a certificate needs its key: `bridge_keyfile`");
                }
                ("bridge_keyfile", _) if settings.setting("bridge_certfile").is_none() => {
                    self.lose(place, written(setting), "a key needs its certificate: `bridge_certfile`");
                }
                _ => {}
            }
        }
    }

    fn tls(&mut self, settings: &[Setting]) {
        let file = |name: &str| settings.text(name).map(|path| self.path(path));
        let mut tls = Vec::new();
        tls.extend(file("bridge_cafile").map(|file| ("ca", file)));
        if let (Some(cert), Some(key)) = (file("bridge_certfile"), file("bridge_keyfile")) {
            tls.extend([("cert", cert), ("key", key)]);
        }
        tls.extend(settings.text("bridge_alpn").map(|alpn| ("alpn", Toml::Texts(vec![alpn.to_owned()]))));
        if tls.is_empty() {
            return;
        }
        let names = ["bridge_cafile", "bridge_certfile", "bridge_keyfile", "bridge_alpn"];
        let places: Vec<String> =
            names.iter().filter_map(|name| settings.setting(name)).map(|setting| setting.place.to_string()).collect();
        self.document.key("tls", Toml::Table(tls), places.join(", "));
    }

    /// `will`, `birth` and `farewell`: the state of the bridge as a retained message at the remote broker.
    fn notifications(&mut self, bridge: &Bridge, remote_id: &str) {
        let settings = &bridge.settings[..];
        if settings.flag("notifications") == Some(false) {
            return;
        }
        let own = settings.text("notification_topic");
        let topic = own.map_or_else(|| format!("$SYS/broker/connection/{remote_id}/state"), str::to_owned);
        let names = ["notification_topic", "notifications_local_only", "notifications"];
        let setting = names.iter().find_map(|name| settings.setting(name));
        self.document.blank();
        if let Some(setting) = setting {
            let instead = "the state of each link is at /ready and /metrics of `[admin]`";
            self.lose(&setting.place, "notifications at the local broker", instead);
        } else {
            let words = "mosquitto's default; at the local broker there is none: the state of each link is at /ready and \
                         /metrics of `[admin]`";
            self.document.comment(format!("{}: notifications true is {words}", bridge.place));
        }
        if settings.flag("notifications_local_only") == Some(true) {
            return;
        }
        if Topic::new(topic.clone()).is_err() {
            let place = setting.map_or(&bridge.place, |setting| &setting.place);
            self.lose(place, "notifications", "their topic has a wildcard: set another, see `will` and `birth`");
            return;
        }
        if own.is_none() {
            self.document.comment(
                "Brokers other than mosquitto let nobody publish to $SYS, and some hang up: then take this out, or give it \
                 another topic.",
            );
        }
        let retain = settings.flag("bridge_outgoing_retain") != Some(false);
        for (key, payload) in [("will", "0"), ("birth", "1"), ("farewell", "0")] {
            let keys = vec![
                ("topic", Toml::text(&topic)),
                ("payload", Toml::text(payload)),
                ("qos", Toml::Number(1)),
                ("retain", Toml::Flag(retain)),
            ];
            self.document.key(key, Toml::Table(keys), "");
        }
    }
}
