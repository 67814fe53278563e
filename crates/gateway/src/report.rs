//! What a reload has changed, in words, and how the last ones went.

use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_config::{Config, Fate, Outline, Touched};

/// What a reload changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is in force now, such as `brokers.office.url changed`; each once.
    pub now: Vec<String>,
    /// What only the next start can do, and what that means.
    pub next_start: Vec<String>,
    /// What it means to messages that wait in the spool: those that it means nothing to are left out.
    pub touched: Vec<Touched>,
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
    /// What the last that was applied has changed.
    pub changes: Arc<Changes>,
}

/// How many reasons of a refusal are kept.
pub const REASONS_MAX: usize = 50;

impl LastReloads {
    pub(crate) fn applied(&mut self, changes: Changes) {
        (self.applied_at, self.is_refused, self.changes) = (Some(SystemTime::now()), false, Arc::new(changes));
    }

    pub(crate) fn refused(&mut self, mut reasons: Vec<String>) {
        reasons.truncate(REASONS_MAX);
        (self.refused_at, self.is_refused, self.reasons) = (Some(SystemTime::now()), true, reasons);
    }
}

impl LastReloads {
    /// For programs: times in seconds since the epoch, `null` for what never was.
    pub fn json(&self) -> serde_json::Value {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let Changes { now, next_start, touched } = &*self.changes;
        json!({
            "applied_at": self.applied_at.map(seconds),
            "changes": now,
            "next_start": next_start,
            "waiting": touched.iter().map(touched_json).collect::<Vec<_>>(),
            "is_refused": self.is_refused,
            "refused_at": self.refused_at.map(seconds),
            "reasons": self.reasons,
        })
    }
}

/// Messages that an edit means something to, for programs: `target`, `messages`, `fate`, and with `goes_to` the brokers.
pub fn touched_json(touched: &Touched) -> serde_json::Value {
    let Touched { target, messages, fate } = touched;
    let goes_to = match fate {
        Fate::GoesTo(brokers) => brokers.as_slice(),
        Fate::Nobody | Fate::Settings => &[],
    };
    json!({ "target": target, "messages": messages, "fate": fate.word(), "goes_to": goes_to })
}

/// What the way from one configuration to another changes of what is in force, `waiting` being the messages that wait for
/// each name.
pub(crate) fn changes(old: &Config, new: &Config, waiting: &BTreeMap<String, u64>) -> Changes {
    let (old, new) = Outline::of_both(old, new);
    let changes = old.changes(&new);
    let touched = old.touched(&new, &changes, waiting);
    Changes { now: changes.iter().map(ToString::to_string).collect(), next_start: Vec::new(), touched }
}

/// What would change from one configuration to another, in words.
pub fn changes_in_words(old: &Config, new: &Config) -> Vec<String> {
    changes(old, new, &BTreeMap::new()).now
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
        changes(&config(BEFORE), &config(&text), &BTreeMap::new()).now
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
        last.applied(Changes::default());
        last.refused(vec!["no".to_owned(); 3 * REASONS_MAX]);
        assert!(last.is_refused && last.refused_at >= last.applied_at && last.reasons.len() == REASONS_MAX);
        last.applied(Changes::default());
        assert!(!last.is_refused && last.applied_at >= last.refused_at);
    }
}
