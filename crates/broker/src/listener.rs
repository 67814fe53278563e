//! Where clients connect.

use crate::error::Error;
use std::net::SocketAddr;
use tokio::net::{TcpListener, ToSocketAddrs};

/// What a listener speaks below MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Mqtt,
    /// TLS: see [`Settings::tls`](crate::Settings::tls).
    Mqtts,
    /// WebSocket, any path.
    Ws,
    /// WebSocket over TLS, any path.
    Wss,
}

impl Scheme {
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) scheme: Scheme,
}

impl Listener {
    /// Where it listens: with the port the system chose if 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What it speaks.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// Binds a listener; port 0 lets the system choose one.
///
/// # Errors
/// [`Error::Bind`] when the address is taken, unknown or not ours.
pub async fn bind(addr: impl ToSocketAddrs + std::fmt::Display, scheme: Scheme) -> Result<Listener, Error> {
    let name = addr.to_string();
    let socket = TcpListener::bind(addr).await.map_err(|source| Error::Bind { addr: name, source })?;
    Ok(Listener { socket, scheme })
}
