//! The user file: names and salted password hashes, in the format `mosquitto_passwd` writes.
//!
//! One line a user, `name:$7$<iterations>$<salt>$<hash>`: PBKDF2 with HMAC-SHA-512 over the password, salt and hash in
//! base64. Empty lines and lines that begin with `#` are skipped.

use ahash::AHashMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Sha512;
use std::sync::Arc;

/// The lengths of a hash, in bytes.
const HASH_BYTES: usize = 64;

/// More would take minutes per connection.
const ITERATIONS_MAX: u32 = 10_000_000;

/// What a name that is not in the file costs, so that time does not tell who is.
const DECOY_ITERATIONS: u32 = 101;

/// Who may connect, and how to tell. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    entries: Arc<AHashMap<String, Credential>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Credential {
    iterations: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
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
        "this kind of hash is not supported, only `$7$` (PBKDF2-SHA512); set the password again with `mosquitto_passwd FILE NAME`"
    )]
    Kind,
    /// A hash that cannot be.
    #[error("the hash is damaged; set the password again with `mosquitto_passwd FILE NAME`")]
    Damaged,
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
        let (mut entries, mut errors) = (AHashMap::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let problem = match parse_line(line) {
                Ok((name, credential)) => match entries.insert(name, credential) {
                    None => continue,
                    Some(_) => UserProblem::Twice,
                },
                Err(problem) => problem,
            };
            errors.push(UserLineError { line: at + 1, problem });
        }
        if errors.is_empty() { Ok(Self { entries: Arc::new(entries) }) } else { Err(errors) }
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
        match self.entries.get(name) {
            Some(credential) => credential.verify(password),
            None => {
                let decoy = Credential { iterations: DECOY_ITERATIONS, salt: vec![0; 12], hash: vec![0; HASH_BYTES] };
                let _ = decoy.verify(password);
                false
            }
        }
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
    let mut parts = hash.split('$');
    if parts.next() != Some("") {
        return Err(UserProblem::PlainText);
    }
    if parts.next() != Some("7") {
        return Err(UserProblem::Kind);
    }
    let [Some(iterations), Some(salt), Some(hash), None] = [parts.next(), parts.next(), parts.next(), parts.next()]
    else {
        return Err(UserProblem::Damaged);
    };
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| UserProblem::Damaged);
    let iterations = iterations.parse().ok().filter(|count| (1..=ITERATIONS_MAX).contains(count));
    let credential = Credential {
        iterations: iterations.ok_or(UserProblem::Damaged)?,
        salt: decode(salt)?,
        hash: decode(hash).ok().filter(|hash| hash.len() == HASH_BYTES).ok_or(UserProblem::Damaged)?,
    };
    Ok((name.to_owned(), credential))
}

impl Credential {
    fn verify(&self, password: &[u8]) -> bool {
        let mut hash = [0; HASH_BYTES];
        pbkdf2::pbkdf2_hmac::<Sha512>(password, &self.salt, self.iterations, &mut hash);
        // Every byte is looked at, so that time does not tell how many are right.
        hash.iter().zip(&self.hash).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}
