//! Tidegate's configuration: TOML as written becomes checked types, or every problem at once, each with its place.
//!
//! The path of a text: the `toml` crate makes a tree whose every value knows its place (`syntax`), to which the keys of
//! `presets` are added; `tree` takes keys out of its tables by name and says what is unknown, missing or of the wrong kind; `sections` make each section into its
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
mod model;
mod notes;
mod places;
mod presets;
mod problem;
mod rules;
mod secret;
mod sections;
mod syntax;
mod topics;
mod tree;
mod values;

pub use bounds::{MAX_COMPONENT_BYTES, MAX_CONFIG_BYTES, MAX_NAME_BYTES};
pub use diff::{Change, ChangeKind, Fate, Key, Outline, Shown, Touched, diff, hash_kept};
pub use difference::{Changes, Difference};
pub use model::{
    Ack, Admin, AdminAddr, AdminTls, Announcement, BridgeMode, Broker, BrokerUrl, Config, EmbeddedBroker,
    EmbeddedLimits, Gateway, Grants, Header, HeaderValue, Limits, LinkBroker, ListenAddr, ListenScheme, NatsBroker,
    NatsServer, OnFailure, Plugin, Policy, Priority, Probe, Reconnect, Relief, Remap, RemapError, Renaming, Retain,
    Retained, Retry, Rewrite, RewriteError, Route, Scheme, Source, SourcePolicy, SourceSet, SpoolSettings, StateGrant,
    Status, TargetSet, Template, TemplateError, Tls, TwinKey, Version, WhenFull, Will, Workers,
};
pub use notes::Note;
pub use places::Places;
pub use problem::{Problem, Problems, Severity};
pub use secret::{MAX_SECRET_BYTES, Secret, SecretError, SecretValue};
pub use topics::{FilterTree, Pattern};
pub use values::is_name;

use crate::tree::Context;
use std::io::Read;
use std::path::{Path, PathBuf};

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
}

/// Reads a configuration from its text, without I/O: files that it names are not looked at.
///
/// `file` is for messages, and its directory is what relative paths are relative to; paths in the result are absolute
/// if `file` is. Returns warnings beside the configuration.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn parse(text: &str, file: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    let loaded = parse_and(text, file, file.parent().unwrap_or(Path::new("")), |_| {})?;
    Ok((loaded.config, loaded.warnings))
}

/// Reads a configuration from its file, and looks at the files that it names.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn load(file: &Path) -> Result<Loaded, Problems> {
    load_text(&read_text(file)?, file)
}

/// The same of a file whose text was read already.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, file: &Path) -> Result<Loaded, Problems> {
    let absolute = std::path::absolute(file).map_err(|error| cannot_read(file, &error))?;
    let base = absolute.parent().unwrap_or(Path::new("/"));
    let mut loaded = parse_and(text, file, base, |context| files::check(context, &files::Real))?;
    loaded.file = absolute;
    Ok(loaded)
}

/// Reads a configuration that comes from elsewhere than a file, as [`load`] does one that does.
///
/// Messages call it `name`; its relative paths are relative to the current directory.
///
/// # Errors
/// All problems, warnings included, if at least one of them is an error.
pub fn load_from(from: impl Read, name: &Path) -> Result<Loaded, Problems> {
    let text = text_of(from, name)?;
    let base = std::env::current_dir().map_err(|error| cannot_read(name, &error))?;
    parse_and(&text, name, &base, |context| files::check(context, &files::Real))
}

/// From text to checked types; `more` may find further problems.
fn parse_and(text: &str, file: &Path, base: &Path, more: impl FnOnce(&Context<'_>)) -> Result<Loaded, Problems> {
    let context = Context::new(text, file, base);
    let config = read_and_check(&context, text);
    more(&context);
    let errors = context.findings.errors();
    let (places, notes) = (Places::of(&context), notes::of(&context));
    let warnings = context.findings.into_problems();
    match config {
        Some(config) if errors == 0 => Ok(Loaded { config, warnings, file: file.to_owned(), places, notes }),
        _ => Err(Problems(warnings)),
    }
}

/// `None` when the text is not TOML.
fn read_and_check(context: &Context<'_>, text: &str) -> Option<Config> {
    let mut root = syntax::tree(context, text)?;
    let presets = presets::fill(root.get_mut());
    let draft = sections::read(context, root.get_ref(), presets);
    rules::check(context, &draft);
    notes::take(context, &draft);
    Some(draft.config)
}

fn read_text(file: &Path) -> Result<String, Problem> {
    let open = std::fs::File::open(file).map_err(|error| cannot_read(file, &error))?;
    text_of(open, file)
}

fn text_of(from: impl Read, name: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file which is too long is noticed.
    from.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(|error| cannot_read(name, &error))?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let what = format!("this file is longer than {MAX_CONFIG_BYTES} bytes");
        return Err(Problem::with_file(name, what, "is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        let what = format!("this file is not UTF-8 in line {}", line + 1);
        Problem::with_file(name, what, "save it as UTF-8")
    })
}

fn cannot_read(file: &Path, error: &std::io::Error) -> Problem {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => "name the configuration with `--config FILE`",
        std::io::ErrorKind::PermissionDenied => "let the gateway's user read it",
        _ => "name a file that can be read",
    };
    Problem::with_file(file, format!("cannot read this file: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema is what is asked for, so this cannot go out of date.
    #[test]
    fn every_key_occurs_in_the_reference() {
        let text = include_str!("../../../config/tidegate.toml");
        let context = Context::new(text, Path::new("tidegate.toml"), Path::new("/"));
        read_and_check(&context, text).unwrap();
        let schema = context.schema.borrow();
        let missing: Vec<_> = schema.iter().filter(|(_, found)| !**found).map(|(key, _)| key).collect();
        assert!(missing.is_empty(), "not in config/tidegate.toml: {missing:?}");
        assert!(schema.len() > 80, "the keys were recorded");
    }
}
