//! Log lines on stderr: for a person on a terminal, or JSON.

use std::io::IsTerminal;
use tidegate_admin::{Logbook, Recorder};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the admin server shows of the log, whatever goes to stderr.
pub(crate) const RECORDED: &str = "info,async_nats=off,notify=warn";

/// Starts logging; `RUST_LOG` says what, and without it `default`.
pub(crate) fn init(format: Format, default: &str) {
    start(format, default, None);
}

/// The same, and the last lines are kept, whatever `RUST_LOG` leaves out of what people are told anyway.
pub(crate) fn init_recorded(format: Format, default: &str) -> Logbook {
    let logbook = Logbook::default();
    start(format, default, Some(logbook.recorder()));
    logbook
}

fn start(format: Format, default: &str, recorder: Option<Recorder>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // The traces of one repeat requests whole, and those hold secrets; the other says as errors what is none, and all that
    // matters of it comes as words of ours.
    let quiet = ["tungstenite=info", "async_nats=off", "notify=warn"].map(|quiet| quiet.parse().ok());
    let filter = quiet.into_iter().flatten().fold(filter, EnvFilter::add_directive);
    let recorder = recorder.map(|recorder| recorder.with_filter(EnvFilter::new(RECORDED)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // Only a second call fails, and then the first is in force.
    let _ = match format {
        Format::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter);
            tracing_subscriber::registry().with(recorder).with(lines).try_init()
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_filter(filter);
            tracing_subscriber::registry().with(recorder).with(lines).try_init()
        }
    };
}
