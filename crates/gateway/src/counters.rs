//! What plugins' threads count. The rest is in the accounts of the router.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_plugin::Fault;

/// A counter that another thread reads.
#[derive(Debug, Default)]
pub(crate) struct Shared(AtomicU64);

impl Shared {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// One of those that add up to it has changed.
    fn change(&self, before: u64, after: u64) {
        self.0.fetch_add(after.wrapping_sub(before), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A counter for each kind of fault.
#[derive(Debug, Default)]
pub(crate) struct ByKind([Shared; Fault::KINDS.len()]);

impl ByKind {
    pub(crate) fn count(&self, fault: &Fault) {
        if let Some(at) = Fault::KINDS.iter().position(|known| *known == fault.kind()) {
            self.0[at].add(1);
        }
    }

    /// Every kind with its count, zeros included.
    pub(crate) fn get(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::KINDS.into_iter().zip(self.0.iter().map(Shared::get))
    }
}

/// What one plugin did in one route, over all its versions.
#[derive(Debug, Default)]
pub(crate) struct StageCounters {
    /// Of messages.
    pub(crate) faults: ByKind,
    /// Of guests that were thrown away.
    pub(crate) restarts: ByKind,
    /// Linear memory of all instances, in bytes.
    pub(crate) memory: Shared,
    pub(crate) rejects: Shared,
    /// Of the messages that it rejected: so many the version before was asked about, and so many of those it would have decided.
    pub(crate) rejects_asked: Shared,
    pub(crate) rejects_decided: Shared,
    pub(crate) retries: Shared,
    pub(crate) circuit_open: Shared,
    /// Messages that it was not asked about in a call, behind others that it failed on.
    pub(crate) given_up: Shared,
    pub(crate) circuit_opened: Shared,
    /// Instances whose circuit is open.
    pub(crate) open: Shared,
    /// Messages that it has let pass as they were, made others of, and dropped.
    pub(crate) passed: Shared,
    pub(crate) changed: Shared,
    pub(crate) dropped: Shared,
    /// How long it was asked for, in nanoseconds.
    pub(crate) asked_ns: Shared,
    /// Why the version that was to come cannot have its state.
    pub(crate) no_state: Words,
}

/// Words from one thread to another.
#[derive(Debug, Default)]
pub(crate) struct Words(Mutex<Option<String>>);

impl Words {
    pub(crate) fn set(&self, words: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
    }

    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl StageCounters {
    pub(crate) fn failures(&self) -> u64 {
        self.faults.get().map(|(_, count)| count).sum::<u64>() + self.rejects.get()
    }
}

/// Whether the circuit of one instance is open; nothing once it is dropped.
#[derive(Debug)]
pub(crate) struct OpenShare {
    of: Arc<StageCounters>,
    is_open: bool,
}

impl OpenShare {
    pub(crate) fn new(of: Arc<StageCounters>) -> Self {
        Self { of, is_open: false }
    }

    #[inline]
    pub(crate) fn set(&mut self, is_open: bool) {
        if is_open != self.is_open {
            self.of.open.change(self.is_open.into(), is_open.into());
            self.is_open = is_open;
        }
    }
}

impl Drop for OpenShare {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// What one instance has of a plugin's memory; nothing once it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    of: Arc<StageCounters>,
    bytes: u64,
}

impl MemoryShare {
    pub(crate) fn new(of: Arc<StageCounters>) -> Self {
        Self { of, bytes: 0 }
    }

    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes != self.bytes {
            self.of.memory.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set(0);
    }
}
