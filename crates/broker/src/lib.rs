//! The box's own MQTT broker: listeners over the server session, with an in-process way to the gateway.
//!
//! The path of a message: a client's task reads up to [`READ_BYTES`](tidegate_transport::READ_BYTES) from its socket, the
//! session drains every frame into one batch, and the batch is distributed before anything else runs. For each message
//! the subscribers of its topic are looked up (mostly in a cache). Subscribers that can take it have it encoded straight
//! into their write buffer and are woken once; for others it waits in their session's bounded queue. The gateway is a
//! subscriber too, [`Local`]: it gets its part of the batch in one call of [`LocalSink::received`]. Then every woken
//! client's task writes its buffer with one system call.
//!
//! Invariants:
//! - everything lives on one thread, in `Rc` and `RefCell`; no borrow of `BrokerState` is held across an await or while the
//!   gateway is called;
//! - a QoS 1 or 2 message that the gateway subscribed to with QoS 1 or 2 is acknowledged to its publisher only by
//!   [`Local::ack`];
//! - what is kept (retained, queued, in flight, a will) never shares memory with a read buffer;
//! - every queue, table and buffer has a named limit in [`Limits`] or beside its code, and every drop is counted in
//!   [`Dropped`];
//! - what is taken from a client or the gateway is what every other broker takes too, unless the settings allow more:
//!   a message that the next broker hangs up on would be sent to it again and again;
//! - a password is never checked on the data thread, never logged, never kept.
//!
//! Start reading at [`Broker`] in `broker.rs`, then `client.rs` for the life of a connection and its turns. What a client
//! sends meets `BrokerState` in a file for each packet: `connect.rs`, `subscribe.rs`, `publish.rs`,
//! `disconnect.rs`. Three doors are passed on the way: `authenticate.rs` (who is it; by SCRAM `exchange.rs`), `authorize.rs` (may it, by
//! `access.rs`) and `refusal.rs` (would every other broker take it). Retained messages follow a SUBSCRIBE in `replay.rs`. What outlives the process is written down in `recording.rs` and taken up in `restore.rs`.
//!
//! Files import downwards only: data (`session`, `subscriptions`, `retained`, ...), then `broker_state`, then what happens
//! to it, then `shared`, then tasks and handles.

mod access;
mod acl_file;
mod addresses;
mod authenticate;
mod authorize;
mod broker;
mod broker_state;
mod client;
mod clients;
mod connect;
mod connection;
mod deliver;
mod disconnect;
mod error;
mod exchange;
mod expiry;
mod gateway_kept;
mod gateway_subscriptions;
mod groups;
mod hand_on;
mod in_flight;
mod inbox;
mod listener;
mod load;
mod local;
mod local_replays;
mod log_limit;
mod parcel;
mod persisted;
mod publish;
mod publish_sys;
mod publisher;
mod queue;
mod recording;
mod refusal;
mod refuse;
mod replay;
mod replays;
mod restore;
mod retained;
mod retained_order;
mod scram;
mod session;
mod settings;
mod settled;
mod shared;
mod stats;
mod subscribe;
mod subscribed;
mod subscriptions;
mod sys;
mod users;
mod wake;

pub use access::{Access, AccessRule, Action, Certificate, ClientNames, Permits, Whom};
pub use acl_file::{AclLineError, parse as parse_acl_file};
pub use addresses::FailedLogins;
pub use broker::Broker;
pub use clients::{Client, ClientConnection, ClientDetails, ClientSubscription, ClientsWanted};
pub use error::Error;
pub use inbox::{LocalAck, LocalReceived, LocalRelease, LocalSink};
pub use listener::{Listener, Scheme, bind, bind_unix};
pub use local::Local;
pub use persisted::Persisted;
pub use refusal::{Part, Refusal, check_from_client, check_from_local};
pub use settings::{IdentityFrom, Limits, Settings};
pub use stats::{Dropped, KeptStats, Stats};
pub use tidegate_persistence::{DiskError, Origin};
pub use tidegate_transport::{ListenTls, ListenTlsFiles, OwnCertificate, TlsError};
pub use users::{UserHash, UserLineError, UserProblem, Users, user_line};
