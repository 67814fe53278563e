//! What SCRAM is computed with, and what is kept of a password for it (RFC 5802 section 3).

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// The hash that everything of an exchange is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// By the name of an authentication method.
    pub(crate) fn named(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == method)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(crate) fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn of<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            // A key may have any length.
            let mac = <M as Mac>::new_from_slice(key).ok();
            mac.map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec()).unwrap_or_default()
        }
        match self {
            Self::Sha256 => of::<Hmac<Sha256>>(key, data),
            Self::Sha512 => of::<Hmac<Sha512>>(key, data),
        }
    }
}

/// What the broker knows of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

impl Verifier {
    /// From the salted password: what PBKDF2 makes of it.
    pub(crate) fn new(mechanism: Mechanism, iterations: u32, salt: Vec<u8>, salted: &[u8]) -> Self {
        let stored_key = mechanism.hash(&mechanism.hmac(salted, b"Client Key"));
        Self { iterations, salt, stored_key, server_key: mechanism.hmac(salted, b"Server Key") }
    }
}
