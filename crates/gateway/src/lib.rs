//! Wires brokers, routes and plugins together, and keeps them running while everything about them may change.
//!
//! The walk of a message: a link or the box's own broker hands a batch to [`core::Core`]; the routes of each topic are
//! looked up; plugins decide on threads of their own (`pipeline.rs`); verdicts find their targets (`deliver.rs`) and become a
//! record in the spool; when it is durable, the source is acknowledged and the deliveries enter the lanes of their brokers
//! (`durable.rs`); each link pulls from its lane as fast as its broker takes.
//!
//! Invariants:
//! - the data path is one thread: no lock, channel or atomic between a socket read and a socket write without plugins;
//! - a source is acknowledged when everything made of its message is durable, delivered or dropped, never before;
//! - every message is accounted for: `received + replayed + ticked + recovered + copies = out + dropped + parked + in flight`;
//! - per source topic and target, order is kept: one lane a target, one pipeline a route, also across reloads;
//! - a reload is built completely before anything of it is applied, and then applied as a difference;
//! - compiling, reading files and resolving names never happen on the data path.
//!
//! Start reading at [`Gateway::start`], then `core.rs`.

mod admin;
mod capabilities;
mod core;
mod counters;
mod deliver;
mod durable;
mod embedded;
mod explain;
mod files;
mod held;
mod lane;
mod links;
mod listeners;
mod metrics;
mod next_start;
mod once;
mod origin;
mod pipeline;
mod port;
mod preflight;
mod prepare;
mod report;
mod serve;
mod sets;
mod settings;
mod snapshot;
mod subscriptions;
mod supervisor;
mod tasks;
mod told;
mod users;
mod watch;

pub use explain::{Explanation, Sample, explain};
pub use preflight::{Finding, preflight};
pub use report::{Changes, LastReloads, REASONS_MAX};
pub use serve::{Served, serve};
pub use snapshot::{BrokerSnapshot, PluginSnapshot, QueueSnapshot, RouteSnapshot, Snapshot};
pub use supervisor::{Gateway, Left};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, its files or its plugins: everything that is wrong.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The plugin engine does not start on this machine.
    #[error("{0}")]
    Engine(String),
    /// Somebody else listens where this gateway is to.
    #[error("{0}")]
    InUse(String),
    /// This process may not listen there.
    #[error("{0}")]
    NotPermitted(String),
    /// The spool cannot be opened.
    #[error("spool: {0}")]
    Spool(String),
    /// The disk failed while the gateway ran.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The data directory cannot be made.
    #[error("data directory {path}: {error}")]
    DataDir {
        /// Which one.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
}
