//! Tests of the sessions from outside. The index:
//!
//! | module | what it shows |
//! |---|---|
//! | `lossy` | both sides of a session over a wire that slices, loses, repeats and breaks, owners that answer late, out of order or never, either end starting over: 20,000 stories (`TIDEGATE_CASES=1000000` for more) against the model in `model` |
//! | `hostile` | arbitrary bytes, arbitrary packets and damaged streams, in every stage and version: no panic, nothing piles up |
//! | `crash` | a client that is killed and carries on from a log whose end may be lost, on a wire that slices and breaks: 8,000 stories in which exactly once holds both ways |
//! | `promises` | each promise by itself, byte for byte; `restored`: those to an owner that keeps a log; `habits`: what costs itself only |
//! | `model` | the wire and what may be seen on it; `pair`: one side against packets written by hand; `frames`: a packet reader of the tests' own |
//!
//! That these tests can fail: see `docs/mutants.md`.
#![allow(missing_docs, clippy::unwrap_used)] // both are a test's way

mod crash;
mod frames;
mod habits;
mod hostile;
mod lossy;
mod model;
mod pair;
mod promises;
mod restored;
