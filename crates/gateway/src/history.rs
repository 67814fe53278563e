//! The configurations that have run, each with the files it was made of: `data_dir/versions/config`.

use crate::versions::{folder as versions, save};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use tidegate_config::Sources;

/// So many are kept, and no more than so many bytes of their texts; always the one that runs and the one before.
const KEPT_MAX: usize = 50;
const BYTES_MAX: usize = 16 << 20;
const LEAST: usize = 2;

/// A configuration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// They are numbered, from 1.
    pub number: u64,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The main file first, then those that it includes.
    pub files: Vec<AppliedFile>,
    /// What it changed, in words; nothing at a start.
    pub changes: Vec<String>,
}

/// A file of a configuration, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedFile {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

fn folder(data_dir: &Path) -> PathBuf {
    versions(data_dir).join("config")
}

/// In the order of their numbers.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|is| is == "json")) {
            all.push((number, path));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn read(path: &Path) -> io::Result<Applied> {
    let wrong = |words: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {words}", path.display()));
    let applied: Applied = serde_json::from_slice(&std::fs::read(path)?).map_err(|error| wrong(error.to_string()))?;
    if applied.files.is_empty() { Err(wrong("it has no file".to_owned())) } else { Ok(applied) }
}

/// All that are kept, the newest last.
///
/// # Errors
/// They cannot be read.
pub fn history(data_dir: &Path) -> io::Result<Vec<Applied>> {
    numbered(&folder(data_dir))?.into_iter().map(|(_, path)| read(&path)).collect()
}

/// Keeps a configuration that runs from now on, unless it is the one that ran before. Slow: does I/O.
pub(crate) fn keep(data_dir: &Path, sources: &Sources, changes: &[String], at_ms: u64) -> io::Result<()> {
    let folder = folder(data_dir);
    let known = numbered(&folder)?;
    let files: Vec<AppliedFile> =
        sources.texts().map(|(path, text)| AppliedFile { path, text: text.to_owned() }).collect();
    let last = known.last();
    // One that cannot be read is none that this could be.
    if last.is_some_and(|(_, path)| read(path).is_ok_and(|last| last.files == files)) {
        return Ok(());
    }
    let number = last.map_or(1, |(number, _)| number + 1);
    let applied = Applied { number, at_ms, files, changes: changes.to_vec() };
    let text = serde_json::to_vec(&applied)?;
    let mut bytes = text.len();
    save(&folder.join(format!("{number:06}.json")), &text)?;
    for (nth, (_, path)) in known.into_iter().rev().enumerate() {
        bytes += path.metadata().map_or(0, |is| is.len() as usize);
        if nth + 1 >= LEAST && (nth + 1 >= KEPT_MAX || bytes > BYTES_MAX) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configuration_is_kept_once_and_the_last_ones_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        let of = |text: &str| Sources::of(text, &file).unwrap();
        let told = |all: &[Applied]| all.iter().map(|one| (one.number, one.files[0].text.clone())).collect::<Vec<_>>();
        assert_eq!(history(dir.path()).unwrap(), []);
        for text in ["a = 1", "a = 1", "a = 2", "a = 1"] {
            keep(dir.path(), &of(text), &["what".to_owned()], 7).unwrap();
        }
        let all = history(dir.path()).unwrap();
        assert_eq!(told(&all), [(1, "a = 1".to_owned()), (2, "a = 2".to_owned()), (3, "a = 1".to_owned())]);
        assert_eq!((&all[0].files[0].path, all[0].at_ms, &all[0].changes[..]), (&file, 7, &["what".to_owned()][..]));
        for n in 0..100 {
            keep(dir.path(), &of(&format!("a = {n}")), &[], 8).unwrap();
        }
        let all = history(dir.path()).unwrap();
        assert_eq!((all.len(), all[0].number, all[49].number), (KEPT_MAX, 54, 103));
        // Two are kept however large they are.
        for n in 0..3 {
            keep(dir.path(), &of(&format!("a = \"{}\"", n.to_string().repeat(BYTES_MAX))), &[], 9).unwrap();
        }
        assert_eq!(history(dir.path()).unwrap().iter().map(|one| one.number).collect::<Vec<_>>(), [105, 106]);
    }
}
