//! Tidegate's configuration: TOML as written becomes checked types, or every problem at once, each with its place.
//!
//! The path of a text: the `toml` crate makes a tree whose every value knows its place (`syntax`), to which those of included
//! files (`sources`, `merge`), what the environment says (`variables`) and the keys of `presets` are added; `tree` takes keys out of its tables by name and says what is unknown, missing or of the wrong kind; `sections` make each section into its
//! checked type (`model`); `rules` look at what sections say of each other, and follow messages through routes with sets of
//! topics (`topics`). [`load`] adds what only the disk can tell (`files`).
//!
//! Invariants:
//! - one mistake never hides another: reading goes on with a placeholder, and a placeholder never leaves the crate;
//! - [`parse`] does no I/O, and no text makes it panic;
//! - a [`Config`] never holds a secret, only where it is ([`Secret`]).
//!
//! Start reading at [`parse`], then `sections`.

mod bounds;
mod diff;
mod difference;
mod files;
mod listening;
mod merge;
mod model;
mod notes;
mod places;
mod presets;
mod problem;
mod rules;
#[cfg(test)]
mod schema;
mod secret;
mod sections;
mod sources;
mod syntax;
mod topics;
mod tree;
mod values;
mod variables;

pub use bounds::{MAX_COMPONENT_BYTES, MAX_CONFIG_BYTES, MAX_NAME_BYTES};
pub use diff::{Change, ChangeKind, Fate, Key, Outline, Shown, Touched, diff, hash_kept};
pub use difference::{Changes, Difference};
pub use model::{
    AccessEntry, AccessLists, AccessTopics, Ack, Admin, AdminAddr, AdminTls, Announcement, BridgeMode, Broker,
    BrokerUrl, Candidate, CollectorUrl, Config, EmbeddedBroker, EmbeddedLimits, Gateway, Grants, Header, HeaderValue,
    Identity, Limits, LinkBroker, ListenAddr, ListenScheme, ListenTls, NatsBroker, NatsServer, OnFailure, Plugin,
    Policy, Priority, Probation, Probe, Promote, Reconnect, Relief, Remap, RemapError, Renaming, Retain, Retained,
    Retry, Rewrite, RewriteError, Route, Scheme, ServerCertificate, Source, SourcePolicy, SourceSet, SpoolSettings,
    StateGrant, Status, TargetSet, Template, TemplateError, Tls, Traces, Trial, TwinKey, Version, WhenFull, Will,
    Workers,
};
pub use notes::Note;
pub use places::Places;
pub use problem::{Problem, Problems, Severity};
pub use secret::{MAX_SECRET_BYTES, Secret, SecretError, SecretValue};
pub use sources::{Included, Sources};
pub use topics::{FilterTree, Pattern};
pub use values::is_name;

use crate::tree::Context;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The JSON schema of the configuration (draft 2020-12), for editors.
pub const SCHEMA: &str = include_str!("../../../config/tidegate.schema.json");

/// A configuration that was read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is worth a look, though it does not speak against using it.
    pub warnings: Vec<Problem>,
    /// Where it was read from, absolute, links not followed: what to watch. Of [`load_from`] the name.
    pub file: PathBuf,
    /// Where it says what it does of files and secrets.
    pub places: Places,
    /// What follows from it without being written there, in the order of the file.
    pub notes: Vec<Note>,
    /// The texts that it was made of.
    pub sources: Sources,
}

/// Reads a configuration from its text, without I/O: files that it names are not looked at, what it includes is left out, and
/// no variable is set.
///
/// `file` is for messages, and its directory is what relative paths are relative to; paths in the result are absolute
/// if `file` is. Returns warnings beside the configuration.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn parse(text: &str, file: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    let sources = Sources::alone(text, file, file.parent().unwrap_or(Path::new("")));
    let loaded = parse_and(&sources, &variables::Nowhere, |_| {})?;
    Ok((loaded.config, loaded.warnings))
}

