//! The ways of saying hello to a broker, and which one it is the turn of.

use crate::settings::{Bridge, VersionChoice};
use serde::{Deserialize, Serialize};
use tidegate_mqtt::Version;

/// How often a way of connecting that worked before may fail in the handshake before others are tried.
const FAILURES_BEFORE_OTHERS: u32 = 3;

/// One way of saying hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The protocol level: 3, 4 or 5.
    level: u8,
    /// With mosquitto's bridge bit.
    pub(crate) bridge: bool,
}

impl Hello {
    pub(crate) const fn new(version: Version, bridge: bool) -> Self {
        let level = match version {
            Version::V31 => 3,
            Version::V311 => 4,
            Version::V5 => 5,
        };
        Self { level, bridge }
    }

    pub(crate) const fn version(self) -> Version {
        match self.level {
            3 => Version::V31,
            4 => Version::V311,
            _ => Version::V5,
        }
    }
}

impl std::fmt::Display for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MQTT {}{}", self.version(), if self.bridge { " with the bridge bit" } else { "" })
    }
}

/// The ways of saying hello, and which one it is the turn of.
pub(crate) struct Hellos {
    all: Vec<Hello>,
    at: usize,
    /// Where the round began that is being made.
    start: usize,
    worked: bool,
    failures: u32,
    /// All were tried, and none was answered: the next round is more patient.
    all_tried: bool,
}

impl Hellos {
    /// Begins with the one that worked last.
    pub(crate) fn new(all: Vec<Hello>, last: Option<Hello>) -> Self {
        let at = all.iter().position(|hello| Some(*hello) == last).unwrap_or(0);
        Self { all, at, start: at, worked: false, failures: 0, all_tried: false }
    }

    pub(crate) fn now(&self) -> Hello {
        self.all[self.at]
    }

    pub(crate) fn worked(&mut self) {
        (self.worked, self.failures, self.start) = (true, 0, self.at);
    }

    /// Whether another is to be tried soon if this one is not answered.
    pub(crate) fn is_impatient(&self) -> bool {
        self.all.len() > 1 && !self.worked && !self.all_tried
    }

    pub(crate) fn is_at_start(&self) -> bool {
        self.at == self.start
    }

    /// This one was not taken. Returns the one that is tried instead; none while one that worked before has its chances.
    pub(crate) fn failed(&mut self) -> Option<Hello> {
        self.failures += 1;
        if self.all.len() < 2 || (self.worked && self.failures <= FAILURES_BEFORE_OTHERS) {
            return None;
        }
        self.worked = false;
        self.at = (self.at + 1) % self.all.len();
        self.all_tried |= self.is_at_start();
        Some(self.now())
    }
}

/// All that the settings allow, the newest and then the plainest.
pub(crate) fn all(version: VersionChoice, bridge: Bridge) -> Vec<Hello> {
    let bits: &[bool] = match bridge {
        Bridge::Auto => &[true, false],
        Bridge::On => &[true],
        Bridge::Off => &[false],
    };
    let versions: &[Version] = match version {
        VersionChoice::Auto => &[Version::V5, Version::V311],
        VersionChoice::Only(version) => &[version],
    };
    let mut hellos = Vec::new();
    for version in versions {
        let bits = if *version == Version::V5 { &[false] } else { bits };
        hellos.extend(bits.iter().map(|bridge| Hello::new(*version, *bridge)));
    }
    hellos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_go_from_the_newest_to_the_plainest() {
        let list =
            |version, bridge| all(version, bridge).into_iter().map(|h| (h.version(), h.bridge)).collect::<Vec<_>>();
        assert_eq!(
            list(VersionChoice::Auto, Bridge::Auto),
            [(Version::V5, false), (Version::V311, true), (Version::V311, false)]
        );
        assert_eq!(list(VersionChoice::Only(Version::V5), Bridge::On), [(Version::V5, false)]);
        assert_eq!(list(VersionChoice::Only(Version::V31), Bridge::Off), [(Version::V31, false)]);
    }

    #[test]
    fn what_worked_last_is_said_first_and_has_its_chances_before_others_are_tried() {
        let all = all(VersionChoice::Auto, Bridge::Auto);
        let mut hellos = Hellos::new(all.clone(), Some(all[2]));
        assert!(hellos.now() == all[2] && hellos.is_impatient(), "it may have changed since");
        hellos.worked();
        for _ in 0..FAILURES_BEFORE_OTHERS {
            assert_eq!(hellos.failed(), None);
        }
        assert_eq!(hellos.failed(), Some(all[0]));
        assert_eq!(hellos.failed(), Some(all[1]));
        assert!(!hellos.is_at_start());
        assert_eq!(hellos.failed(), Some(all[2]));
        assert!(hellos.is_at_start() && !hellos.is_impatient(), "all were tried");
        let mut one = Hellos::new(all[..1].to_vec(), None);
        assert_eq!((one.failed(), one.is_impatient()), (None, false));
    }
}
