//! What is to be settled for a message on its way to a target: a cursor of the log, a debt, or an account only.

use crate::ids::{DebtId, QueueId, RouteId, SetId};
use tidegate_spool::{ItemId, Spool};

/// In the key, at the place of the set: none, and "it is in the spool".
const NO_SET: u16 = u16::MAX;
const SPOOLED: u16 = u16::MAX - 1;

/// What is to be settled when a message has been delivered, or ends otherwise. Goes with it through the lane, and as a
/// number ([`key`](Ticket::key)) through the session of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// The log has it, durably: the cursor of its queue moves. Its source does not wait for the delivery.
    Spooled {
        /// Where it waits.
        queue: QueueId,
        /// Its number there.
        ordinal: u32,
    },
    /// Past the log, and a source waits for the delivery: its debt is settled.
    Held {
        /// Of which message it is a part.
        debt: DebtId,
        /// Through which it came.
        route: RouteId,
        /// If it was addressed to a set.
        set: Option<SetId>,
    },
    /// Past the log, and nobody waits for it: only the account of its route knows. It may be dropped where it fills a
    /// lane.
    Loose {
        /// Through which it came.
        route: RouteId,
        /// If it was addressed to a set.
        set: Option<SetId>,
    },
}

impl Ticket {
    #[inline]
    pub(crate) const fn new(debt: Option<DebtId>, route: RouteId, set: Option<SetId>) -> Self {
        match debt {
            Some(debt) => Self::Held { debt, route, set },
            None => Self::Loose { route, set },
        }
    }

    /// As a number, for a session to hand back: 32 bits of debt or ordinal, 16 of route or queue, 16 of set.
    #[inline]
    pub const fn key(self) -> u64 {
        let (low, middle, high) = match self {
            Self::Spooled { queue, ordinal } => (ordinal, queue.0, SPOOLED),
            Self::Held { debt, route, set } => (debt.0.get(), route.0, set_number(set)),
            Self::Loose { route, set } => (0, route.0, set_number(set)),
        };
        low as u64 | (middle as u64) << 32 | (high as u64) << 48
    }

    /// The ticket of a number that [`key`](Self::key) made.
    #[inline]
    pub const fn from_key(key: u64) -> Self {
        let (low, middle, high) = (key as u32, (key >> 32) as u16, (key >> 48) as u16);
        if high == SPOOLED {
            return Self::Spooled { queue: QueueId(middle), ordinal: low };
        }
        let set = if high == NO_SET { None } else { Some(SetId(high)) };
        let debt = match std::num::NonZeroU32::new(low) {
            Some(number) => Some(DebtId(number)),
            None => None,
        };
        Self::new(debt, RouteId(middle), set)
    }

    /// True if nobody would miss it: no source waits for it and the spool does not have it.
    #[inline]
    pub const fn is_loose(self) -> bool {
        matches!(self, Self::Loose { .. })
    }

    /// Whether it comes after another in the log, if both are there: `place` says where.
    pub(crate) fn is_behind(self, other: Self, place: impl Fn(Self) -> Option<ItemId>) -> bool {
        place(self).zip(place(other)).is_some_and(|(place, before)| place > before)
    }

    /// Where it is in the log; `None` if it is not there.
    pub(crate) fn place(self, spool: &Spool) -> Option<ItemId> {
        let Self::Spooled { queue, ordinal } = self else { return None };
        spool.item_of(queue.spool(), ordinal)
    }

    /// True if it waits in the spool.
    #[inline]
    pub const fn is_spooled(self) -> bool {
        matches!(self, Self::Spooled { .. })
    }

    #[inline]
    pub(crate) const fn debt(self) -> Option<DebtId> {
        match self {
            Self::Held { debt, .. } => Some(debt),
            Self::Spooled { .. } | Self::Loose { .. } => None,
        }
    }
}

#[inline]
const fn set_number(set: Option<SetId>) -> u16 {
    match set {
        Some(set) => set.0,
        None => NO_SET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_survive_the_session() {
        let (route, debt) = (RouteId::new(0x1234), DebtId::new(0xDEAD_BEEE));
        for set in [None, Some(SetId::new(0)), Some(SetId::new(65_533))] {
            for ticket in [Ticket::new(Some(debt), route, set), Ticket::new(None, route, set)] {
                assert_eq!(Ticket::from_key(ticket.key()), ticket);
            }
        }
        let spooled = Ticket::Spooled { queue: QueueId::new(65_533), ordinal: u32::MAX };
        assert_eq!(Ticket::from_key(spooled.key()), spooled);
    }
}
