//! What waits for an in-process client, and where it goes.

use crate::local_replays::LocalReplays;
use crate::log_limit::PublisherLogLimit;
use crate::session::SessionKey;
use ahash::AHashMap;
use std::cell::RefCell;
use std::rc::Rc;
use tidegate_message::{ByteString, Message, QoS, TopicFilter};
use tidegate_mqtt::AckToken;

/// Where an in-process client gets its messages. Called while nothing of the broker is borrowed, so an implementation
/// may call any [`Local`](crate::Local).
pub trait LocalSink {
    /// Takes messages: everything of one socket batch in one call, in the order received. What is left in the vector
    /// is forgotten.
    fn received(&mut self, messages: &mut Vec<LocalReceived>);

    /// Takes word of packet ids that are free again: whoever recorded one must record that before the client may use it for another message, and
    /// then [confirms](crate::Local::confirm) it, in this order. What is left in the vector is confirmed at once.
    fn released(&mut self, releases: &mut Vec<LocalRelease>) {
        let _ = releases;
    }
}

/// A packet id of a QoS 2 message that is free again, for its client has released it (PUBREL); or all of a client that has begun a new
/// session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRelease {
    /// As in [`LocalReceived::client`].
    pub client: ByteString,
    /// The packet id; [`ALL`](Self::ALL) for all that are recorded.
    pub packet_id: u16,
    pub(crate) session: SessionKey,
    pub(crate) promise: u64,
}

/// A message for an in-process client.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalReceived {
    /// With the lower of the QoS it was published with and the subscription's, and the retain flag as published;
    /// true for a retained message sent because of [`Local::subscribe`](crate::Local::subscribe). May be a
    /// slice of a read buffer: [`Message::detach`] it to keep it for long.
    pub message: Message,
    /// The right to acknowledge it. `None` for QoS 0, retained messages, wills, and what another in-process client
    /// published.
    pub ack: Option<LocalAck>,
    /// It comes because of [`Local::subscribe`](crate::Local::subscribe).
    pub stored: bool,
    /// Of a QoS 2 message whose client keeps its session over a restart: its client id. The client sends the message again, under its packet id,
    /// if the process ends before it is acknowledged.
    pub client: Option<ByteString>,
}

/// The right to acknowledge a client's message, once. Plain data: see [`AckToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAck {
    pub(crate) session: SessionKey,
    pub(crate) token: AckToken,
    /// Other in-process clients have to acknowledge it too.
    pub(crate) joint: bool,
}

impl LocalReceived {
    /// What is sent because of [`Local::subscribe`](crate::Local::subscribe).
    pub(crate) const fn stored(message: Message) -> Self {
        Self { message, ack: None, stored: true, client: None }
    }
}

impl LocalRelease {
    /// No packet has this id.
    pub const ALL: u16 = 0;
}

impl LocalAck {
    /// The packet id of the message.
    pub const fn packet_id(&self) -> u16 {
        self.token.packet_id()
    }
}

/// What the broker keeps of an in-process client.
pub(crate) struct Inbox {
    pub(crate) sink: Rc<RefCell<dyn LocalSink>>,
    /// In the order received.
    pub(crate) messages: Vec<LocalReceived>,
    /// By filter as asked for; the index files them under their patterns.
    pub(crate) subscriptions: AHashMap<TopicFilter, QoS>,
    /// What its subscriptions are still to be sent of what is retained.
    pub(crate) replays: LocalReplays,
    /// Of its messages that were refused.
    pub(crate) named: PublisherLogLimit,
}
