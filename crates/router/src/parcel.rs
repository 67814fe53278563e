//! A message on its way through the plugins of a route.

use crate::ids::DebtId;
use tidegate_message::Message;

/// One message for the plugins of one route, with what they are told of it.
#[derive(Debug)]
pub struct Parcel {
    /// What was received.
    pub message: Message,
    /// Of the received message; `None` if nobody waits for it.
    pub debt: Option<DebtId>,
    /// A number of its own among all parcels, below 2^53; the same each time a plugin is asked about it.
    pub id: u64,
    /// When it was received, in milliseconds since the epoch by the machine's clock.
    pub received_ms: u64,
    /// The same in microseconds, by the clock of [`Moment`](crate::Moment).
    pub received_us: u64,
    /// A plugin may have been asked about it before.
    pub redelivered: bool,
}
