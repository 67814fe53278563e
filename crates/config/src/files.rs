//! What only the disk can tell: whether files are there, and who may read them.

use crate::bounds;
use crate::secret;
use crate::tree::{Context, FileKind, FileUse};
use crate::values::shown;
use std::io;
use std::path::{Path, PathBuf};

/// What the check asks of the system, so that it can be tested without one.
pub(crate) trait System {
    /// Looks at a file, following links.
    fn look(&self, path: &Path) -> io::Result<Seen>;
    /// SHA-256 of a file in lower-case hexadecimal digits; of one that is too large for a plugin, of its beginning.
    fn digest(&self, path: &Path) -> io::Result<String>;
    /// Whether a file holds a certificate in PEM, and no private key.
    fn is_certificate(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
    /// Whether an environment variable is set.
    fn has_env(&self, name: &str) -> bool;
    /// Where systemd's credentials are, if it gave any.
    fn credentials(&self) -> Option<PathBuf>;
}

/// What there is to see of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_directory: bool,
    /// Permission bits; 0o600 where the system has none.
    pub(crate) mode: u32,
}

/// How much of a file is looked at for what it holds.
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// The system we run on.
pub(crate) struct Real;

impl System for Real {
    fn look(&self, path: &Path) -> io::Result<Seen> {
        let metadata = std::fs::metadata(path)?;
        // Opening says what a mode cannot: whether we may. Not for pipes, which would wait for a writer.
        if metadata.is_file() {
            std::fs::File::open(path)?;
        }
        Ok(Seen { is_directory: metadata.is_dir(), mode: mode(&metadata) })
    }

    fn digest(&self, path: &Path) -> io::Result<String> {
        use sha2::{Digest, Sha256};
        use std::io::Read;
        let mut hash = Sha256::new();
        let mut file = std::fs::File::open(path)?.take(bounds::MAX_COMPONENT_BYTES + 1);
        io::copy(&mut file, &mut hash)?;
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn is_certificate(&self, path: &Path) -> bool {
        use std::io::Read;
        let mut text = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        read.is_ok() && text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY")
    }

    fn has_env(&self, name: &str) -> bool {
        std::env::var_os(name).is_some()
    }

    fn credentials(&self) -> Option<PathBuf> {
        secret::credentials_directory()
    }
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0o600
}

/// Readable by everyone.
const OTHERS_READ: u32 = 0o004;
/// Readable by the group.
const GROUP_READS: u32 = 0o040;

/// Reports files that are missing, not what they should be, or open to those who should not read them.
pub(crate) fn check(context: &Context<'_>, system: &dyn System) {
    for usage in context.files.borrow().iter() {
        check_one(context, system, usage);
    }
}

fn check_one(context: &Context<'_>, system: &dyn System, FileUse { kind, at }: &FileUse) {
    let look = |path: &Path, hint: &str| match system.look(path) {
        Ok(seen) if seen.is_directory => {
            context.error(at, format!("`{}` is a directory", path.display()), "name a file");
            None
        }
        Ok(seen) => Some(seen),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            context.error(at, format!("there is no file `{}`", path.display()), hint);
            None
        }
        Err(error) => {
            let what = format!("cannot read `{}`: {error}", path.display());
            context.error(at, what, "let the gateway's user read it");
            None
        }
    };
    const RELATIVE: &str = "create it, or correct the path, which is relative to this file";
    match kind {
        FileKind::Plugin { path, digest } => {
            let Some(_) = look(path, "build the plugin, or correct the path, which is relative to this file") else {
                return;
            };
            let Some(expected) = digest else { return };
            match system.digest(path) {
                Ok(found) if found == *expected => {}
                Ok(found) => {
                    let what = format!("`{}` is not the plugin that `digest` names", path.display());
                    context.error(at, what, format!("check where it came from; its digest is {found}"));
                }
                Err(error) => {
                    let what = format!("cannot read `{}`: {error}", path.display());
                    context.error(at, what, "let the gateway's user read it");
                }
            }
        }
        FileKind::Certificates(path) => {
            look(path, RELATIVE);
        }
        FileKind::Private { what, path } => {
            let Some(seen) = look(path, RELATIVE) else { return };
            let (shown, fix) = (path.display(), format!("run `chmod 600 {}`", path.display()));
            if *what == "private key" && system.is_certificate(path) {
                // Everyone may read that; the second look says that it is no key.
                return;
            }
            if seen.mode & OTHERS_READ != 0 {
                context.error(at, format!("everyone can read the {what} in `{shown}`"), fix);
            } else if seen.mode & GROUP_READS != 0 {
                context.warning(at, format!("a whole group can read the {what} in `{shown}`"), fix);
            }
        }
        FileKind::Env(name) if !system.has_env(name) => {
            let what = format!("the environment variable {} is not set", shown(name));
            context.warning(at, what, "set it for the gateway's process");
        }
        FileKind::Env(_) => {}
        FileKind::Credential(name) => {
            let Some(directory) = system.credentials() else { return }; // not started by systemd
            match system.look(&directory.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let what = format!("systemd gave no credential {}", shown(name));
                    context.error(at, what, format!("add `LoadCredential={name}:<path>` to the unit"));
                }
                Err(error) => {
                    let what = format!("cannot read the credential {}: {error}", shown(name));
                    context.error(at, what, "let the service's user read it");
                }
                Ok(_) => {}
            }
        }
    }
}
