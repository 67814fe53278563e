//! What ends a broker, or keeps it from beginning.

use std::io;

/// What ends a broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// As asked for.
        addr: String,
        /// What the system says.
        source: io::Error,
    },
    /// A task of the broker panicked: a bug.
    #[error("a task of the broker panicked: {0}")]
    Panicked(#[source] tokio::task::JoinError),
}
