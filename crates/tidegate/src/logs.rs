//! Log lines on stderr: for a person on a terminal, or JSON.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; `RUST_LOG` says what, and without it `default`.
pub(crate) fn init(format: Format, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // The traces of one repeat requests whole, and those hold secrets; the other says as errors what is none, and all that
    // matters of it comes as words of ours.
    let quiet = ["tungstenite=info", "async_nats=off"].map(|quiet| quiet.parse().ok());
    let filter = quiet.into_iter().flatten().fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only a second call fails, and then the first is in force.
    let _ = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
