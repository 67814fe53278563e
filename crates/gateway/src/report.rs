//! What a reload has changed, in words: keys as the file has them, never what stands there.

use std::collections::BTreeMap;
use std::time::SystemTime;
use tidegate_config::{
    Broker, Config, EmbeddedBroker, EmbeddedLimits, Grants, Limits, LinkBroker, Plugin, Remap, Route, Source,
    SpoolSettings, TargetSet, Tls,
};

/// What a reload changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is in force now, such as `brokers.office.url changed`; each once.
    pub now: Vec<String>,
    /// What only the next start can do, and what that means.
    pub next_start: Vec<String>,
}

impl Changes {
    /// True when all is as it was.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty() && self.next_start.is_empty()
    }

    /// A broker has other secrets though its file says nothing new. Where it does, that tells it already.
    pub(crate) fn rotated(&mut self, broker: &str, what: &str) {
        let keys = ["password", "headers", "tls", "users", "added", "embedded"];
        let at = format!("brokers.{broker}");
        let told = |line: &String| {
            let rest = line.strip_prefix(&at).and_then(|rest| rest.strip_prefix(['.', ' ']));
            rest.is_some_and(|rest| keys.iter().any(|key| rest.starts_with(key)))
        };
        if !self.now.iter().any(told) {
            self.now.push(format!("{at} has {what}"));
        }
    }
}

/// How the last reloads went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastReloads {
    /// When one was last applied, or the gateway started.
    pub applied_at: Option<SystemTime>,
    /// When one was last refused.
    pub refused_at: Option<SystemTime>,
    /// Why that was: every reason, of which only the first [`REASONS_MAX`] are kept.
    pub reasons: Vec<String>,
    /// The last one was refused: what runs is not what the file says.
    pub is_refused: bool,
}

/// How many reasons of a refusal are kept.
pub const REASONS_MAX: usize = 50;

impl LastReloads {
    pub(crate) fn applied(&mut self) {
        (self.applied_at, self.is_refused) = (Some(SystemTime::now()), false);
    }

    pub(crate) fn refused(&mut self, mut reasons: Vec<String>) {
        reasons.truncate(REASONS_MAX);
        (self.refused_at, self.is_refused, self.reasons) = (Some(SystemTime::now()), true, reasons);
    }
}

/// Pushes the key of each field that differs. The old value is taken apart whole: a field that is new does not compile
/// before it has its key here. A field without a key is looked at elsewhere.
macro_rules! compare {
    ($found:expr, $old:expr, $new:expr, $type:ident { $($field:ident => $key:expr),* $(,)? }) => {{
        let $type { $($field),* } = $old;
        $(
            if !$key.is_empty() && *$field != $new.$field {
                $found.push($key.to_owned());
            }
        )*
    }};
}

/// What differs between two configurations, by section, name and key: `brokers.office.url changed`, `routes.back added`.
///
/// `[gateway]` and `[admin]` are left out: nothing of them changes while a gateway runs.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    section(&mut lines, "brokers", by_name(&old.brokers), by_name(&new.brokers), broker);
    section(&mut lines, "targets", by_name(&old.targets), by_name(&new.targets), target);
    section(&mut lines, "plugins", by_name(&old.plugins), by_name(&new.plugins), plugin);
    let routes = |config| -> BTreeMap<_, _> {
        let Config { routes, .. }: &Config = config;
        routes.iter().map(|route| (route.name.as_str(), route)).collect()
    };
    section(&mut lines, "routes", routes(old), routes(new), route);
    lines
}

type ByName<'a, T> = BTreeMap<&'a str, &'a T>;

fn by_name<T>(all: &BTreeMap<String, T>) -> ByName<'_, T> {
    all.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

/// The lines of one section, in the order of the names; `keys` says which keys of two of the same name differ.
fn section<T: PartialEq>(
    lines: &mut Vec<String>,
    section: &str,
    old: ByName<'_, T>,
    new: ByName<'_, T>,
    keys: impl Fn(&T, &T) -> Vec<String>,
) {
    for (name, after) in &new {
        match old.get(name) {
            None => lines.push(format!("{section}.{name} added")),
            Some(before) if before == after => {}
            Some(before) => {
                let keys = keys(before, after);
                lines.extend(keys.iter().map(|key| format!("{section}.{name}.{key} changed")));
            }
        }
    }
    lines.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{section}.{name} removed")));
}

/// Keys of a table within a section.
fn below(table: &str, keys: Vec<String>) -> impl Iterator<Item = String> {
    keys.into_iter().map(move |key| format!("{table}.{key}"))
}

fn broker(old: &Broker, new: &Broker) -> Vec<String> {
    match (old, new) {
        (Broker::Link(old), Broker::Link(new)) => link(old, new),
        (Broker::Embedded(old), Broker::Embedded(new)) => embedded(old, new),
        _ => vec!["embedded".to_owned()],
    }
}

