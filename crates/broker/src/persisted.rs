//! A store that was opened, for a broker that begins.

use crate::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate_persistence::{Disk, Saved, Settings, Storage, Store};
use tokio::sync::Notify;

/// With many clients an fsync would follow the other, each for a few of them, and cost more than everything else. Who publishes now and then does not
/// wait.
const COMMIT_INTERVAL: Duration = Duration::from_millis(2);

/// What a broker keeps over a restart, opened.
#[derive(Debug)]
pub struct Persisted {
    pub(crate) store: Store,
    pub(crate) saved: Saved,
    /// There is something to ask the store.
    pub(crate) news: Arc<Notify>,
}

impl Persisted {
    /// Opens what is kept in a folder, or begins to keep something there. Reads all of it: not for a thread that others wait for.
    ///
    /// # Errors
    /// [`Error::Folder`] when another process has it, it cannot be made, or the disk fails; [`Error::Store`] when a later version wrote it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::on(Arc::new(Disk::open(folder).map_err(Error::Folder)?))
    }

    /// The same on any storage.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn on(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        let news = Arc::new(Notify::new());
        let wakes = news.clone();
        let wake = Arc::new(move || wakes.notify_one());
        let settings = Settings { commit_interval: COMMIT_INTERVAL, ..Settings::default() };
        let (store, saved) = Store::open(storage, settings, wake).map_err(Error::Store)?;
        Ok(Self { store, saved, news })
    }

    /// How many sessions and retained messages there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.saved.sessions.len(), self.saved.retained.len())
    }

    /// Records and pieces of files that are damaged.
    pub const fn damaged(&self) -> u64 {
        self.store.found().damaged
    }
}
