//! How far everything is certain that a client may be told of.

/// Up to where something is certain, or is to be before a client is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Of the last record of the store that is durable.
    pub(crate) sequence: u64,
    /// Of the last promise that the gateway has kept: see [`LocalRelease`](crate::LocalRelease).
    pub(crate) promise: u64,
}

impl Settled {
    /// Everything.
    pub(crate) const ALL: Self = Self { sequence: u64::MAX, promise: u64::MAX };

    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { sequence: self.sequence.max(other.sequence), promise: self.promise.max(other.promise) }
    }

    /// Whether so much is there.
    pub(crate) const fn is_met_by(self, there: Self) -> bool {
        self.sequence <= there.sequence && self.promise <= there.promise
    }
}
