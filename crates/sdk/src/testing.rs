//! For the tests of a plugin, which run natively.

use crate::{Decision, Diagnostic, Output, Plugin, config};

/// The plugin, configured with this JSON as the gateway would: `testing::plugin::<Alarm>(r#"{"above": 30}"#)`.
///
/// # Panics
/// If the configuration is refused; the message lists its problems.
#[must_use]
pub fn plugin<P: Plugin>(config: &str) -> P {
    config::build(config).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// What the gateway would be told about a configuration that must be refused.
///
/// # Panics
/// If it is taken.
#[must_use]
pub fn refused<P: Plugin>(config: &str) -> Vec<Diagnostic> {
    match config::build::<P>(config) {
        Ok(_) => panic!("this configuration was not refused: {config}"),
        Err(problems) => problems.into_diagnostics(),
    }
}

/// The only output of a decision that has exactly one.
///
/// # Panics
/// If it has not.
#[must_use]
pub fn only(decision: Decision) -> Output {
    match decision {
        Decision::Forward(mut outputs) if outputs.len() == 1 => outputs.remove(0),
        other => panic!("not a forward of one: {other:?}"),
    }
}
