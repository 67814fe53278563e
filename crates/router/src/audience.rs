//! Whom a message with the retain flag is for: what a broker had stored is for the routes only that want it.
//!
//! The flag alone does not say whether a message was stored or is live: with MQTT 5 and the bridge bit a live one keeps it. What
//! does is the subscription that the message bears: a stored one comes for the subscription that asked for it, and bears the
//! identifier of that one alone (MQTT 5.0 section 3.3.2.3.8), while a live one comes for all that match. Filters that overlap are
//! subscribed apart if their routes differ in `retained`.

use crate::ids::RouteId;
use crate::route::Route;
use tidegate_config::Retained;

/// Which routes a message is for, of those whose filters match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All: it is live, or nothing tells what it is.
    All,
    /// Those of these kinds: see [`Retained::bit`].
    Only(u8),
    /// All if they are of one kind; otherwise not those that want nothing of what is stored. It may be live all the same.
    Unknown,
}

/// Those who take what was stored.
const NOT_NEVER: u8 = Retained::Forward.bit() | Retained::New.bit();

/// All kinds.
const ALL: u8 = NOT_NEVER | Retained::Never.bit();

impl Audience {
    /// Of a message that is known to have been stored, whoever it comes for.
    pub const STORED: Self = Self::Only(NOT_NEVER);

    /// What is left of it behind a copy of the same message that was for `served`; `None` if that is nothing. `served` is what
    /// both are for then.
    pub(crate) fn beside(self, served: &mut Self) -> Option<Self> {
        let kinds = |audience: Self| match audience {
            Self::All | Self::Unknown => ALL,
            Self::Only(kinds) => kinds,
        };
        let (new, had) = (kinds(self), kinds(*served));
        *served = Self::Only(new | had);
        (new & !had != 0).then_some(Self::Only(new & !had))
    }

    /// Those of `routes` that it is for.
    pub(crate) fn of(self, routes: &[RouteId], all: &[Route]) -> Vec<RouteId> {
        let kind = |route: &RouteId| all[route.at()].retained.bit();
        let kinds = match self {
            Self::All => ALL,
            Self::Only(kinds) => kinds,
            Self::Unknown if routes.windows(2).all(|two| kind(&two[0]) == kind(&two[1])) => ALL,
            Self::Unknown => NOT_NEVER,
        };
        routes.iter().filter(|route| kind(route) & kinds != 0).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_for_those_whom_the_first_was_not_for() {
        let [forward, new, never] = [Retained::Forward, Retained::New, Retained::Never].map(|kind| kind.bit());
        let mut served = Audience::Only(forward);
        assert_eq!(Audience::Only(forward).beside(&mut served), None);
        assert_eq!(Audience::Only(forward | never).beside(&mut served), Some(Audience::Only(never)));
        assert_eq!(Audience::Only(never).beside(&mut served), None);
        assert_eq!(Audience::All.beside(&mut served), Some(Audience::Only(new)));
        assert_eq!(Audience::Unknown.beside(&mut Audience::All.clone()), None);
    }
}
