//! Decisions that differ, grouped by how they do.

use crate::decision::{Content, Decision, End, Sent};
use crate::fields::{FieldPath, differing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many kinds of difference are told apart; more are one.
const GROUPS_MAX: usize = 200;

/// So many messages of each kind are kept.
const SAMPLES_MAX: usize = 3;

/// A kind that stands for all that are one too many.
const MORE: &str = "other differences";

/// A message on which two decided differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it came, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Into this route.
    pub route: Box<str>,
    /// From this broker.
    pub broker: Box<str>,
    /// As it came; `None`: a timer was called.
    pub came: Option<Content>,
    /// What was decided.
    pub one: Decision,
    /// What would be.
    pub other: Decision,
}

/// Messages that differ in the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// When the first one came, in milliseconds since the epoch.
    pub first_ms: u64,
    /// And the last one.
    pub last_ms: u64,
    /// The first of them.
    pub samples: Vec<Sample>,
}

/// How two decided on the same messages.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    ignored: Vec<FieldPath>,
    /// On so many messages both have decided.
    pub decided: u64,
    /// On so many of these they did not agree.
    pub differ: u64,
    /// By kind, in words.
    pub groups: BTreeMap<String, Group>,
}

impl Differences {
    /// None yet; these fields of JSON payloads may differ.
    pub fn new(ignored: Vec<FieldPath>) -> Self {
        Self { ignored, ..Self::default() }
    }

    /// Both have decided on a message. True if they agree.
    pub fn add(&mut self, one: &Decision, other: &Decision, sample: impl FnOnce() -> Sample) -> bool {
        self.decided += 1;
        if one == other {
            return true;
        }
        let kinds = self.kinds(one, other);
        if kinds.is_empty() {
            return true;
        }
        self.differ += 1;
        let sample = sample();
        for kind in kinds {
            let is_known = self.groups.contains_key(&kind) || self.groups.len() < GROUPS_MAX;
            let kind = if is_known { kind } else { MORE.to_owned() };
            let group = self.groups.entry(kind).or_default();
            if group.count == 0 {
                group.first_ms = sample.at_ms;
            }
            group.count += 1;
            group.last_ms = sample.at_ms;
            if group.samples.len() < SAMPLES_MAX {
                group.samples.push(sample.clone());
            }
        }
        false
    }

    /// In what two decisions differ, in words.
    fn kinds(&self, one: &Decision, other: &Decision) -> Vec<String> {
        match (&one.end, &other.end) {
            (End::Onward, End::Onward) => self.sent(&one.sent, &other.sent),
            // What was sent beside a copy that was dropped is looked at, too.
            (one_end, other_end) if one_end == other_end => self.sent(&one.sent, &other.sent),
            // The words of a failure are each version's own.
            (End::Failed(plugin, kind, _), End::Failed(now_plugin, now_kind, _)) => {
                let same = (plugin, kind) == (now_plugin, now_kind);
                if same { Vec::new() } else { vec![format!("fails otherwise: {kind} -> {now_kind}")] }
            }
            (_, End::Failed(plugin, kind, _)) => vec![format!("fails now: {plugin}, {kind}")],
            (End::Failed(plugin, kind, _), _) => vec![format!("fails no more: {plugin}, {kind}")],
            (End::NotTaken, _) => vec!["taken now".to_owned()],
            (_, End::NotTaken) => vec!["taken no more".to_owned()],
            (End::Dropped(reason, _), End::Dropped(now, _)) => vec![format!("drop reason: {reason} -> {now}")],
            (_, End::Dropped(reason, _)) => vec![format!("dropped now: {reason}")],
            (End::Dropped(reason, _), _) => vec![format!("dropped no more: {reason}")],
        }
    }

    fn sent(&self, one: &[Sent], other: &[Sent]) -> Vec<String> {
        if one.len() != other.len() {
            return vec![format!("number of messages: {} -> {}", one.len(), other.len())];
        }
        let mut kinds = Vec::new();
        for (one, other) in one.iter().zip(other).filter(|(one, other)| one != other) {
            if one.to != other.to {
                kinds.push(format!("target: {} -> {}", one.to.join(", "), other.to.join(", ")));
            }
            self.content(&one.content, &other.content, &mut kinds);
        }
        kinds.sort();
        kinds.dedup();
        kinds
    }

