//! A plugin's folder: what `plugin.toml` says of it.

use crate::samples::Samples;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, on the SDK.
    Rust,
    /// TypeScript, by the engines of JavaScript.
    Typescript,
    /// JavaScript, by one of two engines.
    Javascript,
    /// Python, by componentize-py.
    Python,
    /// Go.
    Go,
    /// C, by clang.
    C,
    /// Zig.
    Zig,
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

/// A world of the contract: what a component exports, and may import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Decides messages.
    #[default]
    Plugin,
    /// With durable state.
    Stateful,
    /// With a timer.
    Timed,
    /// With both.
    StatefulTimed,
}

impl World {
    /// As the contract calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Stateful => "stateful",
            Self::Timed => "timed",
            Self::StatefulTimed => "stateful-timed",
        }
    }
}

/// A folder with a `plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Of the plugin, and of its component.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Of JavaScript and TypeScript.
    #[serde(default)]
    pub engine: Engine,
    /// Of the contract. In Rust the source says it.
    #[serde(default)]
    pub world: World,
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
        if !tidegate_config::is_name(&project.name) {
            return Err(format!("{}: `{}` cannot name a plugin", path.display(), project.name));
        }
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

    /// The first of its files of samples, by name, that has messages to decide.
    ///
    /// # Errors
    /// There is none, or one before it is no file of samples.
    pub fn first_samples(&self) -> Result<PathBuf, String> {
        let folder = self.samples();
        let files = sample_files(&folder)?;
        for path in files {
            if Samples::load(&path)?.steps.iter().any(|step| step.tick.is_none()) {
                return Ok(path);
            }
        }
        Err(format!("{}: no file of samples has a message", folder.display()))
    }

    /// Where its copy of the contract is.
    pub fn wit(&self) -> PathBuf {
        self.folder.join("wit")
    }
}

/// The files of samples in a folder, by name.
///
/// # Errors
/// It cannot be read, or there is none.
pub fn sample_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    if files.is_empty() {
        return Err(format!("{}: there is no file *.toml in it", folder.display()));
    }
    files.sort();
    Ok(files)
}
