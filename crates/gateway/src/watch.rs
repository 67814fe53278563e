//! Notices that a configuration or plugin file was saved, however it was saved.
//!
//! Watched are the *directories* of the files and of what their symbolic links lead to: a watch on a file itself goes
//! deaf once the file is replaced by a rename. What an event says is not trusted; it only starts a look at the files.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// After an event this long a silence is waited for: one save is many events.
pub(crate) const DEBOUNCE: Duration = Duration::from_millis(100);

/// A look without any event, for file systems that send none.
pub(crate) const POLL: Duration = Duration::from_secs(30);

/// How long a chain of symbolic links may be.
const LINKS_MAX: usize = 16;

/// Watches the directories of a set of files.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    pub(crate) changed: Arc<Notify>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let changed = Arc::new(Notify::new());
        let notified = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is an event too, and ours.
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                notified.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "saved files are noticed by SIGHUP and a slow poll only"))
            .ok();
        Self { watcher, directories: BTreeSet::new(), changed }
    }

    /// Watches these files from now on, and no others.
    pub(crate) fn set(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let wanted: BTreeSet<PathBuf> = files.into_iter().flat_map(|file| directories_of(&file)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.directories) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %new.display(), %error, "cannot be watched");
            }
        }
        self.directories = wanted;
    }
}

/// The directory of a file and of everything its links lead to, directories on the way included: a ConfigMap swaps a
/// link to a directory.
fn directories_of(file: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut at = file.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(parent) = at.parent().map(Path::to_owned) else { break };
        found.push(parent.clone());
        if let Ok(real) = parent.canonicalize()
            && real != parent
        {
            found.push(real);
            if let Some(above) = parent.parent() {
                found.push(above.to_owned());
            }
        }
        match std::fs::read_link(&at) {
            Ok(target) => {
                let target = parent.join(target);
                if let Some(above) = target.parent().and_then(Path::parent)
                    && target.parent().is_some_and(Path::is_symlink)
                {
                    found.push(above.to_owned());
                }
                at = target;
            }
            Err(_) => break,
        }
    }
    found.retain(|directory| directory.is_dir());
    found
}

/// What a file is now; changes whenever its content may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Option<u64>);

impl Fingerprint {
    pub(crate) fn of(path: &Path) -> Self {
        let hash = |bytes: Vec<u8>| ahash::RandomState::with_seeds(5, 6, 7, 8).hash_one(bytes);
        Self(std::fs::read(path).ok().map(hash))
    }
}
