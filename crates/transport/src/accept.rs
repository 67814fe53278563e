//! A connection that is opened to us: TCP, then WebSocket. TLS goes here.

use crate::stream::Stream;
use crate::websocket::{self, Origins};
use std::io;
use tokio::net::TcpStream;

/// How a WebSocket is taken.
#[derive(Debug, Clone, Copy)]
pub struct AcceptWebSocket {
    /// A WebSocket message may be at least this long, in bytes: the largest packet that is taken.
    pub max_packet_size: u32,
    /// Which web pages may open one.
    pub origins: Origins,
}

/// Does the handshakes below MQTT for an accepted socket; `websocket` for a listener of WebSockets. Without a deadline
/// of its own.
///
/// # Errors
/// The socket broke, or the WebSocket was refused; the other end was told.
pub async fn accept(socket: TcpStream, websocket: Option<AcceptWebSocket>) -> io::Result<Stream> {
    // Batches are written whole: waiting for more would only add delay.
    socket.set_nodelay(true)?;
    match websocket {
        None => Ok(Stream::Tcp(socket)),
        Some(how) => Ok(Stream::Ws(Box::new(websocket::accept(socket, how.max_packet_size, how.origins).await?))),
    }
}
