//! A plugin's folder: what `plugin.toml` says of it.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// JavaScript, by one of two engines.
    Javascript,
    /// Python, by componentize-py.
    Python,
}

/// An engine of JavaScript.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Small, and starts in 2 MiB.
    #[default]
    Quickjs,
    /// With more of the platform.
    Starlingmonkey,
}

/// A folder with a `plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Of the plugin, and of its component.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Of JavaScript.
    #[serde(default)]
    pub engine: Engine,
    /// The folder itself.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Project {
    /// Reads the `plugin.toml` of a folder.
    ///
    /// # Errors
    /// In words, with the line and the column.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let path = folder.join("plugin.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!(
                "{}: {error}; `tidegate plugin new NAME --lang LANGUAGE` makes a folder that has one",
                path.display()
            )
        })?;
        let mut project: Self = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        project.folder = folder.to_owned();
        Ok(project)
    }

    /// Where its component is.
    pub fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// Where its samples are.
    pub fn samples(&self) -> PathBuf {
        self.folder.join("samples")
    }
}
