//! What an owner recorded of a session, for the next process to carry on with (MQTT 5.0 section 4.1).

use crate::outgoing::PACKET_IDS;
use tidegate_message::{Message, QoS};

/// What is known of the exchanges of QoS 2 that a client session had under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Our messages that the broker has not finished with, in any order.
    pub sent: Vec<RestoredMessage>,
    /// Packet ids of messages from the broker that were received and recorded, and that it has not released.
    pub received: Vec<u16>,
}

/// One of our QoS 2 messages.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredMessage {
    /// From [`Published::InFlight`](crate::Published::InFlight).
    pub serial: u64,
    /// Comes back in [`Completion`](crate::Completion).
    pub key: u64,
    /// As it was published. `None` if the broker has taken it over: PUBREL is due.
    pub message: Option<Message>,
}

/// A message of ours that its peer has not finished with, as a server recorded it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// From [`ServerSession::last_serial`](crate::ServerSession::last_serial).
    pub serial: u64,
    /// Comes back in [`Completion`](crate::Completion).
    pub key: u64,
    /// As it was published, at QoS 1 or 2. `None` if the client has taken it over: PUBREL is due.
    pub message: Option<Message>,
    /// The identifiers of the subscriptions that it matched.
    pub subscription_ids: Box<[u32]>,
}

impl From<RestoredMessage> for Unfinished {
    /// Of those of QoS 1 nothing is recorded.
    fn from(RestoredMessage { serial, key, message }: RestoredMessage) -> Self {
        let message = message.map(|message| Message { qos: QoS::ExactlyOnce, ..message });
        Self { serial, key, message, subscription_ids: Box::default() }
    }
}

/// Those that can still be under way, in the order of sending, and the keys of the rest: an id is used again only
/// when its exchange has ended, and ids go round.
pub(crate) fn alive(mut sent: Vec<Unfinished>) -> (Vec<Unfinished>, Vec<u64>) {
    sent.sort_by_key(|message| (message.serial, message.key));
    let highest = sent.last().map_or(0, |last| last.serial);
    let mut finished = Vec::new();
    let mut alive: Vec<Unfinished> = Vec::with_capacity(sent.len());
    for message in sent {
        if highest - message.serial >= PACKET_IDS {
            finished.push(message.key);
            continue;
        }
        if let Some(older) = alive.pop_if(|older| older.serial == message.serial) {
            finished.push(older.key);
        }
        alive.push(message);
    }
    (alive, finished)
}
