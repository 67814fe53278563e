//! Topics: Sparkplug's own, the ones that JSON goes to, and the ones that it comes from.

use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;

/// A gateway sends no longer topics, and none of more levels.
const MAX_TOPIC_BYTES: usize = 65_535;
const MAX_TOPIC_LEVELS: usize = 200;

/// What a message of Sparkplug is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Kind {
    NBirth,
    NDeath,
    NData,
    NCmd,
    DBirth,
    DDeath,
    DData,
    DCmd,
}

impl Kind {
    const ALL: [(&'static str, Self); 8] = [
        ("NBIRTH", Self::NBirth),
        ("NDEATH", Self::NDeath),
        ("NDATA", Self::NData),
        ("NCMD", Self::NCmd),
        ("DBIRTH", Self::DBirth),
        ("DDEATH", Self::DDeath),
        ("DDATA", Self::DData),
        ("DCMD", Self::DCmd),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Whether it is about a device, and not about the edge node itself.
    pub(crate) fn is_of_device(self) -> bool {
        self as usize >= Self::DBirth as usize
    }

    pub(crate) fn is_birth(self) -> bool {
        matches!(self, Self::NBirth | Self::DBirth)
    }

    pub(crate) fn is_death(self) -> bool {
        matches!(self, Self::NDeath | Self::DDeath)
    }

    pub(crate) fn is_command(self) -> bool {
        matches!(self, Self::NCmd | Self::DCmd)
    }
}

/// Who a message is from, or for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Address<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: Kind,
    pub(crate) edge: &'a str,
    pub(crate) device: Option<&'a str>,
}

/// What a topic is.
#[derive(Debug, PartialEq)]
pub(crate) enum Topic<'a> {
    Sparkplug(Address<'a>),
    /// The state of a host application, which is JSON already.
    State,
    /// In Sparkplug's namespace and yet none of its topics.
    Wrong(String),
    Other,
}

/// The namespace of Sparkplug B.
pub(crate) const NAMESPACE: &str = "spBv1.0";

impl<'a> Topic<'a> {
    pub(crate) fn parse(topic: &'a str) -> Self {
        let mut levels = topic.split('/');
        if levels.next() != Some(NAMESPACE) {
            return Self::Other;
        }
        let (group, kind, edge, device) = (levels.next(), levels.next(), levels.next(), levels.next());
        if group == Some("STATE") {
            return Self::State;
        }
        let Some(kind) = kind.and_then(Kind::named) else {
            let what = kind.unwrap_or_default();
            return Self::Wrong(format!("the topic is not Sparkplug's: `{what}` is none of its message types"));
        };
        match (group, edge) {
            (Some(group), Some(edge)) if kind.is_of_device() == device.is_some() && levels.next().is_none() => {
                Self::Sparkplug(Address { group, kind, edge, device })
            }
            _ => Self::Wrong(format!(
                "the topic is not Sparkplug's: {} is {NAMESPACE}/GROUP/{}/EDGE{}",
                kind.name(),
                kind.name(),
                if kind.is_of_device() { "/DEVICE" } else { "" }
            )),
        }
    }
}

impl Address<'_> {
    /// The topic.
    pub(crate) fn topic(&self) -> String {
        let Self { group, kind, edge, device } = self;
        let mut topic = [NAMESPACE, "/", group, "/", kind.name(), "/", edge].concat();
        if let Some(device) = device {
            topic.push('/');
            topic.push_str(device);
        }
        topic
    }
}

/// A level of a topic that is made, or taken apart.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Group,
    Kind,
    Edge,
    Device,
    Metric,
    Source,
}

impl Part {
    fn parse(level: &str) -> Result<Self, String> {
        Ok(match level {
            "{group}" => Self::Group,
            "{type}" => Self::Kind,
            "{edge}" => Self::Edge,
            "{device}" => Self::Device,
            "{metric}" => Self::Metric,
            "{source}" => Self::Source,
            text if text.contains(['{', '}']) => {
                return Err(format!(
                    "`{text}` is no level: write a text, or one of {{group}}, {{type}}, {{edge}}, {{device}}, {{metric}} and \
                     {{source}} alone"
                ));
            }
            text if text.contains(['+', '#', '\0']) => return Err("a topic holds no `+` or `#`".to_owned()),
            text => Self::Text(text.to_owned()),
        })
    }

