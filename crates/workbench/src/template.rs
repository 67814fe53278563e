//! Folders to begin with: a rule of a few lines, what joins it to the contract, samples. Nothing is fetched.

use crate::project::Language;
use std::path::{Path, PathBuf};
use tidegate_config::is_name;

const CONTRACT: &str = include_str!("../../../wit/gateway.wit");

/// What every folder has: path and text.
const COMMON: [(&str, &str); 3] = [
    ("samples/celsius.toml", include_str!("../templates/samples/celsius.toml")),
    ("samples/misspelt.toml", include_str!("../templates/samples/misspelt.toml")),
    ("wit/gateway.wit", CONTRACT),
];

const JAVASCRIPT: [(&str, &str); 6] = [
    ("README.md", include_str!("../templates/javascript/README.md")),
    ("package.json", include_str!("../templates/javascript/package.json")),
    ("plugin.js", include_str!("../templates/javascript/plugin.js")),
    ("rule.js", include_str!("../templates/javascript/rule.js")),
    ("tidegate.js", include_str!("../templates/javascript/tidegate.js")),
    ("plugin.toml", "name = \"NAME\"\nlanguage = \"javascript\"\nengine = \"quickjs\"    # or \"starlingmonkey\"\n"),
];

const PYTHON: [(&str, &str); 5] = [
    ("README.md", include_str!("../templates/python/README.md")),
    ("app.py", include_str!("../templates/python/app.py")),
    ("rule.py", include_str!("../templates/python/rule.py")),
    ("tidegate.py", include_str!("../templates/python/tidegate.py")),
    ("plugin.toml", "name = \"NAME\"\nlanguage = \"python\"\n"),
];

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
    let own: &[(&str, &str)] = match language {
        Language::Javascript => &JAVASCRIPT,
        Language::Python => &PYTHON,
    };
    let mut written = Vec::new();
    for (path, text) in own.iter().chain(&COMMON) {
        let path = name.join(path);
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        std::fs::write(&path, text.replace("NAME", plugin)).map_err(wrong)?;
        written.push(path);
    }
    Ok(written)
}
