//! Compiled plugins for commands that look at a configuration: what a gateway has compiled is read, and never written.
//!
//! The gateway keeps compiled code in its data directory. A check must not write there: what it makes belongs to whoever
//! runs it, root perhaps, and a gateway under another user would not start. So what is compiled for a check is kept in a
//! cache of its caller's own, into which the gateway's entries are linked. The engine renames new entries into place, so it
//! never writes through a link.
//!
//! Compiled code is run as it is. A cache is used only if nobody but this user, or root, can have put anything into it.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the engine keeps its entries below a cache, in a directory for each of its versions.
const ENTRIES: &str = "modules";

/// The most entries that are linked; the engine keeps no more of them.
const MAX_ENTRIES: usize = 256;

/// The caller's own cache, made ready: with what the gateway of this data directory has compiled. `None` if there is none
/// that can be used; then everything is compiled anew, and nothing is kept.
pub(crate) fn beside(data_dir: &Path, own: Option<&Path>) -> Option<PathBuf> {
    let own = own?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(own).ok()?;
    if !is_safe(own) {
        return None;
    }
    let gateways = data_dir.join("cache");
    if is_safe(&gateways) {
        // An entry that cannot be linked is compiled.
        let _ = link_entries(&gateways.join(ENTRIES), &own.join(ENTRIES));
    }
    Some(own.to_owned())
}

/// Whether what this user writes to the cache of a data directory is the gateway's own; in words if it is not.
pub(crate) fn is_ours(data_dir: &Path) -> Result<(), String> {
    let us = rustix::process::geteuid().as_raw();
    match std::fs::metadata(data_dir) {
        Ok(found) if found.uid() != us => Err(format!(
            "{} belongs to user {}, and this is user {us}: run it as the gateway's user",
            data_dir.display(),
            found.uid()
        )),
        // What is not there is made by whoever comes first.
        _ => Ok(()),
    }
}

/// Whether only this user and root can write there.
fn is_safe(directory: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let us = rustix::process::geteuid().as_raw();
    let found = std::fs::metadata(directory);
    found.is_ok_and(|found| found.is_dir() && [us, 0].contains(&found.uid()) && found.mode() & OTHERS_WRITE == 0)
}

fn link_entries(from: &Path, to: &Path) -> std::io::Result<()> {
    for version in std::fs::read_dir(from)?.flatten() {
        let to = to.join(version.file_name());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&to)?;
        // What has an extension is the engine's own notes.
        let entries = std::fs::read_dir(version.path())?.flatten().filter(|entry| entry.path().extension().is_none());
        for entry in entries.take(MAX_ENTRIES) {
            let link = to.join(entry.file_name());
            if link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(entry.path().canonicalize()?, link)?;
            }
        }
        for entry in std::fs::read_dir(&to)?.flatten().filter(|entry| !entry.path().exists()) {
            // The gateway has thrown away what this led to.
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn entries_are_linked_and_nothing_is_written_to_the_gateways_cache() {
        let place = tempfile::tempdir().unwrap();
        let (data, own) = (place.path().join("data"), place.path().join("own"));
        let entries = data.join("cache/modules/engine-1");
        std::fs::create_dir_all(&entries).unwrap();
        for name in ["one", "two", "one.stats"] {
            std::fs::write(entries.join(name), name).unwrap();
        }
        assert_eq!(beside(&data, Some(&own)), Some(own.clone()));
        let linked = own.join("modules/engine-1");
        assert_eq!(std::fs::read(linked.join("one")).unwrap(), b"one");
        assert!(!linked.join("one.stats").exists());
        std::fs::remove_file(entries.join("two")).unwrap();
        beside(&data, Some(&own)).unwrap();
        assert!(linked.join("two").symlink_metadata().is_err(), "a link that leads nowhere is taken away");
        assert_eq!(std::fs::read_dir(&entries).unwrap().count(), 2);
    }

    #[test]
    fn a_cache_into_which_others_can_write_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let (data, own) = (place.path().join("data"), place.path().join("own"));
        let gateways = data.join("cache");
        std::fs::create_dir_all(gateways.join("modules/engine-1")).unwrap();
        std::fs::write(gateways.join("modules/engine-1/one"), "one").unwrap();
        let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        open(&gateways);
        assert_eq!(beside(&data, Some(&own)), Some(own.clone()));
        assert!(!own.join("modules").exists());
        open(&own);
        assert_eq!(beside(&data, Some(&own)), None);
        assert_eq!(beside(&data, None), None);
        assert!(beside(&place.path().join("none"), Some(&place.path().join("new"))).is_some());
        assert!(!place.path().join("none").exists());
    }
}
