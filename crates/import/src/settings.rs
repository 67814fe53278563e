//! What a mosquitto.conf says, each setting with its place.

use crate::document::harmless;
use crate::dynamic_security::DynamicSecurity;
use crate::keywords::Keyword;
use crate::problem::Place;
use std::fmt;

/// A configuration of mosquitto, its `include_dir`s included.
#[derive(Clone, Debug, Default)]
pub struct Mosquitto {
    /// What holds for the whole broker.
    pub general: Vec<Setting>,
    /// What holds for the listener that mosquitto makes of `port`, `bind_address` and what stands before any `listener`.
    pub default_listener: Vec<Setting>,
    /// Each `listener`.
    pub listeners: Vec<Listener>,
    /// Each `connection`.
    pub bridges: Vec<Bridge>,
    /// Lines that mosquitto takes otherwise than they look.
    pub remarks: Vec<Remark>,
    /// What the dynamic-security plugin has, and where it is named.
    pub(crate) dynamic_security: Option<(Place, DynamicSecurity)>,
}

/// A keyword and its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where it stands.
    pub place: Place,
    /// Which one.
    pub keyword: &'static Keyword,
    /// What it says.
    pub value: Value,
}

/// The value of a setting.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The rest of the line, or a word.
    Text(String),
    /// `true`, `1`, `false` or `0`.
    Flag(bool),
    /// As `atoi` reads it.
    Number(i32),
    /// `restart_timeout base cap`, or `restart_timeout constant`: seconds.
    Waits(i32, Option<i32>),
}

/// Passwords are among the texts.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(***)"),
            Self::Flag(flag) => write!(f, "Flag({flag})"),
            Self::Number(number) => write!(f, "Number({number})"),
            Self::Waits(base, cap) => write!(f, "Waits({base}, {cap:?})"),
        }
    }
}

/// `listener PORT [ADDRESS]` and what stands behind it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where the `listener` line is.
    pub place: Place,
    /// 0 for a Unix socket.
    pub port: u16,
    /// An address, a host name, or the path of a Unix socket.
    pub bind: Option<String>,
    /// What holds for this listener alone.
    pub settings: Vec<Setting>,
}

/// `connection NAME` and what stands behind it.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Where the `connection` line is.
    pub place: Place,
    /// Differs from that of every other bridge.
    pub name: String,
    /// At least one, all on one line; the first is the preferred.
    pub addresses: Vec<Address>,
    /// At least one.
    pub topics: Vec<TopicLine>,
    /// The rest.
    pub settings: Vec<Setting>,
}

/// One of `address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where the line is.
    pub place: Place,
    /// Without brackets.
    pub host: String,
    /// 1883 unless written, TLS or not.
    pub port: u16,
}

/// `topic PATTERN [DIRECTION [QOS [LOCAL [REMOTE]]]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLine {
    /// Where it stands.
    pub place: Place,
    /// As written, blanks squeezed, for comments.
    pub written: String,
    /// `None` for `""`: the prefixes are whole topics.
    pub pattern: Option<String>,
    /// Which way messages go.
    pub direction: Direction,
    /// Of the subscription; 0 to 2.
    pub qos: u8,
    /// `None` for `""` or nothing.
    pub local: Option<String>,
    /// `None` for `""` or nothing.
    pub remote: Option<String>,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From this broker to the other.
    Out,
    /// From the other to this.
    In,
    /// Both.
    Both,
}

/// Something worth knowing of a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Which line.
    pub place: Place,
    /// What there is to know.
    pub words: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&harmless(&format!("{}: {}", self.place, self.words)))
    }
}

impl TopicLine {
    /// The filter that is subscribed to on this side or on the other: its prefix and the pattern.
    pub fn filter(&self, side: Side) -> String {
        let prefix = self.prefix(side).unwrap_or_default();
        format!("{prefix}{}", self.pattern.as_deref().unwrap_or_default())
    }

    /// The prefix on this side or on the other.
    pub fn prefix(&self, side: Side) -> Option<&str> {
        match side {
            Side::Local => self.local.as_deref(),
            Side::Remote => self.remote.as_deref(),
        }
    }
}

/// An end of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The broker whose configuration it is.
    Local,
    /// The one that it connects to.
    Remote,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

/// Settings of one section.
pub(crate) trait Find {
    /// The one that counts; of several the last.
    fn setting(&self, name: &str) -> Option<&Setting>;

    fn text(&self, name: &str) -> Option<&str> {
        match &self.setting(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.setting(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<i32> {
        match self.setting(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }
}

impl Find for [Setting] {
    fn setting(&self, name: &str) -> Option<&Setting> {
        self.iter().rfind(|setting| setting.keyword.name == name)
    }
}
