//! Components compiled side by side, with a line for each that takes its time: seven of interpreters take minutes.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_plugin::{Component, Host};

/// More than these at a time take much memory, and disk from whoever else is on the machine.
const THREADS_MAX: usize = 4;
/// From this size on it is said beforehand: a plugin of an interpreter's language, not one of Rust or C.
const LARGE_BYTES: usize = 1 << 20;
/// From here on it is said how long it took.
const LONG: Duration = Duration::from_secs(1);

/// A component that is not compiled yet.
pub(super) struct File {
    /// One of the plugins that are made of it.
    pub(super) plugin: String,
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// Compiles each, those that can be; of the others nothing comes back, for who needs them finds out why.
pub(super) fn compile(host: &Host, files: &[File]) -> Vec<(usize, Component)> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(files.len())));
    let work = || {
        while let Some((at, file)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, files.get(at)?)))
        {
            if let Some(component) = one(host, file) {
                done.lock().unwrap_or_else(PoisonError::into_inner).push((at, component));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let helpers = files.len().min(cores).min(THREADS_MAX).saturating_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().name("compile".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(host: &Host, File { plugin, path, bytes }: &File) -> Option<Component> {
    let mib = bytes.len() as f64 / LARGE_BYTES as f64;
    if bytes.len() >= LARGE_BYTES {
        tracing::info!(%plugin, path = %path.display(), "compiling {mib:.0} MiB, unless it is in the cache");
    }
    let began = Instant::now();
    let component = host.compile(bytes).ok()?;
    if began.elapsed() >= LONG {
        tracing::info!(%plugin, "compiled in {:.1} s", began.elapsed().as_secs_f64());
    }
    Some(component)
}
