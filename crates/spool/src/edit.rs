//! Changes the spool of a stopped gateway: what a person may take out of it.

use crate::api::{Key, Settings};
use crate::disk_work::DiskStatus;
use crate::record::{Delivery, NameKind, Parked, StateWrite, Transaction};
use crate::recover::OpenError;
use crate::spool::Spool;
use crate::storage::Storage;
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::Message;

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

/// So many messages that are added are written together.
const TOGETHER: usize = 1_000;

/// The spool of a stopped gateway, open for changes. But for messages that are added, nothing is changed before [`save`](Self::save).
pub struct Editor {
    spool: Spool,
    change: Transaction,
    added: usize,
}

impl Editor {
    /// Opens it. Whoever calls this holds the lock of the folder: see [`Disk`](crate::Disk).
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, OpenError> {
        Ok(Self {
            spool: Spool::open_stepwise(storage, Settings::default())?,
            change: Transaction::default(),
            added: 0,
        })
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

    /// A message waits, behind what waits there already; it is counted as one of this route. They are written as they come.
    ///
    /// # Errors
    /// The disk is full or fails: what was added before waits.
    pub fn add(&mut self, key: &Key, route: &str, received_ms: u64, message: Message) -> Result<(), EditError> {
        let queue = self.spool.queue(key);
        let queues = smallvec![self.spool.queue_name(queue)];
        let route = self.spool.name(NameKind::Route, route);
        let deliveries = smallvec![Delivery { route, queues, message }];
        self.spool.append(Transaction { received_ms, deliveries, ..Transaction::default() });
        self.added += 1;
        if self.added.is_multiple_of(TOGETHER) {
            self.written()?;
        }
        Ok(())
    }

    fn written(&mut self) -> Result<(), EditError> {
        self.spool.flush();
        self.spool.step();
        match self.spool.status() {
            DiskStatus::Good => Ok(()),
            DiskStatus::Full => Err(EditError::Full),
            DiskStatus::Failed(error) => Err(EditError::Failed(error)),
        }
    }

    /// Makes all changes durable, together.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn save(mut self) -> Result<(), EditError> {
        if self.change != Transaction::default() {
            self.spool.append(std::mem::take(&mut self.change));
        }
        self.written()?;
        if self.spool.close(Duration::ZERO) { Ok(()) } else { Err(EditError::Failed("the cursors".to_owned())) }
    }
}
