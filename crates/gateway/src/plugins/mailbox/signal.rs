//! A signal that is looked at for a moment before anybody sleeps.

use super::atomic::{AtomicBool, AtomicU64, SeqCst};

/// Raised by many threads, watched by one.
///
/// While it is watched, raising it wakes nobody, which would cost a system call: the watcher sees the count. The promise:
/// a watcher that has seen nothing is woken by whoever raises it, so it may go to sleep.
#[derive(Default)]
pub(super) struct Signal {
    /// How often it was raised.
    raised: AtomicU64,
    /// Somebody looks at `raised` right now and need not be woken.
    watched: AtomicBool,
}

impl Signal {
    /// Raises it. True if the watcher sleeps, or is about to, and must be woken.
    pub(super) fn raise(&self) -> bool {
        // These two and those in `watch` are in one total order: either we see that nobody watches any more, or the
        // watcher's last look, which comes after that, sees that it was raised.
        self.raised.fetch_add(1, SeqCst);
        !self.watched.load(SeqCst)
    }

    /// How often it was raised so far.
    pub(super) fn raised(&self) -> u64 {
        self.raised.load(SeqCst)
    }

    /// Looks as long as `go_on` says whether it was raised more often than `seen`. True if so.
    pub(super) fn watch(&self, seen: u64, mut go_on: impl FnMut() -> bool) -> bool {
        self.watched.store(true, SeqCst);
        while self.raised.load(SeqCst) == seen && go_on() {}
        self.watched.store(false, SeqCst);
        self.raised.load(SeqCst) != seen
    }
}
