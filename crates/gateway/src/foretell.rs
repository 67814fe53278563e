//! What a configuration would change of a gateway that runs, before it is saved.

use crate::report::{self, Changes};
use crate::running::Gateway;
use crate::{Error, check_plugins, next_start, preflight};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tidegate_config::{Config, Loaded, Problems, load_text};

/// What runs, to be compared elsewhere: it takes a moment.
#[derive(Debug, Clone)]
pub struct Running {
    config: Arc<Config>,
    written: Arc<Config>,
    waiting: BTreeMap<String, u64>,
}

/// What is wrong with a text, and what saving it would change.
#[derive(Debug, Clone)]
pub struct Foretold {
    /// In the order of the file.
    pub problems: Problems,
    /// What would change; nothing of one that would be refused.
    pub changes: Changes,
}

/// All that speaks against a configuration that could be read, and what of it is worth a look: its brokers' files and secrets,
/// and, if they are to be looked at, its plugins. Slow: it may compile.
///
/// # Errors
/// The engine of the plugins does not start.
pub fn examine(loaded: &Loaded, with_plugins: bool, cache: Option<&Path>) -> Result<Problems, Error> {
    let mut problems = loaded.warnings.clone();
    problems.extend(preflight(loaded).into_iter().map(|found| found.problem));
    if with_plugins {
        problems.extend(check_plugins(loaded, cache)?);
    }
    Ok(Problems(problems).sorted())
}

impl Foretold {
    /// Saving it would be refused.
    pub fn is_refused(&self) -> bool {
        self.problems.errors() > 0
    }
}

impl Gateway {
    /// What runs now.
    pub fn running(&self) -> Running {
        Running { config: self.config(), written: self.written(), waiting: self.path().borrow().waiting_by_target() }
    }
}

impl Running {
    /// Checks a text as that of a file, with its plugins, and says what saving it would change. Slow: it may compile.
    ///
    /// # Errors
    /// The engine of the plugins does not start.
    pub fn foretell(&self, text: &str, file: &Path) -> Result<Foretold, Error> {
        let loaded = match load_text(text, file) {
            Ok(loaded) => loaded,
            Err(problems) => return Ok(Foretold { problems: problems.sorted(), changes: Changes::default() }),
        };
        let problems = examine(&loaded, true, None)?;
        if problems.errors() > 0 {
            return Ok(Foretold { problems, changes: Changes::default() });
        }
        let in_force = next_start::in_force(&self.config, &loaded.config);
        let mut changes = report::changes(&self.config, &in_force, &self.waiting);
        changes.next_start = next_start::told(&in_force, &self.written, &loaded.config);
        Ok(Foretold { problems, changes })
    }
}
