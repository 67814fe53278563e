//! Shows a running gateway to people and programs over HTTP, and lets those who may operate it.
//!
//! It all is one model ([`model`]), made of the gateway's snapshot: the JSON of `/api/v1`, which its own OpenAPI document
//! describes, and the stream of it; metrics for Prometheus; and the page at `/`. Beside it, what a collector of traces is sent
//! (`export.rs`).
//!
//! Invariants:
//! - it runs on a thread of its own and asks the gateway through its [`Console`]: however many look and however slowly they
//!   read, messages wait for none of them;
//! - what a reader has not read yet is not kept for him: he gets what is new when he reads again;
//! - nothing is changed but by who has shown that he may, and then there is a line in the log that says what;
//! - whatever comes over the network is bounded: connections, headers, bodies, and the time that each may take.
//!
//! Start reading at `serve.rs`; who may do what is in `guard.rs`.

mod access;
mod api;
pub mod apply;
mod configuration;
pub mod events;
mod explain;
mod export;
mod guard;
mod key;
mod listen;
mod logbook;
mod metrics;
pub mod model;
mod operate;
mod page;
mod patient;
mod plain;
mod query;
mod rates;
mod record;
mod serve;
mod spans;
mod stream;
mod tap;

pub use export::export_traces;
pub use key::{owner_key, told_address};
pub use logbook::{Logbook, Recorder};
pub use serve::{Admin, serve};

#[doc(no_inline)]
pub use tidegate_gateway::Console;