fn link(old: &LinkBroker, new: &LinkBroker) -> Vec<String> {
    let mut keys = Vec::new();
    compare!(keys, old, new, LinkBroker {
        url => "url",
        version => "version",
        client_id => "client_id",
        username => "username",
        password => "password",
        max_qos => "max_qos",
        headers => "headers",
        keep_alive => "keep_alive",
        receive_maximum => "receive_maximum",
        max_packet_size => "max_packet_size",
        session_expiry => "session_expiry",
        clean_start => "", // follows from `session_expiry`
        reconnect => "reconnect",
        connect_timeout => "connect_timeout",
        tls => "",
        bridge => "bridge",
        topic_alias_max => "topic_alias_max",
        will => "will",
        birth => "birth",
        farewell => "farewell",
        spool => "",
    });
    let none = Tls::default();
    let tls = (old.tls.as_ref().unwrap_or(&none), new.tls.as_ref().unwrap_or(&none));
    keys.extend(below("tls", self::tls(tls.0, tls.1)));
    keys.extend(below("spool", spool(&old.spool, &new.spool)));
    keys
}

fn tls(old: &Tls, new: &Tls) -> Vec<String> {
    let mut keys = Vec::new();
    compare!(keys, old, new, Tls {
        ca => "ca",
        cert => "cert",
        key => "key",
        key_password => "key_password",
        fingerprint => "fingerprint",
        server_name => "server_name",
        alpn => "alpn",
    });
    keys
}

fn spool(old: &SpoolSettings, new: &SpoolSettings) -> Vec<String> {
    let mut keys = Vec::new();
    compare!(keys, old, new, SpoolSettings {
        max_bytes => "max_bytes",
        max_messages => "max_messages",
        max_age => "max_age",
        when_full => "when_full",
        drain_rate => "drain_rate",
        mark_late => "mark_late",
    });
    keys
}

fn embedded(old: &EmbeddedBroker, new: &EmbeddedBroker) -> Vec<String> {
    let (mut keys, mut limits) = (Vec::new(), Vec::new());
    compare!(keys, old, new, EmbeddedBroker { listen => "listen", users => "users", limits => "", spool => "" });
    compare!(limits, &old.limits, new.limits, EmbeddedLimits {
        max_packet_size => "max_packet_size",
        max_connections => "max_connections",
        session_expiry_max => "session_expiry_max",
        session_queue_max => "session_queue_max",
        retained_max => "retained_max",
        receive_maximum => "receive_maximum",
    });
    keys.extend(below("limits", limits));
    keys.extend(below("spool", spool(&old.spool, &new.spool)));
    keys
}

fn target(old: &TargetSet, new: &TargetSet) -> Vec<String> {
    let mut keys = Vec::new();
    compare!(keys, old, new, TargetSet {
        policy => "policy",
        members => "members",
        failback => "failback",
        spool => "",
    });
    keys.extend(below("spool", spool(&old.spool, &new.spool)));
    keys
}

fn plugin(old: &Plugin, new: &Plugin) -> Vec<String> {
    let (mut keys, mut grants, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    compare!(keys, old, new, Plugin {
        path => "path",
        config => "",
        grants => "",
        limits => "",
        digest => "digest",
    });
    compare!(grants, &old.grants, new.grants, Grants { targets => "targets", topics => "topics", state => "state" });
    compare!(limits, &old.limits, new.limits, Limits {
        memory_bytes => "memory",
        table_elements => "table_elements",
        deadline => "deadline",
        configure_deadline => "configure_deadline",
        outputs => "outputs",
        output_bytes => "output_size",
        log_lines_per_second => "log_lines_per_second",
        state_bytes => "state_size",
    });
    keys.extend(below("config", plugin_config(&old.config, &new.config)));
    keys.extend(below("grants", grants));
    keys.extend(below("limits", limits));
    keys
}

/// The keys of a plugin's own, of which the gateway knows only the names.
fn plugin_config(old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().map(|table| table.keys().cloned().collect()).unwrap_or_default()
    };
    let mut all = [keys(old), keys(new)].concat();
    all.sort_unstable();
    all.dedup();
    all.retain(|key| old.get(key) != new.get(key));
    // Whoever wrote the file may have put anything into a name.
    all.iter().map(|key| key.escape_debug().to_string()).collect()
}

