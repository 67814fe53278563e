//! The box's own MQTT broker: listeners over the server session, with an in-process way to the gateway.
//!
//! The path of a message: a client's task reads up to [`READ_BYTES`](tidegate_transport::READ_BYTES) from its socket, the session drains every frame
//! into one batch, and the batch is distributed before anything else runs. For each message the subscribers of its
//! topic are looked up (mostly in a cache). Subscribers that can take it have it encoded straight into their write
//! buffer and are woken once; for others it waits in their session's bounded queue. The gateway is a subscriber too,
//! [`Local`]: it gets its part of the batch in one call of [`LocalSink::received`]. Then every woken client's task
//! writes its buffer with one system call.
//!
//! Invariants:
//! - everything lives on one thread, in `Rc` and `RefCell`; no borrow of [`state::State`] is held across an await or
//!   while the gateway is called;
//! - a QoS 1 or 2 message that the gateway subscribed to with QoS 1 or 2 is acknowledged to its publisher only by
//!   [`Local::ack`];
//! - what is kept (retained, queued, in flight, a will) never shares memory with a read buffer;
//! - every queue, table and buffer has a named limit in [`Limits`] or beside its code, and every drop is counted in
//!   [`Dropped`];
//! - what is taken from a client or the gateway is what every other broker takes too, unless the settings allow more:
//!   a message that the next broker hangs up on would be sent to it again and again;
//! - a password is never checked on the data thread, never logged, never kept.
//!
//! Start reading at [`Broker`] in `run.rs`, then `client.rs` for the turn of a connection and `publish.rs` for the way
//! of a message; `refuse.rs` says what is not taken, `sys.rs` what the broker says of itself. Access lists belong into
//! `access.rs`, durable sessions behind `session.rs` and `retained.rs`, TLS listeners into the crate `transport`.

mod access;
mod admit;
mod auth;
mod client;
mod groups;
mod handshake;
mod local;
mod log_limit;
mod matches;
mod publish;
mod queue;
mod refuse;
mod retained;
mod run;
mod session;
mod settings;
mod state;
mod stats;
mod subscribe;
mod sys;
mod users;
mod wake;

pub use local::{Local, LocalAck, LocalReceived, LocalSink};
pub use refuse::{Part, Refusal, check_from_client, check_from_local};
pub use run::{Broker, Error};
pub use settings::{Limits, Listener, Scheme, Settings, bind};
pub use stats::{Dropped, Stats};
pub use users::{UserLineError, UserProblem, Users};
