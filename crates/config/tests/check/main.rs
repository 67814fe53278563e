//! What `tidegate check` promises, from the outside.
//!
//! - `golden`: a file in, its problems out, word for word.
//! - `diff`: what an edit changes, key by key.
//! - `files`: what only the disk can tell.
//! - `reference`: the files in `config/` are right.
//! - `any_text`: no text makes it panic.
//! - `included`: a configuration of several files, and variables in it.
//! - `many_routes`: 10,000 of them.
//! - `presets`: what well-known brokers need.
//! - `reload`: the difference between two configurations.
//! - `spool`: what is kept on disk, and for how long.
#![allow(clippy::unwrap_used)] // a test that cannot go on may panic

mod any_text;
mod diff;
mod files;
mod golden;
mod included;
mod many_routes;
mod presets;
mod reference;
mod reload;
mod spool;
