//! The admin server's socket, and the connections that come to it.

use crate::access::Peer;
use crate::guard::Guard;
use crate::patient::Patient;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::AdminAddr;
use tidegate_gateway::{Error, listeners};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// So many connections at a time. A page has two.
const CONNECTIONS_MAX: usize = 512;

/// How long the head of a request and the handshake of TLS may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// A head is no longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// After an error of the system's, such as too many open files.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The admin server's socket.
pub(crate) enum Socket {
    /// Address and port.
    Tcp(std::net::TcpListener),
    /// A path.
    Unix(std::os::unix::net::UnixListener),
}

impl Socket {
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Binds the socket; `None` when its address is not there yet.
///
/// # Errors
/// Why nothing can be served there.
pub(crate) fn bind(listen: &AdminAddr) -> Result<Option<Socket>, Error> {
    let refused = |at: &dyn std::fmt::Display, error| listeners::refused("the admin server", at, &error);
    match listen {
        AdminAddr::Tcp(addr) => match tcp(*addr) {
            Ok(listener) => Ok(Some(Socket::Tcp(listener))),
            Err(error) if listeners::may_come(&error) => {
                tracing::warn!("the admin server: {}", listeners::absent(addr));
                Ok(None)
            }
            Err(error) => Err(refused(addr, error)),
        },
        AdminAddr::Unix(path) => {
            let at = path.display();
            // Left behind by a run that was killed it is in the way; a gateway that runs answers at it.
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(refused(&at, std::io::ErrorKind::AddrInUse.into()));
            }
            let _ = std::fs::remove_file(path);
            let bound = std::os::unix::net::UnixListener::bind(path);
            let bound = bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
            Ok(Some(Socket::Unix(bound.map_err(|error| refused(&at, error))?)))
        }
    }
}

fn tcp(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let kind = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(kind, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// Binds an address that was not there, as soon as it is.
pub(crate) async fn bind_later(listen: &AdminAddr) -> Socket {
    let mut again = listeners::Again::new();
    loop {
        tokio::time::sleep(again.wait()).await;
        // Whatever is wrong with it now was not so when the gateway started, and may pass.
        if let AdminAddr::Tcp(addr) = listen
            && let Ok(listener) = tcp(*addr)
        {
            return Socket::Tcp(listener);
        }
    }
}

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) router: axum::Router,
    pub(crate) guard: Arc<Guard>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) stop: CancellationToken,
}

impl Door {
    /// Takes connections until it is stopped.
    ///
    /// # Errors
    /// The socket is none that can be waited for.
    pub(crate) async fn open(self, socket: Socket) -> std::io::Result<()> {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stop = self.stop.clone();
        match socket {
            Socket::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                if let Ok(addr) = listener.local_addr() {
                    tracing::info!(%addr, "admin listener");
                }
                while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                    let Ok((stream, from)) = accepted else {
                        tokio::time::sleep(AGAIN_AFTER).await;
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let peer = if from.ip().to_canonical().is_loopback() { Peer::Local } else { Peer::Remote };
                    if let Some(permit) = self.admit(&room) {
                        tokio::spawn(self.clone().talk_through(stream, peer, permit));
                    }
                }
            }
            Socket::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(AGAIN_AFTER).await;
                        continue;
                    };
                    if let Some(permit) = self.admit(&room) {
                        tokio::spawn(self.clone().serve(stream, Peer::Socket, permit));
                    }
                }
            }
        }
        Ok(())
    }

    fn admit(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let permit = room.clone().try_acquire_owned().ok();
        if permit.is_none() {
            self.guard.count("too_many_connections");
        }
        permit
    }

    async fn talk_through(self, stream: tokio::net::TcpStream, peer: Peer, permit: OwnedSemaphorePermit) {
        match self.tls.clone() {
            None => self.serve(stream, peer, permit).await,
            Some(tls) => match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve(stream, peer, permit).await,
                Ok(Err(_)) => self.guard.count("no_tls"),
                Err(_) => self.guard.count("too_slow"),
            },
        }
    }

    async fn serve<S>(self, stream: S, peer: Peer, _permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { router, guard, stop, .. } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let router = router.clone();
            async move { Ok::<Response<Body>, Infallible>(call(router, request.map(Body::new)).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
        let talk = http.serve_connection(TokioIo::new(Patient::new(stream)), service);
        if let Some(Err(error)) = stop.run_until_cancelled(talk).await {
            let is_slow = |error: &(dyn std::error::Error + 'static)| {
                error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
            };
            if error.is_timeout() || std::error::Error::source(&error).is_some_and(is_slow) {
                guard.count("too_slow");
            } else if error.is_parse() || error.is_parse_too_large() {
                guard.count("no_http");
            }
        }
    }
}

async fn call(router: axum::Router, request: Request<Body>) -> Response<Body> {
    let answer = TowerToHyperService::new(router).call(request).await;
    answer.unwrap_or_else(|never| match never {})
}
