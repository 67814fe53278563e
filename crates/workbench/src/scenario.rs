//! A test of a configuration: messages that come to it and time that passes, and what must be sent of that.
//!
//! ```toml
//! [[step]]
//! from = "home"
//! topic = "dev/7/temp"
//! payload = '{"temp": 70}'
//! expect = [{ to = "upstream", topic = "site/cottage/7/temp", json = { temp = 21.1 } }]
//!
//! [[step]]
//! wait = "30s"
//! expect = []
//! ```
//!
//! The steps of a file are a sequence. The reference is docs/testing.md. Who plays the configuration through is the caller.

use crate::samples::{Properties, Sent, Step};
use crate::trial::{applied, lines_of, message_of};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use tidegate_message::Message;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "step")]
    steps: Vec<Scene>,
}

/// A message, or a time that passes, and what must become of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Said when it fails.
    pub name: Option<String>,
    /// The broker that the message comes from.
    pub from: Option<String>,
    /// How much time passes, such as `"30s"`, in place of a message.
    pub wait: Option<String>,
    /// The message, as in samples of plugins.
    pub topic: Option<String>,
    /// As there.
    pub payload: Option<String>,
    /// As there.
    pub payload_base64: Option<String>,
    /// As there.
    pub json: Option<toml::Value>,
    /// As there.
    pub qos: Option<u8>,
    /// As there.
    #[serde(default)]
    pub retain: bool,
    /// As there.
    pub properties: Option<Properties>,

    /// These must be sent, in whatever order, and no others.
    pub expect: Option<Vec<Expected>>,
    /// Something must be dropped for a reason with this in it.
    pub drop: Option<String>,
    /// A plugin must fail, with this in what is said.
    pub fails: Option<String>,
    /// No route takes it.
    #[serde(default)]
    pub unrouted: bool,
}

/// What must be sent. What is not said of it is not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// To which broker or set.
    pub to: String,
    /// By which route.
    pub route: Option<String>,
    /// With this topic.
    pub topic: Option<String>,
    /// With this payload, to the byte.
    pub payload: Option<String>,
    /// The same of any bytes.
    pub payload_base64: Option<String>,
    /// With a payload that has this value, however it is written.
    pub json: Option<toml::Value>,
    /// With this QoS.
    pub qos: Option<u8>,
    /// With this RETAIN flag.
    pub retain: Option<bool>,
    /// With all these properties, and no others.
    pub properties: Option<Properties>,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    /// By which route.
    pub route: &'a str,
    /// To which broker or set.
    pub to: &'a str,
    /// As it is sent there.
    pub message: &'a Message,
}

