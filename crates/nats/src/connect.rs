//! A client that is for one connection.
//!
//! `async_nats` reconnects by itself, and sends on the new connection what it had queued on the old one: before whatever we
//! would send again first. So a client here is let in once only: when it comes back, it gets no word to say who it is, gives
//! up at the next attempt, and ends. Who wants another connection makes another client.

use crate::{NatsError, Settings, shown};
use async_nats::{Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long JetStream may take to answer, for a publish as for a question.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server before 2.10 says of the subject by which a consumer with wildcards is made, and makes it.
const ABOUT_FILTERS: &str = "invalid publish subject";

/// How often the client asks whether the server is there; it gives up after the second question without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a client tells of its connection.
#[derive(Clone)]
pub(crate) struct Events {
    lost: watch::Receiver<bool>,
    words: Arc<Mutex<Option<String>>>,
}

impl Events {
    /// Returns when the connection is gone.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // Without a sender nobody says anything any more, which is the same.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// What the server said last, such as which right is missing.
    pub(crate) fn words(&self) -> Option<String> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connects to one server.
pub(crate) async fn connect(settings: &Settings, server: &str) -> Result<(Client, Events), NatsError> {
    let (lost_sender, lost) = watch::channel(false);
    let lost_sender = Arc::new(lost_sender);
    let events = Events { lost, words: Arc::default() };
    let words = events.words.clone();
    let mut options = ConnectOptions::with_auth_callback(once(settings))
        .name(&settings.client_id)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => drop(lost_sender.send(true)),
                Event::ServerError(error) => {
                    let said = error.to_string();
                    if !said.to_ascii_lowercase().contains(ABOUT_FILTERS) {
                        *words.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
                    }
                }
                _ => {}
            }
            std::future::ready(())
        });
    let mut scheme = "nats";
    if let Some(tls) = settings.tls.clone() {
        scheme = "tls";
        options = options.require_tls(true).tls_client_config((*tls.into_config()).clone());
    }
    let connected = tokio::time::timeout(settings.connect_timeout, options.connect(format!("{scheme}://{server}")));
    match connected.await {
        Ok(Ok(client)) => Ok((client, events)),
        Ok(Err(error)) => {
            let hint = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    "; look at `username` and `password` (a password alone is a token)"
                }
                _ => "",
            };
            Err(NatsError::Connect(format!("{server}: {}{hint}", shown(&causes(&error)))))
        }
        Err(_) => Err(NatsError::Connect(format!("{server}: no connection within {:?}", settings.connect_timeout))),
    }
}

/// Says who we are the first time it is asked.
fn once(
    settings: &Settings,
) -> impl Fn(Vec<u8>) -> std::future::Ready<Result<Auth, AuthError>> + Send + Sync + 'static {
    let mut auth = Auth::new();
    match &settings.username {
        Some(name) => (auth.username, auth.password) = (Some(name.clone()), settings.password.clone()),
        None => auth.token = settings.password.clone(),
    }
    let is_over = AtomicBool::new(false);
    move |_| {
        let again = is_over.swap(true, Ordering::Relaxed);
        std::future::ready(if again {
            Err(AuthError::new("this client is for one connection"))
        } else {
            Ok(auth.clone())
        })
    }
}

/// An error with what caused it, each once.
pub(crate) fn causes(error: &dyn Error) -> String {
    let (mut words, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
