//! A connection that we open: TCP or Unix, then TLS, then WebSocket.

use crate::address::Address;
use crate::error::TransportError;
use crate::happy_eyeballs::{self, Real};
use crate::hints;
use crate::stream::Stream;
use crate::tls::TlsSettings;
use crate::websocket::{Request, shake_hands};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

/// Whom to connect to, and what to speak below MQTT. On a Unix socket only the address counts.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// With TLS.
    pub tls: Option<&'a TlsSettings>,
    /// With WebSocket, at this path, with or without its slash.
    pub websocket: Option<&'a str>,
    /// What the request for the WebSocket says beside the usual: names and values of headers. Values may be secrets.
    pub headers: &'a [(String, String)],
}

/// Connects, with every handshake below MQTT. Without a deadline of its own.
///
/// # Errors
/// Which step failed, what mostly is the reason, and what to do about it.
pub async fn dial(endpoint: Endpoint<'_>) -> Result<Stream, TransportError> {
    let (host, port) = match endpoint.address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let fail = |error: std::io::Error| TransportError::io(format!("{}: {error}", path.display()), error);
            return Ok(Stream::Unix(stream.map_err(fail)?));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let tcp = happy_eyeballs::connect(&Real, host, port).await?;
    // Batches are written whole: waiting for more would only add delay.
    tcp.set_nodelay(true)?;
    let request = endpoint.websocket.map(|path| Request { host, port, path, headers: endpoint.headers });
    let Some(tls) = endpoint.tls else {
        return match request {
            Some(request) => Ok(Stream::Ws(Box::new(shake_hands(tcp, "ws", request).await?))),
            None => Ok(Stream::Tcp(tcp)),
        };
    };
    let stream = secure(tls, tcp, request.is_some()).await?;
    match request {
        Some(request) => Ok(Stream::Wss(Box::new(shake_hands(stream, "wss", request).await?))),
        None => Ok(Stream::Tls(Box::new(stream))),
    }
}

async fn secure(tls: &TlsSettings, tcp: TcpStream, websocket: bool) -> Result<TlsStream<TcpStream>, TransportError> {
    let name = ServerName::try_from(tls.server_name.clone())
        .map_err(|error| TransportError::tls(format!("`{}` is no server name", tls.server_name), error))?;
    tls.trust.begin();
    let connected = TlsConnector::from(tls.config.clone()).connect(name, tcp).await;
    let connected = connected.map(TlsStream::from);
    connected.map_err(|error| hints::handshake_failed(error, tls.trust.has_seen(), websocket))
}
