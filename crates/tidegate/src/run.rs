//! `tidegate run`: the life of a gateway process.

use crate::{Failure, check, logs, runtime};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_gateway::serve;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Of `tidegate run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, short)]
    config: PathBuf,
    /// How long to go on delivering after SIGTERM.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

/// Checks the file, runs until SIGTERM or SIGINT, drains.
pub(crate) fn run(arguments: Arguments, format: logs::Format) -> Result<(), Failure> {
    logs::init(format, "info");
    let config = check::load(&arguments.config)?;
    runtime::block_on(async {
        let (stop, reload) = (CancellationToken::new(), Notify::new());
        let signals = signals(&stop, &reload);
        let serving = serve(&arguments.config, config, stop.clone(), &reload, arguments.drain, |_| Ok(()));
        let served = tokio::select! {
            served = serving => served?,
            failure = signals => return Err(failure),
        };
        if served.left.spooled > 0 {
            tracing::info!(messages = served.left.spooled, "in the spool for the next start");
        }
        if served.left.messages > 0 {
            tracing::warn!(
                messages = served.left.messages,
                "not delivered in time; their brokers were not told otherwise and keep those of QoS 1 and 2"
            );
        }
        tracing::info!("stopped");
        Ok(())
    })
}

/// Turns signals into wishes. Ends only if there can be no signals.
async fn signals(stop: &CancellationToken, reload: &Notify) -> Failure {
    let listen = |kind| signal(kind).map_err(|error| Failure::Unavailable(format!("no signals: {error}")));
    let (mut terminate, mut interrupt, mut hangup) =
        match (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup())) {
            (Ok(terminate), Ok(interrupt), Ok(hangup)) => (terminate, interrupt, hangup),
            (Err(failure), ..) | (_, Err(failure), _) | (.., Err(failure)) => return failure,
        };
    loop {
        tokio::select! {
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
            _ = hangup.recv() => reload.notify_one(),
        }
    }
}
