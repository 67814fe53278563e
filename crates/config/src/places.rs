//! Where a file says what only a second look can check: what is in the files that it names.

use crate::notes::Note;
use crate::problem::{Problem, Severity};
use crate::tree::Context;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// File, line and column.
type Place = (PathBuf, usize, usize);

/// The places of what the configuration says of files, secrets and plugins.
///
/// What these hold is for those to judge who use them: this crate only looks whether they are there. With this, what they
/// find is said as all other problems are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The one that includes the others.
    main: PathBuf,
    /// By key, such as `brokers.home.tls.ca`, `plugins.calm.config.list[2].max` or `routes.up.plugins.calm`.
    at: BTreeMap<String, Place>,
}

impl Places {
    pub(crate) fn of(context: &Context<'_>) -> Self {
        let places = context.places.borrow();
        let at = places.iter().map(|(place, span)| (place.clone(), context.findings.position(span.start))).collect();
        Self { main: context.findings.source(0).file.clone(), at }
    }

    /// A problem at a broker's key: `url`, `password`, `headers`, `users`, `tls.ca`, `tls.cert`, `tls.key` or `tls.key_password`.
    /// `words` say what to do behind a semicolon.
    pub fn problem(&self, severity: Severity, broker: &str, key: &str, words: &str) -> Problem {
        let place = self.at.get(&format!("brokers.{broker}.{key}"));
        self.at(severity, place, &format!("broker `{broker}`: {words}"))
    }

    /// Something worth knowing of a broker, where its `url` is.
    pub fn note(&self, broker: &str, words: &str) -> Note {
        let Problem { file, line, column, what, .. } = self.problem(Severity::Warning, broker, "url", words);
        Note { file, line, column, what }
    }

    /// A problem at a plugin's key: `path`, `grants`, `limits`, or a path into its `config`, such as `config.list[2].max`.
    ///
    /// Where that key is not written, it is at the nearest one around it, at last at the plugin itself. `words` say what to
    /// do behind a semicolon.
    pub fn plugin_problem(&self, severity: Severity, plugin: &str, key: &str, words: &str) -> Problem {
        let mut key = format!("plugins.{plugin}.{key}");
        while !self.at.contains_key(&key) {
            match key.rfind(['.', '[']) {
                Some(end) => key.truncate(end),
                None => break,
            }
        }
        self.at(severity, self.at.get(&key), &format!("plugin `{plugin}`: {words}"))
    }

    /// A problem where a route names a plugin. `words` say what to do behind a semicolon.
    pub fn route_problem(&self, severity: Severity, route: &str, plugin: &str, words: &str) -> Problem {
        let place = self.at.get(&format!("routes.{route}.plugins.{plugin}"));
        self.at(severity, place, &format!("route `{route}`: {words}"))
    }

    fn at(&self, severity: Severity, place: Option<&Place>, words: &str) -> Problem {
        let (file, line, column) = place.cloned().unwrap_or_else(|| (self.main.clone(), 0, 0));
        let words = words.replace(char::is_control, "\u{fffd}");
        let (what, hint) = words.split_once("; ").unwrap_or((&words, "put it right and check again"));
        Problem { severity, file, line, column, what: what.to_owned(), hint: hint.to_owned() }
    }
}
