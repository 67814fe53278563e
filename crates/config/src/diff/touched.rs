//! What becomes of messages that wait when the configuration changes.
//!
//! Messages wait in the spool under the name of a broker or a target set, and no edit drops them: the name may lead
//! elsewhere, or to nobody until something is called so again.

use super::{Change, Outline};
use std::collections::BTreeMap;
use std::fmt;

/// Messages that wait, and that an edit means something to. Printed as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The broker or target set that they wait for.
    pub target: String,
    /// How many wait.
    pub messages: u64,
    /// What becomes of them.
    pub fate: Fate,
}

/// What becomes of messages that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing has that name any more: they stay until something has, or are moved or discarded by hand.
    Nobody,
    /// They go to one of these brokers: members of a set stay when others are removed, or the name is back.
    GoesTo(Vec<String>),
    /// They stay where they are, and other `spool` settings hold for them, such as `max_age`.
    Settings,
}

impl Fate {
    /// A stable word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Nobody => "waits_for_nobody",
            Self::GoesTo(_) => "goes_to",
            Self::Settings => "other_spool_settings",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str(
                "they wait until something has that name again, or until `tidegate spool move` or `tidegate spool discard`",
            ),
            Self::GoesTo(brokers) => {
                let names: Vec<String> = brokers.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "they go to {}", names.join(" or "))
            }
            Self::Settings => f.write_str("its new `spool` settings hold for them"),
        }
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, messages, fate } = self;
        write!(f, "{messages} messages wait for `{target}`: {fate}")
    }
}

/// See [`Outline::touched`].
pub(super) fn touched(
    old: &Outline,
    new: &Outline,
    changes: &[Change],
    waiting: &BTreeMap<String, u64>,
) -> Vec<Touched> {
    let one = |(target, messages): (&String, &u64)| {
        let fate = match (goes_to(old, target), goes_to(new, target)) {
            (None, None) => return None,
            (Some(_), None) => Fate::Nobody,
            (None, Some(brokers)) => Fate::GoesTo(brokers),
            (Some(before), Some(after)) if before.iter().any(|broker| !after.contains(broker)) => Fate::GoesTo(after),
            (Some(_), Some(_)) if changes.iter().any(|change| is_spool_of(change, target)) => Fate::Settings,
            (Some(_), Some(_)) => return None,
        };
        Some(Touched { target: target.clone(), messages: *messages, fate })
    };
    waiting.iter().filter(|(_, messages)| **messages > 0).filter_map(one).collect()
}

/// The brokers that may get what waits for a name; `None` while nothing is called so.
fn goes_to(outline: &Outline, name: &str) -> Option<Vec<String>> {
    if let Some(members) = outline.told(&format!("targets.{name}.members")) {
        // Laid out as TOML has it, which for names is JSON too.
        return Some(serde_json::from_str(members).unwrap_or_default());
    }
    let keys = ["url", "embedded"].map(|key| format!("brokers.{name}.{key}"));
    keys.iter().any(|key| outline.told(key).is_some()).then(|| vec![name.to_owned()])
}

fn is_spool_of(change: &Change, target: &str) -> bool {
    ["targets", "brokers"].iter().any(|list| {
        let rest = change.key.strip_prefix(list).and_then(|rest| rest.strip_prefix('.'));
        rest.and_then(|rest| rest.strip_prefix(target)).is_some_and(|rest| rest.starts_with(".spool"))
    })
}
