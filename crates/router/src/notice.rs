//! What an operator should hear of in the log, and a bound on how many lines that makes.

use tidegate_pacing::LogLimit;

/// One limit for each kind of the router's own.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) parked: LogLimit,
    pub(crate) quota: LogLimit,
}
