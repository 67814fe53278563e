//! Saves a configuration: all of it or nothing, with the owner and the mode that the file had.

use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// By what a text is known again.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a file really is: a name may be a link to it, and the link is to stay one.
fn target(file: &Path) -> io::Result<PathBuf> {
    file.canonicalize()
}

/// Whether this process may replace a file.
pub fn may_save(file: &Path) -> bool {
    let Ok(file) = target(file) else { return false };
    let Some(folder) = file.parent() else { return false };
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Puts a text in the place of a file, which is there: whoever reads it gets the one or the other.
///
/// # Errors
/// What the system says; the file is as it was.
pub fn save(file: &Path, text: &str) -> io::Result<()> {
    let file = target(file)?;
    let before = file.metadata()?;
    let (folder, name) = (file.parent().unwrap_or(Path::new("/")), file.file_name().unwrap_or_default());
    let aside = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written = || -> io::Result<()> {
        let _ = std::fs::remove_file(&aside);
        let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        // Another owner than we are can be given by root only; then the file would be somebody else's.
        if (before.uid(), before.gid()) != (new.metadata()?.uid(), new.metadata()?.gid()) {
            fchown(&new, Some(before.uid()), Some(before.gid()))?;
        }
        new.set_permissions(before.permissions())?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&aside, &file)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().inspect_err(|_| _ = std::fs::remove_file(&aside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_keeps_its_mode_and_a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a.toml", &link).unwrap();
        assert!(may_save(&link));
        save(&link, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
        assert!(save(&dir.path().join("none.toml"), "x").is_err(), "there is none to replace");
    }
}
