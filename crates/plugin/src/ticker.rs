//! The clock that cuts a guest: a thread that advances the engine's epoch while a call is in progress, and sleeps
//! without a timer while none is.
//!
//! A call costs two atomic additions. The thread parks after [`LINGER`] without calls, so that an idle gateway is not woken
//! by it; the next call unparks it, which is a system call for each message where they are few, did it not linger. A suspended machine does not fault a plugin: only ticks that were slept
//! through count, not the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// How far apart two epochs are: the error with which a deadline is kept.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// So many beats without a call until the thread parks.
const LINGER: u32 = 10;

/// Epochs until a call that may take `deadline` is cut: never early, at most one [`TICK`] late.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    let whole = deadline.as_millis().div_ceil(TICK.as_millis());
    u64::try_from(whole).unwrap_or(u64::MAX / 2).saturating_add(1)
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls that began and calls that ended; the difference is in progress.
    begun: AtomicU64,
    ended: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn calls(&self) -> (u64, bool) {
        let ended = self.ended.load(SeqCst);
        let begun = self.begun.load(SeqCst);
        (begun, begun != ended)
    }
}

/// Owner of the thread; stops and joins it when dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(move || run(&theirs, || engine.increment_epoch()))?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// Keeps the clock running until the guard is dropped.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.shared.begun.fetch_add(1, SeqCst);
        // The thread says `parked` before it looks at `begun` a last time, we the other way round: one of us sees
        // the other, so a call never runs without a clock.
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
        Running { shared: &self.shared }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// A call in progress.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    shared: &'a Shared,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.ended.fetch_add(1, SeqCst);
    }
}

fn run(shared: &Shared, mut tick: impl FnMut()) {
    let (mut seen, mut idle) = (0, LINGER);
    while !shared.stop.load(SeqCst) {
        let (begun, busy) = shared.calls();
        idle = if !busy && begun == seen { idle + 1 } else { 0 };
        if idle > LINGER {
            shared.parked.store(true, SeqCst);
            let (begun, busy) = shared.calls();
            if !busy && begun == seen && !shared.stop.load(SeqCst) {
                thread::park();
            }
            shared.parked.store(false, SeqCst);
            idle = 0;
            continue;
        }
        seen = begun;
        thread::park_timeout(TICK);
        tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    #[test]
    fn a_deadline_is_never_cut_early_and_at_most_a_tick_late() {
        assert_eq!(ticks(Duration::from_millis(50)), 11);
        assert_eq!(ticks(Duration::from_millis(51)), 12);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
    }

    #[test]
    fn the_clock_runs_while_a_call_does_and_rests_otherwise() {
        let shared = Arc::new(Shared::default());
        let (beat, beats) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || run(&theirs, || beat.send(Instant::now()).unwrap()));
        assert!(beats.recv_timeout(TICK * 10).is_err(), "no call, no tick");
        let ticker = Ticker { shared, thread: thread.thread().clone(), handle: Some(thread) };

        let call = ticker.begin();
        for _ in 0..3 {
            beats.recv_timeout(Duration::from_secs(10)).expect("ticks while a call is in progress");
        }
        drop(call);
        while beats.recv_timeout(TICK * 20).is_ok() {}
        assert!(beats.try_recv().is_err(), "parked again");

        drop(ticker.begin());
        beats.recv_timeout(Duration::from_secs(10)).expect("a call wakes it");
        drop(ticker);
        assert!(beats.iter().count() < 4, "stopped");
    }
}
