//! Where clients connect.

use crate::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tidegate_transport::Socket;
use tokio::net::{TcpListener, ToSocketAddrs, UnixListener};

/// Whoever may enter the folder of a Unix socket may connect there, as with those of other brokers.
const UNIX_MODE: u32 = 0o666;

/// Connections that the system holds for us until we take them; it may have a lower bound of its own (`net.core.somaxconn`). Who finds no
/// room tries again after a second, and after a power cut a whole plant comes at once: the standard library's 128 are few.
const BACKLOG: i32 = 4096;

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
    /// A Unix socket.
    Unix,
}

impl Scheme {
    /// As an address has it before `://`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ip(SocketAddr),
    /// At a Unix socket.
    Unix,
}

impl Peer {
    /// What its connections and failures are counted by: a Unix socket is this machine.
    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Ip(address) => address.ip(),
            Self::Unix => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A bound socket. It is closed with the last of its clones.
#[derive(Debug, Clone)]
pub struct Listener {
    socket: Rc<Bound>,
    pub(crate) scheme: Scheme,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    /// With its path, which is removed with it.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Where it listens: with the port the system chose if 0 was asked for. A Unix socket has none.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &*self.socket {
            Bound::Tcp(socket) => socket.local_addr(),
            Bound::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What it speaks.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same socket, for another broker to take clients from when this one has stopped: those that wait in between stay.
    #[must_use]
    pub fn speaking(&self, scheme: Scheme) -> Self {
        Self { socket: self.socket.clone(), scheme }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &*self.socket {
            Bound::Tcp(socket) => {
                let (socket, peer) = socket.accept().await?;
                Ok((Socket::Tcp(socket), Peer::Ip(peer)))
            }
            Bound::Unix(socket, _) => Ok((Socket::Unix(socket.accept().await?.0), Peer::Unix)),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a listener; port 0 lets the system choose one.
///
/// # Errors
/// [`Error::Bind`] when the address is taken, unknown or not ours.
pub async fn bind(addr: impl ToSocketAddrs + std::fmt::Display, scheme: Scheme) -> Result<Listener, Error> {
    let name = addr.to_string();
    let bound = async {
        let socket = TcpListener::bind(addr).await?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let socket = bound.await.map_err(|source| Error::Bind { addr: name, source })?;
    Ok(Listener { socket: Rc::new(Bound::Tcp(socket)), scheme })
}

/// Binds a Unix socket. One that a process has left behind that was killed is taken away first; one at which somebody answers is
/// taken.
///
/// # Errors
/// [`Error::Bind`], with the path.
pub fn bind_unix(path: &Path) -> Result<Listener, Error> {
    let bound = || {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let is_socket = |path: &Path| {
            use std::os::unix::fs::FileTypeExt;
            std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        };
        if is_socket(path) {
            std::fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path)?;
        rustix::net::listen(&socket, BACKLOG)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_MODE))?;
        Ok(socket)
    };
    let socket = bound().map_err(|source| Error::Bind { addr: path.display().to_string(), source })?;
    Ok(Listener { socket: Rc::new(Bound::Unix(socket, path.to_owned())), scheme: Scheme::Unix })
}
