//! The user file: names and salted password hashes, in the formats that `mosquitto_passwd` writes and has written.
//!
//! One line a user, `name:hash`. Empty lines and lines that begin with `#` are skipped. A hash is
//! - `$7$<iterations>$<salt>$<hash>`: PBKDF2 with HMAC-SHA-512 over the password (RFC 8018), of mosquitto 2.0;
//! - `$6$<salt>$<hash>`: SHA-512 over the password and the salt, of mosquitto before 2.0;
//! - `$argon2id$...`: a PHC string (RFC 9106), of mosquitto 2.1;
//! - `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` (RFC 5803), of ours: mosquitto does not read it.
//!
//! By SCRAM-SHA-256 those log in who have the last of these, by SCRAM-SHA-512 those who have the first, by a password all.
//!
//! Salts and hashes are in base64.

use crate::scram::{Mechanism, Verifier};
use ahash::AHashMap;
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;

/// The lengths of a hash, in bytes.
const HASH_BYTES: usize = 64;

/// More would take minutes per connection.
const ITERATIONS_MAX: u32 = 10_000_000;

/// More of Argon2id would take memory that a box does not have, in KiB, and time, in passes.
const ARGON2_MAX: (u32, u32) = (256 * 1024, 100);

/// What is written anew, as mosquitto 2.1 does.
const WRITTEN_ITERATIONS: u32 = 1_000;
const WRITTEN_SALT_BYTES: usize = 16;

/// Of a hash for SCRAM-SHA-256: the fewest that its standard allows. The client computes them, at each log-in.
const WRITTEN_SCRAM_ITERATIONS: u32 = 4_096;

/// The length of each of its keys.
const SCRAM_KEY_BYTES: usize = 32;

/// What kind of hash is written for a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserHash {
    /// `$7$`, which mosquitto reads, too.
    #[default]
    Pbkdf2,
    /// `SCRAM-SHA-256$`.
    ScramSha256,
}

/// Who may connect, and how to tell. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    entries: Arc<AHashMap<String, Credential>>,
    /// What a name that is not in the file costs, so that time does not tell who is: what the first one costs.
    decoy: Option<Credential>,
    /// What it is asked by SCRAM is like what the first one is asked.
    scram_decoys: Vec<(Mechanism, Verifier)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Credential {
    Pbkdf2 {
        iterations: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Sha512 {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// As it stands in the file, and can be used.
    Argon2id(String),
    ScramSha256(Verifier),
}

/// A line of a user file that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct UserLineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: UserProblem,
}

/// What can be wrong with a line of a user file. Never shows the line: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserProblem {
    /// No colon, or nothing before it.
    #[error("expected `name:hash`; make the file with `mosquitto_passwd -c FILE NAME`")]
    Shape,
    /// The password itself, it seems.
    #[error("the password of this user is not hashed; hash the file with `mosquitto_passwd -U FILE`")]
    PlainText,
    /// A hash of another kind.
    #[error(
        "this kind of hash is not supported, only `$7$`, `$6$`, `$argon2id$` and `SCRAM-SHA-256$`; set the password again with `tidegate user passwd NAME`"
    )]
    Kind,
    /// A hash that cannot be.
    #[error("the hash is damaged; set the password again with `tidegate user passwd NAME`")]
    Damaged,
    /// A hash that takes too much of the box.
    #[error(
        "this hash wants too much memory or time to be checked; set the password again with `tidegate user passwd NAME`"
    )]
    Costly,
    /// The name is there twice.
    #[error("this user has two lines; remove one")]
    Twice,
}

