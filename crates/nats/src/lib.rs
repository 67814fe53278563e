//! One connection to one NATS JetStream, kept up for as long as its owner wants it: messages into a stream, and out of it
//! through a durable consumer.
//!
//! The path of a message out: the connection asks its owner's [`Port`] for messages while its `outbox` has room, publishes
//! them with their ids, many at a time and of each subject one, and tells the port which the stream has acknowledged. The
//! path in: it asks the consumer for as many messages as the owner may have unacknowledged, gives each to the port, and
//! acknowledges it when the port says so; until then it tells the server that it still has it. The owner wakes the connection
//! through its [`NatsHandle`].
//!
//! Invariants:
//! - a message is delivered only when the stream has acknowledged it, and is sent under the same id until then;
//! - of one subject, no message is sent before the stream has acknowledged the one before it;
//! - a received message is acknowledged only as the port says ([`Port::acks`]), and is given to the port once in a process;
//! - a client of `async_nats` lives as long as one TCP connection: what it had queued is never sent on another;
//! - every wait for the server has a deadline;
//! - nothing is shared between threads.
//!
//! Start reading at [`Nats::run`] in `reconnect.rs`, then `drive.rs` for a connection that is up, `subject` and `headers` for
//! what becomes of topics and properties.

mod ack_subject;
mod connect;
mod drive;
mod headers;
mod inbox;
mod intake;
mod nats;
mod outbox;
mod prepare;
mod reconnect;
mod settings;
pub mod subject;

pub use nats::{Nats, NatsHandle};
pub use settings::Settings;

use std::time::{Duration, Instant};
use tidegate_message::Message;

/// The owner's side of a connection. Called on the connection's own task, never while it holds anything of its own borrowed,
/// so an implementation may call any [`NatsHandle`].
pub trait Port: 'static {
    /// Takes messages of the stream.
    fn arrived(&mut self, messages: &mut Vec<Arrived>, now: Instant);

    /// Puts the numbers of messages that are to be acknowledged behind what is in `numbers`. The owner calls
    /// [`NatsHandle::wake`] when there is something new.
    fn acks(&mut self, numbers: &mut Vec<u64>);

    /// The next message to publish. Asked until there is none, or no room; the owner calls [`NatsHandle::wake`] when there is
    /// something new.
    fn pull(&mut self, now: Instant) -> Option<Outgoing>;

    /// The stream has these messages, by their keys.
    fn delivered(&mut self, keys: &mut Vec<u64>, now: Instant);

    /// Messages that were pulled and are not in the stream, in the order in which they were pulled: the owner has them again.
    /// If there is a `refusal`, the server has refused the first of them for now, in these words; returns for how long it is
    /// to be left alone.
    fn returned(&mut self, messages: Vec<Outgoing>, refusal: Option<&str>, now: Instant) -> Duration;

    /// A pulled message that the stream can never take.
    fn refused(&mut self, message: Outgoing, why: &Refused);

    /// The connection changed.
    fn status(&mut self, status: &Status);
}

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// Comes back in [`Port::delivered`], [`Port::returned`] or [`Port::refused`].
    pub key: u64,
    /// The same whenever this message is sent, and no other's: the stream takes a second one with it for a repeat (header
    /// `Nats-Msg-Id`), for as long as its `duplicate_window` says.
    pub id: String,
    /// As it is to be sent.
    pub message: Message,
}

/// A message from the stream.
#[derive(Debug)]
pub struct Arrived {
    /// As it came.
    pub message: Message,
    /// For [`Port::acks`].
    pub number: u64,
    /// It was delivered before, to us or to another.
    pub redelivered: bool,
}

/// Why a stream can never take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Larger than the server or the stream takes, or its subject is.
    #[error("{0}")]
    TooLarge(String),
    /// The stream is not for its subject.
    #[error("{0}")]
    NoSubject(String),
}

/// How a connection is doing.
#[derive(Debug, Clone)]
pub enum Status {
    /// Stream and, if anything is subscribed to, consumer are there.
    Up {
        /// The server's version.
        version: String,
        /// Its name.
        server: String,
        /// What is worth knowing of the stream.
        notes: Vec<String>,
    },
    /// The stream was missing, and is made.
    Created {
        /// `stream` or `consumer`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A message came that cannot be taken; it is acknowledged.
    Skipped {
        /// A stable word.
        reason: &'static str,
        /// Where it came from.
        subject: String,
    },
    /// Not connected, or not able to work; another attempt follows.
    Down {
        /// What happened.
        error: NatsError,
        /// When the next attempt starts.
        retry_in: Duration,
        /// True when a connection that was up is lost, false when an attempt failed.
        was_up: bool,
    },
}

/// Why there is no connection that works.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NatsError {
    /// No server lets us in: each with its reason.
    #[error("{0}")]
    Connect(String),
    /// Stream or consumer are not as they are needed, and what to do.
    #[error("{0}")]
    Stream(String),
    /// The connection is gone.
    #[error("the server closed the connection{}", said(.0))]
    Lost(Option<String>),
    /// Messages were published and not acknowledged: they are sent again.
    #[error("{count} messages unanswered for {waited:?}: sending them again{}", said(.words))]
    Unanswered {
        /// How many.
        count: usize,
        /// At least.
        waited: Duration,
        /// What the server said last.
        words: Option<String>,
    },
    /// Nobody answers for the stream: it has no leader, or is gone.
    #[error("nobody answers for the stream `{0}`: it has no leader now, or is gone")]
    NoResponders(String),
    /// The consumer has stopped to send.
    #[error("the consumer `{consumer}` sends nothing any more: {words}")]
    Consumer {
        /// Its name.
        consumer: String,
        /// What the server said.
        words: String,
    },
}

fn said(words: &Option<String>) -> String {
    words.as_ref().map(|words| format!("; it said: {}", shown(words))).unwrap_or_default()
}

/// What a server says, escaped and cut, for a line of the log.
pub(crate) fn shown(words: &str) -> String {
    /// In characters.
    const SHOWN_MAX: usize = 200;
    words.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}
