//! `tidegate check`: everything that is wrong with a configuration, at once.

use crate::Failure;
use std::path::{Path, PathBuf};
use tidegate_config::{Ack, Config, Problems, Route};

/// Prints every problem to stdout, one a line.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    match tidegate_config::load(path) {
        Ok(loaded) => {
            let found = tidegate_gateway::preflight(&loaded).into_iter().map(|found| found.problem);
            let problems = Problems(loaded.warnings.iter().cloned().chain(found).collect()).sorted();
            problems.0.iter().for_each(|problem| println!("{problem}"));
            if problems.errors() > 0 {
                return Err(Failure::Found);
            }
            let Config { brokers, routes, plugins, .. } = &loaded.config;
            let counts = [(brokers.len(), "broker"), (routes.len(), "route"), (plugins.len(), "plugin")];
            let words: Vec<_> = counts
                .iter()
                .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
                .collect();
            println!("{}: good, {}{}", path.display(), words.join(", "), in_memory_only(routes));
            Ok(())
        }
        Err(problems) => {
            println!("{problems}");
            Err(Failure::Found)
        }
    }
}

/// What a spool does not keep unless told to, which is easily thought otherwise.
fn in_memory_only(routes: &[Route]) -> String {
    let keeps = |route: &&Route| route.ack == Ack::Spooled;
    let mut not_all = routes.iter().filter(|route| keeps(route) && !route.persist_qos0).map(|route| &route.name);
    let Some(first) = not_all.next() else { return String::new() };
    let more = match not_all.count() {
        0 => String::new(),
        1 => " and of another".to_owned(),
        count => format!(" and of {count} others"),
    };
    format!(
        "; what is published with QoS 0 is kept in memory only, and lost in a power cut or a long outage: set `persist_qos0 \
         = true` in route `{first}`{more} if it matters"
    )
}

/// Loads a configuration for a command that needs a good one.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    match tidegate_config::load(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning:#}"));
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
