//! What a reload has changed, in words, and how the last ones went.

use std::time::SystemTime;
use tidegate_config::Config;

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

/// Each key that differs, in words.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<String> {
    tidegate_config::diff(old, new).iter().map(ToString::to_string).collect()
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
    fn a_secret_that_is_replaced_is_told_once() {
        let mut changes = Changes { now: after(&[("mqtts://home", "mqtts://house")]), ..Changes::default() };
        changes.rotated("home", "another password or certificate");
        let url = "brokers.home.url changed from mqtts://home:8883 to mqtts://house:8883";
        assert_eq!(changes.now, [url, "brokers.home has another password or certificate"]);
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
