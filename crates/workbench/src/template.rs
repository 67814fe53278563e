//! Folders to begin with: a rule of a few lines, what joins it to the contract, samples. Nothing is fetched.

use crate::project::{Language, Project};
use std::path::{Path, PathBuf};
use tidegate_config::is_name;

// Of build.rs: `FILES`, the template that each file belongs to, its path and its text.
include!(concat!(env!("OUT_DIR"), "/files.rs"));

const CONTRACT: &str = include_str!("../../../wit/gateway.wit");
const MIGRATION: &str = include_str!("../../../wit/migration/migration.wit");

/// What a language's folder is made of, and the memory that its samples try it with.
const fn parts(language: Language) -> (&'static [&'static str], &'static str) {
    match language {
        Language::Rust => (&["common", "rust", "sdk"], "2MiB"),
        Language::Typescript => (&["common", "packed", "javascript-helper", "typescript"], "8MiB"),
        Language::Javascript => (&["common", "packed", "javascript-helper", "javascript"], "8MiB"),
        Language::Python => (&["common", "packed", "python"], "256MiB"),
        Language::Go => (&["common", "go"], "32MiB"),
        Language::C => (&["common", "c-helper", "c"], "1MiB"),
        Language::Zig => (&["common", "c-helper", "zig"], "1MiB"),
    }
}

/// Writes a folder of this name for a plugin in this language; what was written.
///
/// # Errors
/// The name cannot be one, the folder is there, or cannot be written, in words.
pub fn write(name: &Path, language: Language) -> Result<Vec<PathBuf>, String> {
    let plugin = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_name(plugin) {
        return Err(format!(
            "`{plugin}` cannot name a plugin: letters, digits, `-` and `_`, at most 64, the first one no sign"
        ));
    }
    if name.exists() {
        return Err(format!("{} is there already; name another folder", name.display()));
    }
    let mut written = Vec::new();
    for (path, text) in files(plugin, language) {
        written.push(put(name, &path, &text)?);
    }
    Ok(written)
}

/// Writes what a folder lacks of what joins its rule to the contract; what is there stays as it is.
///
/// # Errors
/// It cannot be written, in words.
pub(crate) fn complete(project: &Project) -> Result<(), String> {
    let is_authors = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        ["README.md", "plugin.toml", ".gitignore"].contains(&name)
            || name.starts_with("rule.")
            || path.starts_with("samples/")
            || path.starts_with("src/")
    };
    let lacking = files(&project.name, project.language)
        .filter(|(path, _)| !is_authors(path) && !project.folder.join(path).exists());
    for (path, text) in lacking {
        put(&project.folder, &path, &text)?;
    }
    Ok(())
}

/// A language's files, with the plugin's name in them.
fn files(plugin: &str, language: Language) -> impl Iterator<Item = (String, String)> + use<> {
    let (parts, memory) = parts(language);
    let plugin = plugin.to_owned();
    let files =
        FILES.iter().filter(move |(template, _, _)| parts.contains(template)).map(|(_, path, text)| (*path, *text));
    let contract = [("wit/gateway.wit", CONTRACT), ("wit/migration/migration.wit", MIGRATION)];
    files.chain(contract).map(move |(path, text)| {
        let text = match path {
            // The same source, at another place.
            "sdk/src/bindings.rs" => text.replace("\"../../wit", "\"../wit"),
            _ if ["sdk/", "wit/", "contract/"].iter().any(|of_ours| path.starts_with(of_ours)) => text.to_owned(),
            _ => text.replace("NAME", &plugin).replace("MEMORY", memory),
        };
        (path.to_owned(), text)
    })
}

fn put(folder: &Path, path: &str, text: &str) -> Result<PathBuf, String> {
    let path = folder.join(path);
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    std::fs::write(&path, text).map_err(wrong)?;
    Ok(path)
}
