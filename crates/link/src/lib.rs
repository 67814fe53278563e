//! One connection to one MQTT broker, kept up for as long as its owner wants it.
//!
//! The path of a message in: [`Link::run`] reads up to [`READ_BYTES`](tidegate_transport::READ_BYTES) from the socket, the session drains every frame,
//! and the whole batch goes to the owner's [`Port`] in one call. The path out: the link asks the port for messages while
//! the session has room, and writes all of them with one system call. The owner wakes it through its [`LinkHandle`].
//!
//! Invariants:
//! - a slow write never stops reading: both are polled in the same turn, neither awaits the other;
//! - a received message is acknowledged only as the port says ([`Port::acks`]);
//! - every wait for the broker has a deadline: connect, TLS, WebSocket and MQTT handshake together, each write, and
//!   silence;
//! - what relies on the owner's log leaves only once that is durable ([`Port::gate`]); this wait is for a disk, and has
//!   no deadline of its own;
//! - nothing of a link is shared between threads: links, routes and the box's broker live on one.
//!
//! Start reading at [`Link::run`] in `reconnect.rs`, then `drive.rs` for the turns of a connection and `conclude.rs` for
//! what the link makes of how its broker behaves. How bytes get there and back is the crate `transport`.

mod conclude;
mod drive;
mod gate;
mod habits;
mod hello;
mod hints;
mod link;
mod link_state;
mod live;
mod memory;
mod own;
mod reconnect;
mod settings;
mod subscriptions;
mod suspect;
mod watch;

pub use habits::{GaveUp, Habit};
pub use link::{Link, LinkHandle, Overdue};
pub use link_state::Stats;
pub use settings::{Bridge, Reconnect, Settings, VersionChoice};
pub use subscriptions::{Subscription, SubscriptionProblem};
pub use tidegate_transport::{Address, TlsError, TlsFiles, TlsSettings, TransportError};

use std::time::{Duration, Instant};
use tidegate_message::{Message, TopicFilter};
use tidegate_mqtt::{AckToken, Batch, Connected, PublishError, ReasonCode, Version};

/// The owner's side of a link. Called on the link's own task, never while the link holds anything of its own borrowed,
/// so an implementation may call any [`LinkHandle`].
pub trait Port: 'static {
    /// Takes what one turn has brought out of `heard`, all but its `control`, which is the link's own: what the broker said
    /// of our messages, and messages of its own.
    fn heard(&mut self, heard: &mut Batch, now: Instant);

    /// Puts what is to be acknowledged behind what is in `acks`, in the order of receipt. Asked each time before the link
    /// writes; the owner calls [`LinkHandle::wake`] when there is something new.
    fn acks(&mut self, acks: &mut Vec<AckToken>);

    /// The next message to send. QoS 1 and 2 are wanted only when `has_room`. Asked until there is none, or no room; the
    /// owner calls [`LinkHandle::wake`] when there is something new.
    fn pull(&mut self, has_room: bool, now: Instant) -> Option<Outgoing>;

    /// A pulled message that the broker can never take.
    fn refused(&mut self, key: u64, error: &PublishError);

    /// The connection changed.
    fn status(&mut self, status: &Status);

    /// A pulled QoS 2 message is in the write buffer, under this serial: see [`Published::InFlight`]. Without effect
    /// unless implemented, as all below, which an owner needs whose exactly once outlives the process.
    ///
    /// [`Published::InFlight`]: tidegate_mqtt::Published::InFlight
    fn sent(&mut self, key: u64, serial: u64) {
        let _ = (key, serial);
    }

    /// A message that the broker hangs up on, also when it is sent alone. It is out of the session.
    fn gave_up(&mut self, key: u64, message: Message, why: &GaveUp) {
        let _ = (key, message, why);
    }

    /// What the link must know of its broker in another process, in place of what was handed over before: see
    /// [`LinkHandle::restore_memory`]. If `first`, what is in the write buffer relies on it.
    fn remember(&mut self, memory: &[u8], first: bool) {
        let _ = (memory, first);
    }

    /// The sequence number up to which the owner's log must be durable before what is in the write buffer now may
    /// leave, and all behind it. 0, or a number asked for before on this connection, asks for nothing. Asked each time
    /// before the link writes.
    fn gate(&mut self) -> u64 {
        0
    }

    /// The sequence number up to which the owner's log is durable. The owner calls [`LinkHandle::wake`] when it has
    /// risen. A link that holds bytes back waits for that call as long as it takes: only the broker ends this wait, by
    /// closing the connection or by its silence.
    fn durable(&self) -> u64 {
        u64::MAX
    }
}

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// Comes back in [`Port::heard`], as completed, refused or taken over, or in [`Port::refused`].
    pub key: u64,
    /// With the QoS and retain flag to send it with.
    pub message: Message,
}

