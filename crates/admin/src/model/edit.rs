//! A configuration that is looked at, changed and saved.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The configuration as it is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// Where it is.
    pub file: String,
    /// What it says, comments included.
    pub text: String,
    /// By what it is known again: for `If-Match`.
    pub digest: String,
    /// It is what runs.
    pub runs: bool,
    /// The gateway may save another in its place.
    pub may_save: bool,
    /// What it said before it was saved here last is kept.
    pub may_undo: bool,
}

/// What is wrong with a configuration, and what saving it would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// It would be refused.
    pub is_refused: bool,
    /// In the order of the file.
    pub problems: Vec<Problem>,
    /// What would change at once.
    pub changes: Vec<String>,
    /// What would wait for the next start.
    pub next_start: Vec<String>,
    /// What that means to messages that wait.
    pub waiting: Vec<Touched>,
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// It is refused for this.
    pub is_error: bool,
    /// From 1; 0 when it is with the file as a whole.
    pub line: u64,
    /// In characters, from 1; 0 when it is with the file as a whole.
    pub column: u64,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Messages that wait, and that an edit means something to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Touched {
    /// For this target.
    pub target: String,
    /// So many.
    pub messages: u64,
    /// What becomes of them, in words.
    pub fate: String,
    /// Nobody takes them any more.
    pub is_bad: bool,
}

/// What became of a configuration that was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// It runs.
    pub applied: bool,
    /// Why not, a line each.
    pub reasons: Vec<String>,
    /// What was foretold.
    pub checked: Checked,
}
