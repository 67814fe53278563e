//! Changes the spool of a stopped gateway: what a person may take out of it.

use crate::api::Settings;
use crate::disk_work::DiskStatus;
use crate::record::{NameKind, Parked, StateWrite, Transaction};
use crate::recover::OpenError;
use crate::spool::Spool;
use crate::storage::Storage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The spool cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no room for it.
    #[error("the disk is full: make room, then do it again")]
    Full,
    /// The disk failed; whether the change was made shows when it is looked at again.
    #[error("the disk failed: {0}")]
    Failed(String),
}

/// The spool of a stopped gateway, open for changes. Nothing is changed before [`save`](Self::save).
pub struct Editor {
    spool: Spool,
    change: Transaction,
}

impl Editor {
    /// Opens it. Whoever calls this holds the lock of the folder: see [`Disk`](crate::Disk).
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        Ok(Self { spool: Spool::open_stepwise(storage, Settings::default())?, change: Transaction::default() })
    }

    /// Parked messages by number.
    pub fn parked(&self) -> &BTreeMap<u64, Parked> {
        self.spool.parked()
    }

    /// Takes away a parked message; false if there is none of this number.
    pub fn unpark(&mut self, number: u64) -> bool {
        let is_there = self.spool.parked().contains_key(&number) && !self.change.unparked.contains(&number);
        if is_there {
            self.change.unparked.push(number);
        }
        is_there
    }

    /// The names of all plugins that have state.
    pub fn plugins(&self) -> Vec<String> {
        self.spool.plugins_with_state()
    }

    /// The state of a plugin.
    pub fn state(&self, plugin: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.spool.plugin_state(plugin)
    }

    /// Takes away a key of a plugin's state; false if it is not there.
    pub fn delete_state(&mut self, plugin: &str, key: &str) -> bool {
        let is_there = self.state(plugin).is_some_and(|keys| keys.contains_key(key));
        if is_there {
            let plugin = self.spool.name(NameKind::Plugin, plugin);
            self.change.state.push(StateWrite { plugin, key: key.to_owned(), value: None });
        }
        is_there
    }

    /// Makes all changes durable, together.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn save(mut self) -> Result<(), EditError> {
        if self.change != Transaction::default() {
            self.spool.append(self.change);
        }
        self.spool.step();
        match self.spool.status() {
            DiskStatus::Good => {}
            DiskStatus::Full => return Err(EditError::Full),
            DiskStatus::Failed(error) => return Err(EditError::Failed(error)),
        }
        if self.spool.close(Duration::ZERO) { Ok(()) } else { Err(EditError::Failed("the cursors".to_owned())) }
    }
}
