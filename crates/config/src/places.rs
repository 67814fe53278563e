//! Where a file says what only a second look can check: what is in the files that it names.

use crate::problem::{Problem, Severity};
use crate::reader::Reader;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Of each broker's keys that name files and secrets, the place.
///
/// What these hold is for those to judge who use them: this crate only looks whether they are there. With this, what they
/// find is said as all other problems are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    file: PathBuf,
    /// By broker and key: line and column.
    at: BTreeMap<(String, &'static str), (usize, usize)>,
}

impl Places {
    pub(crate) fn of(reader: &Reader<'_>) -> Self {
        let places = reader.places.borrow();
        let at = places.iter().map(|(place, span)| (place.clone(), reader.findings.position(span.start))).collect();
        Self { file: reader.findings.file().to_owned(), at }
    }

    /// A problem at a broker's key: `password`, `headers`, `users`, `tls.ca`, `tls.cert`, `tls.key` or `tls.key_password`.
    /// `words` say what to do behind a semicolon.
    pub fn problem(&self, severity: Severity, broker: &str, key: &str, words: &str) -> Problem {
        let place = self.at.iter().find(|((name, known), _)| name == broker && *known == key);
        let (line, column) = place.map_or((0, 0), |(_, place)| *place);
        let words = words.replace(char::is_control, "\u{fffd}");
        let (what, hint) = words.split_once("; ").unwrap_or((&words, "put it right and check again"));
        let what = format!("broker `{broker}`: {what}");
        Problem { severity, file: self.file.clone(), line, column, what, hint: hint.to_owned() }
    }
}