    fn list(text: &str) -> Result<Vec<Self>, String> {
        match text {
            "" => Err("is empty; write a topic such as \"plant/{group}/{edge}/{device}/{metric}\"".to_owned()),
            text => text.split('/').map(Self::parse).collect(),
        }
    }
}

/// The topic that JSON goes to. A level with nothing to stand in it is left out.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Part>);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Part::list(&String::deserialize(from)?).map(Self).map_err(de::Error::custom)
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Part::list(text).map(Self)
    }

    pub(crate) fn has_metric(&self) -> bool {
        self.0.contains(&Part::Metric)
    }

    /// The topic of a metric, or of the message itself.
    pub(crate) fn topic(&self, source: &str, address: &Address, metric: Option<&str>) -> Result<String, String> {
        let mut topic = String::with_capacity(64);
        for part in &self.0 {
            let level = match part {
                Part::Text(text) => Some(Cow::Borrowed(text.as_str())),
                Part::Group => Some(Cow::Borrowed(address.group)),
                Part::Kind => Some(Cow::Borrowed(address.kind.name())),
                Part::Edge => Some(Cow::Borrowed(address.edge)),
                Part::Device => address.device.map(Cow::Borrowed),
                Part::Metric => metric.map(for_topic),
                Part::Source => Some(Cow::Borrowed(source)),
            };
            if let Some(level) = level {
                if !topic.is_empty() {
                    topic.push('/');
                }
                topic.push_str(&level);
            }
        }
        if topic.len() > MAX_TOPIC_BYTES || topic.split('/').count() > MAX_TOPIC_LEVELS {
            return Err(format!("a topic of {} bytes or {MAX_TOPIC_LEVELS} levels is too long to send", topic.len()));
        }
        if topic.is_empty() {
            return Err("nothing is left of the topic: put a text into `topic`".to_owned());
        }
        Ok(topic)
    }
}

/// A name, with `_` for each letter that no topic holds or no broker takes.
fn for_topic(name: &str) -> Cow<'_, str> {
    if name.contains(is_no_letter_of_topics) {
        return Cow::Owned(name.replace(is_no_letter_of_topics, "_"));
    }
    Cow::Borrowed(name)
}

pub(crate) fn is_no_letter_of_topics(letter: char) -> bool {
    let code = u32::from(letter);
    matches!(letter, '+' | '#') || letter.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// The topic that JSON comes from.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Part>);

/// What a topic says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Named<'a> {
    pub(crate) group: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) edge: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    /// All the levels that are left.
    pub(crate) metric: Option<&'a str>,
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = Part::list(&String::deserialize(from)?).map_err(de::Error::custom)?;
        let metric = parts.iter().position(|part| *part == Part::Metric);
        if metric.is_some_and(|at| at + 1 < parts.len()) {
            return Err(de::Error::custom("{metric} takes all levels that are left: it stands last"));
        }
        if parts.contains(&Part::Source) {
            return Err(de::Error::custom("{source} is no part of a topic that comes in"));
        }
        Ok(Self(parts))
    }
}

impl Pattern {
    /// What the topic says, if it fits.
    pub(crate) fn fit<'a>(&self, topic: &'a str) -> Option<Named<'a>> {
        let mut named = Named::default();
        let mut rest = Some(topic);
        for part in &self.0 {
            let here = rest?;
            let (level, behind) = match here.split_once('/') {
                Some((level, behind)) => (level, Some(behind)),
                None => (here, None),
            };
            let place = match part {
                Part::Text(text) if text == level => {
                    rest = behind;
                    continue;
                }
                Part::Text(_) | Part::Source => return None,
                Part::Group => &mut named.group,
                Part::Kind => &mut named.kind,
                Part::Edge => &mut named.edge,
                Part::Device => &mut named.device,
                Part::Metric => {
                    named.metric = Some(here);
                    return Some(named);
                }
            };
            *place = Some(level);
            rest = behind;
        }
        rest.is_none().then_some(named)
    }
}
