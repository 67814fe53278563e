//! What the bytes of a client travel on.

use crate::settings::{Scheme, Settings};
use crate::websocket::{self, ByteStream, Origins};
use std::io;
use tokio::net::TcpStream;

/// A client's socket, with every handshake below MQTT done. TLS goes here.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Ws(Box<ByteStream<TcpStream>>),
}

/// Does the handshakes below MQTT.
pub(crate) async fn accept(socket: TcpStream, scheme: Scheme, settings: &Settings) -> io::Result<Transport> {
    // Batches are written whole: waiting for more would only add delay.
    socket.set_nodelay(true)?;
    if scheme == Scheme::Mqtt {
        return Ok(Transport::Tcp(socket));
    }
    let origins = match settings.allow_anonymous {
        false => Origins::All,
        true if socket.local_addr()?.ip().is_loopback() => Origins::Loopback,
        true => Origins::SameHost,
    };
    Ok(Transport::Ws(Box::new(websocket::accept(socket, settings.max_packet_size, origins).await?)))
}
