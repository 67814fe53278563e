//! What is kept, as plain data.

use ahash::AHashSet;
use tidegate_message::{ByteString, Message, QoS, TopicFilter};

/// What is known of a client that is, or was, connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its client id.
    pub client_id: ByteString,
    /// Its user name.
    pub username: Option<ByteString>,
    /// How long its session outlives its connection, in seconds; `u32::MAX`: for ever.
    pub expiry_s: u32,
    /// The keep-alive in force, in seconds; 0: none.
    pub keep_alive_s: u16,
    /// It calls itself a bridge.
    pub bridge: bool,
    /// To be published if it does not come back.
    pub will: Option<Will>,
}

/// A will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// How long after the connection has ended, in seconds.
    pub delay_s: u32,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// To what, the group of a shared one included.
    pub filter: TopicFilter,
    /// At most with this.
    pub qos: QoS,
    /// Not what the client itself publishes.
    pub no_local: bool,
    /// With the retain flag as published.
    pub retain_as_published: bool,
    /// The subscription identifier, 0 for none.
    pub id: u32,
}

/// Everything of a session but its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Who.
    pub head: Head,
    /// Since when its client is away, in milliseconds since the epoch; `None`: it is connected.
    pub away_since_ms: Option<u64>,
    /// To what it has subscribed.
    pub subscriptions: Vec<Subscription>,
    /// Packet ids of QoS 2 messages from the client that were taken over and not released.
    pub taken: Vec<(u16, Taken)>,
}

/// How far a QoS 2 message of a client has been taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Its subscribers among the sessions have it, and it is retained if it was to be. Who has to acknowledge it has not yet:
    /// when it comes again, it is for those alone.
    Partly,
    /// Its client is told so.
    Wholly,
}

/// The copy of a message that one session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId {
    /// Of the message.
    pub item: u64,
    /// Of the copy, among those of the message.
    pub copy: u32,
}

/// A copy of a message for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCopy {
    /// Whose.
    pub session: u32,
    /// What it is sent with.
    pub qos: QoS,
    /// The retain flag it is sent with.
    pub retain: bool,
    /// It is a retained message, sent because of a new subscription.
    pub from_retained: bool,
    /// Its place among what waits for the session: 0 for that of the message itself. [`Store::copy`](crate::Store::copy) says it.
    pub order: u64,
    /// The identifiers of the subscriptions.
    pub subscription_ids: Box<[u32]>,
    /// The shared subscription that it came by.
    pub group: Option<TopicFilter>,
    /// It is on its way.
    pub sent: Option<SentAs>,
}

/// A copy on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAs {
    /// Of the packet id: see `tidegate_mqtt::Published`.
    pub serial: u64,
    /// The client has taken it over (PUBREC): it must not be published again.
    pub taken_over: bool,
}

/// Who published a message, as far as a subscriber may care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publisher {
    /// The gateway.
    Gateway,
    /// A client, by its id.
    Client(ByteString),
}

/// What a message of a client at QoS 2 makes of its packet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// The client's session.
    pub session: u32,
    /// Of the PUBLISH.
    pub packet_id: u16,
    /// How far.
    pub taken: Taken,
}

/// What opening a store found.
#[derive(Debug, Default)]
pub struct Saved {
    /// In no order.
    pub sessions: Vec<SavedSession>,
    /// In no order.
    pub retained: Vec<SavedRetained>,
    /// Of what the gateway has published at QoS 2.
    pub origins: AHashSet<Origin>,
}

/// By what a message of the gateway is known when it publishes it again: its item in the log of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Of the record.
    pub sequence: u64,
    /// In the record.
    pub index: u32,
}

/// A session as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSession {
    /// By which it is spoken of in the store.
    pub number: u32,
    /// Who.
    pub snapshot: Snapshot,
    /// What waits for the client or is on its way, in order.
    pub messages: Vec<SavedMessage>,
}

/// A message that waits for a client, or is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedMessage {
    /// Which.
    pub id: CopyId,
    /// With the QoS and the retain flag to send it with.
    pub message: Message,
    /// When it is worth nothing any more, in milliseconds since the epoch.
    pub expires_ms: Option<u64>,
    /// How it came to be here.
    pub copy: NewCopy,
}

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRetained {
    /// Its number.
    pub item: u64,
    /// As published.
    pub message: Message,
    /// By whom.
    pub publisher: Publisher,
    /// When it is worth nothing any more, in milliseconds since the epoch.
    pub expires_ms: Option<u64>,
}

/// What is wrong with the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Records and pieces of files that are damaged.
    pub damaged: u64,
    /// Bytes cut off at the end.
    pub torn_bytes: u64,
}
