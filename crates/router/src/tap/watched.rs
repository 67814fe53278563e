//! What plugins say of messages that somebody looks at, on whatever thread they decide.

use ahash::AHashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_message::Message;

/// So much is kept of what plugins say of one message.
const SAID_MAX: usize = 32;

/// Of a payload so much is shown.
const PAYLOAD_BYTES_MAX: usize = 1_024;

/// What a message was, or has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its topic.
    pub topic: Box<str>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// It is to be retained.
    pub retain: bool,
    /// The first KiB of its payload.
    pub payload: Box<[u8]>,
    /// How long that is.
    pub payload_bytes: usize,
}

impl Shown {
    /// Of a message.
    pub fn of(message: &Message) -> Self {
        Self {
            topic: message.topic.as_str().into(),
            qos: message.qos as u8,
            retain: message.retain,
            payload: message.payload[..message.payload.len().min(PAYLOAD_BYTES_MAX)].into(),
            payload_bytes: message.payload.len(),
        }
    }
}

/// What one plugin said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which one.
    pub plugin: Arc<str>,
    /// Which version of it: the beginning of its component's digest.
    pub version: Arc<str>,
    /// How long the call took in which it was asked.
    pub took: Duration,
    /// Of how many messages it was asked in that call.
    pub of: u32,
    /// In words.
    pub words: String,
    /// What it has made of it, if anything.
    pub made: Vec<Shown>,
}

/// Parcels that somebody looks at.
#[derive(Debug, Default)]
pub struct Watched {
    is_on: AtomicBool,
    said: Mutex<AHashMap<u64, Vec<Said>>>,
}

impl Watched {
    /// Whether somebody looks at any.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    fn said(&self) -> MutexGuard<'_, AHashMap<u64, Vec<Said>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, parcel: u64) {
        self.said().insert(parcel, Vec::new());
        self.is_on.store(true, Relaxed);
    }

    pub(crate) fn take(&self, parcel: u64) -> Vec<Said> {
        let mut said = self.said();
        let taken = said.remove(&parcel).unwrap_or_default();
        self.is_on.store(!said.is_empty(), Relaxed);
        taken
    }

    /// The same, and it is kept.
    pub(crate) fn read(&self, parcel: u64) -> Vec<Said> {
        self.said().get(&parcel).cloned().unwrap_or_default()
    }

    /// Of these parcels, those that somebody looks at.
    pub fn of(&self, parcels: impl Iterator<Item = u64>) -> Vec<usize> {
        let said = self.said();
        parcels.enumerate().filter(|(_, parcel)| said.contains_key(parcel)).map(|(at, _)| at).collect()
    }

    /// A plugin has said something of a parcel.
    pub fn say(&self, parcel: u64, said: Said) {
        if let Some(known) = self.said().get_mut(&parcel)
            && known.len() < SAID_MAX
        {
            known.push(said);
        }
    }
}
