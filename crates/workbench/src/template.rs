//! Folders to begin with: a rule of a few lines, what joins it to the contract, samples. Nothing is fetched.

use crate::project::Language;
use std::path::{Path, PathBuf};
use tidegate_config::is_name;

// Of build.rs: `FILES`, the template that each file belongs to, its path and its text.
include!(concat!(env!("OUT_DIR"), "/files.rs"));

const CONTRACT: &str = include_str!("../../../wit/gateway.wit");

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
    let (parts, memory) = parts(language);
    let mut written = Vec::new();
    let files = FILES.iter().filter(|(template, _, _)| parts.contains(template)).map(|(_, path, text)| (*path, *text));
    for (path, text) in files.chain([("wit/gateway.wit", CONTRACT)]) {
        let text = match path {
            // The same source, at another place.
            "sdk/src/bindings.rs" => text.replace("\"../../wit\"", "\"../wit\""),
            _ if path.starts_with("sdk/") || path.starts_with("wit/") || path.starts_with("contract/") => {
                text.to_owned()
            }
            _ => text.replace("NAME", plugin).replace("MEMORY", memory),
        };
        let path = name.join(path);
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        std::fs::write(&path, text).map_err(wrong)?;
        written.push(path);
    }
    Ok(written)
}
