//! The texts that make a configuration: the file's own, and those of the files that it includes.
//!
//! All of them share one count of bytes, so that a span says which file it is in: each text begins behind the end of the one before.

use crate::Unread;
use crate::bounds::{MAX_CONFIG_BYTES, MAX_INCLUDED_FILES};
use crate::problem::{Problem, Span};
use crate::values::shown;
use crate::variables::{self, Surroundings};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// One file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// As messages call it.
    pub(crate) file: PathBuf,
    /// What its relative paths are relative to.
    pub(crate) base: PathBuf,
    pub(crate) text: String,
    /// Where its bytes begin in the count of all.
    pub(crate) start: usize,
    /// Where each of its lines begins, in its own bytes.
    lines: Vec<usize>,
}

impl Source {
    fn new(file: PathBuf, base: PathBuf, text: String, start: usize) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, base, text, start, lines }
    }

    /// Line and column of a byte of all, both from 1.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let at = at.saturating_sub(self.start).min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line - 1]; // the first line starts at 0, so at least one does not start behind `at`
        // Counts the characters that begin in front of `at`, which may be inside one.
        let column = self.text[start..].char_indices().take_while(|(offset, _)| start + offset < at).count() + 1;
        (line, column)
    }
}

/// Files that belong to a configuration by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// Where they are.
    pub folder: PathBuf,
    /// What their names look like: `*` stands for any characters, `?` for one.
    pub name: String,
}

impl Included {
    /// Whether a file in the folder is one of them. As in a shell, a name that begins with a dot has to be written out.
    pub fn takes(&self, name: &str) -> bool {
        let hidden = name.starts_with('.') && !self.name.starts_with('.');
        !hidden && fits(&self.name, name)
    }

    fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?'])
    }
}

