//! What a package brings beside the command: completions for shells, and manual pages.

use crate::Failure;
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::PathBuf;

/// Of `tidegate completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Whose.
    shell: Shell,
}

/// Of `tidegate man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Where to; it is made if it is not there.
    folder: PathBuf,
}

/// Prints them.
pub(crate) fn completions(arguments: Completions, mut command: clap::Command) -> Result<(), Failure> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    print(&script)
}

/// Writes to standard output; who has read enough ends nothing with an error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Disk(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a page for the command and for each below it.
pub(crate) fn man(arguments: Man, command: clap::Command) -> Result<(), Failure> {
    let folder = arguments.folder;
    let failed = |error: io::Error| Failure::Disk(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    clap_mangen::generate_to(command, &folder).map_err(failed)
}
