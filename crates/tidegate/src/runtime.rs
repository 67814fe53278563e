//! The one thread that all traffic runs on.

use crate::Failure;
use std::future::Future;
use tokio::task::LocalSet;

/// Runs a future on this thread, with timers and sockets.
///
/// A panic on it, or on a thread that carries messages, ends the process: half a gateway is worse than one that its
/// supervisor starts again, and nothing was acknowledged that would be lost.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let (main, report) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if thread.id() == main || thread.name().is_some_and(|name| name.starts_with("route-")) {
            eprintln!("tidegate: this is a bug; please report it with the lines above");
            std::process::exit(i32::from(crate::EX_SOFTWARE));
        }
    }));
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
