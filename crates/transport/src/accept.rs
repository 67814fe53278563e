//! A connection that is opened to us: TCP, then TLS, then WebSocket; or a Unix socket.

use crate::stream::Stream;
use crate::tls::{ListenTls, PeerNames, peer_names};
use crate::websocket::{self, Origins};
use std::io;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// How a WebSocket is taken.
#[derive(Debug, Clone, Copy)]
pub struct AcceptWebSocket {
    /// A WebSocket message may be at least this long, in bytes: the largest packet that is taken.
    pub max_packet_size: u32,
    /// Which web pages may open one.
    pub origins: Origins,
}

/// A socket that was accepted.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket; has neither TLS nor WebSocket.
    Unix(UnixStream),
}

/// Does the handshakes below MQTT for an accepted socket; `tls` for a listener with TLS, `websocket` for one of WebSockets. Without a
/// deadline of its own. Returns the names in the client's certificate, too, if it has shown one that is good.
///
/// # Errors
/// The socket broke, or a handshake failed; the other end was told.
pub async fn accept(
    socket: Socket,
    tls: Option<&ListenTls>,
    websocket: Option<AcceptWebSocket>,
) -> io::Result<(Stream, Option<PeerNames>)> {
    let socket = match socket {
        Socket::Tcp(socket) => socket,
        Socket::Unix(socket) => return Ok((Stream::Unix(socket), None)),
    };
    // Batches are written whole: waiting for more would only add delay.
    socket.set_nodelay(true)?;
    let Some(tls) = tls else {
        let stream = match websocket {
            None => Stream::Tcp(socket),
            Some(how) => Stream::Ws(Box::new(websocket::accept(socket, how.max_packet_size, how.origins).await?)),
        };
        return Ok((stream, None));
    };
    let secured = TlsAcceptor::from(tls.config.clone()).accept(socket).await.map_err(told)?;
    let names = peer_names(secured.get_ref().1.peer_certificates());
    let secured = TlsStream::from(secured);
    let stream = match websocket {
        None => Stream::Tls(Box::new(secured)),
        Some(how) => Stream::Wss(Box::new(websocket::accept(secured, how.max_packet_size, how.origins).await?)),
    };
    Ok((stream, names))
}

/// What failed, for the log of whoever runs the box.
fn told(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let words = match cause {
        Some(rustls::Error::InvalidMessage(_)) => {
            "TLS: the client speaks none; it comes to a port for clients that do".to_owned()
        }
        Some(rustls::Error::NoCertificatesPresented) => "TLS: the client has shown no certificate".to_owned(),
        Some(rustls::Error::InvalidCertificate(why)) => format!("TLS: the client's certificate is not good: {why:?}"),
        Some(rustls::Error::AlertReceived(alert)) => {
            format!(
                "TLS: the client ended it: {alert:?}; does it trust our certificate, and is the name in it the one it calls?"
            )
        }
        Some(other) => format!("TLS: {other}"),
        None => return error,
    };
    io::Error::new(error.kind(), words)
}
