//! Which versions of each plugin are kept, and which of them was put back: `data_dir/versions/plugins.json`.
//!
//! A version is a component and what it is configured with. Its component lies beside the index, by digest.

use super::states::plugin_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The name of the index in the folder of versions.
const INDEX: &str = "plugins.json";

/// How it has come to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// With a start of the gateway.
    Start,
    /// It was saved, or the configuration that names it.
    Saved,
    /// An operator has put it back, or the one behind it failed.
    Rollback,
    /// It was tried, and has taken the place of the one that ran.
    Promoted,
}

/// What a version did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    /// Messages that it was asked about.
    pub messages: u64,
    /// Of these, those that it did not decide.
    pub failures: u64,
    /// Of those, the ones that it did not refuse: it trapped, took too long, wanted too much, or more than it was granted.
    #[serde(default)]
    pub faults: u64,
    /// Messages that it refused, of which the version before was asked about so many, and would have decided so many.
    #[serde(default)]
    pub rejects: u64,
    /// As above.
    #[serde(default)]
    pub rejects_asked: u64,
    /// As above.
    #[serde(default)]
    pub rejects_decided: u64,
    /// How long it was asked for.
    pub asked_ns: u64,
}

impl Did {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(before.messages),
            failures: self.failures.saturating_sub(before.failures),
            faults: self.faults.saturating_sub(before.faults),
            rejects: self.rejects.saturating_sub(before.rejects),
            rejects_asked: self.rejects_asked.saturating_sub(before.rejects_asked),
            rejects_decided: self.rejects_decided.saturating_sub(before.rejects_decided),
            asked_ns: self.asked_ns.saturating_sub(before.asked_ns),
        }
    }

    pub(super) fn and(self, more: Self) -> Self {
        Self {
            messages: self.messages + more.messages,
            failures: self.failures + more.failures,
            faults: self.faults + more.faults,
            rejects: self.rejects + more.rejects,
            rejects_asked: self.rejects_asked + more.rejects_asked,
            rejects_decided: self.rejects_decided + more.rejects_decided,
            asked_ns: self.asked_ns + more.asked_ns,
        }
    }
}

/// A component and what it is configured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// SHA-256 of the component.
    pub(crate) digest: String,
    pub(crate) config: Value,
}

/// One version that has run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// They are numbered, from 1.
    #[serde(default)]
    pub(crate) number: u64,
    #[serde(flatten)]
    pub(crate) rule: Rule,
    pub(crate) came: Came,
    /// In milliseconds since the epoch.
    pub(crate) since_ms: u64,
    /// Not there while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<u64>,
    #[serde(default)]
    pub(crate) did: Did,
}

/// Another version runs in the place of what the file says, until the file says something else: one that was put back, or one that was
/// tried and promoted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rollback {
    pub(crate) instead_of: Rule,
    pub(crate) rule: Rule,
    #[serde(default)]
    pub(crate) promoted: bool,
}

/// All of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The newest last.
    pub(crate) versions: Vec<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rolled_back: Option<Rollback>,
    /// A candidate that is tried no more, until it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) abandoned: Option<Rule>,
}

impl Kept {
    /// Forgets the oldest, so that of different rules `keep` are left; never the one that runs, nor the one before.
    pub(super) fn forget(&mut self, keep: usize) {
        let mut known: Vec<&Rule> = Vec::new();
        let mut first = 0;
        for (at, version) in self.versions.iter().enumerate().rev() {
            if !known.contains(&&version.rule) {
                if known.len() == keep.max(2) {
                    first = at + 1;
                    break;
                }
                known.push(&version.rule);
            }
        }
        self.versions.drain(..first);
    }

    /// Components that may be asked for again.
    fn digests(&self) -> impl Iterator<Item = &str> {
        let rules = self.versions.iter().map(|version| &version.rule);
        rules.chain(self.rolled_back.iter().map(|back| &back.rule)).map(|rule| &*rule.digest)
    }
}

/// The component of a digest in the folder of versions.
pub(crate) fn component(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{digest}.wasm"))
}

/// Reads the index; what is no index is none, and says so.
pub(super) fn read(folder: &Path) -> BTreeMap<String, Kept> {
    let file = folder.join(INDEX);
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "versions of plugins are not known");
            return BTreeMap::new();
        }
    };
    let mut all: BTreeMap<String, Kept> = serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "versions of plugins are not known: begun anew");
        BTreeMap::new()
    });
    // An earlier release wrote no numbers.
    for kept in all.values_mut().filter(|kept| kept.versions.iter().any(|version| version.number == 0)) {
        (1..).zip(&mut kept.versions).for_each(|(number, version)| version.number = number);
    }
    all
}

/// Writes the index whole, and removes components and states that nobody may ask for again.
pub(super) fn write(folder: &Path, all: &BTreeMap<String, Kept>) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(all)?;
    save(&folder.join(INDEX), &text)?;
    let wanted: BTreeSet<PathBuf> =
        all.values().flat_map(Kept::digests).map(|digest| component(folder, digest)).collect();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let is_nobodys = match plugin_of(&path) {
            Some(plugin) => !all.contains_key(plugin),
            None => path.extension().is_some_and(|is| is == "wasm") && !wanted.contains(&path),
        };
        if is_nobodys {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Writes a file whole: after a crash it is the one before, or this.
pub(crate) fn save(file: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = file.with_extension("new");
    let mut open = std::fs::File::options();
    let mut writing = open.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writing.write_all(bytes)?;
    writing.sync_all()?;
    std::fs::rename(&beside, file)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(digest: &str) -> Rule {
        Rule { digest: digest.to_owned(), config: Value::Null }
    }

    fn version(digest: &str) -> Version {
        Version { number: 1, rule: rule(digest), came: Came::Saved, since_ms: 1, until_ms: None, did: Did::default() }
    }

    #[test]
    fn of_different_rules_so_many_are_kept_and_never_less_than_two() {
        let left = |digests: &[&str], keep: usize| {
            let versions = digests.iter().map(|digest| version(digest)).collect();
            let mut kept = Kept { versions, ..Kept::default() };
            kept.forget(keep);
            kept.versions.into_iter().map(|version| version.rule.digest).collect::<Vec<_>>().join("")
        };
        assert_eq!(left(&["a", "b", "c"], 5), "abc");
        assert_eq!(left(&["a", "b", "c"], 2), "bc");
        assert_eq!(left(&["a", "b", "c"], 0), "bc");
        assert_eq!(left(&["a", "b", "a", "b"], 2), "abab", "each is wanted");
        assert_eq!(left(&["x", "a", "b", "a", "b"], 2), "abab");
    }

    #[test]
    fn the_index_is_read_as_it_was_written_and_components_of_nobody_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("versions");
        assert_eq!(read(&folder), BTreeMap::new());
        let rolled_back = Some(Rollback { instead_of: rule("b"), rule: rule("p"), promoted: false });
        let all =
            BTreeMap::from([("rule".to_owned(), Kept { versions: vec![version("a")], rolled_back, abandoned: None })]);
        for digest in ["a", "p", "z"] {
            save(&component(&folder, digest), b"wasm").unwrap();
        }
        write(&folder, &all).unwrap();
        assert_eq!(read(&folder), all);
        let there = |digest: &str| component(&folder, digest).exists();
        assert!(there("a") && there("p") && !there("z"));
        std::fs::write(folder.join(INDEX), "{").unwrap();
        assert_eq!(read(&folder), BTreeMap::new());
    }
}
