//! The sessions of target brokers, as far as a message may go into them without waiting in a lane.

use crate::account::DropReason;
use crate::ids::BrokerId;
use tidegate_message::Message;

/// What has become of a message that went into a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// At QoS 0: it is in the write buffer, and needs no more care.
    Written,
    /// At QoS 1 or 2: [`completed`](crate::Router::completed) and the like say what becomes of it.
    InFlight {
        /// At QoS 2 its number in the order of the link's QoS 2 messages.
        serial: Option<u64>,
    },
}

/// The sessions of all target brokers.
pub trait Sessions {
    /// Whether this message can be written to this broker now: it is connected, its write buffer has room, and, at QoS 1 and
    /// 2, its window has. A message that cannot waits in the broker's lane, and with it all that come later, until
    /// [`pull`](crate::Router::pull) has taken the last.
    fn takes(&self, broker: BrokerId, message: &Message) -> bool;

    /// The keys of all messages that went into the session of a broker at QoS 1 and 2, and have not come out of it.
    fn unfinished(&self, broker: BrokerId) -> Vec<u64>;

    /// Writes a message that can be, under this key of its ticket.
    ///
    /// # Errors
    /// The broker can never take it.
    fn publish(&mut self, broker: BrokerId, key: u64, message: Message) -> Result<Published, DropReason<'static>>;
}
