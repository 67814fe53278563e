//! Numbers for brokers, routes, sets and debts: each kind a type of its own, so that none is taken for another.

use std::num::NonZeroU32;

/// Declares a place in one of the router's lists.
macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u16);

        impl $name {
            /// The place of this number in a list. A configuration has far fewer than 65,534 of anything; more of them
            /// end in the last place.
            #[inline]
            pub const fn new(at: usize) -> Self {
                Self(if at < 65_533 { at as u16 } else { 65_533 })
            }

            /// Its place, counted from 0.
            #[inline]
            pub const fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

place!(
    /// A broker: a link's other end, or the box's own. Places are not used again while the process lives.
    BrokerId
);
place!(
    /// A route. A route that is removed keeps its place for what is still under way in it.
    RouteId
);
place!(
    /// A name for several brokers.
    SetId
);
place!(
    /// A queue of the spool: a target and a class of priority.
    QueueId
);

/// A record in the making. Numbers rise in the order in which drafts were begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DraftId(pub(crate) u64);

/// A received message whose source has not been told yet that it is taken care of. The number is used again once it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DebtId(pub(crate) NonZeroU32);

impl DebtId {
    #[inline]
    pub(crate) const fn new(at: usize) -> Self {
        // Bounded by the windows of all sources, far below 2^32.
        Self(NonZeroU32::MIN.saturating_add(at as u32))
    }

    #[inline]
    pub(crate) const fn at(self) -> usize {
        self.0.get() as usize - 1
    }
}
