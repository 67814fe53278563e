//! Compilers and their like: where they are found, and what brings them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program: what it may be called, where else it may be, and what brings it.
pub(super) struct Tool {
    /// In PATH; the first is what it is called in words.
    pub(super) names: &'static [&'static str],
    /// Below the plugin's folder; these come first.
    pub(super) local: &'static [&'static str],
    /// How to get it, and what it needs besides.
    pub(super) hint: &'static str,
}

/// One run of a tool, in the plugin's folder.
pub(super) struct Step {
    pub(super) program: PathBuf,
    pub(super) hint: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Tool {
    /// Where it is.
    ///
    /// # Errors
    /// Nowhere; with the command that brings it.
    pub(super) fn find(&self, folder: &Path) -> Result<PathBuf, String> {
        for local in self.local {
            let local = folder.join(local);
            if local.exists() {
                // Not resolved: an environment of Python is known by the path it is called by.
                return std::path::absolute(&local).map_err(|error| format!("{}: {error}", local.display()));
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .find_map(|folder| self.names.iter().map(|name| folder.join(name)).find(|program| program.is_file()));
        found.ok_or_else(|| {
            let local = self.local.first().map(|local| format!("{} and in ", folder.join(local).display()));
            format!("{} is missing, in {}PATH: {}", self.names[0], local.unwrap_or_default(), self.hint)
        })
    }

    /// A run of it with these arguments.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn step(&self, folder: &Path, arguments: &[&str]) -> Result<Step, String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(Step { program: self.find(folder)?, hint: self.hint, arguments, variables: Vec::new() })
    }
}

impl Step {
    /// With more arguments.
    pub(super) fn and(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With these variables.
    pub(super) fn with(mut self, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// What it said.
    pub(super) fn run(&self, folder: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        // Where a compiler itself was when it had to say that something is wrong with the rule helps nobody.
        command.current_dir(folder).args(&self.arguments).env("RUST_BACKTRACE", "0");
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let output = command.output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let mut words = format!("{name} failed ({}):\n{}", output.status, said.trim_end());
        // Of a compiler that is only half there; of what is wrong with the rule the compiler says enough.
        if ["file not found", "cannot open", "unable to find", "No such file"].iter().any(|half| said.contains(half)) {
            words += &format!("\nif something of it is missing: {}", self.hint);
        }
        Err(words)
    }
}
