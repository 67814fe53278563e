//! What an operator should hear of, one line each, so many lines in a while.

use tidegate_pacing::LogLimit;

/// One limit for each kind of the router's own.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) parked: LogLimit,
    pub(crate) quota: LogLimit,
}
