//! `tidegate check`: everything that is wrong with a configuration, at once.

use crate::Failure;
use std::path::{Path, PathBuf};
use tidegate_config::Config;

/// Prints every problem to stdout, one a line.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    match tidegate_config::load(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| println!("{warning}"));
            let Config { brokers, routes, plugins, .. } = &loaded.config;
            let counts = [(brokers.len(), "broker"), (routes.len(), "route"), (plugins.len(), "plugin")];
            let words: Vec<_> = counts
                .iter()
                .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
                .collect();
            println!("{}: good, {}", path.display(), words.join(", "));
            Ok(())
        }
        Err(problems) => {
            println!("{problems}");
            Err(Failure::Found)
        }
    }
}

/// Loads a configuration for a command that needs a good one.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    match tidegate_config::load(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            Ok(loaded.config)
        }
        Err(problems) => Err(Failure::Config(format!("the configuration cannot be used\n{problems}"))),
    }
}

/// `--config` of a command with commands below it, where it may stand behind any of them.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file of the gateway.
    #[arg(long, short, global = true)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads it.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let missing = || Failure::Usage("name the configuration with --config FILE".to_owned());
        load(self.config.as_ref().ok_or_else(missing)?)
    }
}
