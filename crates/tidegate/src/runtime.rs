//! The one thread that all traffic runs on.

use crate::Failure;
use std::future::Future;
use tokio::task::LocalSet;

/// Runs a future on this thread, with timers and sockets.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Name resolution, compiling and password checks only.
        .max_blocking_threads(4)
        .build()
        .map_err(|error| Failure::Unavailable(format!("no runtime: {error}")))?;
    let outcome = LocalSet::new().block_on(&runtime, future);
    // A thread that compiles would be waited for.
    runtime.shutdown_background();
    outcome
}
