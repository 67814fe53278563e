//! A copy of a spool while its gateway runs.

use crate::files::{CURSORS, checkpoint_sequence, segment_first};
use std::io::{self, ErrorKind};
use std::path::Path;

/// How often it is begun anew because a file was gone by the time that it was to be copied.
const ATTEMPTS: usize = 20;

/// Copies the files of a spool into an empty folder, so that a gateway which starts there goes on as it would after a crash
/// at some instant of the copying: what was sent since is sent again, and nothing is missing. Returns how many bytes that are.
///
/// The order makes it so. Cursors come first, for they may be older than the log and never younger. Then all checkpoints
/// and segments that there are at one instant, each as it is or younger: segments are only appended to, checkpoints never
/// change. A file that has gone meanwhile belonged to a log that is younger than the cursors: then all is copied once more.
///
/// # Errors
/// What the system says.
pub fn copy(spool: &Path, to: &Path) -> io::Result<u64> {
    for _ in 0..ATTEMPTS {
        match copy_once(spool, to) {
            Err(error) if error.kind() == ErrorKind::NotFound && spool.is_dir() => {
                for entry in std::fs::read_dir(to)? {
                    std::fs::remove_file(entry?.path())?;
                }
            }
            copied => return copied,
        }
    }
    Err(io::Error::other("its files change faster than they can be copied; try again when less is going on"))
}

fn copy_once(spool: &Path, to: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for name in CURSORS {
        match std::fs::copy(spool.join(name), to.join(name)) {
            // The gateway may be new.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => bytes += copied?,
        }
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(spool)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    let mut names: Vec<&String> =
        names.iter().filter(|name| checkpoint_sequence(name).is_some() || segment_first(name).is_some()).collect();
    // Those that go first are the oldest.
    names.sort_unstable();
    for name in names {
        bytes += std::fs::copy(spool.join(name), to.join(name))?;
    }
    Ok(bytes)
}