impl Users {
    /// Reads the text of a user file.
    ///
    /// # Errors
    /// Every line that cannot be taken.
    pub fn parse(text: &str) -> Result<Self, Vec<UserLineError>> {
        let (mut entries, mut errors, mut decoy) = (AHashMap::new(), Vec::new(), None);
        let mut scram_decoys: Vec<(Mechanism, Verifier)> = Vec::new();
        for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let problem = match parse_line(line) {
                Ok((name, credential)) => {
                    decoy.get_or_insert_with(|| credential.clone());
                    for mechanism in Mechanism::ALL {
                        if let Some(verifier) = credential.verifier(mechanism)
                            && scram_decoys.iter().all(|(known, _)| *known != mechanism)
                        {
                            scram_decoys.push((mechanism, verifier));
                        }
                    }
                    match entries.insert(name, credential) {
                        None => continue,
                        Some(_) => UserProblem::Twice,
                    }
                }
                Err(problem) => problem,
            };
            errors.push(UserLineError { line: at + 1, problem });
        }
        if errors.is_empty() { Ok(Self { entries: Arc::new(entries), decoy, scram_decoys }) } else { Err(errors) }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nobody may connect.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this is the user's password. Takes as long as the file's iterations: not for the data thread.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        match (self.entries.get(name), &self.decoy) {
            (Some(credential), _) => credential.verify(password),
            (None, Some(decoy)) => {
                let _ = decoy.verify(password);
                false
            }
            (None, None) => false,
        }
    }

    /// What is known of a user for SCRAM, and whether there is one. A name that nobody has, or only for something else, has a salt, too,
    /// always the same. `None`: nobody can log in so.
    pub(crate) fn verifier(&self, mechanism: Mechanism, name: &str) -> Option<(Verifier, bool)> {
        if let Some(verifier) = self.entries.get(name).and_then(|credential| credential.verifier(mechanism)) {
            return Some((verifier, true));
        }
        let (_, like) = self.scram_decoys.iter().find(|(known, _)| *known == mechanism)?;
        let mut salt = mechanism.hmac(&like.server_key, name.as_bytes());
        salt.truncate(like.salt.len());
        Some((Verifier { salt, ..like.clone() }, false))
    }

    /// Everybody's name, in order, and what kind of hash stands beside it.
    pub fn names(&self) -> Vec<(&str, &'static str)> {
        let mut names: Vec<_> = self.entries.iter().map(|(name, one)| (name.as_str(), one.kind())).collect();
        names.sort_unstable();
        names
    }

    /// Whether this user has the same password in both.
    pub(crate) fn agree_on(&self, other: &Self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|credential| other.entries.get(name) == Some(credential))
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.len())
    }
}

fn parse_line(line: &str) -> Result<(String, Credential), UserProblem> {
    let (name, hash) = line.split_once(':').ok_or(UserProblem::Shape)?;
    if name.is_empty() {
        return Err(UserProblem::Shape);
    }
    let parts: Vec<&str> = hash.split('$').collect();
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| UserProblem::Damaged);
    let full = |text: &str| decode(text).ok().filter(|hash| hash.len() == HASH_BYTES).ok_or(UserProblem::Damaged);
    let credential = match parts[..] {
        ["", "7", iterations, salt, hash] => {
            let iterations = iterations.parse().ok().filter(|count| (1..=ITERATIONS_MAX).contains(count));
            let iterations = iterations.ok_or(UserProblem::Damaged)?;
            Credential::Pbkdf2 { iterations, salt: decode(salt)?, hash: full(hash)? }
        }
        ["", "6", salt, hash] => Credential::Sha512 { salt: decode(salt)?, hash: full(hash)? },
        ["", "argon2id", ..] => argon2id(hash)?,
        ["SCRAM-SHA-256", cost, keys] => {
            let pair = |text: &str| -> Result<(String, Vec<u8>), UserProblem> {
                let (one, other) = text.split_once(':').ok_or(UserProblem::Damaged)?;
                Ok((one.to_owned(), decode(other)?))
            };
            let (iterations, salt) = pair(cost)?;
            let (stored_key, server_key) = pair(keys)?;
            let iterations = iterations.parse().ok().filter(|count| (1..=ITERATIONS_MAX).contains(count));
            let (iterations, stored_key) = (iterations.ok_or(UserProblem::Damaged)?, decode(&stored_key)?);
            if [&stored_key, &server_key].iter().any(|key| key.len() != SCRAM_KEY_BYTES) {
                return Err(UserProblem::Damaged);
            }
            Credential::ScramSha256(Verifier { iterations, salt, stored_key, server_key })
        }
        ["", "6" | "7", ..] | ["SCRAM-SHA-256", ..] => return Err(UserProblem::Damaged),
        ["", ..] => return Err(UserProblem::Kind),
        _ => return Err(UserProblem::PlainText),
    };
    Ok((name.to_owned(), credential))
}

