//! Why a configuration cannot be read.

use std::fmt;
use std::sync::Arc;

/// A line of a file, as `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As it was named on the command line or by `include_dir`.
    pub file: Arc<str>,
    /// From 1; 0 stands for the file as a whole.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// What is wrong with a line, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong. Never repeats what may be a secret.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.what, self.hint)
    }
}

/// Everything that mosquitto refuses in a configuration, or that cannot be read, in the order in which it was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// A text of the user's for a message: in backquotes, on one line, not endless.
pub(crate) fn shown(text: &str) -> String {
    /// In characters.
    const MAX: usize = 60;
    let clean: String = text.chars().take(MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("`{clean}{}`", if text.chars().nth(MAX).is_some() { "..." } else { "" })
}