    fn content(&self, one: &Content, other: &Content, kinds: &mut Vec<String>) {
        if one.topic != other.topic {
            kinds.push("topic".to_owned());
        }
        if one.payload != other.payload {
            let whole = one.payload.whole().zip(other.payload.whole());
            match whole.and_then(|(one, other)| differing(one, other, &self.ignored)) {
                Some(fields) => kinds.extend(fields.into_iter().map(|field| format!("payload {field}"))),
                None => kinds.push("payload".to_owned()),
            }
        }
        if one.qos != other.qos {
            kinds.push(format!("QoS: {} -> {}", one.qos, other.qos));
        }
        if one.retain != other.retain {
            kinds.push(format!("retain: {} -> {}", one.retain, other.retain));
        }
        let empty = Default::default();
        let of = |content: &Content| content.properties.as_deref().cloned().unwrap_or_else(|| Clone::clone(&empty));
        if of(one) != of(other) {
            kinds.push("properties".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Payloads, Properties};
    use tidegate_message::{Message, QoS, Topic};

    fn content(topic: &str, payload: &str) -> Content {
        let message = Message::new(Topic::new(topic.to_owned()).unwrap(), payload.to_owned(), QoS::AtLeastOnce);
        Content::of(&message, Payloads::Whole)
    }

    fn sends(to: &str, content: Content) -> Decision {
        Decision { sent: vec![Sent { to: vec![to.into()], content }], end: End::Onward }
    }

    fn drops(reason: &str) -> Decision {
        Decision { sent: Vec::new(), end: End::Dropped(reason.into(), true) }
    }

    fn fails(kind: &str, words: &str) -> Decision {
        Decision { sent: Vec::new(), end: End::Failed("p".into(), kind.into(), words.into()) }
    }

    fn kinds(ignored: &[&str], one: &Decision, other: &Decision) -> Vec<String> {
        Differences::new(ignored.iter().map(|path| path.parse().unwrap()).collect()).kinds(one, other)
    }

    #[test]
    fn each_difference_has_its_kind() {
        let a = sends("a", content("t", r#"{"x":1,"ts":5}"#));
        let same = sends("a", content("t", r#"{"ts":6, "x":1}"#));
        assert_eq!(kinds(&[], &a, &same), ["payload $.ts"]);
        assert_eq!(kinds(&["$.ts"], &a, &same), [""; 0]);
        let mut other = sends("b", content("u", "text"));
        let sent = &mut other.sent[0].content;
        (sent.qos, sent.retain, sent.properties) =
            (0, true, Some(Box::new(Properties { payload_is_utf8: true, ..Properties::default() })));
        let all = ["QoS: 1 -> 0", "payload", "properties", "retain: false -> true", "target: a -> b", "topic"];
        assert_eq!(kinds(&[], &a, &other), all);
        assert_eq!(kinds(&[], &a, &drops("stale")), ["dropped now: stale"]);
        assert_eq!(kinds(&[], &drops("stale"), &a), ["dropped no more: stale"]);
        assert_eq!(kinds(&[], &drops("stale"), &drops("old")), ["drop reason: stale -> old"]);
        assert_eq!(kinds(&[], &a, &fails("trap", "x")), ["fails now: p, trap"]);
        assert_eq!(kinds(&[], &fails("trap", "x"), &a), ["fails no more: p, trap"]);
        assert_eq!(kinds(&[], &fails("trap", "x"), &fails("trap", "y")), [""; 0], "the words are each version's own");
        let twice = Decision { sent: [a.sent.clone(), a.sent.clone()].concat(), end: End::Onward };
        assert_eq!(kinds(&[], &a, &twice), ["number of messages: 1 -> 2"]);
        let none = Decision { end: End::NotTaken, ..Decision::default() };
        assert_eq!(kinds(&[], &a, &none), ["taken no more"]);
    }

    #[test]
    fn a_group_has_its_count_its_times_and_its_first_messages() {
        let mut all = Differences::new(Vec::new());
        let one = sends("a", content("t", "1"));
        let sample = |at_ms, other: &Decision| Sample {
            at_ms,
            route: "r".into(),
            broker: "b".into(),
            came: Some(content("t", "0")),
            one: one.clone(),
            other: other.clone(),
        };
        for at_ms in 10..20 {
            let other = sends("a", content("t", "2"));
            assert!(!all.add(&one, &other, || sample(at_ms, &other)));
        }
        assert!(all.add(&one, &one, || sample(30, &one)));
        let group = &all.groups["payload $"];
        assert_eq!((group.count, group.first_ms, group.last_ms, group.samples.len()), (10, 10, 19, 3));
        assert_eq!((all.decided, all.differ), (11, 10));
        for n in 0..1_000 {
            let other = drops(&n.to_string());
            all.add(&one, &other, || sample(40, &other));
        }
        assert!(all.groups.len() <= GROUPS_MAX + 1);
        assert_eq!(all.groups.values().map(|group| group.count).sum::<u64>(), 1_010);
    }
}
