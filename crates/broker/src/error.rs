//! What ends a broker, or keeps it from beginning.

use std::io;
use tidegate_persistence::{DiskError, OpenError};

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
    /// What is kept over a restart cannot be opened.
    #[error(transparent)]
    Folder(DiskError),
    /// What is kept over a restart cannot be read.
    #[error(transparent)]
    Store(OpenError),
    /// The disk failed that has what is kept over a restart: what is durable shows only the next start.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// A task of the broker panicked: a bug.
    #[error("a task of the broker panicked: {0}")]
    Panicked(#[source] tokio::task::JoinError),
}