/// Reads a configuration from its file, and looks at the files that it names.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn load(file: &Path) -> Result<Loaded, Problems> {
    let text = read_text(file).map_err(|unread| unread.problem(file))?;
    load_text(&text, file)
}

/// The same of a file whose text was read already.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, file: &Path) -> Result<Loaded, Problems> {
    load_sources(&Sources::of(text, file)?)
}

/// The same of a file that was read already with those that it includes.
///
/// # Errors
/// As [`load`].
pub fn load_sources(sources: &Sources) -> Result<Loaded, Problems> {
    let mut loaded = parse_and(sources, &variables::Process, |context| files::check(context, &files::Real))?;
    loaded.file = sources.path();
    Ok(loaded)
}

/// The same, whatever there is of the files that it names.
///
/// # Errors
/// As [`load`], but for those files.
pub fn parse_sources(sources: &Sources) -> Result<Config, Problems> {
    parse_and(sources, &variables::Process, |_| {}).map(|loaded| loaded.config)
}

/// Reads a configuration that comes from elsewhere than a file, as [`load`] does one that does.
///
/// Messages call it `name`; its relative paths are relative to the current directory.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn load_from(from: impl Read, name: &Path) -> Result<Loaded, Problems> {
    let text = text_of(from).map_err(|unread| unread.problem(name))?;
    let base = std::env::current_dir().map_err(|error| Problem::unreadable(name, &error))?;
    let sources = Sources::with_included(&text, name, &base, &variables::Process);
    let mut loaded = parse_and(&sources, &variables::Process, |context| files::check(context, &files::Real))?;
    loaded.file = name.to_owned();
    Ok(loaded)
}

/// From texts to checked types; `more` may find further problems.
fn parse_and(
    sources: &Sources,
    around: &dyn variables::Surroundings,
    more: impl FnOnce(&Context<'_>),
) -> Result<Loaded, Problems> {
    let context = Context::new(sources);
    let config = read_and_check(&context, sources, around);
    more(&context);
    let errors = context.findings.errors();
    let (places, notes) = (Places::of(&context), notes::of(&context));
    let warnings = context.findings.into_problems();
    match config {
        Some(config) if errors == 0 => {
            let sources = sources.clone();
            Ok(Loaded { config, warnings, file: PathBuf::new(), places, notes, sources })
        }
        _ => Err(Problems(warnings)),
    }
}

/// `None` when a text is not TOML.
fn read_and_check(context: &Context<'_>, sources: &Sources, around: &dyn variables::Surroundings) -> Option<Config> {
    let mut root = merge::tree(context, sources)?;
    variables::expand(context, &mut root, around);
    let presets = presets::fill(&mut root);
    let draft = sections::read(context, &root, presets);
    rules::check(context, &draft);
    notes::take(context, &draft);
    Some(draft.config)
}

/// Why a file gave no text.
enum Unread {
    Failed(std::io::Error),
    TooLong,
    NotUtf8 { line: usize },
}

impl Unread {
    /// What is wrong, and what to do.
    fn words(&self) -> (String, &'static str) {
        match self {
            Self::Failed(error) => (error.to_string(), "let the gateway's user read it"),
            Self::TooLong => (format!("this file is longer than {MAX_CONFIG_BYTES} bytes"), "is it the right file?"),
            Self::NotUtf8 { line } => (format!("this file is not UTF-8 in line {line}"), "save it as UTF-8"),
        }
    }

    fn problem(self, file: &Path) -> Problem {
        match self {
            Self::Failed(error) => Problem::unreadable(file, &error),
            other => {
                let (what, hint) = other.words();
                Problem::with_file(file, what, hint)
            }
        }
    }
}

fn read_text(file: &Path) -> Result<String, Unread> {
    text_of(std::fs::File::open(file).map_err(Unread::Failed)?)
}

fn text_of(from: impl Read) -> Result<String, Unread> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file which is too long is noticed.
    from.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(Unread::Failed)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(Unread::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Unread::NotUtf8 { line: before.iter().filter(|byte| **byte == b'\n').count() + 1 }
    })
}