/// How a link is doing.
#[derive(Debug, Clone)]
pub enum Status {
    /// The broker accepted us.
    Up {
        /// What is spoken.
        version: Version,
        /// With mosquitto's bridge bit.
        bridge: bool,
        /// What the broker granted.
        connected: Connected,
        /// How long it was asked to keep our session, in seconds.
        session_expiry_asked_s: u32,
    },
    /// The broker has forgotten our session; what was unacknowledged goes out again as new.
    SessionLost {
        /// How many messages that are.
        republished: usize,
    },
    /// The broker does not let us subscribe, or unsubscribe.
    SubscribeRefused {
        /// What we asked for.
        filter: TopicFilter,
        /// Why not, in words.
        words: String,
        /// When we ask again; `None`: at the next connection.
        again_in: Option<Duration>,
    },
    /// The broker sends messages of this filter at a lower QoS than we asked for.
    GrantedLess {
        /// Which.
        filter: TopicFilter,
        /// 1 or 2.
        asked: u8,
        /// 0 or 1.
        granted: u8,
    },
    /// The broker does something in its own way, and the link has found a way to live with that.
    Habit(Habit),
    /// Not connected; another attempt follows.
    Down {
        /// What happened.
        error: LinkError,
        /// When the next attempt starts.
        retry_in: Duration,
        /// True when a connection that was up is lost, false when an attempt failed.
        was_up: bool,
        /// What is tried next, if that is another way of saying hello.
        then: Option<String>,
    },
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// No connection, no TLS, no WebSocket, or what was there broke.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What answers CONNECT speaks something else, and what that is says what to do.
    #[error("{0}")]
    NotMqtt(&'static str),
    /// Connecting and all handshakes took too long.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// A write made no progress.
    #[error("the broker has read nothing for {0:?}")]
    WriteTimeout(Duration),
    /// Connected, and nothing came for CONNECT.
    #[error("no answer to CONNECT of {hello} within {waited:?}")]
    NoConnack {
        /// What was said.
        hello: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Messages were not answered, and others may never be behind them: they are sent again on a new connection.
    #[error("{count} messages unanswered for {waited:?}, the first to `{}` at QoS {qos}: sending them again", topic.escape_debug())]
    Unanswered {
        /// How many.
        count: usize,
        /// At least.
        waited: Duration,
        /// Of the first.
        topic: String,
        /// Of the first.
        qos: u8,
    },
    /// CONNACK said no.
    #[error("the broker refused the connection: {reason}{}", quoted(.words, .server_reference))]
    Refused {
        /// Why.
        reason: ReasonCode,
        /// The broker's own words.
        words: Option<String>,
        /// The server that it names instead.
        server_reference: Option<String>,
    },
    /// DISCONNECT.
    #[error("the broker ended the connection: {reason}{}{}", quoted(.words, .server_reference), hint_at(*.reason))]
    Disconnected {
        /// Why.
        reason: ReasonCode,
        /// The broker's own words.
        words: Option<String>,
        /// The server that it names instead.
        server_reference: Option<String>,
    },
    /// The connection was closed without a word.
    #[error("the broker closed the connection{}{hint}", if *.during_handshake { " instead of answering CONNECT" } else { "" })]
    Closed {
        /// Before CONNACK: often a sign of a protocol version the broker does not know.
        during_handshake: bool,
        /// What that mostly means, to go behind the words.
        hint: String,
    },
    /// Malformed packets, silence.
    #[error("{0}")]
    Protocol(#[from] tidegate_mqtt::ProtocolError),
}

fn hint_at(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::SESSION_TAKEN_OVER => hints::SAME_CLIENT_ID,
        _ => "",
    }
}

fn quoted(words: &Option<String>, server: &Option<String>) -> String {
    let words = words.as_ref().map(|words| format!(" (\"{}\")", shown(words)));
    let server = server.as_ref().map(|server| format!("; it says to use {}", shown(server)));
    words.into_iter().chain(server).collect()
}

/// What a broker says, escaped and cut, for a line of the log.
pub fn shown(words: &str) -> String {
    /// In characters.
    const SHOWN_MAX: usize = 200;
    let cut: String = words.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    let is_cut = words.chars().nth(SHOWN_MAX).is_some();
    if is_cut { cut + "..." } else { cut }
}

impl LinkError {
    /// The connection was closed without a word.
    pub(crate) const fn closed(during_handshake: bool) -> Self {
        Self::Closed { during_handshake, hint: String::new() }
    }
}
