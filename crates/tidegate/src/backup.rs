//! `tidegate backup` and `tidegate restore`: everything of a gateway in one file, for another box or another day.
//!
//! The file is a tar. `tidegate-backup.json` comes first; below `config/` is the configuration with what lies beside it, below
//! `absolute/` what it names elsewhere, below `data/` the spool (messages that wait, parked ones, what plugins remember) and the
//! versions of plugins.
//! Secrets are not in it.

use crate::{Failure, check};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_config::{Sources, load};

/// Of `tidegate backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The configuration file of the gateway, /etc/tidegate/tidegate.toml without it. The gateway may run.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// The file to write; it must not be there. `-` is standard output.
    file: PathBuf,
}

/// Of `tidegate restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// Where the configuration is to be, /etc/tidegate/tidegate.toml without it; what lies beside it goes there too.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Where the gateway keeps its data, if not where it did before; the configuration must say the same.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Write over files of the configuration and plugins that are there and differ. A spool is never written over.
    #[arg(long)]
    force: bool,
    /// What `tidegate backup` has written; `-` is standard input.
    file: PathBuf,
}

/// The newest that is written, and read.
const FORMAT: u32 = 1;
const ABOUT: &str = "tidegate-backup.json";
/// What may be in one, in bytes of a single file.
const ABOUT_MAX: u64 = 1024 * 1024;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    format: u32,
    /// Which version has written it.
    tidegate: String,
    gateway: String,
    /// Milliseconds since the Unix epoch.
    made_ms: u64,
    /// The name of the configuration file.
    config: String,
    data_dir: PathBuf,
    /// Files that are needed and not in it.
    left_out: Vec<PathBuf>,
}

/// The log of the gateway, and those of its own brokers, in the data directory.
const SPOOL: &str = "spool";
const OWN_BROKERS: &str = "brokers";

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::NotPermitted(format!("{}: {error}", path.display())),
        _ => Failure::Disk(format!("{}: {error}", path.display())),
    }
}

/// Writes one.
pub(crate) fn backup(arguments: Backup) -> Result<(), Failure> {
    let file = arguments.config.map_or_else(check::default_file, Ok)?;
    let text = std::fs::read_to_string(&file).map_err(failed(&file))?;
    let loaded = load(&file).map_err(|problems| {
        Failure::Config(format!("a configuration that cannot be used is not worth a backup\n{problems}"))
    })?;
    let sources = Sources::of(&text, &file).map_err(|problem| Failure::Config(problem.to_string()))?;
    let (config, main) = (&loaded.config, loaded.file);
    let beside = main.parent().unwrap_or(Path::new("/")).to_owned();
    // By the name in the archive.
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let (wanted, left_out): (Vec<PathBuf>, Vec<PathBuf>) = tidegate_gateway::named_files(config);
    let name = main.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for path in [main.clone()].into_iter().chain(sources.files()).chain(wanted) {
        let within = match path.strip_prefix(&beside) {
            Ok(within) => Path::new("config").join(within),
            Err(_) => Path::new("absolute").join(path.strip_prefix("/").unwrap_or(&path)),
        };
        files.insert(plain(&within), path);
    }
    let data_dir = config.gateway.data_dir.clone();
    // The spool first: what it hands to an own broker meanwhile is known there when it is handed over again.
    let mut logs = vec![PathBuf::from(SPOOL)];
    for name in config.brokers.iter().filter(|(_, broker)| broker.embedded().is_some()).map(|(name, _)| name) {
        logs.push(Path::new(OWN_BROKERS).join(name));
    }
    let mut aside = Vec::new();
    let empty = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
    for log in logs.iter().filter(|log| data_dir.join(log).is_dir()) {
        let folder = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
        tidegate_spool::copy(&data_dir.join(log), folder.path()).map_err(failed(&data_dir.join(log)))?;
        for entry in std::fs::read_dir(folder.path()).map_err(failed(folder.path()))? {
            let entry = entry.map_err(failed(folder.path()))?;
            files.insert(Path::new("data").join(log).join(entry.file_name()), entry.path());
        }
        aside.push((log, folder));
    }
    let copied = aside.iter().find(|(log, _)| **log == *SPOOL).map_or(empty.path(), |(_, folder)| folder.path());
    let versions = tidegate_gateway::versions_folder(&data_dir);
    let kept = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
    for part in [Path::new(""), Path::new("config")] {
        let aside = kept.path().join(part);
        std::fs::create_dir_all(&aside).map_err(failed(&aside))?;
        for name in whole_copies(&versions.join(part), &aside)? {
            files.insert(Path::new("data/versions").join(part).join(&name), aside.join(&name));
        }
    }
    let made_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let about = About {
        format: FORMAT,
        tidegate: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: config.gateway.name.clone(),
        made_ms,
        config: name,
        data_dir,
        left_out,
    };
    let out: Box<dyn Write> = match arguments.file.to_str() {
        Some("-") => Box::new(io::stdout().lock()),
        // It holds what people said to each other.
        _ => Box::new(
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&arguments.file)
                .map_err(failed(&arguments.file))?,
        ),
    };
    write(out, &about, &files)?;
    let messages = tidegate_spool::verify(&open(copied)?).map_err(|error| Failure::Disk(error.to_string()))?;
    let waiting: u64 = messages.queues.iter().map(|queue| queue.items).sum();
    eprintln!(
        "{}: {} files, {waiting} messages that wait, {} parked",
        arguments.file.display(),
        files.len(),
        messages.parked
    );
    about.left_out.iter().for_each(|path| eprintln!("not in it, for it is a secret: {}", path.display()));
    Ok(())
}

