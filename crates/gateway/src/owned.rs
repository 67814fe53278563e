//! Random keys that lie in the gateway's folder, for its user alone.

use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tidegate_config::Key;

/// Makes a key that nobody knows, and keeps it in a file: as `shown` writes it.
///
/// # Errors
/// What the system says.
pub fn make_key(path: &Path, shown: impl FnOnce(&Key) -> Vec<u8>) -> io::Result<Key> {
    let mut key = Key::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    // Not written over: it is nobody else's from its first byte on.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&shown(&key))?;
    Ok(key)
}
