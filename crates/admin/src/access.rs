//! Who may do what: tokens, and how far they reach.

use sha2::{Digest, Sha256};
use std::path::Path;
use tidegate_config::{Admin, SecretError, SecretValue};

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Through a Unix socket: the permissions of its folder say who may.
    Socket,
    /// From this machine.
    Local,
    /// From another one.
    Remote,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Ask whether it is well, and for metrics.
    Monitor,
    /// Look at everything.
    Read,
    /// Change something.
    Control,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// He has to show a token.
    NoToken,
    /// What he has shown is none.
    WrongToken,
    /// His token is for looking only.
    ReadOnly,
    /// Nobody but the owner may.
    NoControl,
}

impl Denied {
    /// For whoever asked.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NoToken => "show a token of [admin]: `Authorization: Bearer TOKEN`",
            Self::WrongToken => "this token is not one of [admin]",
            Self::ReadOnly => "this token is for looking only; show the `token` of [admin]",
            Self::NoControl => {
                "`control` of [admin] is off, so only the commands of tidegate may change anything, run as the gateway's user"
            }
        }
    }

    /// For the metric.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ReadOnly | Self::NoControl => "not_allowed",
        }
    }
}

/// What of a token is kept: it is compared in a time that tells nothing of it.
#[derive(Clone)]
struct Known([u8; 32]);

impl Known {
    fn new(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn is(&self, shown: &[u8; 32]) -> bool {
        self.0.iter().zip(shown).fold(0, |all, (one, other)| all | (one ^ other)) == 0
    }
}

/// All that has to be known to say who may do what.
#[derive(Clone)]
pub(crate) struct Access {
    control: bool,
    token: Option<Known>,
    read_token: Option<Known>,
    owner: Option<Known>,
}

impl Access {
    /// Reads the tokens.
    pub(crate) fn new(admin: &Admin) -> Result<Self, SecretError> {
        let read =
            |secret: &Option<tidegate_config::Secret>| secret.as_ref().map(tidegate_config::Secret::read).transpose();
        let known = |value: Option<SecretValue>| value.map(|value| Known::new(value.expose()));
        let (token, read_token) = (known(read(&admin.token)?), known(read(&admin.read_token)?));
        Ok(Self { control: admin.control, token, read_token, owner: None })
    }

    /// Makes the owner's key in a folder that is this gateway's by now.
    pub(crate) fn with_owner(mut self, data_dir: &Path) -> Self {
        self.owner = crate::key::make(data_dir).map(|key| Known::new(key.as_bytes()));
        self
    }

    /// Whether somebody who came so and has shown this may do what wants this role.
    pub(crate) fn allows(&self, peer: Peer, shown: Option<&[u8]>, wanted: Role) -> Result<(), Denied> {
        let has = match shown {
            None => self.without(peer),
            Some(shown) => {
                let shown = Sha256::digest(shown).into();
                let is = |known: &Option<Known>| known.as_ref().is_some_and(|known| known.is(&shown));
                // All are looked at, whichever it is.
                let (owner, token, read) = (is(&self.owner), is(&self.token), is(&self.read_token));
                match (owner, token, read) {
                    (true, ..) => Role::Control,
                    (_, true, _) if self.control => Role::Control,
                    (_, true, _) | (.., true) => Role::Read,
                    _ => return Err(Denied::WrongToken),
                }
            }
        };
        if has >= wanted {
            return Ok(());
        }
        Err(match (shown, wanted) {
            (None, Role::Control) if !self.control => Denied::NoControl,
            (None, _) => Denied::NoToken,
            (Some(_), _) => Denied::ReadOnly,
        })
    }

    /// What somebody may do who shows nothing.
    fn without(&self, peer: Peer) -> Role {
        match peer {
            Peer::Socket if self.control => Role::Control,
            Peer::Socket => Role::Read,
            Peer::Local if self.read_token.is_none() => Role::Read,
            Peer::Local | Peer::Remote => Role::Monitor,
        }
    }

    /// Whether there is anything that a page could show to be let in for changes.
    pub(crate) const fn takes_control(&self) -> bool {
        self.control && self.token.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Access = Access { control: false, token: None, read_token: None, owner: None };

    fn known(token: &str) -> Option<Known> {
        Some(Known::new(token.as_bytes()))
    }

    #[test]
    fn without_a_word_of_control_only_the_owner_changes_anything() {
        let access = Access { owner: known("own"), ..NOBODY };
        assert_eq!(access.allows(Peer::Local, None, Role::Read), Ok(()));
        assert_eq!(access.allows(Peer::Socket, None, Role::Read), Ok(()));
        for peer in [Peer::Local, Peer::Socket, Peer::Remote] {
            assert_eq!(access.allows(peer, None, Role::Control), Err(Denied::NoControl));
            assert_eq!(access.allows(peer, Some(b"own"), Role::Control), Ok(()));
            assert_eq!(access.allows(peer, Some(b"other"), Role::Read), Err(Denied::WrongToken));
        }
    }

    #[test]
    fn other_machines_see_metrics_and_nothing_else_without_a_token() {
        let access = Access { read_token: known("look"), ..NOBODY };
        assert_eq!(access.allows(Peer::Remote, None, Role::Monitor), Ok(()));
        assert_eq!(access.allows(Peer::Remote, None, Role::Read), Err(Denied::NoToken));
        assert_eq!(access.allows(Peer::Remote, Some(b"look"), Role::Read), Ok(()));
        assert_eq!(NOBODY.allows(Peer::Remote, None, Role::Read), Err(Denied::NoToken));
    }

    #[test]
    fn a_token_to_look_does_not_change_anything() {
        let access = Access { control: true, token: known("do"), read_token: known("look"), owner: None };
        assert_eq!(access.allows(Peer::Local, None, Role::Read), Err(Denied::NoToken));
        assert_eq!(access.allows(Peer::Local, Some(b"look"), Role::Read), Ok(()));
        assert_eq!(access.allows(Peer::Local, Some(b"look"), Role::Control), Err(Denied::ReadOnly));
        assert_eq!(access.allows(Peer::Local, Some(b"do"), Role::Control), Ok(()));
        assert_eq!(access.allows(Peer::Local, None, Role::Control), Err(Denied::NoToken));
        assert_eq!(access.allows(Peer::Socket, None, Role::Control), Ok(()));
    }
}
