//! `tidegate import`: the configuration of another broker made into one of Tidegate's.

use crate::Failure;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tidegate_import::{Files, MAX_FILE_BYTES, SecretFile, Translation, Wishes};

/// Of `tidegate import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// A mosquitto.conf of mosquitto 2.0, with its include_dir: its bridges become routes, with a comment for each line that
    /// says where it came from, what has no counterpart and what differs.
    Mosquitto(Wanted),
}

#[derive(Debug, clap::Args)]
struct Wanted {
    /// The mosquitto.conf. Relative paths in it are relative to the current directory, as with mosquitto.
    file: PathBuf,
    /// Make Tidegate's own broker of its listeners, in place of mosquitto, which otherwise goes on as the local broker.
    #[arg(long)]
    own: bool,
    /// Write here, and passwords into files beside it; otherwise it goes to standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over files that are there.
    #[arg(long, requires = "out")]
    force: bool,
    /// Fail, and write nothing, if something has no counterpart.
    #[arg(long)]
    strict: bool,
}

/// Writes the configuration; what has no counterpart goes to standard error too.
pub(crate) fn import(arguments: Arguments) -> Result<(), Failure> {
    let From::Mosquitto(wanted) = arguments.from;
    let refused = |problems| Failure::Config(format!("this cannot be imported\n{problems}"));
    let mosquitto = tidegate_import::parse(&wanted.file, &Disk).map_err(refused)?;
    if mosquitto.bridges.is_empty() && !wanted.own {
        let words = "it has no `connection`, so there is no bridge to take over; `--own` makes Tidegate's own broker of its listeners";
        return Err(Failure::Usage(format!("{}: {words}", wanted.file.display())));
    }
    let here = |error| Failure::Disk(format!("where am I? {error}"));
    let wishes = Wishes { own: wanted.own, host_name: host_name(), base: std::env::current_dir().map_err(here)? };
    let translation = tidegate_import::translate(&mosquitto, &wanted.file, &wishes);
    report(&translation);
    if wanted.strict && !translation.lost.is_empty() {
        eprintln!("tidegate: nothing was written, for `--strict`");
        return Err(Failure::Found);
    }
    match &wanted.out {
        Some(out) => write(&translation, out, wanted.force),
        None => {
            print(&translation.document.to_toml())?;
            translation.secrets.iter().for_each(|secret| eprintln!("to do: {}", by_hand(secret)));
            Ok(())
        }
    }
}

/// What `gethostname` says, of which mosquitto makes client ids.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn report(translation: &Translation) {
    let Translation { lost, remarks, steps, .. } = translation;
    let say = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            eprintln!("{} {title}:", lines.len());
            lines.iter().for_each(|line| eprintln!("  {line}"));
        }
    };
    say("without a counterpart", lost.iter().map(ToString::to_string).collect());
    say("otherwise than it looks, or than it was", remarks.iter().map(ToString::to_string).collect());
    say("to do before it runs", steps.clone());
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let done = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    done.map_err(|error| Failure::Disk(format!("standard output: {error}")))
}

/// The configuration, and the passwords beside it; all of them or none, as far as can be seen before.
fn write(translation: &Translation, out: &Path, force: bool) -> Result<(), Failure> {
    let beside = |secret: &SecretFile| out.with_file_name(&secret.name);
    let files = translation.secrets.iter().map(beside).chain([out.to_owned()]);
    if !force {
        for file in files {
            if file.symlink_metadata().is_ok() {
                let words = "is there already; name another file, or write over it with --force";
                return Err(Failure::Usage(format!("{} {words}", file.display())));
            }
        }
    }
    for secret in &translation.secrets {
        create(&beside(secret), secret.password.as_bytes(), PRIVATE, force)?;
    }
    create(out, translation.document.to_toml().as_bytes(), READABLE, force)?;
    eprintln!("wrote {}; next: tidegate check {0}", out.display());
    Ok(())
}

/// Of a file with a password.
const PRIVATE: u32 = 0o600;
const READABLE: u32 = 0o644;

/// Makes a file; where one was, and may go, the new one has its own permissions from the first byte on.
fn create(file: &Path, bytes: &[u8], mode: u32, force: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Disk(format!("cannot write {}: {error}", file.display()));
    if force {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(file).map_err(failed)?;
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(failed)
}

/// The command that makes the file of a password, without showing it.
fn by_hand(secret: &SecretFile) -> String {
    if secret.keyword == "plugin" {
        // Its users are in a file of its own, and are to be written otherwise.
        return format!("run it with `--out FILE`, which writes {} beside it", secret.name);
    }
    let (line, file) = (secret.place.line, secret.place.file.replace('\'', "'\\''"));
    let cut = format!("{line}{{s/^ *[a-z_]*  *//;s/[[:space:]]*$//;p}}");
    format!("(umask 077; sed -n '{cut}' '{file}' > {})", secret.name)
}

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a file which is too long is noticed.
        std::fs::File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}
