//! Notices that a file was saved, however it was saved.
//!
//! Watched are *directories*: a watch on a file itself goes deaf once the file is replaced by a rename. Of what happens in
//! them only the names that lead to the files count, so that a busy neighbour wakes nobody. What an event says is not
//! trusted; it only starts a look at the files.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_config::Included;
use tokio::sync::Notify;

/// After an event this long a silence is waited for: one save is many events.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// And no longer than this: a file that is written without a pause is looked at all the same.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);

/// A look without any event, for file systems that send none.
const POLL: Duration = Duration::from_secs(30);

/// How many symbolic links may be on the way to a file.
const LINKS_MAX: usize = 16;

/// Which paths an event must name to count.
#[derive(Debug, Default)]
struct Names {
    paths: BTreeSet<PathBuf>,
    /// In folders without links on the way.
    included: Vec<Included>,
}

impl Names {
    fn count(&self, path: &Path) -> bool {
        let name = || path.file_name().and_then(|name| name.to_str());
        let is_of = |included: &Included| {
            path.parent() == Some(&*included.folder) && name().is_some_and(|name| included.takes(name))
        };
        self.paths.contains(path) || self.included.iter().any(is_of)
    }
}

/// Watches the directories of a set of files.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Each with its device and inode: by the next look another directory may be in its place.
    directories: BTreeMap<PathBuf, Option<(u64, u64)>>,
    names: Arc<Mutex<Names>>,
    /// Something that counts has happened.
    pub(crate) changed: Arc<Notify>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let (changed, names) = (Arc::new(Notify::new()), Arc::<Mutex<Names>>::default());
        let (notified, counted) = (changed.clone(), names.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if counts(&event, &locked(&counted)) {
                notified.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "saved files are noticed by SIGHUP and a slow poll only"))
            .ok();
        Self { watcher, directories: BTreeMap::new(), names, changed }
    }

    /// Watches these files from now on, and those that may come into folders, and no others. True when there is one that was
    /// not watched until now: what was done to it before has woken nobody.
    pub(crate) fn set<'a>(&mut self, files: impl IntoIterator<Item = &'a PathBuf>, included: &[Included]) -> bool {
        let folders = included.iter().flat_map(|included| places_of(&included.folder));
        let places = files.into_iter().flat_map(|file| places_of(file)).chain(folders);
        let places: Vec<(PathBuf, OsString)> = places.collect();
        let there =
            |included: &Included| Some(Included { folder: included.folder.canonicalize().ok()?, ..included.clone() });
        let included: Vec<Included> = included.iter().filter_map(there).collect();
        let folders = included.iter().map(|included| included.folder.clone());
        let wanted: BTreeSet<PathBuf> = places.iter().map(|(directory, _)| directory.clone()).chain(folders).collect();
        let paths = places.iter().map(|(directory, name)| directory.join(name));
        // A directory itself counts too: it may be moved away or removed.
        let paths: BTreeSet<PathBuf> = paths.chain(wanted.iter().cloned()).collect();
        let mut is_new = {
            let mut names = locked(&self.names);
            let is_new = !paths.is_subset(&names.paths) || names.included != included;
            *names = Names { paths, included };
            is_new
        };
        let Some(watcher) = &mut self.watcher else { return is_new };
        let mut watched = BTreeMap::new();
        for (directory, before) in std::mem::take(&mut self.directories) {
            if wanted.contains(&directory) && identity(&directory) == before {
                watched.insert(directory, before);
            } else {
                let _ = watcher.unwatch(&directory);
            }
        }
        for directory in wanted {
            // Also those that are watched: it does nothing then, unless the system has ended the watch.
            let identity = identity(&directory);
            if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %directory.display(), %error, "cannot be watched");
            }
            is_new |= watched.insert(directory, identity).is_none();
        }
        self.directories = watched;
        is_new
    }

    /// Waits until something that counts has happened and it is quiet again, or has not been for [`DEBOUNCE_MAX`]; or
    /// until someone asks, which is at once. True when someone has asked.
    pub(crate) async fn wait(&self, asked: &Notify) -> bool {
        tokio::select! {
            () = asked.notified() => return true,
            () = tokio::time::sleep(POLL) => return false,
            () = self.changed.notified() => {}
        }
        let mut latest = pin!(tokio::time::sleep(DEBOUNCE_MAX));
        loop {
            tokio::select! {
                () = asked.notified() => return true,
                () = &mut latest => return false,
                () = tokio::time::sleep(DEBOUNCE) => return false,
                () = self.changed.notified() => {}
            }
        }
    }
}

