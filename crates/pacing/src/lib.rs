//! How long to wait before the next attempt, and how often something may happen.
//!
//! [`Doubling`] is the wait that grows with each failure: of a link that dials again, of a plugin that is asked again, of
//! a circuit that stays open, of a broker that refuses messages for now. [`Backoff`] is that wait with some chance in it, so
//! that a crowd does not come back as one. [`Lapses`] is how long what failed has to be well before it is trusted again: a
//! member of a set, a broker of a source. [`Bucket`] is the allowance that fills with time: of a backlog that leaves at a
//! pace. [`LogLimit`] is a bucket of log lines that tells how many were held back.
//!
//! Invariants:
//! - no clock: every method that needs the time is given it, so that a test can let years pass;
//! - a clock that stands still or is set back gives nothing away and never panics;
//! - arithmetic is exact (nanoseconds), so a rate does not drift.
//!
//! Start reading at [`Bucket`].

mod backoff;
mod bucket;
mod doubling;
mod lapses;
mod log_limit;

pub use backoff::Backoff;
pub use bucket::Bucket;
pub use doubling::Doubling;
pub use lapses::Lapses;
pub use log_limit::LogLimit;