fn route(old: &Route, new: &Route) -> Vec<String> {
    let (mut keys, mut from, mut remap) = (Vec::new(), Vec::new(), Vec::new());
    compare!(keys, old, new, Route {
        name => "",
        from => "",
        plugins => "plugins",
        to => "to",
        required => "required",
        remap => "",
        ack => "ack",
        on_failure => "on_failure",
        retry => "retry",
        tick => "tick",
        qos => "qos",
        retain => "retain",
        persist_qos0 => "persist_qos0",
        priority => "priority",
    });
    compare!(from, &old.from, new.from, Source { broker => "broker", topics => "topics", qos => "qos" });
    let none = Remap::default();
    let (before, after) = (old.remap.as_ref().unwrap_or(&none), new.remap.as_ref().unwrap_or(&none));
    compare!(remap, before, after, Remap {
        strip => "strip",
        prefix => "prefix",
        response_topic => "response_topic",
    });
    keys.extend(below("from", from));
    keys.extend(below("remap", remap));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const BEFORE: &str = r#"
[gateway]
name = "g"
data_dir = "/d"
[brokers.home]
url = "mqtts://home"
username = "u"
password = { file = "home.pass" }
tls = { ca = "ca.pem" }
[brokers.own]
embedded = true
listen = ["mqtt://127.0.0.1:1884"]
[brokers.spare]
url = "mqtt://spare"
[targets.both]
members = ["home", "spare"]
[plugins.p]
path = "p.wasm"
config = { token = "hunter2", unit = "C" }
[[routes]]
name = "r"
from = { broker = "own", topics = ["x/#"] }
plugins = ["p"]
to = ["both"]
"#;

    /// What `BEFORE` with these replacements changes.
    fn after(edits: &[(&str, &str)]) -> Vec<String> {
        let config = |text: &str| tidegate_config::parse(text, Path::new("/gw.toml")).unwrap().0;
        let mut text = BEFORE.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        changes(&config(BEFORE), &config(&text))
    }

    #[test]
    fn each_change_is_named_once_by_its_key() {
        for (from, to, expected) in [
            ("mqtts://home", "mqtts://house", &["brokers.home.url changed"][..]),
            ("mqtts://home\"", "mqtts://home\"\nsession_expiry = 0", &["brokers.home.session_expiry changed"]),
            ("home.pass", "other.pass", &["brokers.home.password changed"]),
            (
                "ca = \"ca.pem\"",
                "server_name = \"h\"",
                &["brokers.home.tls.ca changed", "brokers.home.tls.server_name changed"],
            ),
            ("mqtts://home\"", "mqtts://home\"\nspool = { max_age = \"1d\" }", &["brokers.home.spool.max_age changed"]),
            (
                "[\"mqtt://127.0.0.1:1884\"]",
                "[\"mqtt://127.0.0.1:1885\"]\nlimits = { max_connections = 7 }",
                &["brokers.own.listen changed", "brokers.own.limits.max_connections changed"],
            ),
            ("members", "failback = \"1m\"\nmembers", &["targets.both.failback changed"]),
            ("hunter2", "hunter3", &["plugins.p.config.token changed"]),
            ("unit = \"C\"", "scale = 1", &["plugins.p.config.scale changed", "plugins.p.config.unit changed"]),
            (
                "config",
                "limits = { memory = \"64MiB\", state_size = \"2MiB\" }\ngrants = { state = true }\nconfig",
                &[
                    "plugins.p.grants.state changed",
                    "plugins.p.limits.memory changed",
                    "plugins.p.limits.state_size changed",
                ],
            ),
            ("x/#", "y/#", &["routes.r.from.topics changed"]),
            (
                "to = [\"both\"]",
                "to = [\"both\"]\nremap = { prefix = \"s/\" }\nqos = 1",
                &["routes.r.qos changed", "routes.r.remap.prefix changed"],
            ),
            ("name = \"r\"", "name = \"s\"", &["routes.s added", "routes.r removed"]),
            (
                "[brokers.own]\nembedded = true\nlisten = [\"mqtt://127.0.0.1:1884\"]",
                "[brokers.own]\nurl = \"mqtt://own\"",
                &["brokers.own.embedded changed"],
            ),
            ("# nothing", "", &[]),
        ] {
            if from == "# nothing" {
                assert!(after(&[]).is_empty());
                continue;
            }
            let found = after(&[(from, to)]);
            assert_eq!(found, expected, "{from} -> {to}");
            assert!(!found.iter().any(|line| line.contains("hunter")), "{found:?}");
        }
    }

    #[test]
    fn a_secret_that_is_replaced_is_told_once() {
        let mut changes = Changes { now: after(&[("mqtts://home", "mqtts://house")]), ..Changes::default() };
        changes.rotated("home", "another password or certificate");
        assert_eq!(changes.now, ["brokers.home.url changed", "brokers.home has another password or certificate"]);
        let mut changes = Changes { now: after(&[("home.pass", "other.pass")]), ..Changes::default() };
        changes.rotated("home", "another password or certificate");
        assert_eq!(changes.now, ["brokers.home.password changed"]);
        changes.rotated("hom", "another password or certificate");
        assert_eq!(changes.now.len(), 2, "another broker whose name begins alike");
    }

    #[test]
    fn the_reasons_of_a_refusal_are_kept_and_bounded() {
        let mut last = LastReloads::default();
        last.applied();
        last.refused(vec!["no".to_owned(); 3 * REASONS_MAX]);
        assert!(last.is_refused && last.refused_at >= last.applied_at && last.reasons.len() == REASONS_MAX);
        last.applied();
        assert!(!last.is_refused && last.applied_at >= last.refused_at);
    }
}