/// Matches with `*` and `?`, in time proportional to the product of both lengths at most.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // Where the last `*` was, and up to where it reaches so far.
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match &mut star {
                Some((before, reaches)) => {
                    *reaches += 1;
                    (at, in_name) = (*before + 1, *reaches);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// The texts that make a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    texts: Vec<Source>,
    included: Vec<Included>,
    /// What kept files from being included: where they are named, what and what to do.
    pub(crate) refused: Vec<(Span, String, String)>,
}

impl Sources {
    /// A text alone, as that of a file; what it would include is left out.
    pub(crate) fn alone(text: &str, file: &Path, base: &Path) -> Self {
        let main = Source::new(file.to_owned(), base.to_owned(), text.to_owned(), 0);
        Self { texts: vec![main], included: Vec::new(), refused: Vec::new() }
    }

    /// A text as that of a file, and the files that it includes. What keeps one of those from being read is said when the
    /// sources are loaded.
    ///
    /// # Errors
    /// The current directory is not known.
    pub fn of(text: &str, file: &Path) -> Result<Self, Problem> {
        let absolute = std::path::absolute(file).map_err(|error| Problem::unreadable(file, &error))?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        Ok(Self::with_included(text, file, base, &variables::Process))
    }

    pub(crate) fn with_included(text: &str, file: &Path, base: &Path, around: &dyn Surroundings) -> Self {
        let mut sources = Self::alone(text, file, base);
        // A key of the file as a whole stands in front of its sections; most files have none, and are read once.
        if !text.contains("include") {
            return sources;
        }
        let (root, _) = DeTable::parse_recoverable(text);
        let Some(DeValue::Array(patterns)) = root.get_ref().get("include").map(|value| value.get_ref()) else {
            return sources;
        };
        let mut seen = BTreeSet::new();
        for pattern in patterns.iter() {
            // What is no string, and a variable that is not there, is reported by who reads the key.
            let DeValue::String(written) = pattern.get_ref() else { continue };
            let Ok(words) = variables::expanded(written, around) else { continue };
            sources.include(&words, &pattern.span(), &mut seen);
        }
        sources
    }

    fn include(&mut self, pattern: &str, at: &Span, seen: &mut BTreeSet<PathBuf>) {
        let mut refuse = |what: String, hint: &str| self.refused.push((at.clone(), what, hint.to_owned()));
        let (folder, name) = match pattern.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (String::new(), pattern),
        };
        if name.is_empty() || folder.contains(['*', '?']) || pattern.contains('\0') {
            let hint =
                "write the names of files, such as \"routes.d/*.toml\": `*` and `?` stand behind the last `/` only";
            return refuse(format!("{} names no files", shown(pattern)), hint);
        }
        // The main file is always there.
        let base = self.texts[0].base.clone();
        let wanted = Included { folder: base.join(&folder), name: name.to_owned() };
        let names = match wanted.is_pattern() {
            true => list(&wanted),
            false => Ok(vec![name.to_owned()]),
        };
        let names = match names {
            Ok(names) => names,
            Err(error) => {
                refuse(
                    format!("cannot look into `{}`: {error}", wanted.folder.display()),
                    "let the gateway's user read it",
                );
                Vec::new()
            }
        };
        for name in names {
            let path = wanted.folder.join(&name);
            if !seen.insert(path.clone()) {
                continue; // by a pattern before
            }
            let shown_as = self.texts[0].file.parent().unwrap_or(Path::new("")).join(format!("{folder}{name}"));
            if let Err((what, hint)) = self.add(&path, shown_as) {
                self.refused.push((at.clone(), what, hint.to_owned()));
            }
        }
        self.included.push(wanted);
    }

    fn add(&mut self, path: &Path, shown_as: PathBuf) -> Result<(), (String, &'static str)> {
        if self.texts.len() > MAX_INCLUDED_FILES {
            return Err((format!("more than {MAX_INCLUDED_FILES} files are included"), "put several into one"));
        }
        let text = match crate::read_text(path) {
            Ok(text) => text,
            Err(Unread::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err((format!("there is no file `{}`", path.display()), "create it, or leave it out here"));
            }
            Err(unread) => {
                let (what, hint) = unread.words();
                return Err((format!("`{}`: {what}", path.display()), hint));
            }
        };
        let used: usize = self.texts.iter().map(|source| source.text.len()).sum();
        if (used + text.len()) as u64 > MAX_CONFIG_BYTES {
            let words =
                format!("the files are longer than {MAX_CONFIG_BYTES} bytes together, with `{}`", path.display());
            return Err((words, "are they the right files?"));
        }
        let start = self.next_start();
        let base = path.parent().unwrap_or(Path::new("/")).to_owned();
        self.texts.push(Source::new(shown_as, base, text, start));
        Ok(())
    }

    /// The main file, absolute if its folder is.
    pub(crate) fn path(&self) -> PathBuf {
        let main = &self.texts[0];
        main.base.join(main.file.file_name().unwrap_or_default())
    }

    /// Texts as those of these files, the main one first: what that includes is among them.
    pub fn of_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut sources = Self { texts: Vec::new(), included: Vec::new(), refused: Vec::new() };
        for (path, text) in texts {
            let start = sources.next_start();
            let base = path.parent().unwrap_or(Path::new("/")).to_owned();
            sources.texts.push(Source::new(path, base, text, start));
        }
        sources
    }

    /// Each file, absolute if the folder of the main one is, with its text; the main one first.
    pub fn texts(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        let main = std::iter::once((self.path(), self.texts[0].text.as_str()));
        main.chain(self.files().zip(self.texts[1..].iter().map(|source| source.text.as_str())))
    }

    /// Where the gateway of these texts keeps things, whatever else is wrong with them.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.texts.iter().find_map(|source| {
            let (root, _) = DeTable::parse_recoverable(&source.text);
            let DeValue::Table(gateway) = root.get_ref().get("gateway")?.get_ref() else { return None };
            let DeValue::String(written) = gateway.get("data_dir")?.get_ref() else { return None };
            Some(source.base.join(variables::expanded(written, &variables::Process).ok()?))
        })
    }

    /// Where the bytes of one more text begin.
    fn next_start(&self) -> usize {
        self.texts.last().map_or(0, |last| last.start + last.text.len() + 1)
    }

    /// The main file first, the others as they are named, those of one pattern by name.
    pub(crate) fn all(&self) -> &[Source] {
        &self.texts
    }

    /// The included files that are there.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.texts[1..].iter().map(|source| source.base.join(source.file.file_name().unwrap_or_default()))
    }

    /// Which files are included if they are there.
    pub fn included(&self) -> &[Included] {
        &self.included
    }

    /// The one in which a byte is.
    pub(crate) fn at(&self, at: usize) -> &Source {
        let behind = self.texts.partition_point(|source| source.start <= at);
        &self.texts[behind.saturating_sub(1)]
    }
}

/// The files of a folder that fit, by name. A folder that is not there has none.
fn list(wanted: &Included) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(&wanted.folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && wanted.takes(&name)
            && !entry.path().is_dir()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_a_shell_does() {
        let takes =
            |pattern: &str, name: &str| Included { folder: PathBuf::new(), name: pattern.to_owned() }.takes(name);
        assert!(takes("*.toml", "a.toml") && takes("*.toml", "é.b.toml") && takes("?-*.toml", "1-x.toml"));
        assert!(!takes("*.toml", "a.toml~") && !takes("*.toml", ".a.toml") && !takes("?.toml", "ab.toml"));
        assert!(takes(".*.toml", ".a.toml") && takes("a*b*c", "a-b-b-c") && !takes("a*b*c", "a-b-b"));
        assert!(takes("a", "a") && !takes("a", "A") && takes("**", "x"));
    }
}
