//! Sockets to listen on: bound before any link is opened, and again later where an address is not there yet.
//!
//! A box may start before its network does (an address given by a Wi-Fi that comes up late): that is no mistake in the
//! configuration, and nothing to end for. An address that somebody else has, or that we may not have, is.

use crate::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tidegate_pacing::Doubling;

/// How long until an absent address is tried again; it doubles up to the second.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(15);

/// Waits between attempts.
#[derive(Debug)]
pub struct Again(Doubling);

impl Default for Again {
    fn default() -> Self {
        Self::new()
    }
}

impl Again {
    /// The first is a second.
    pub fn new() -> Self {
        Self(Doubling::new(AGAIN_MIN, AGAIN_MAX))
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        self.0.advance()
    }
}

/// Whether an address may come to be ours without anybody changing anything.
pub fn may_come(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
}

/// Why somebody cannot listen, `who` being a broker or the admin server.
pub fn refused(who: &str, at: &dyn Display, error: &io::Error) -> Error {
    let words = |hint: &str| format!("{who} cannot listen on {at}: {error}; {hint}");
    match error.kind() {
        ErrorKind::AddrInUse => {
            Error::InUse(words("stop the other program that does, perhaps another gateway, or choose another address"))
        }
        ErrorKind::PermissionDenied => {
            Error::NotPermitted(words("choose a port from 1024 on, or a socket where the gateway's user may make one"))
        }
        ErrorKind::NotFound => Error::Config(vec![words("create the directory, or choose another path")]),
        _ => Error::Config(vec![words("choose another address")]),
    }
}

/// Why somebody cannot listen where one of our own still does, at an address that is not quite the same.
pub(crate) fn not_yet(who: &str, at: &dyn Display, ours: &dyn Display) -> Error {
    let hint = "save the configuration without it first, then with it";
    Error::Config(vec![format!("{who} cannot listen on {at} while this gateway still listens on {ours}: {hint}")])
}

/// What is said of an address that is not there.
pub fn absent(at: &dyn Display) -> String {
    format!("{at} is not an address of this machine now; tried again until it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_is_waited_for_and_what_somebody_has_is_not() {
        assert!(may_come(&ErrorKind::AddrNotAvailable.into()));
        for kind in [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::NotFound] {
            assert!(!may_come(&kind.into()), "{kind}");
        }
        let refused = |kind: ErrorKind| super::refused("the admin server", &"127.0.0.1:1", &kind.into());
        assert!(matches!(refused(ErrorKind::AddrInUse), Error::InUse(words) if words.contains("127.0.0.1:1")));
        assert!(matches!(refused(ErrorKind::PermissionDenied), Error::NotPermitted(_)));
        assert!(matches!(refused(ErrorKind::NotFound), Error::Config(_)));
    }

    #[test]
    fn waits_double_to_the_longest() {
        let mut again = Again::new();
        let waits: Vec<u64> = (0..6).map(|_| again.wait().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }
}
