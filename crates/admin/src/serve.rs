//! The server: bound before the gateway opens any link, and from its start on on a thread of its own.

use crate::access::Access;
use crate::guard::{Guard, pass};
use crate::listen::{Door, Socket, bind, bind_later};
use crate::logbook::Logbook;
use crate::stream::Streams;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_config::{Admin as Settings, Config};
use tidegate_gateway::{Console, Error};
use tidegate_transport::server_tls;
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What handlers know.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) console: Console,
    pub(crate) guard: Arc<Guard>,
    pub(crate) logbook: Logbook,
    pub(crate) streams: Streams,
    /// Plugins are compiled for one who asks at a time.
    pub(crate) explaining: Arc<Semaphore>,
    /// And a configuration is saved by one.
    pub(crate) applying: Arc<Semaphore>,
    /// The file of the configuration.
    pub(crate) file: Arc<PathBuf>,
    /// Has it read once more.
    pub(crate) reload: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

/// An admin server that is bound and serves nothing yet: another gateway in its place is found out before this one throws
/// out its clients.
pub struct Admin {
    settings: Settings,
    data_dir: PathBuf,
    socket: Option<Socket>,
    access: Access,
    tls: Option<TlsAcceptor>,
}

impl Admin {
    /// Binds what a configuration asks for, if it does. The folder of the gateway's data is there.
    ///
    /// # Errors
    /// Why nothing can be served: the address, the tokens or the certificate.
    pub fn bind(config: &Config) -> Result<Option<Self>, Error> {
        let Some(settings) = config.admin.clone() else { return Ok(None) };
        let socket = bind(&settings.listen)?;
        let wrong = |words: String| Error::Config(vec![format!("[admin]: {words}")]);
        let access = Access::new(&settings).map_err(|error| wrong(error.to_string()))?;
        let tls = match &settings.tls {
            None => None,
            Some(tls) => {
                let password = tls.key_password.as_ref().map(tidegate_config::Secret::read).transpose();
                let password = password.map_err(|error| wrong(error.to_string()))?;
                let password = password.as_ref().map(|password| password.expose());
                let made = server_tls(&tls.cert, &tls.key, password).map_err(|errors| {
                    Error::Config(errors.iter().map(|error| format!("[admin] tls.{}: {error}", error.key())).collect())
                })?;
                Some(TlsAcceptor::from(made))
            }
        };
        let data_dir = config.gateway.data_dir.clone();
        Ok(Some(Self { settings, data_dir, socket, access, tls }))
    }

    /// Where it listens, if that is an address and there already.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.socket.as_ref().and_then(Socket::addr)
    }
}

/// Serves from now on until stopped; `reload` is notified when somebody asks for one, on a thread of its own; where the address was not there, as soon as it is.
///
/// # Errors
/// There can be no other thread.
pub fn serve(
    admin: Admin,
    console: Console,
    logbook: Logbook,
    file: PathBuf,
    reload: Arc<Notify>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let Admin { settings, data_dir, socket, access, tls } = admin;
    // The folder is this gateway's by now: nothing of another one is written over.
    if let Some(addr) = socket.as_ref().and_then(Socket::addr) {
        crate::key::tell_address(&data_dir, addr);
    }
    let guard = Arc::new(Guard::new(access.with_owner(&data_dir), settings.hosts));
    let shared = Shared {
        streams: Streams::new(console.clone()),
        explaining: Arc::new(Semaphore::new(1)),
        applying: Arc::new(Semaphore::new(1)),
        console,
        guard: guard.clone(),
        logbook,
        file: Arc::new(file),
        reload,
        stop: stop.clone(),
    };
    let telling = shared.streams.clone().tell();
    let layer = guard.clone();
    let router = crate::plain::routes()
        .merge(crate::api::routes())
        .fallback(crate::page::file)
        .layer(from_fn(move |request: Request, next: Next| pass(layer.clone(), request, next)))
        .with_state(shared);
    let door = Door { router, guard, tls, stop: stop.clone() };
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "nothing answers at the admin listener"),
        };
        let serving = async {
            tokio::spawn(telling);
            let socket = match socket {
                Some(socket) => socket,
                None => bind_later(&settings.listen).await,
            };
            if let Err(error) = door.open(socket).await {
                tracing::error!(%error, "the admin listener has stopped");
            }
        };
        runtime.block_on(async { stop.run_until_cancelled(serving).await });
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run);
    thread.map(|_| ()).map_err(|error| Error::Config(vec![format!("the admin server gets no thread: {error}")]))
}
