//! Which messages of a source were stored there, and for which of its routes they come.

use tidegate_config::Retained;
use tidegate_message::Message;
use tidegate_mqtt::Version;
use tidegate_router::Audience;

/// How many bits of a subscription identifier say what its routes want of what is stored: see [`Retained::bit`].
pub(crate) const KIND_BITS: u32 = 3;

/// What the retain flag says of a message from a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainFlag {
    /// That it was published with it, or stored; nothing tells which (MQTT 3.x with the bridge bit).
    Kept,
    /// That it was stored (MQTT 3.1.1 section 3.3.1.3).
    Stored,
    /// That it was published with it, or stored; identifiers say for which of our subscriptions it comes (MQTT 5).
    Numbered,
}

impl RetainFlag {
    /// On a connection of this kind.
    pub(crate) fn on(version: Version, bridge: bool) -> Self {
        match version {
            Version::V5 => Self::Numbered,
            _ if bridge => Self::Kept,
            _ => Self::Stored,
        }
    }

    /// Whom a message is for; `ids` are the identifiers of the subscriptions that it came for, or-ed.
    #[inline]
    pub(crate) fn audience(self, message: &Message, ids: u32) -> Audience {
        match self {
            Self::Numbered if message.retain => of_kinds(ids),
            Self::Stored if message.retain => Audience::STORED,
            _ => Audience::All,
        }
    }

    /// Whom a message of the box's own broker is for.
    pub(crate) fn of_local(stored: bool) -> Audience {
        if stored { Audience::STORED } else { Audience::All }
    }
}

fn of_kinds(ids: u32) -> Audience {
    match ids & ((1 << KIND_BITS) - 1) {
        0 => Audience::Unknown,
        kinds => Audience::Only(kinds as u8),
    }
}

/// The identifier of a subscription with this number.
pub(crate) fn identifier(number: u32, retained: Retained) -> u32 {
    number << KIND_BITS | u32::from(retained.bit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    #[test]
    fn what_the_flag_says_depends_on_what_is_spoken() {
        let message = |retain| Message { retain, ..Message::new(Topic::new("t").unwrap(), "x", QoS::AtMostOnce) };
        let audience = |version, bridge, retain, ids| RetainFlag::on(version, bridge).audience(&message(retain), ids);
        let ids = identifier(7, Retained::Forward) | identifier(9, Retained::Never);
        let both = Audience::Only(Retained::Forward.bit() | Retained::Never.bit());
        assert_eq!(audience(Version::V5, false, true, ids), both);
        assert_eq!(audience(Version::V5, false, true, 0), Audience::Unknown);
        assert_eq!(audience(Version::V311, false, true, 0), Audience::STORED);
        assert_eq!(audience(Version::V311, true, true, 0), Audience::All);
        for (version, bridge) in [(Version::V5, false), (Version::V311, true), (Version::V31, false)] {
            assert_eq!(audience(version, bridge, false, ids), Audience::All, "live");
        }
    }
}
