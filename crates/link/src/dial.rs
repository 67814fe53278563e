//! From an address to a stream of bytes: TCP or Unix, then TLS, then WebSocket.

use crate::LinkError;
use crate::settings::{Address, Settings};
use crate::websocket::{ByteStream, SUBPROTOCOL};
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

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
    let tcp = TcpStream::connect((host, port)).await.map_err(|e| LinkError::Io(format!("{host}:{port}: {e}")))?;
    // Batches are written whole: waiting for more would only add delay.
    tcp.set_nodelay(true)?;
    let Some(tls) = &settings.tls else {
        return match &settings.websocket {
            Some(path) => Ok(Transport::Ws(Box::new(websocket(tcp, "ws", host, port, path).await?))),
            None => Ok(Transport::Tcp(tcp)),
        };
    };
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|_| LinkError::Tls(format!("`{}` is no server name", tls.server_name)))?;
    let stream = TlsConnector::from(tls.config.clone()).connect(name, tcp).await.map_err(|error| tls_failed(&error))?;
    match &settings.websocket {
        Some(path) => Ok(Transport::Wss(Box::new(websocket(stream, "wss", host, port, path).await?))),
        None => Ok(Transport::Tls(Box::new(stream))),
    }
}

/// What the handshake says, and what that mostly means.
pub(crate) fn tls_failed(error: &std::io::Error) -> LinkError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let hint = match cause {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; set `server_name` to a name that the broker's certificate has",
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "; renew the broker's certificate, or set this machine's clock",
        Some(rustls::Error::InvalidCertificate(_)) => "; `ca` must be the issuer of the broker's certificate",
        Some(rustls::Error::AlertReceived(_)) => "; it may want a client certificate that it trusts: `cert` and `key`",
        _ => "",
    };
    LinkError::Tls(format!("{error}{hint}"))
}

async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    scheme: &str,
    host: &str,
    port: u16,
    path: &str,
) -> Result<ByteStream<S>, LinkError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("{scheme}://{host}:{port}/{}", path.trim_start_matches('/'));
    let refused = |error: tokio_tungstenite::tungstenite::Error| LinkError::WebSocket(error.to_string());
    let mut request = url.into_client_request().map_err(refused)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (stream, response) = client_async(request, stream).await.map_err(refused)?;
    let agreed = response.headers().get("Sec-WebSocket-Protocol");
    if agreed.is_none_or(|value| value != SUBPROTOCOL) {
        return Err(LinkError::WebSocket("the server does not agree to the subprotocol `mqtt`".to_owned()));
    }
    Ok(ByteStream::new(stream))
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
