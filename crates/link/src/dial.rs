//! From an address to a stream of bytes: TCP or Unix, then TLS, then WebSocket.

use crate::addresses::{self, Real};
use crate::settings::{Address, Settings};
use crate::tls::TlsSettings;
use crate::websocket::{self, ByteStream, Request};
use crate::{LinkError, hints};
use rustls::pki_types::ServerName;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whatever the bytes travel on.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<ByteStream<TcpStream>>),
    Wss(Box<ByteStream<TlsStream<TcpStream>>>),
}

/// Connects, with every handshake below MQTT.
pub(crate) async fn dial(settings: &Settings) -> Result<Transport, LinkError> {
    let (host, port) = match &settings.address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            return Ok(Transport::Unix(stream.map_err(|e| LinkError::Io(format!("{}: {e}", path.display())))?));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let tcp = addresses::connect(&Real, host, port).await.map_err(LinkError::Io)?;
    // Batches are written whole: waiting for more would only add delay.
    tcp.set_nodelay(true)?;
    let request = settings.websocket.as_deref().map(|path| Request { host, port, path, headers: &settings.headers });
    let Some(tls) = &settings.tls else {
        return match request {
            Some(request) => Ok(Transport::Ws(Box::new(websocket::shake_hands(tcp, "ws", request).await?))),
            None => Ok(Transport::Tcp(tcp)),
        };
    };
    let stream = secure(tls, tcp, request.is_some()).await?;
    match request {
        Some(request) => Ok(Transport::Wss(Box::new(websocket::shake_hands(stream, "wss", request).await?))),
        None => Ok(Transport::Tls(Box::new(stream))),
    }
}

async fn secure(tls: &TlsSettings, tcp: TcpStream, websocket: bool) -> Result<TlsStream<TcpStream>, LinkError> {
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|_| LinkError::Tls(format!("`{}` is no server name", tls.server_name)))?;
    tls.trust.begin();
    let connected = TlsConnector::from(tls.config.clone()).connect(name, tcp).await;
    connected.map_err(|error| hints::handshake_failed(&error, tls.trust.has_seen(), websocket))
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Tcp($stream) => $call,
            Transport::Unix($stream) => $call,
            Transport::Tls($stream) => $call,
            Transport::Ws($stream) => $call,
            Transport::Wss($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, out))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
