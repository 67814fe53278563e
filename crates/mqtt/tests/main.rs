//! Tests of the sessions from outside.
#![allow(missing_docs, clippy::unwrap_used)] // both are a test's way

mod frames;
mod hostile;
mod lossy;
mod pair;
mod promises;
mod world;
