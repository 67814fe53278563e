//! The WebAssembly plugin host: loads, verifies, limits and calls the components that decide what becomes of a message.
//!
//! A component's bytes become a [`Component`] ([`Host::compile`], slow, off the data path), with a [`Spec`] a
//! [`Plugin`] (verified, linked, nothing run yet), and that any number of [`Instance`]s, one for each plugin thread.
//! A batch of messages goes into [`Instance::handle`]; for each one [`Outcome`] comes out. A new version is another
//! `Plugin`: make an `Instance` of it, and use that from the next batch on.
//!
//! ```text
//! bytes ─Host::compile─▶ Component ─Plugin::new(Spec)─▶ Plugin ─instantiate─▶ Instance ─handle─▶ Outcome per message
//! ```
//!
//! Invariants:
//! - a guest is cut at its deadline, computing or sleeping, and gets no more memory, tables, outputs or lines of log
//!   than its [`Limits`] say;
//! - after any failed call the guest is thrown away, never called again;
//! - every message gets exactly one outcome, in order, and a failure is charged only to the message that caused it;
//! - what leaves is what MQTT can carry and the [`Grants`] allow;
//! - a call holds up a borrowed thread for one slice at most, and goes on, whole, on another ([`poll_briefly`]);
//! - nothing here needs a runtime, nothing opens a file or a socket for a guest, and payloads are never logged.
//!
//! No other crate names wasmtime. Start reading at [`Instance::handle`].

mod answer;
mod calls;
mod circuit;
mod contract;
mod decide;
mod granted_topics;
mod guest;
mod host;
mod instance;
mod last_words;
mod log;
mod messaging;
mod outcome;
mod packed;
mod plugin;
mod spec;
mod state;
mod thread;
mod ticker;
mod wasi;

pub use calls::Contract;
pub use circuit::{Admission, Circuit, CircuitSettings};
pub use host::{Component, Host, HostConfig, WASM_STACK_BYTES};
pub use instance::{Input, Instance, MAX_BATCH_MESSAGES, Stats};
pub use outcome::{Destination, Fault, Outcome, Output, Outputs};
pub use plugin::Plugin;
pub use spec::Spec;
pub use state::{STATE_VERSION_KEY, StateStore, Write, is_own_key};
pub use thread::{leave_borrowed, poll_briefly, run_here};
pub use tidegate_config::{Grants, Limits, StateGrant};

use std::fmt;

/// Why a plugin cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine did not start: nothing to do with any plugin.
    #[error("the WebAssembly engine did not start: {0}")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// These bytes are not a component that can be compiled; perhaps not yet, if the file is still being written.
    #[error("not a component: {0}")]
    Compile(String),
    /// The system lets this process make no memory executable, so no plugin can be loaded, whatever its bytes.
    #[error(
        "this process may not make memory executable, which plugins need ({0}): remove MemoryDenyWriteExecute= from \
         its systemd unit, or what else forbids it"
    )]
    NoExecutableMemory(String),
    /// A component, but not a plugin for this gateway.
    #[error("not a plugin for this gateway: {0}")]
    WrongWorld(String),
    /// It imports what it was not granted.
    #[error("it imports `{import}`, which it was not granted; {hint}")]
    Ungranted {
        /// The import's name.
        import: String,
        /// What to do.
        hint: &'static str,
    },
    /// A limit with which no plugin could run.
    #[error("its limit `{key}` must be at least {least}")]
    Limits {
        /// As in the configuration.
        key: &'static str,
        /// The smallest value that makes sense.
        least: String,
    },
    /// It failed while it was instantiated or configured.
    #[error("it failed while it started: {0}")]
    Start(#[source] Fault),
    /// What it remembers cannot be brought to its version.
    #[error("its state cannot be brought to its version: {0}")]
    State(String),
    /// It refuses its configuration.
    #[error("it refuses its configuration{}", Diagnostics(.0))]
    Configure(Vec<Diagnostic>),
}

/// What a plugin finds wrong with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A path into its configuration such as `thresholds[2].max`, or empty.
    pub at: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => f.write_str(&self.message),
            at => write!(f, "{at}: {}", self.message),
        }
    }
}

struct Diagnostics<'a>(&'a [Diagnostic]);

impl fmt::Display for Diagnostics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            // As componentize-js makes of an exception that is no list of diagnostics.
            return f.write_str(
                " without saying why: it returned an empty list of problems, which an ordinary exception becomes in \
                 some languages",
            );
        }
        for (n, diagnostic) in self.0.iter().enumerate() {
            let before = if n == 0 { ": " } else { "; " };
            write!(f, "{before}{diagnostic}")?;
        }
        Ok(())
    }
}
