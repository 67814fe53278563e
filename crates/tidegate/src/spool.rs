//! `tidegate spool`: what waits on disk. Verified, exported and imported when no gateway runs; told, moved or discarded by the
//! gateway if one does.

mod exported;

use crate::{Failure, admin_client, check};
use exported::{Exported, priority};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_config::Config;
use tidegate_gateway::{Redirect, RedirectError, redirect_stopped};
use tidegate_spool::{Disk, DiskError, EditError, Editor, OpenError, Report, export, verify};

/// Of `tidegate spool`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How much waits, for which target. Asks the gateway if one runs.
    Status,
    /// Read every record; exit with 1 if one is damaged.
    Verify,
    /// All messages that wait, one line of JSON each, in order for each target.
    Export,
    /// Put messages that `export` has written behind what waits, such as on another box. The gateway must not run.
    Import {
        /// A file of such lines; `-` is standard input.
        file: PathBuf,
    },
    /// What waits for one target waits for another from here on, such as after a broker has died for good. Asks the gateway if
    /// one runs.
    Move {
        /// The target it waits for; it need not be configured any more.
        from: String,
        /// A broker or target set of the configuration.
        to: String,
    },
    /// Drop what waits for a target, and count it. Asks the gateway if one runs.
    Discard {
        /// The target it waits for; it need not be configured any more.
        from: String,
    },
}

/// Reads the folder and prints, or has what waits there moved or dropped.
pub(crate) fn spool(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let what = match arguments.what {
        What::Move { from, to } => return redirect(&config, &Redirect::Move { from, to }),
        What::Discard { from } => return redirect(&config, &Redirect::Discard { from }),
        What::Import { file } => return import(&config, &file),
        what @ (What::Status | What::Verify | What::Export) => what,
    };
    let disk = match open(&config) {
        Err(Failure::Unavailable(_)) if matches!(what, What::Status) && config.admin.is_some() => {
            print!("{}", admin_client::ask(&config, "GET", "/spool")?);
            return Ok(());
        }
        opened => opened?,
    };
    match what {
        What::Move { .. } | What::Discard { .. } | What::Import { .. } => Ok(()),
        What::Status => {
            print!("{}", status(&verify(&disk).map_err(disk_failure)?));
            Ok(())
        }
        What::Verify => {
            let report = verify(&disk).map_err(disk_failure)?;
            for damage in &report.damaged {
                println!(
                    "{}:{}: this is no record, or one that does not match its checksum",
                    damage.file, damage.offset
                );
            }
            println!(
                "{} records in {} segments and {} checkpoints, {} bytes; {} damaged, {} bytes torn off at the end",
                report.records,
                report.segments,
                report.checkpoints,
                report.bytes,
                report.damaged.len(),
                report.torn_bytes
            );
            if report.damaged.is_empty() { Ok(()) } else { Err(Failure::Found) }
        }
        What::Export => write_out(&disk),
    }
}

/// Has what waits for a target moved or dropped: by the gateway if one runs, in its folder otherwise.
fn redirect(config: &Config, what: &Redirect) -> Result<(), Failure> {
    let (from, words) = match what {
        Redirect::Move { from, to } => (from, format!("now wait for `{to}`")),
        Redirect::Discard { from } => (from, "are discarded".to_owned()),
    };
    // Part of a path below; no name of a target has others.
    if !from.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')) {
        return Err(Failure::Unavailable(format!("nothing waits for a target `{from}`")));
    }
    let count = match open(config) {
        Ok(disk) => redirect_stopped(disk, config, what).map_err(|error| match error {
            RedirectError::Refused(words) => Failure::Unavailable(words),
            other => Failure::Disk(other.to_string()),
        })?,
        Err(Failure::Unavailable(_)) if config.admin.is_some() => {
            let path = match what {
                Redirect::Move { from, to } => format!("/spool/{from}/move?to={to}"),
                Redirect::Discard { from } => format!("/spool/{from}/discard"),
            };
            let answer = admin_client::ask(config, "POST", &path)?;
            answer.split_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or_default()
        }
        Err(failure) => return Err(failure),
    };
    println!("{count} messages that waited for `{from}` {words}");
    Ok(())
}