/// Copies what is in a folder whose files are written whole, and may go while we look; their names.
fn whole_copies(folder: &Path, to: &Path) -> Result<Vec<OsString>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(folder))?;
        if entry.file_type().is_ok_and(|is| is.is_dir()) {
            continue;
        }
        match std::fs::copy(entry.path(), to.join(entry.file_name())) {
            Ok(_) => names.push(entry.file_name()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&entry.path())(error)),
        }
    }
    Ok(names)
}

fn open(spool: &Path) -> Result<tidegate_spool::Disk, Failure> {
    tidegate_spool::Disk::open(spool.to_owned()).map_err(|error| Failure::Disk(error.to_string()))
}

fn write(out: Box<dyn Write>, about: &About, files: &BTreeMap<PathBuf, PathBuf>) -> Result<(), Failure> {
    let lost = |error: io::Error| Failure::Disk(format!("the backup: {error}"));
    let mut tar = tar::Builder::new(BufWriter::new(out));
    let words = serde_json::to_vec_pretty(about).map_err(|error| Failure::Bug(error.to_string()))?;
    let header = |bytes: u64, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(mode);
        header.set_mtime(about.made_ms / 1000);
        header
    };
    tar.append_data(&mut header(words.len() as u64, 0o600), ABOUT, &*words).map_err(lost)?;
    for (name, path) in files {
        let file = File::open(path).map_err(failed(path))?;
        let known = file.metadata().map_err(failed(path))?;
        let mut header = header(known.len(), known.permissions().mode() & 0o777);
        tar.append_data(&mut header, name, file.take(known.len())).map_err(failed(path))?;
    }
    tar.into_inner().and_then(|mut out| out.flush()).map_err(lost)
}

/// Without `.` in it.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// Puts back what is in one.
pub(crate) fn restore(arguments: Restore) -> Result<(), Failure> {
    let config = arguments.config.clone().unwrap_or_else(|| PathBuf::from(check::DEFAULT_FILE));
    let config = std::path::absolute(&config).map_err(failed(&config))?;
    let beside = config.parent().unwrap_or(Path::new("/"));
    let input: Box<dyn Read> = match arguments.file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(&arguments.file).map_err(failed(&arguments.file))?),
    };
    let shown = arguments.file.display();
    let no_backup = |why: &dyn std::fmt::Display| Failure::Usage(format!("{shown}: this is no backup: {why}"));
    let mut tar = tar::Archive::new(BufReader::new(input));
    let mut entries = tar.entries().map_err(|error| no_backup(&error))?;
    let first = entries.next().ok_or_else(|| no_backup(&"it is empty"))?.map_err(|error| no_backup(&error))?;
    if first.path().map_err(|error| no_backup(&error))? != Path::new(ABOUT) {
        return Err(no_backup(&format!("it does not begin with {ABOUT}")));
    }
    let about: About =
        serde_json::from_reader(first.take(ABOUT_MAX)).map_err(|error| no_backup(&format!("{ABOUT}: {error}")))?;
    if about.format > FORMAT {
        let words =
            format!("{shown} was made by tidegate {}, which is newer: restore it with that version", about.tidegate);
        return Err(Failure::Usage(words));
    }
    let data_dir = arguments.data_dir.as_deref().unwrap_or(&about.data_dir);
    let spool = data_dir.join(SPOOL);
    for log in [&spool, &data_dir.join(OWN_BROKERS)] {
        if std::fs::read_dir(log).is_ok_and(|mut files| files.next().is_some()) {
            let words = format!("{} holds something already: stop that gateway and take it away first", log.display());
            return Err(Failure::Usage(words));
        }
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool).map_err(failed(&spool))?;
    let mut files = 0;
    for entry in entries {
        let mut entry = entry.map_err(|error| no_backup(&error))?;
        let name = entry.path().map_err(|error| no_backup(&error))?.into_owned();
        let place =
            place(&name, beside, &config, &about, data_dir).ok_or_else(|| no_backup(&format!("{}", name.display())))?;
        let mode = entry.header().mode().unwrap_or(0o600) & 0o777;
        put(&mut entry, &place, mode, arguments.force)?;
        files += 1;
    }
    sync(&spool)?;
    println!("{files} files of gateway `{}` are restored; its data is in {}", about.gateway, data_dir.display());
    for path in about.left_out.iter().filter(|path| !path.exists()) {
        println!("still missing, for it is a secret: {}", path.display());
    }
    println!("what was sent since the backup was made is sent again; run no other gateway of this name");
    println!("next: tidegate check --config {}", config.display());
    Ok(())
}

/// Where an entry goes; `None` for one that has no business there.
fn place(name: &Path, beside: &Path, config: &Path, about: &About, data_dir: &Path) -> Option<PathBuf> {
    let mut parts = name.components();
    let Component::Normal(root) = parts.next()? else { return None };
    let rest = parts.as_path();
    if rest.as_os_str().is_empty() || !rest.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    match root.to_str()? {
        "config" if rest == Path::new(&about.config) => Some(config.to_owned()),
        "config" => Some(beside.join(rest)),
        "absolute" => Some(Path::new("/").join(rest)),
        "data" => Some(data_dir.join(rest)),
        _ => None,
    }
}

/// Writes a file, unless it is there as it is to be.
fn put(from: &mut impl Read, place: &Path, mode: u32, force: bool) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(failed(place))?;
    match std::fs::read(place) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_) if !force => {
            return Err(Failure::Usage(format!("{} is there and differs: `--force` writes over it", place.display())));
        }
        _ => {}
    }
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(mode).open(place).map_err(failed(place))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed(place))
}

fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}