fn argon2id(hash: &str) -> Result<Credential, UserProblem> {
    let parsed = PasswordHash::new(hash).map_err(|_| UserProblem::Damaged)?;
    let params = argon2::Params::try_from(&parsed).map_err(|_| UserProblem::Damaged)?;
    let (memory_kib, passes) = ARGON2_MAX;
    if params.m_cost() > memory_kib || params.t_cost() > passes {
        return Err(UserProblem::Costly);
    }
    let is_whole = parsed.salt.is_some() && parsed.hash.is_some();
    is_whole.then(|| Credential::Argon2id(hash.to_owned())).ok_or(UserProblem::Damaged)
}

/// The line of a user file for a user with this password; one with PBKDF2 as `mosquitto_passwd` writes it.
///
/// # Errors
/// The name cannot stand there, or the system has nothing random; in words.
pub fn user_line(name: &str, password: &[u8], hash: UserHash) -> Result<String, String> {
    if name.is_empty() || name.starts_with('#') || name.trim() != name || name.contains([':', '\n', '\r']) {
        return Err(format!(
            "`{}` cannot be a user's name in a file: no `:`, no `#` or blank before it",
            name.escape_debug()
        ));
    }
    let mut salt = [0; WRITTEN_SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| format!("nothing random for a salt: {error}"))?;
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    Ok(match hash {
        UserHash::Pbkdf2 => {
            let mut hash = [0; HASH_BYTES];
            pbkdf2::pbkdf2_hmac::<Sha512>(password, &salt, WRITTEN_ITERATIONS, &mut hash);
            format!("{name}:$7${WRITTEN_ITERATIONS}${}${}", encode(&salt), encode(&hash))
        }
        UserHash::ScramSha256 => {
            let Verifier { iterations, salt, stored_key, server_key } =
                scram_sha256(password, WRITTEN_SCRAM_ITERATIONS, &salt);
            let (salt, stored_key, server_key) = (encode(&salt), encode(&stored_key), encode(&server_key));
            format!("{name}:SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}")
        }
    })
}

fn scram_sha256(password: &[u8], iterations: u32, salt: &[u8]) -> Verifier {
    let mut salted = [0; SCRAM_KEY_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
    Verifier::new(Mechanism::Sha256, iterations, salt.to_owned(), &salted)
}

impl Credential {
    fn verifier(&self, mechanism: Mechanism) -> Option<Verifier> {
        match (self, mechanism) {
            (Self::ScramSha256(verifier), Mechanism::Sha256) => Some(verifier.clone()),
            // What it holds is what SCRAM calls the salted password.
            (Self::Pbkdf2 { iterations, salt, hash }, Mechanism::Sha512) => {
                Some(Verifier::new(mechanism, *iterations, salt.clone(), hash))
            }
            _ => None,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Pbkdf2 { .. } => "PBKDF2-SHA512",
            Self::Sha512 { .. } => "SHA512",
            Self::Argon2id(_) => "Argon2id",
            Self::ScramSha256(_) => "SCRAM-SHA-256",
        }
    }

    fn verify(&self, password: &[u8]) -> bool {
        let mut hash = [0; HASH_BYTES];
        let mut keys = Vec::new();
        let (hash, wanted) = match self {
            Self::Pbkdf2 { iterations, salt, hash: wanted } => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut hash);
                (&hash[..], wanted)
            }
            Self::Sha512 { salt, hash: wanted } => {
                hash.copy_from_slice(&Sha512::new().chain_update(password).chain_update(salt).finalize());
                (&hash[..], wanted)
            }
            Self::ScramSha256(Verifier { iterations, salt, stored_key, .. }) => {
                keys.extend(scram_sha256(password, *iterations, salt).stored_key);
                (&keys[..], stored_key)
            }
            Self::Argon2id(text) => {
                let parsed = PasswordHash::new(text);
                return parsed.is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok());
            }
        };
        // Every byte is looked at, so that time does not tell how many are right.
        hash.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}
