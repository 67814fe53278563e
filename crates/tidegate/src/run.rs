//! `tidegate run`: the life of a gateway process.

use crate::{Failure, check, descriptors, logs, runtime, supervisor};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_admin::{Admin, export_traces, serve};
use tidegate_gateway::{Gateway, Service};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Of `tidegate run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file, /etc/tidegate/tidegate.toml without it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// How long to go on delivering after SIGTERM.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

/// Checks the file, runs until SIGTERM or SIGINT, drains.
pub(crate) fn run(arguments: Arguments, format: logs::Format) -> Result<(), Failure> {
    descriptors::make_room();
    let logbook = logs::init_recorded(format, "info");
    let file = arguments.config.map_or_else(check::default_file, Ok)?;
    let config = check::load(&file)?;
    descriptors::warn_of_too_few(&config);
    runtime::block_on(async {
        let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
        let signals = signals(&stop, &reload);
        let service = Service::open(&file, config).await?;
        // Before any link is opened: another gateway of this name may be running.
        let admin = Admin::bind(service.config())?;
        let serving = stop.child_token();
        let (supervised, asked) = (stop.child_token(), reload.clone());
        let started = |gateway: &Gateway| {
            export_traces(gateway.console(), gateway.config().gateway.name.clone(), supervised.clone())?;
            tokio::task::spawn_local(supervisor::tell(gateway.console(), supervised));
            match admin {
                Some(admin) => serve(admin, gateway.console(), logbook, file, asked, serving),
                None => Ok(()),
            }
        };
        let serving = service.run(stop.clone(), &reload, arguments.drain, started);
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
        tracing::info!(name: "stopped", "stopped");
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
