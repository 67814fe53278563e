//! Wires brokers, routes and plugins together, and keeps them running while everything about them may change.
//!
//! This is the shell around the router, which is where messages walk: it builds what a configuration asks for, carries
//! batches from links, the box's own broker and plugins' threads to the router and what it says back, applies the difference
//! of another configuration, and serves those who ask.
//!
//! Invariants:
//! - the data path is one thread: no lock or channel per message between a socket read and a socket write without
//!   plugins;
//! - a reload is built completely before anything of it is applied, and then applied as a difference;
//! - compiling, reading files and resolving names never happen on the data path.
//!
//! Start reading at [`Gateway::start`], then `data_path.rs`.

mod broker_port;
mod caught_up;
mod collector;
mod compare;
mod compile_cache;
mod console;
mod counters;
mod data_path;
mod embedded;
mod explain;
mod files;
mod foretell;
mod held;
mod history;
mod link_reports;
pub mod listeners;
mod members;
mod metrics;
#[cfg(feature = "nats")]
mod nats_port;
mod next_start;
mod observe;
mod operate;
mod own_access;
mod own_tls;
mod owned;
mod passage;
mod plugin_check;
mod plugins;
mod preflight;
mod probe;
mod reach;
mod recent;
mod recorder;
mod rehearse;
mod replay;
mod report;
mod running;
mod serve;
mod settings;
mod snapshot;
mod source_ack;
mod standby;
mod status;
mod stored;
mod subscriptions;
mod tapping;
mod target_sessions;
mod told;
mod trial;
mod upkeep;
mod users;
mod versions;
mod waiting;
mod watch;
mod words;

pub use collector::{Collector, Exported};
pub use compare::{Comparison, compare, running_key};
pub use console::{Busy, Console};
pub use explain::{Explanation, Sample, explain, harmless};
pub use files::named_files;
pub use foretell::{Foretold, Running, examine};
pub use history::{Applied, AppliedFile, history};
pub use metrics::metrics;
pub use operate::{ClientsFound, NoClients, States};
pub use own_access::explain_access;
pub use owned::make_key;
pub use plugin_check::{check_plugins, compile_plugins};
pub use preflight::{Finding, preflight};
pub use reach::{Reached, reach};
pub use recorder::Recording;
pub use rehearse::{Became, Delivery, Rehearsal};
pub use replay::{Replay, Replayed};
pub use report::{Changes, LastReloads, REASONS_MAX, changes_in_words as changes, touched_json};
pub use running::{Gateway, Left};
pub use serve::{Served, Service};
pub use settings::line_by_line;
pub use snapshot::{
    BrokerSnapshot, CandidateSnapshot, Connection, LinkSnapshot, MemberSnapshot, PluginSnapshot, QueueSnapshot,
    RouteSnapshot, SetSnapshot, Snapshot, SourceBrokerSnapshot, SourceSnapshot, SubscriptionSnapshot,
};
pub use tapping::{Looking, Tapping, Tracing};
pub use tidegate_broker::{
    Action as AccessAction, Certificate, Client, ClientConnection, ClientDetails, ClientNames, ClientSubscription,
    ClientsWanted, FailedLogins, UserHash, Users, user_line,
};
pub use tidegate_plugin::is_own_key as is_own_state_key;
pub use tidegate_router::{
    Account, Dropped, Ending, Histogram, Journey, Only, Outcome, PARKED_FOR_TARGET, ReplayError, Said, Sampling, Shown,
    Step, TraceContext, Wanted, Way, What,
};
pub use tidegate_spool::Parked;
pub use trial::CandidateDetails;
pub use versions::{Came, CandidateError, Did, PluginDetails, PluginVersion, RollbackError, folder as versions_folder};
pub use waiting::{Redirect, RedirectError, redirect_stopped};

/// What another crate says is wrong.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration, its files or its plugins: everything that is wrong.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The plugin engine does not start on this machine.
    #[error(transparent)]
    Engine(Source),
    /// Somebody else listens where this gateway is to.
    #[error("{0}")]
    InUse(String),
    /// This process may not listen there.
    #[error("{0}")]
    NotPermitted(String),
    /// The spool cannot be opened.
    #[error("spool: {0}")]
    Spool(#[source] Source),
    /// The disk failed while the gateway ran.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// The data directory cannot be made.
    #[error("data directory {path}: {error}")]
    DataDir {
        /// Which one.
        path: String,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}
