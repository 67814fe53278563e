//! `tidegate replay`: a recording decided again, and what would be decided otherwise.

use crate::differences::told_differences;
use crate::own_cache::own_cache;
use crate::{Failure, check, logs};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use tidegate_admin::model::Difference;
use tidegate_config::Config;
use tidegate_decisions::{Differences, Entries, Entry, FieldPath, MAGIC, Writer};
use tidegate_gateway::{Replay, Replayed};

/// Of `tidegate replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The recording.
    recording: PathBuf,
    /// The configuration that is to decide, /etc/tidegate/tidegate.toml without it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Another component for a plugin of it; may be given more than once.
    #[arg(long, value_name = "NAME=FILE", value_parser = plugin)]
    plugin: Vec<(String, PathBuf)>,
    /// A field of JSON payloads that may differ, such as '$.ts'; may be given more than once.
    #[arg(long, value_name = "FIELD")]
    ignore: Vec<FieldPath>,
    /// Write what is decided now into the recording, in the place of what was.
    #[arg(long)]
    update: bool,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

fn plugin(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("wants NAME=FILE")?;
    Ok((name.to_owned(), path.into()))
}

/// Prints how decisions differ; fails with 1 if some do.
pub(crate) fn replay(arguments: &Arguments) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "warn,wasmtime_internal_cache=off");
    let file = arguments.config.clone().map_or_else(check::default_file, Ok)?;
    let mut config = check::load_and_warn(&file)?;
    for (name, path) in &arguments.plugin {
        replace(&mut config, name, path)?;
    }
    let began = std::time::Instant::now();
    let mut replay = Replay::new(&config, Differences::new(arguments.ignore.clone()), own_cache().as_deref())?;
    let ready = began.elapsed();
    let path = &arguments.recording;
    let mut updated = arguments.update.then(|| Updated::new(path)).transpose()?;
    let here = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let opened = File::open(path).map_err(|error| here(&error))?;
    let bytes = opened.metadata().map_err(|error| here(&error))?.len();
    let mut entries = Entries::new(BufReader::new(opened)).map_err(|error| here(&error))?;
    let mut write = |entries: Vec<Entry>| updated.as_mut().map_or(Ok(()), |updated| updated.write(&entries));
    for entry in entries.by_ref() {
        write(replay.entry(entry.map_err(|error| here(&error))?, arguments.update)?)?;
    }
    write(replay.end())?;
    let behind = bytes - entries.whole();
    if let Some(updated) = updated {
        updated.finish(path)?;
    }
    let found = &replay.found;
    if arguments.json {
        println!("{}", as_json(found, behind));
    } else {
        print!("{}", told(found, behind));
    }
    tracing::debug!(?ready, took = ?began.elapsed(), "replayed");
    if found.differences.differ == 0 || arguments.update { Ok(()) } else { Err(Failure::Found) }
}

fn replace(config: &mut Config, name: &str, path: &Path) -> Result<(), Failure> {
    let known = config.plugins.keys().cloned().collect::<Vec<_>>().join(", ");
    let Some(plugin) = config.plugins.get_mut(name) else {
        return Err(Failure::Usage(format!("no plugin `{name}` in the configuration; there are {known}")));
    };
    (plugin.path, plugin.digest) = (path.to_path_buf(), None);
    Ok(())
}

/// The recording as it is to be, beside what it is.
struct Updated {
    file: BufWriter<File>,
    beside: PathBuf,
    writer: Writer,
}

impl Updated {
    fn new(path: &Path) -> Result<Self, Failure> {
        let beside = path.with_extension("tgr.new");
        let wrong = |error| Failure::Disk(format!("{}: {error}", beside.display()));
        let mut file = BufWriter::new(File::create(&beside).map_err(wrong)?);
        file.write_all(MAGIC).map_err(wrong)?;
        Ok(Self { file, beside, writer: Writer::default() })
    }

    fn write(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Self { file, beside, writer } = self;
        let wrong = |error| Failure::Disk(format!("{}: {error}", beside.display()));
        for entry in entries {
            if let Some(block) = writer.push(entry).map_err(wrong)? {
                file.write_all(&block).map_err(wrong)?;
            }
        }
        Ok(())
    }

    fn finish(mut self, path: &Path) -> Result<(), Failure> {
        let wrong = |error| Failure::Disk(format!("{}: {error}", path.display()));
        let block = self.writer.finish().map_err(wrong)?.unwrap_or_default();
        self.file.write_all(&block).map_err(wrong)?;
        let file = self.file.into_inner().map_err(|error| wrong(error.into_error()))?;
        file.sync_all().map_err(wrong)?;
        std::fs::rename(&self.beside, path).map_err(wrong)
    }
}

/// For people.
fn told(found: &Replayed, behind: u64) -> String {
    let Replayed { differences, messages, ticks, gaps, without_payload, .. } = found;
    let mut text = told_differences(&Difference::all(&differences.groups), ["before", "now"]);
    let mut note = |words: String| text += &format!("note: {words}\n");
    if *gaps > 0 {
        note(format!(
            "{gaps} times messages are missing in the recording: a plugin that remembers may decide otherwise for that"
        ));
    }
    if *without_payload > 0 {
        note(format!("of {without_payload} messages the payload was not recorded: what a rule finds there is empty"));
    }
    if behind > 0 {
        note(format!("the last {behind} bytes of the file are no whole block: whoever wrote it was cut off"));
    }
    let ticks = if *ticks > 0 { format!(" and {ticks} timers") } else { String::new() };
    text + &format!("{messages} messages{ticks}: {} would be decided otherwise\n", differences.differ)
}

fn as_json(found: &Replayed, behind: u64) -> serde_json::Value {
    json!({
        "messages": found.messages,
        "ticks": found.ticks,
        "differ": found.differences.differ,
        "gaps": found.gaps,
        "without_payload": found.without_payload,
        "recordings": found.recordings,
        "bytes_cut_off": behind,
        "groups": Difference::all(&found.differences.groups),
    })
}
