//! MQTT sessions without I/O: bytes in, events and bytes out, for MQTT 3.1, 3.1.1 and 5, client and server side.
//!
//! The path of a message in: the socket's owner reads into a buffer and calls `on_bytes`, which drains every complete
//! frame into a [`Batch`]: what was received, what was completed, and the rare control events. Each received QoS 1 or
//! 2 message carries an [`AckToken`]; PUBACK or PUBREC is written when its holder says so, never before, and in the
//! order of receipt. The path out: `publish` encodes into the one write buffer [`tx`](ClientSession::tx) until the
//! peer's receive maximum is used up; the buffer's owner writes it in as few writes as the socket allows.
//!
//! Invariants:
//! - never reads a clock: every call that depends on time is handed `now`;
//! - never writes an acknowledgement that was not asked for by [`AckToken`];
//! - never ends a connection for one message that cannot be taken: it is answered, and told in [`Batch::skipped`];
//! - never delivers a QoS 2 packet id twice between its PUBREC and PUBREL (MQTT 5.0 section 4.3.3), unless it is another
//!   message and does not say DUP, on the same connection: of a client that never sends PUBREL;
//! - never has more messages in flight than the peer's receive maximum, nor sends a packet above its maximum size;
//! - bytes from the peer never panic: they give events or a [`ProtocolError`].
//!
//! What outlives a connection is in [`Flow`]; [`ClientSession`] keeps its own, a server hands it from one
//! [`ServerSession`] to the next. What must outlive the process is told in [`Published::InFlight`], [`AckToken`] and
//! [`Batch`], and comes back by [`ClientSession::restore`]. Start reading at [`ClientSession`], then `flow`, `incoming` and `outgoing`.
//!
//! All packets are encoded and decoded here, except that `rumqttc`'s codec writes SUBSCRIBE and UNSUBSCRIBE; the tests
//! hold the rest against it. Why: `docs/decisions/0003-codec.md`.

mod auth;
mod client;
mod connack;
mod connect;
mod disconnect;
mod flow;
mod incoming;
mod known_topics;
mod outgoing;
mod publish;
mod reason;
mod restore;
mod server;
mod skip;
mod subscribe;
mod wire;

pub use client::{BrokerLimits, ClientConfig, ClientSession, Connected};
pub use connect::{Connect, Will};
pub use flow::Flow;
pub use incoming::{AckToken, Received};
pub use outgoing::{Completion, PublishError, Published, Refusal, Unanswered};
pub use reason::ReasonCode;
pub use restore::{Restored, RestoredMessage, Unfinished};
pub use server::{Accept, ServerLimits, ServerSession};
pub use skip::Skipped;
pub use subscribe::{RetainHandling, SubscribeFilter};
pub use wire::ProtocolError;

use bytes::Bytes;
use tidegate_message::ByteString;

/// The protocol versions a session can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// What one call of `on_bytes` found, in vectors that their owner empties and uses again.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages from the peer, in the order received.
    pub received: Vec<Received>,
    /// Messages of ours that need no more care.
    pub completed: Vec<Completion>,
    /// Keys of our QoS 2 messages that the peer has taken over by its PUBREC: PUBREL is in the write buffer, for the
    /// first time.
    pub taken_over: Vec<u64>,
    /// Packet ids of QoS 2 messages from the peer that its PUBREL sets free: PUBCOMP is in the write buffer.
    pub released: Vec<u16>,
    /// Messages from the peer that cannot be taken: each is acknowledged already.
    pub skipped: Vec<Skipped>,
    /// Messages of ours that the peer refused. Client only; a server finds them in `completed`.
    pub refused: Vec<Refusal>,
    /// Everything else, each with how many messages had been received before it.
    pub control: Vec<(usize, Control)>,
}

impl Batch {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.received.clear();
        self.completed.clear();
        self.taken_over.clear();
        self.released.clear();
        self.skipped.clear();
        self.refused.clear();
        self.control.clear();
    }

    /// True when nothing happened.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
            && self.completed.is_empty()
            && self.taken_over.is_empty()
            && self.released.is_empty()
            && self.skipped.is_empty()
            && self.refused.is_empty()
            && self.control.is_empty()
    }
}

/// The rare events of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// Client: the broker accepted us.
    Connected(Connected),
    /// Client: the broker refused us; it closes the connection now.
    Refused {
        /// Why; for 3.x the return code translated.
        reason: ReasonCode,
        /// The broker's own words, if any.
        words: Option<String>,
        /// Where it sends us instead (MQTT 5.0 section 4.11).
        server_reference: Option<String>,
    },
    /// Client: the broker answered a SUBSCRIBE, one code a filter.
    Subscribed {
        /// The number `subscribe` returned.
        id: u64,
        /// Granted QoS (0 to 2) or an error of 0x80 and above, in the order asked.
        codes: Vec<ReasonCode>,
    },
    /// Client: the broker answered an UNSUBSCRIBE.
    Unsubscribed {
        /// The number `unsubscribe` returned.
        id: u64,
        /// MQTT 5: success or an error of 0x80 and above, in the order asked. Empty for 3.x.
        codes: Vec<ReasonCode>,
    },
    /// Client: the broker answered a QoS 2 message as if it were one of QoS 1. The message is completed.
    AnsweredAsQos1,
    /// The peer answers PUBREL with PUBREC, again and again. It is not told any more on this connection; it has the message.
    PubrelUnheard,
    /// Client: the broker has forgotten the session we had; what was unacknowledged is being published again.
    SessionLost {
        /// How many messages are sent again as new ones.
        republished: usize,
    },
    /// Server: a client wants in. Answer with [`ServerSession::accept`] or [`ServerSession::refuse`].
    Connect(Box<Connect>),
    /// Server: a client goes on with enhanced authentication. Before it is let in: answer as a CONNECT, or with
    /// [`ServerSession::challenge`]; afterwards with that, or with [`ServerSession::authenticated_again`].
    Auth {
        /// It begins anew, on a connection that stands.
        again: bool,
        /// As in its CONNECT, if it keeps to the protocol.
        method: ByteString,
        /// What it says.
        data: Bytes,
    },
    /// Server: answer with [`ServerSession::suback`].
    Subscribe {
        /// The packet id to answer.
        packet_id: u16,
        /// What is asked for; at least one.
        filters: Vec<SubscribeFilter>,
        /// MQTT 5 subscription identifier.
        subscription_id: Option<u32>,
    },
    /// Server: answer with [`ServerSession::unsuback`].
    Unsubscribe {
        /// The packet id to answer.
        packet_id: u16,
        /// The filters as sent, unchecked: an unknown one is no error.
        filters: Vec<String>,
    },
    /// The peer says goodbye; it closes the connection now.
    Disconnected {
        /// Why; [`ReasonCode::SUCCESS`] for a normal end.
        reason: ReasonCode,
        /// The peer's own words, if any.
        words: Option<String>,
        /// Where a broker sends us instead (MQTT 5.0 section 4.11).
        server_reference: Option<String>,
        /// Server: the client changes its session expiry on leaving.
        session_expiry_s: Option<u32>,
    },
}
