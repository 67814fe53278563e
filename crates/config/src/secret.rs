//! Secrets: where they are, and what they are once read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The largest secret that is read, in bytes: a password is at most this long on the wire (MQTT 5.0 section 3.1.3.6).
pub const MAX_SECRET_BYTES: u64 = 65_535;

/// The directory systemd puts credentials into (systemd.exec, `LoadCredential=`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret is. The configuration holds no secrets itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A file's contents. Absolute.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A systemd credential: `$CREDENTIALS_DIRECTORY/<name>`.
    Credential(String),
}

impl Secret {
    /// Reads it, without one newline at its end. Does I/O: call it when connecting, so that a changed file is seen.
    ///
    /// # Errors
    /// The file cannot be read or is longer than [`MAX_SECRET_BYTES`], the variable is not set, or systemd gave this
    /// process no credentials.
    pub fn read(&self) -> Result<SecretValue, SecretError> {
        let bytes = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Env(name.clone()))?;
                value.into_encoded_bytes()
            }
            Self::Credential(name) => {
                let directory = credentials_directory().ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read_file(&directory.join(name))?
            }
        };
        Ok(SecretValue::new(bytes))
    }
}

/// Where systemd put this service's credentials, if it did.
pub(crate) fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from)
}

fn read_file(path: &Path) -> Result<Vec<u8>, SecretError> {
    use std::io::Read;
    let fail = |source| SecretError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a pipe or device that never ends is noticed.
    std::fs::File::open(path).map_err(fail)?.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or not ours to read.
    #[error("cannot read the secret in `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not a password.
    #[error("the secret in `{}` is longer than {MAX_SECRET_BYTES} bytes; is it the right file?", .0.display())]
    TooLong(PathBuf),
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set; set it for the gateway's process")]
    Env(String),
    /// Not started by systemd with credentials.
    #[error(
        "the credential `{0}` needs systemd: $CREDENTIALS_DIRECTORY is not set; add `LoadCredential={0}:<path>` to the \
         unit"
    )]
    NoCredentials(String),
}

/// A secret as read. Its `Debug` prints `***`; it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// Takes the bytes, without one newline at their end.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Self(bytes)
    }

    /// The secret itself. Keep it short-lived and out of logs.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let value = SecretValue::new(b"hunter2\n".to_vec());
        assert_eq!((format!("{value:?}"), value.expose()), ("***".into(), &b"hunter2"[..]));
    }

    #[test]
    fn one_newline_is_taken_off_and_no_more() {
        for (written, read) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", ""), ("\n", "")] {
            assert_eq!(SecretValue::new(written.into()).expose(), read.as_bytes(), "{written:?}");
        }
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_refused_when_it_is_missing_or_endless() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        assert!(matches!(Secret::File(path.clone()).read(), Err(SecretError::File { .. })));
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(Secret::File(path).read().unwrap().expose(), b"s3cret");
        assert!(matches!(Secret::File("/dev/zero".into()).read(), Err(SecretError::TooLong(_))));
        let unset = Secret::Env("TIDEGATE_TEST_THAT_IS_NEVER_SET".into()).read().unwrap_err();
        assert!(unset.to_string().contains("is not set"), "{unset}");
    }
}
