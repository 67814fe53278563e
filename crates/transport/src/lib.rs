//! What MQTT travels on, TCP, Unix sockets, TLS and WebSocket, as one stream of bytes for both ends of a connection.
//!
//! A connection that we open: [`dial()`] races the addresses of a host, does the handshakes of TLS and WebSocket, and
//! returns a [`Stream`]. A connection that is opened to us: [`accept()`] makes a [`Stream`] of an accepted socket. From
//! then on both ends take the same [turns](Turn): [`poll_read`] appends what has come to a buffer, [`WriteSide`] writes
//! what waits in another.
//!
//! Invariants:
//! - a stream that has ended stays ended: reading it again never waits;
//! - a read never takes more than [`READ_BYTES`] unless the buffer has more room already;
//! - nothing here has a deadline or spawns a task: whoever calls bounds the wait;
//! - no word about a failure holds a secret: passwords, keys and values of headers are never repeated;
//! - bytes are bytes: no packet of MQTT is known here, and no file of configuration. (The words about failures do name
//!   the keys of the configuration that help, because they are written for whoever wrote that.)
//!
//! Start reading at `dial.rs` and `accept.rs`, then `turn.rs` for what both ends do with the stream.

mod accept;
mod address;
mod byte_stream;
mod dial;
mod error;
mod happy_eyeballs;
mod hints;
mod proxy;
mod stream;
mod tls;
mod turn;
mod websocket;

pub use accept::{AcceptWebSocket, Socket, accept};
pub use address::Address;
pub use byte_stream::ByteStream;
pub use dial::{Endpoint, dial};
pub use error::TransportError;
pub use proxy::proxied;
pub use stream::Stream;
pub use tls::{ListenTls, ListenTlsFiles, OwnCertificate, PeerNames, TlsError, TlsFiles, TlsSettings, server_tls};
pub use turn::{Lost, READ_BYTES, Turn, WRITE_BYTES, WriteSide, poll_read, write_turn};
pub use websocket::{Origins, WebSocket};
