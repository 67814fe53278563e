//! `tidegate config`: the configurations that have run, how they differ from what is saved, and back to one.

use crate::apply::{NewFile, save_and_follow};
use crate::people::ago;
use crate::table::{Column, Tone, lines, print, width};
use crate::{Failure, check};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tidegate_config::{Config, Loaded, Sources};
use tidegate_gateway::{Applied, history};

/// Of `tidegate config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file that the gateway runs with, /etc/tidegate/tidegate.toml without it.
    #[arg(long, short, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Those that have run, the newest first, with what each changed.
    History {
        /// One a line, as JSON, with the texts of its files.
        #[arg(long)]
        json: bool,
    },
    /// Print the main file of one.
    Show {
        /// As `history` numbers them.
        number: u64,
    },
    /// What would change if one were in force again.
    Diff {
        /// As `history` numbers them; the one before what is saved without it.
        number: Option<u64>,
    },
    /// Save one again, as whoever runs this, and follow it until it runs.
    Rollback {
        /// As `history` numbers them; the one before what is saved without it.
        number: Option<u64>,
    },
}

/// Looks, or goes back.
pub(crate) fn config(arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.config.map_or_else(check::default_file, Ok)?;
    let file = std::path::absolute(&file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let data_dir = data_dir(&file)?;
    let all = history(&data_dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Failure::NotPermitted(format!(
            "{}: {error}; run this as the gateway's user, or as root",
            data_dir.display()
        )),
        _ => Failure::Disk(format!("{}: {error}", data_dir.display())),
    })?;
    match arguments.what {
        What::History { json: true } => all.iter().for_each(|one| println!("{}", serde_json::json!(one))),
        What::History { json: false } => list(&all),
        What::Show { number } => print!("{}", chosen(&all, Some(number), &file)?.files[0].text),
        What::Diff { number } => {
            let then = loaded(chosen(&all, number, &file)?, &file)?;
            let now = tidegate_config::load(&file).map_err(|problems| Failure::Config(problems.to_string()))?;
            let changes = tidegate_gateway::changes(&now.config, &then.config);
            changes.iter().for_each(|change| println!("{change}"));
            if changes.is_empty() {
                println!("nothing would change");
            }
        }
        What::Rollback { number } => roll_back(chosen(&all, number, &file)?, &file)?,
    }
    Ok(())
}

/// Of a file that may be no good by now.
fn data_dir(file: &Path) -> Result<PathBuf, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let sources = Sources::of(&text, file).map_err(|problem| Failure::Config(problem.to_string()))?;
    sources.data_dir().ok_or_else(|| {
        Failure::Config(format!("{}: [gateway] names no `data_dir`, so it is not known what ran", file.display()))
    })
}

fn list(all: &[Applied]) {
    let columns = [Column::Number("NUMBER"), Column::Text("CAME"), Column::Text("CHANGED")];
    let row = |one: &Applied| {
        let changed = match &one.changes[..] {
            [] => "a start".to_owned(),
            [change] => change.clone(),
            [change, more @ ..] => format!("{change}, and {} more", more.len()),
        };
        (Tone::Plain, vec![one.number.to_string(), ago(one.at_ms), changed])
    };
    print(&lines(&columns, &all.iter().rev().map(row).collect::<Vec<_>>(), width()));
}

/// The one of a number, or the last that is not as the file is.
fn chosen<'a>(all: &'a [Applied], number: Option<u64>, file: &Path) -> Result<&'a Applied, Failure> {
    let found = match number {
        Some(number) => all.iter().find(|one| one.number == number),
        None => {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            all.iter().rev().find(|one| one.files[0].text != text || !is_as_saved(one))
        }
    };
    found.ok_or_else(|| {
        let words = number.map_or_else(|| "no other".to_owned(), |number| format!("none with number {number}"));
        Failure::Usage(format!("of the configurations that ran there is {words}; see `tidegate config history`"))
    })
}

fn is_as_saved(one: &Applied) -> bool {
    one.files.iter().all(|file| std::fs::read_to_string(&file.path).is_ok_and(|text| text == file.text))
}

/// What it said, as the configuration of this file.
fn loaded(applied: &Applied, file: &Path) -> Result<Loaded, Failure> {
    let texts = applied.files.iter().enumerate().map(|(nth, one)| {
        let path = if nth == 0 { file.to_owned() } else { one.path.clone() };
        (path, one.text.clone())
    });
    tidegate_config::load_sources(&Sources::of_texts(texts))
        .map_err(|problems| Failure::Config(format!("it cannot be used any more\n{}", problems.sorted())))
}

fn roll_back(applied: &Applied, file: &Path) -> Result<(), Failure> {
    let then = loaded(applied, file)?;
    // What is included now and was not then would be a part of it.
    let text = &applied.files[0].text;
    let known: BTreeSet<&Path> = applied.files.iter().map(|one| one.path.as_path()).collect();
    let now = Sources::of(text, file).map_err(|problem| Failure::Config(problem.to_string()))?;
    if let Some(more) = now.files().find(|path| !known.contains(path.as_path())) {
        let words = format!("{} is included now, and was not then: move it away first", more.display());
        return Err(Failure::Config(words));
    }
    let mut files: Vec<NewFile> = Vec::new();
    for one in &applied.files[1..] {
        if std::fs::read_to_string(&one.path).ok().as_ref() != Some(&one.text) {
            files.push(NewFile { path: one.path.clone(), text: one.text.clone() });
        }
    }
    // Last: with it all is there.
    files.push(NewFile { path: file.to_owned(), text: text.clone() });
    let running: Option<Config> = check::load_or_stdin(file).ok();
    save_and_follow(&then, running.as_ref(), &files, false)
}