/// The steps of a file.
///
/// # Errors
/// In words, with the line and the column.
pub fn scenes(path: &Path) -> Result<Vec<Scene>, String> {
    let here = |words: &dyn std::fmt::Display| format!("{}: {words}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| here(&error))?;
    let file: File = toml::from_str(&text).map_err(|error| here(&error))?;
    if file.steps.is_empty() {
        return Err(here(&"it has no `[[step]]`: nothing would be tried"));
    }
    for (at, step) in (1..).zip(&file.steps) {
        step.check().map_err(|problem| here(&format!("step {at}: {problem}")))?;
    }
    Ok(file.steps)
}

impl Scene {
    fn check(&self) -> Result<(), String> {
        match (&self.wait, &self.topic) {
            (Some(_), Some(_)) => return Err("has `wait` and `topic`: it is one or the other".to_owned()),
            (None, None) => return Err("has neither `topic` nor `wait`".to_owned()),
            (Some(_), None) if self.unrouted => return Err("`unrouted` is for messages".to_owned()),
            (Some(text), None) => drop(duration(text)?),
            (None, Some(_)) if self.from.is_none() => {
                return Err("has no `from`: which broker does it come from?".to_owned());
            }
            (None, Some(_)) => drop(self.message()?),
        }
        if self.expect.is_none() && self.drop.is_none() && self.fails.is_none() && !self.unrouted {
            let words =
                "says nothing of what must become of it: `expect = [...]`, `drop`, `fails` or `unrouted = true`";
            return Err(words.to_owned());
        }
        self.expect.iter().flatten().try_for_each(|one| wanted(one).map(drop))
    }

    /// How much time passes; none if it is a message.
    pub fn time(&self) -> Option<Duration> {
        duration(self.wait.as_deref()?).ok()
    }

    /// The message that comes.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn message(&self) -> Result<Message, String> {
        message_of(&Step {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            payload_base64: self.payload_base64.clone(),
            json: self.json.clone(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.clone(),
            ..Step::default()
        })
    }

    /// Everything that is not as it must be, in lines: what must come and did not with `-`, what came and must not with `+`.
    /// `dropped` and `failed` are what was said of each; `routes` is how many took it.
    pub fn differs(&self, came: &[Came<'_>], dropped: &[String], failed: &[String], routes: usize) -> Option<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut put = |sign: char, text: &[String]| lines.extend(text.iter().map(|line| format!("  {sign} {line}")));
        if self.unrouted && routes > 0 {
            put('-', &["no route takes it".to_owned()]);
            put('+', &[format!("{routes} take it")]);
        }
        let (mut left, mut missing): (Vec<&Came<'_>>, Vec<&Expected>) = (came.iter().collect(), Vec::new());
        let must = self.expect.as_deref().unwrap_or_default();
        for one in must {
            match left.iter().position(|came| fits(one, came)) {
                Some(at) => drop(left.remove(at)),
                None => missing.push(one),
            }
        }
        missing.iter().for_each(|one| put('-', &wanted(one).unwrap_or_default()));
        for came in left {
            let mut text = Vec::new();
            let as_json = missing.iter().any(|one| one.json.is_some());
            lines_of(came.to, came.message, as_json, &mut text);
            put('+', &text);
        }
        for (word, part, said) in [("dropped", &self.drop, dropped), ("failed", &self.fails, failed)] {
            let all: Vec<String> = said.iter().map(|words| format!("{word}, {words}")).collect();
            match part {
                Some(part) if said.iter().any(|words| words.contains(part.as_str())) => {}
                Some(part) => {
                    put('-', &[format!("{word}, \"...{part}...\"")]);
                    put('+', &all);
                }
                // A failure is told if it is not what was to come; a drop is what became of what is missing.
                None if word == "failed" || !missing.is_empty() => put('+', &all),
                None => {}
            }
        }
        (!lines.is_empty()).then(|| format!("not as expected\n{}", lines.join("\n")))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("`wait`: {error}; write it as \"30s\""))
}

impl Expected {
    fn sent(&self) -> Sent {
        Sent {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            payload_base64: self.payload_base64.clone(),
            json: self.json.clone(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.clone(),
            ..Sent::default()
        }
    }
}

/// Whether what came is what must: as it was, it differs in nothing that is said.
fn fits(one: &Expected, came: &Came<'_>) -> bool {
    let lines = |message: &Message| {
        let mut lines = Vec::new();
        lines_of("", message, one.json.is_some(), &mut lines);
        lines
    };
    let same = applied(&one.sent(), came.message).is_ok_and(|wanted| lines(&wanted) == lines(came.message));
    one.to == came.to && one.route.as_ref().is_none_or(|route| route == came.route) && same
}

/// What is said, in lines.
fn wanted(one: &Expected) -> Result<Vec<String>, String> {
    let nothing = Message::new(crate::trial::topic(one.topic.as_deref().unwrap_or("x"))?, "", Default::default());
    let (mut all, mut plain) = (Vec::new(), Vec::new());
    lines_of(&one.to, &applied(&one.sent(), &nothing)?, one.json.is_some(), &mut all);
    lines_of("", &nothing, false, &mut plain);
    let said = [
        ("  topic", one.topic.is_some()),
        ("  payload", one.payload.is_some() || one.payload_base64.is_some()),
        ("  json", one.json.is_some()),
        ("  qos", one.qos.is_some() || one.retain.is_some()),
    ];
    all.retain(|line| said.iter().find(|(word, _)| line.starts_with(word)).is_none_or(|(_, is_said)| *is_said));
    all.extend(one.route.iter().map(|route| format!("  route     {route}")));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    fn scene(text: &str) -> Scene {
        let file: File = toml::from_str(text).expect("a file");
        file.steps.into_iter().next().expect("a step")
    }

    fn message(topic: &str, payload: &'static str) -> Message {
        Message::new(Topic::new(topic.to_owned()).expect("a topic"), payload, QoS::AtLeastOnce)
    }

    #[test]
    fn what_is_not_said_is_not_looked_at_and_what_is_must_be_so() {
        let scene = scene(
            "[[step]]\nfrom = \"home\"\ntopic = \"a\"\nexpect = [{ to = \"b\", json = { x = 1.0 } }, { to = \"b\", topic = \"c\", route = \"r\" }]",
        );
        let (json, other) = (message("j", "{ \"x\":1 }"), message("c", "z"));
        let came = |route, message| Came { route, to: "b", message };
        assert_eq!(scene.differs(&[came("r", &other), came("q", &json)], &[], &[], 2), None);
        let told = scene.differs(&[came("q", &other), came("q", &json)], &["q: unchanged".to_owned()], &[], 2).unwrap();
        let expected = "not as expected\n  - to b\n  -   topic     c\n  -   route     r\n  + to b\n  +   topic     c\n  \
                        +   payload   z\n  +   qos       1\n  + dropped, q: unchanged";
        assert_eq!(told, expected);
    }

    #[test]
    fn drops_failures_and_what_nobody_takes_are_asked_for() {
        let of = |key: &str| scene(&format!("[[step]]\nfrom = \"home\"\ntopic = \"a\"\n{key}"));
        let dropped = ["r: unchanged".to_owned()];
        assert_eq!(of("drop = \"unchanged\"").differs(&[], &dropped, &[], 1), None);
        assert!(of("drop = \"late\"").differs(&[], &dropped, &[], 1).is_some());
        assert!(of("expect = []").differs(&[], &[], &["r: it failed".to_owned()], 1).is_some(), "nobody expects that");
        assert_eq!(of("fails = \"it\"").differs(&[], &[], &["r: it failed".to_owned()], 1), None);
        assert_eq!(of("unrouted = true").differs(&[], &[], &[], 0), None);
        assert!(of("unrouted = true").differs(&[], &[], &[], 1).is_some());
    }

    #[test]
    fn a_step_that_says_nothing_or_too_much_is_refused() {
        let wrong = |text: &str| scene(&format!("[[step]]\n{text}")).check().unwrap_err();
        assert!(wrong("topic = \"a\"\nfrom = \"home\"").contains("says nothing"));
        assert!(wrong("topic = \"a\"\nexpect = []").contains("has no `from`"));
        assert!(wrong("wait = \"5\"\nexpect = []").contains("write it as"));
        assert!(wrong("wait = \"5s\"\ntopic = \"a\"\nexpect = []").contains("one or the other"));
        assert!(wrong("topic = \"a/#\"\nfrom = \"home\"\nexpect = []").contains("topic `a/#`"));
    }
}
