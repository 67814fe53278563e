//! Tests of the sessions from outside.
#![allow(missing_docs)]

mod frames;
mod hostile;
mod lossy;
mod pair;
mod promises;
mod world;
