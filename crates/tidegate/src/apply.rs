//! `tidegate apply`: saves a configuration in the place of the one that runs, and waits for what becomes of it.

use crate::admin_client::read;
use crate::own_cache::own_cache;
use crate::{Failure, admin_client, check};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidegate_admin::apply::save;
use tidegate_admin::model::Status;
use tidegate_config::{Config, Loaded, Problems};

/// Of `tidegate apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The new configuration; `-` reads standard input.
    file: PathBuf,
    /// The file that the gateway runs with, /etc/tidegate/tidegate.toml without it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Only say what it would change.
    #[arg(long)]
    dry_run: bool,
}

/// How long a reload may take.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// Checks it, saves it as whoever runs this, and says what the gateway made of it.
pub(crate) fn apply(arguments: Arguments) -> Result<(), Failure> {
    let target = arguments.config.map_or_else(check::default_file, Ok)?;
    let new = match arguments.file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(&arguments.file),
    };
    let new = new.map_err(|error| Failure::Usage(format!("{}: {error}", arguments.file.display())))?;
    let running = check::load_or_stdin(&target).ok();
    // As it will be: its relative paths are relative to where it goes.
    let loaded = tidegate_config::load_text(&new, &target).map_err(|problems| refused(&problems.sorted()))?;
    save_and_follow(&loaded, running.as_ref(), &[NewFile { path: target, text: new }], arguments.dry_run)
}

/// A file of a configuration as it is to be.
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Checks a configuration with its plugins, says what it changes of the one that is running, saves its files and follows what the
/// gateway makes of it. The main file is the last of them.
pub(crate) fn save_and_follow(
    loaded: &Loaded,
    running: Option<&Config>,
    files: &[NewFile],
    dry_run: bool,
) -> Result<(), Failure> {
    let problems = tidegate_gateway::examine(loaded, true, own_cache().as_deref())?;
    if problems.errors() > 0 {
        return Err(refused(&problems));
    }
    problems.0.iter().for_each(|warning| eprintln!("{warning}"));
    // Whom to ask: as what runs says, or as the new one does.
    let asked = running.filter(|running| running.admin.is_some()).unwrap_or(&loaded.config);
    let foretold = check::compare(&loaded.config, asked);
    if let Ok(compared) = &foretold {
        compared.changes.iter().for_each(|change| println!("changes: {change}"));
        compared.next_start.iter().for_each(|change| println!("changes at the next start: {change}"));
        for touched in &compared.touched {
            println!("{} messages that wait for {}: {}", touched.messages, touched.target, touched.fate);
        }
    }
    if dry_run {
        return foretold.map(|_| ());
    }
    let before = status(asked).ok();
    for NewFile { path, text } in files {
        let made = if path.exists() { Ok(()) } else { std::fs::write(path, "") };
        made.and_then(|()| save(path, text)).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Failure::NotPermitted(format!("{}: {error}", path.display())),
            _ => Failure::Disk(format!("{}: {error}", path.display())),
        })?;
        println!("saved {}", path.display());
    }
    let Some(before) = before else {
        println!("no gateway answers: it will run with this when it starts");
        return Ok(());
    };
    let counts = |status: &Status| (status.gateway.started_at_ms, status.reload.applied, status.reload.refused);
    let began = Instant::now();
    while began.elapsed() < RELOAD_WITHIN {
        std::thread::sleep(LOOK);
        match status(asked) {
            Ok(now) if counts(&now) != counts(&before) && now.reload.is_refused => {
                return Err(Failure::Config(format!("the gateway refuses it:\n{}", now.reload.reasons.join("\n"))));
            }
            Ok(now) if counts(&now) != counts(&before) => {
                println!("it runs");
                return Ok(());
            }
            _ => {}
        }
    }
    Err(Failure::Unavailable("the gateway has not reloaded within a minute: see `tidegate status`".to_owned()))
}

fn refused(problems: &Problems) -> Failure {
    Failure::Config(format!("it is not saved, for it would be refused\n{problems}"))
}

fn status(config: &Config) -> Result<Status, Failure> {
    read(&admin_client::ask(config, "GET", "/api/v1/status")?)
}
