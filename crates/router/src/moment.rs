//! The time, as the router's owner tells it.

use std::time::Instant;

/// One moment by two clocks. The router reads neither.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For how long something takes.
    pub at: Instant,
    /// Microseconds since the epoch, by a clock that was right at the start and never jumps afterwards.
    pub us: u64,
}
