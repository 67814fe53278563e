//! What plugins' threads count. The rest is in the accounts of the router.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tidegate_plugin::Fault;

/// A counter that another thread reads.
#[derive(Debug, Default)]
pub(crate) struct Shared(AtomicU64);

impl Shared {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one plugin did in one route, over all its versions.
#[derive(Debug, Default)]
pub(crate) struct StageCounters {
    faults: [Shared; Fault::KINDS.len()],
    pub(crate) rejects: Shared,
    pub(crate) retries: Shared,
    pub(crate) circuit_open: Shared,
    pub(crate) circuit_opened: Shared,
}

impl StageCounters {
    pub(crate) fn fault(&self, kind: &str) {
        if let Some(at) = Fault::KINDS.iter().position(|known| *known == kind) {
            self.faults[at].add(1);
        }
    }

    /// Every kind of fault with its count, zeros included.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::KINDS.into_iter().zip(self.faults.iter().map(Shared::get))
    }

    pub(crate) fn failures(&self) -> u64 {
        self.faults().map(|(_, count)| count).sum::<u64>() + self.rejects.get()
    }
}