/// The folder of a gateway that does not run.
pub(crate) fn open(config: &Config) -> Result<Disk, Failure> {
    let folder = config.gateway.data_dir.join("spool");
    Disk::open_existing(folder).map_err(|error| match error {
        DiskError::InUse(_) => Failure::Unavailable(error.to_string()),
        error => Failure::Disk(error.to_string()),
    })
}

pub(crate) fn disk_failure(error: OpenError) -> Failure {
    Failure::Disk(error.to_string())
}

fn status(report: &Report) -> String {
    let mut words = String::new();
    let waiting = report.queues.iter().filter(|queue| queue.items > 0);
    for queue in waiting {
        let (target, class) = (&queue.key.target, priority(queue.key.class));
        words += &format!("target {target}, priority {class}: {} messages, {} bytes\n", queue.items, queue.bytes);
    }
    if words.is_empty() {
        words += "no message waits\n";
    }
    words += &format!("{} messages are parked\n", report.parked);
    for plugin in &report.plugins_with_state {
        words += &format!("plugin {plugin} has state\n");
    }
    words + &format!("{} bytes on disk, {} places damaged\n", report.bytes, report.damaged.len())
}

fn write_out(disk: &Disk) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let exported = export(disk, |item| {
        if failed.is_some() {
            return;
        }
        let line = serde_json::to_string(&Exported::of(&item)).unwrap_or_default(); // it is all text and numbers
        failed = writeln!(out, "{line}").err();
    });
    exported.map_err(disk_failure)?;
    match failed.or_else(|| out.flush().err()) {
        // Whoever reads has seen enough.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Some(error) => Err(Failure::Disk(format!("standard output: {error}"))),
        None => Ok(()),
    }
}

/// Puts messages into the folder of a gateway that does not run: all of a file, or none if there is something wrong in it.
fn import(config: &Config, file: &Path) -> Result<(), Failure> {
    let unread = |error: std::io::Error| Failure::Usage(format!("{}: {error}", file.display()));
    let mut lines = match file.to_str() {
        // It is read twice.
        Some("-") => {
            let mut aside = tempfile::tempfile().map_err(unread)?;
            std::io::copy(&mut std::io::stdin().lock(), &mut aside).map_err(unread)?;
            aside
        }
        _ => std::fs::File::open(file).map_err(unread)?,
    };
    // A file that is wrong somewhere is found out before anything of it is written.
    each_exported(&mut lines, file, |at, one| {
        one.key().and_then(|_| one.message()).map_err(|words| wrong(file, at, &words))?;
        match config.targets.contains_key(&one.target) || config.brokers.contains_key(&one.target) {
            true => Ok(()),
            false => Err(wrong(file, at, &format!("no broker or target set is called `{}`", one.target))),
        }
    })?;
    let disk = Disk::open(config.gateway.data_dir.join("spool")).map_err(|error| match error {
        DiskError::InUse(_) => Failure::Unavailable(error.to_string()),
        error => Failure::Disk(error.to_string()),
    })?;
    let failed = |error: EditError| Failure::Disk(error.to_string());
    let mut editor = Editor::open(Arc::new(disk)).map_err(disk_failure)?;
    let count = each_exported(&mut lines, file, |at, one| {
        let told = |words: String| wrong(file, at, &words);
        let (key, message) = (one.key().map_err(told)?, one.message().map_err(told)?);
        editor.add(&key, &one.route, one.received_ms, message).map_err(failed)
    })?;
    editor.save().map_err(failed)?;
    println!("{count} messages wait");
    Ok(())
}

fn wrong(file: &Path, at: usize, words: &str) -> Failure {
    Failure::Usage(format!("{}:{at}: {words}; nothing was imported", file.display()))
}

/// Reads all lines from the first. Returns how many messages there are.
fn each_exported(
    lines: &mut std::fs::File,
    file: &Path,
    mut each: impl FnMut(usize, &Exported) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    lines.rewind().map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let mut count = 0;
    for (at, line) in (1..).zip(BufReader::new(lines).lines()) {
        let line = line.map_err(|error| wrong(file, at, &error.to_string()))?;
        if !line.trim().is_empty() {
            let one: Exported = serde_json::from_str(&line).map_err(|error| wrong(file, at, &error.to_string()))?;
            each(at, &one)?;
            count += 1;
        }
    }
    Ok(count)
}
