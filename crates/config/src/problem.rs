//! What is wrong with a configuration, and where.

use crate::sources::{Source, Sources};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong, printed as `file:line:column: what is wrong; what to do`, and a warning with that word in front
/// of what is wrong, or without it as `{:#}`, for a log that has levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// The file as it was named.
    pub file: PathBuf,
    /// From 1; 0 when the problem is with the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 when the problem is with the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Worth a look.
    Warning,
}

impl Problem {
    /// Whether the configuration is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// A file cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "name the configuration with `--config FILE`",
            std::io::ErrorKind::PermissionDenied => "let the gateway's user read it",
            _ => "name a file that can be read",
        };
        Self::with_file(file, format!("cannot read this file: {error}"), hint)
    }

    /// A problem with the file as a whole.
    pub(crate) fn with_file(file: &Path, what: String, hint: &str) -> Self {
        let (severity, hint) = (Severity::Error, hint.to_owned());
        Self { severity, file: file.to_owned(), line: 0, column: 0, what, hint }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        let warning = if self.is_error() || f.alternate() { "" } else { "warning: " };
        write!(f, " {warning}{}; {}", self.what, self.hint)
    }
}

/// Everything that is wrong, one a line, in the order of the file. At least one is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// How many of them refuse the configuration.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|problem| problem.is_error()).count()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Problems {
    /// In the order of the file, and of several in the order in which they come up.
    pub fn sorted(mut self) -> Self {
        let mut files: Vec<PathBuf> = Vec::new();
        for problem in &self.0 {
            if files.last() != Some(&problem.file) && !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        let of = |file: &Path| files.iter().position(|known| known == file);
        self.0.sort_by_cached_key(|problem| (of(&problem.file), problem.line, problem.column, problem.severity));
        self
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// A part of the texts, in bytes; see [`Sources`] for how several share one count.
pub(crate) type Span = Range<usize>;

/// Gathers problems while texts are read, and knows where in them their bytes are.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    sources: &'a Sources,
    /// With where they are.
    found: RefCell<Vec<(usize, Problem)>>,
    /// By where they begin, values that variables were put into: as they are now, and as they are written.
    expanded: RefCell<BTreeMap<usize, (String, String)>>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self { sources, found: RefCell::default(), expanded: RefCell::default() }
    }

    pub(crate) fn error(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, at, what.into(), hint.into());
    }

    pub(crate) fn warning(&self, at: &Span, what: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, at, what.into(), hint.into());
    }

    /// A value is not what is written, which is what problems show.
    pub(crate) fn expanded(&self, at: &Span, value: &str, written: &str) {
        self.expanded.borrow_mut().insert(at.start, (value.to_owned(), written.to_owned()));
    }

    pub(crate) fn errors(&self) -> usize {
        self.found.borrow().iter().filter(|(_, problem)| problem.is_error()).count()
    }

    fn push(&self, severity: Severity, at: &Span, what: String, hint: String) {
        let (file, line, column) = self.position(at.start);
        let (mut what, mut hint) = (what, hint);
        if let Some((value, written)) = self.expanded.borrow().get(&at.start).filter(|(value, _)| !value.is_empty()) {
            what = what.replace(value, written);
            hint = hint.replace(value, written);
        }
        // A name may hold any character; a message stays on its line.
        let one_line = |text: String| text.replace(char::is_control, "\u{fffd}");
        let (what, hint) = (one_line(what), one_line(hint));
        self.found.borrow_mut().push((at.start, Problem { severity, file, line, column, what, hint }));
    }

    /// The file that a byte is in.
    pub(crate) fn source(&self, at: usize) -> &'a Source {
        self.sources.at(at)
    }

    /// File, line and column of a byte, the last two from 1.
    pub(crate) fn position(&self, at: usize) -> (PathBuf, usize, usize) {
        let source = self.source(at);
        let (line, column) = source.position(at);
        (source.file.clone(), line, column)
    }

    /// A byte's line in words, for a problem at another place.
    pub(crate) fn line_of(&self, at: usize, seen_from: usize) -> String {
        let (file, line, _) = self.position(at);
        match self.source(seen_from).file == file {
            true => format!("line {line}"),
            false => format!("{}:{line}", file.display()),
        }
    }

    /// All problems in the order of the files, each once.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(at, problem)| (*at, problem.severity));
        let mut problems: Vec<Problem> = found.into_iter().map(|(_, problem)| problem).collect();
        problems.dedup();
        problems
    }
}

/// The one of `known` that `name` was probably meant to be, as a hint; `None` when nothing is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, two words have nothing to do with each other.
    const NEAR: f64 = 0.75;
    // `-` for `_` is the most frequent slip and counts as none.
    let same = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = same(name);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &same(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let of = |text: &str| Sources::alone(text, Path::new("f"), Path::new("/"));
        let sources = of("ä = 1\nb\r\n\nlast");
        let at = |byte| sources.at(byte).position(byte);
        assert_eq!([at(0), at(2), at(3), at(7)], [(1, 1), (1, 2), (1, 3), (2, 1)]);
        assert_eq!([at(10), at(11), at(15), at(99)], [(3, 1), (4, 1), (4, 5), (4, 5)]);
        assert_eq!(of("").at(0).position(0), (1, 1));
        assert_eq!(of("a\n").at(2).position(2), (2, 1));
    }

    #[test]
    fn a_slip_is_recognized_and_nonsense_is_not() {
        let known = ["keep_alive", "client_id", "url", "username"];
        assert_eq!(did_you_mean("keepalive", known), Some("keep_alive"));
        assert_eq!(did_you_mean("client-id", known), Some("client_id"));
        assert_eq!(did_you_mean("user_name", known), Some("username"));
        assert_eq!(did_you_mean("zzz", known), None);
        assert_eq!(did_you_mean("", known), None);
    }
}
