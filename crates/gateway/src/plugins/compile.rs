//! Components compiled side by side, with a line for each that takes its time: seven of interpreters take minutes.

use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_plugin::{Component, Error, Host};

/// More than these at a time take much memory, and disk from whoever else is on the machine.
const THREADS_MAX: usize = 4;
/// From this size on it is said beforehand: a plugin of an interpreter's language, not one of Rust or C.
pub(crate) const LARGE_BYTES: usize = 1 << 20;
/// From here on it is said how long it took.
const LONG: Duration = Duration::from_secs(1);

/// A component that is not compiled yet.
pub(crate) struct File<'a> {
    /// One of the plugins that are made of it.
    pub(crate) plugin: &'a str,
    pub(crate) path: &'a Path,
    pub(crate) bytes: Vec<u8>,
}

/// Compiles each; a result for each, in their order.
pub(crate) fn compile(host: &Host, files: &[File<'_>]) -> Vec<Result<Component, Error>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(files.len())));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(at) else { break };
            let compiled = one(host, file);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, compiled));
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
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, compiled)| compiled).collect()
}

fn one(host: &Host, File { plugin, path, bytes }: &File<'_>) -> Result<Component, Error> {
    let mib = bytes.len() as f64 / LARGE_BYTES as f64;
    if bytes.len() >= LARGE_BYTES {
        tracing::info!(%plugin, path = %path.display(), "compiling {mib:.0} MiB, unless it is in the cache");
    }
    let began = Instant::now();
    let component = host.compile(bytes)?;
    if began.elapsed() >= LONG {
        tracing::info!(%plugin, "compiled in {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(component)
}