fn locked(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    // They are whole at any time.
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an event may be about one of these paths.
fn counts(event: &notify::Result<Event>, names: &Names) -> bool {
    match event {
        // Reading a file is an event too, and ours.
        Ok(Event { kind: EventKind::Access(_), .. }) => false,
        // Events were lost: it may have been any.
        Ok(event) if event.need_rescan() => true,
        Ok(event) => event.paths.iter().any(|path| names.count(path)),
        Err(_) => true,
    }
}

/// Which directory is there.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What decides which file is at a path: every symbolic link on the way, wherever it is (a ConfigMap swaps a link to a
/// directory), and the file itself. Each as a directory, free of links, and the name in it. Where something is missing, it
/// ends with the name that is.
fn places_of(file: &Path) -> Vec<(PathBuf, OsString)> {
    let Ok(file) = std::path::absolute(file) else { return Vec::new() };
    let (mut places, mut links) = (Vec::new(), 0);
    let mut here = PathBuf::from("/");
    // The last comes first.
    let mut rest: Vec<OsString> = reversed(&file);
    while let Some(step) = rest.pop() {
        match Path::new(&step).components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                here.pop();
            }
            Some(Component::Normal(name)) => {
                let at = here.join(name);
                let is = std::fs::symlink_metadata(&at);
                if is.as_ref().is_ok_and(|is| is.is_dir()) && !rest.is_empty() {
                    here = at;
                    continue;
                }
                places.push((here.clone(), name.to_owned()));
                links += 1;
                match std::fs::read_link(&at) {
                    Ok(target) if links <= LINKS_MAX => rest.extend(reversed(&target)),
                    _ => break,
                }
            }
            _ => {}
        }
    }
    places
}

fn reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|component| component.as_os_str().to_owned()).collect()
}

/// What a file is now; changes whenever its content may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Option<u64>);

impl Fingerprint {
    /// Does I/O. A pipe or a device is never read: it may wait for ever, or give to us what was meant for another reader.
    pub(crate) fn of(path: &Path) -> Self {
        let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let bytes = is_file.then(|| std::fs::read(path).ok()).flatten();
        Self(bytes.map(|bytes| ahash::RandomState::with_seeds(5, 6, 7, 8).hash_one(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The places of a file below a directory, written relative to it.
    fn places(root: &Path, file: &str) -> Vec<String> {
        let root = root.canonicalize().unwrap();
        let found = places_of(&root.join(file));
        found.iter().map(|(at, name)| at.join(name).strip_prefix(&root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn every_link_on_the_way_to_a_file_counts_and_the_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("mount/..first")).unwrap();
        std::fs::write(at("mount/..first/gw.toml"), "").unwrap();
        symlink("..first", at("mount/..data")).unwrap();
        symlink("..data/gw.toml", at("mount/gw.toml")).unwrap();
        symlink("mount", at("etc")).unwrap();
        let expected = ["etc", "mount/gw.toml", "mount/..data", "mount/..first/gw.toml"];
        assert_eq!(places(dir.path(), "etc/gw.toml"), expected);
        assert_eq!(places(dir.path(), "mount/../etc/gw.toml"), expected);
        assert_eq!(places(dir.path(), "mount/..first/gw.toml"), ["mount/..first/gw.toml"]);
        assert_eq!(places(dir.path(), "mount/none/gw.toml"), ["mount/none"], "the first that is missing");
        symlink("ring", at("ring")).unwrap();
        assert_eq!(places(dir.path(), "ring").len(), LINKS_MAX + 1, "a ring of links ends");
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(places_of(Path::new("Cargo.toml")), [(here, OsString::from("Cargo.toml"))]);
    }

    #[test]
    fn only_names_that_lead_to_a_file_count() {
        let paths: BTreeSet<PathBuf> = ["/etc/gw/gw.toml", "/etc/gw"].map(PathBuf::from).into();
        let included = vec![Included { folder: PathBuf::from("/etc/gw/routes.d"), name: "*.toml".to_owned() }];
        let names = Names { paths, included };
        let event = |kind, path: &str| Ok(Event::new(kind).add_path(PathBuf::from(path)));
        let modify = EventKind::Modify(notify::event::ModifyKind::Any);
        assert!(counts(&event(modify, "/etc/gw/gw.toml"), &names));
        assert!(!counts(&event(modify, "/etc/gw/noise.log"), &names));
        assert!(counts(&event(modify, "/etc/gw/routes.d/new.toml"), &names), "it may come");
        assert!(!counts(&event(modify, "/etc/gw/routes.d/.new.toml.swp"), &names));
        assert!(!counts(&event(modify, "/etc/gw/other.d/new.toml"), &names));
        assert!(counts(&event(EventKind::Remove(notify::event::RemoveKind::Folder), "/etc/gw"), &names));
        assert!(!counts(&event(EventKind::Access(notify::event::AccessKind::Any), "/etc/gw/gw.toml"), &names));
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(counts(&Ok(lost), &names), "events were lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_never_quiet_is_waited_for_no_longer_than_the_ceiling() {
        let (watch, asked) = (Watch::new(), Notify::new());
        let busy = async {
            loop {
                watch.changed.notify_one();
                tokio::time::sleep(DEBOUNCE / 2).await;
            }
        };
        let start = tokio::time::Instant::now();
        tokio::select! {
            by_hand = watch.wait(&asked) => assert!(!by_hand),
            () = busy => {}
        }
        assert_eq!(start.elapsed(), DEBOUNCE_MAX);
        watch.changed.notify_one();
        asked.notify_one();
        let start = tokio::time::Instant::now();
        assert!(watch.wait(&asked).await);
        assert!(start.elapsed() < DEBOUNCE, "whoever asks is answered at once");
    }
}
