//! What the broker notes of a message in flight: its key in the session of the client that it goes to.

/// What it weighs in bytes, and the serial of the group for which it goes there; 0: for none.
pub(crate) fn key(weight: usize, group: u32) -> u64 {
    u64::from(group) << 32 | u64::from(u32::try_from(weight).unwrap_or(u32::MAX))
}

pub(crate) fn weight(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

pub(crate) fn group(key: u64) -> u32 {
    (key >> 32) as u32
}
