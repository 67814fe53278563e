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

/// So many are kept of what timers said.
const TICKS_MAX: usize = 1_000;

/// What a plugin said on a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticked {
    /// In this route.
    pub route: Box<str>,
    /// Which one.
    pub plugin: Arc<str>,
    /// The time that it was called with, in milliseconds since the epoch.
    pub now_ms: u64,
    /// The last message that it was asked about before, by its number.
    pub after: u64,
    /// Messages, each with the target that the plugin chose if it did.
    pub made: Vec<(Message, Option<Arc<str>>)>,
}

/// Parcels that somebody looks at.
#[derive(Debug, Default)]
pub struct Watched {
    is_on: AtomicBool,
    said: Mutex<AHashMap<u64, Vec<Said>>>,
    wants_ticks: AtomicBool,
    ticks: Mutex<Vec<Ticked>>,
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

    /// Whether somebody wants to know what timers say.
    #[inline]
    pub fn wants_ticks(&self) -> bool {
        self.wants_ticks.load(Relaxed)
    }

    /// A timer was called.
    pub fn tick(&self, ticked: Ticked) {
        let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        if ticks.len() < TICKS_MAX {
            ticks.push(ticked);
        }
    }

    pub(crate) fn want_ticks(&self, wanted: bool) {
        self.wants_ticks.store(wanted, Relaxed);
        if !wanted {
            self.take_ticks();
        }
    }

    pub(crate) fn take_ticks(&self) -> Vec<Ticked> {
        std::mem::take(&mut self.ticks.lock().unwrap_or_else(PoisonError::into_inner))
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
