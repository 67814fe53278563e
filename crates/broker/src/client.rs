//! From an accepted socket to a client with a session, within one deadline; then its turns, then goodbye.

mod again;
mod arrival;
mod end;
mod pace;
mod scram;
mod turns;

use crate::authenticate;
use crate::connection::Connection;
use crate::disconnect::Leaving;
use crate::listener::{Peer, Scheme};
use crate::session::SessionKey;
use crate::settings::Settings;
use crate::shared::SharedBroker;
use arrival::Arrival;
use end::End;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_message::ByteString;
use tidegate_message::text::Escaped;
use tidegate_mqtt::{Batch, Connect, Control, ProtocolError, ReasonCode, ServerSession};
use tidegate_transport::{AcceptWebSocket, ByteStream, Origins, PeerNames, Socket, Stream};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use turns::Client;

/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What comes behind the beginning of a connection.
type Rest = Pin<Box<dyn Future<Output = ()>>>;

/// One connection from beginning to end. The beginning needs far more room than what comes behind it and lasts, so each has its own.
pub(crate) fn serve(
    shared: Rc<SharedBroker>,
    socket: Socket,
    peer: Peer,
    scheme: Scheme,
    listener: u64,
    stop: CancellationToken,
) -> impl Future<Output = ()> {
    let beginning = Box::pin(begin(shared, socket, peer, scheme, listener, stop));
    async move {
        if let Some(rest) = beginning.await {
            rest.await;
        }
    }
}

/// Up to the session; `None`: the client has gone without one.
async fn begin(
    shared: Rc<SharedBroker>,
    socket: Socket,
    peer: Peer,
    scheme: Scheme,
    listener: u64,
    stop: CancellationToken,
) -> Option<Rest> {
    let deadline = tokio::time::Instant::now() + shared.settings().connect_timeout;
    let settings = shared.settings();
    let (socket, arrival) = match arrival::arrive(&shared, socket, peer, &settings, deadline).await {
        Ok(arrived) => arrived,
        Err(end) => {
            report(&shared, peer, &Who::default(), &end);
            return None;
        }
    };
    let peer = arrival.peer;
    let accepted = tokio::select! {
        accepted = tokio::time::timeout_at(deadline, accept(socket, scheme, &settings)) => accepted,
        () = stop.cancelled() => return None,
    };
    drop(settings);
    let door = Door { listener, scheme, deadline, arrival };
    let end = match accepted {
        // The common case without a branch per call.
        Ok(Ok((Stream::Tcp(stream), _))) => return enter(shared, stream, None, door, &stop).await,
        Ok(Ok((stream, names))) => return enter(shared, stream, names, door, &stop).await,
        Ok(Err(error)) => handshake_failed(error),
        Err(_) => End::TooLate,
    };
    report(&shared, peer, &Who::default(), &end);
    None
}

/// Who looks whether a port is open closes it again at once, and is no matter for the log.
fn handshake_failed(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => End::Broken(error),
        _ => End::Handshake(error),
    }
}

/// What a client has said of itself, for the log.
#[derive(Debug, Default)]
struct Who {
    client_id: Option<ByteString>,
    username: Option<ByteString>,
    /// How often somebody failed to log in from there, if this client did.
    failed_logins: Option<u32>,
}

/// Where a client came in.
struct Door {
    listener: u64,
    scheme: Scheme,
    deadline: tokio::time::Instant,
    arrival: Arrival,
}

/// Does the handshakes below MQTT.
async fn accept(socket: Socket, scheme: Scheme, settings: &Settings) -> io::Result<(Stream, Option<PeerNames>)> {
    let tls = match scheme.is_tls() {
        true => Some(settings.tls.as_ref().ok_or_else(|| io::Error::other("TLS: there is no certificate"))?),
        false => None,
    };
    let websocket = match scheme.is_websocket() {
        false => None,
        true => {
            let origins = match settings.allow_anonymous {
                false => Origins::All,
                true => match &socket {
                    Socket::Tcp(socket) if socket.local_addr()?.ip().is_loopback() => Origins::Loopback,
                    _ => Origins::SameHost,
                },
            };
            Some(AcceptWebSocket { max_packet_size: settings.max_packet_size, origins })
        }
    };
    tidegate_transport::accept(socket, tls, websocket).await
}

/// Says in the log how a connection ended, if it ended badly; floods are cut short.
fn report(shared: &SharedBroker, peer: Peer, who: &Who, end: &End) {
    let level_warn = matches!(end, End::Protocol(_) | End::Refused(_) | End::Handshake(_) | End::OtherProtocol(_));
    let mut state = shared.state.borrow_mut();
    match end {
        End::Protocol(_) | End::OtherProtocol(_) => state.stats.protocol_errors += 1,
        End::Refused(_) | End::Handshake(_) => state.stats.refused += 1,
        _ => {}
    }
    let broker = state.settings.name.clone();
    drop(state);
    let told = |text: &Option<ByteString>| text.as_ref().map(|text| tracing::field::display(Escaped(text).to_string()));
    let (client, user, failed_logins) = (told(&who.client_id), told(&who.username), who.failed_logins);
    if !level_warn {
        tracing::debug!(%broker, %peer, client, user, reason = %end, "connection closed");
    } else if let Some(held_back) = shared.log_limit.borrow_mut().allow(Instant::now()) {
        tracing::warn!(%broker, %peer, client, user, failed_logins, reason = %end, held_back, "connection closed");
    }
}

/// Does what MQTT begins with.
async fn enter<S: ByteStream + 'static>(
    shared: Rc<SharedBroker>,
    stream: S,
    names: Option<PeerNames>,
    Door { listener, scheme, deadline, arrival }: Door,
    stop: &CancellationToken,
) -> Option<Rest> {
    let limits = shared.state.borrow().server_limits();
    let session = ServerSession::new(limits, Instant::now());
    let connection = Rc::new(Connection::new(session, listener, arrival.peer, scheme));
    let mut client = Client::new(shared, connection, stream);
    let mut who = Who::default();
    let shared = client.shared.clone();
    let hello = tokio::select! {
        hello = tokio::time::timeout_at(deadline, hello(&shared, &mut client, names, &arrival, &mut who)) => {
            hello.unwrap_or(Err(End::TooLate))
        }
        () = stop.cancelled() => Err(End::ToldToGo),
    };
    match hello {
        Ok(key) => Some(Box::pin(stay(client, key, arrival, who))),
        Err(end) => {
            say_goodbye(&mut client).await;
            report(&shared, arrival.peer, &who, &end);
            None
        }
    }
}

/// From CONNACK to the end. What is here is held for as long as a client is connected.
fn stay<S: ByteStream>(mut client: Client<S>, key: SessionKey, arrival: Arrival, who: Who) -> impl Future<Output = ()> {
    let (shared, connection) = (client.shared.clone(), client.connection.clone());
    async move {
        // Whatever ends this task, even its being dropped, the session knows that the client is gone.
        let mut attached = Attached { shared: &shared, connection: &connection, key, leaving: Leaving::Lost };
        let end = client.turns(key).await;
        attached.leaving = end.leaving();
        drop(attached);
        shared.settle();
        shared.tend.notify_one();
        Box::pin(say_goodbye(&mut client)).await;
        if let Err(end) = end.into_result() {
            report(&shared, arrival.peer, &who, &end);
        }
        // It counts up to here.
        drop(arrival);
    }
}

/// Writes what is left to be said, and closes.
async fn say_goodbye<S: ByteStream>(client: &mut Client<S>) {
    let connection = client.connection.clone();
    let mut last_words = connection.last_words.take();
    last_words.unsplit(connection.session.borrow_mut().tx().split());
    let goodbye = async {
        client.shared.until_durable(&connection).await;
        if client.stream.write_all(&last_words).await.is_ok() {
            let _ = client.stream.shutdown().await;
        }
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

struct Attached<'a> {
    shared: &'a Rc<SharedBroker>,
    connection: &'a Rc<Connection>,
    key: SessionKey,
    leaving: Leaving,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // Borrowed only if this is a panic's doing.
        if let Ok(mut state) = self.shared.state.try_borrow_mut() {
            state.leave(self.key, self.connection, self.leaving, Instant::now());
        }
    }
}

/// Waits for CONNECT and answers it.
async fn hello<S: ByteStream>(
    shared: &Rc<SharedBroker>,
    client: &mut Client<S>,
    names: Option<PeerNames>,
    arrival: &Arrival,
    who: &mut Who,
) -> Result<SessionKey, End> {
    let mut connect = wait_for_connect(client).await.map_err(|end| match (end, end::recognised(client.first())) {
        (End::Protocol(_), Some(what)) => End::OtherProtocol(what),
        (end, _) => end,
    })?;
    *who = Who {
        client_id: Some(ByteString::from(&*connect.client_id)),
        username: connect.username.as_deref().map(ByteString::from),
        failed_logins: None,
    };
    let refused = |client: &Client<S>, reason| {
        client.connection.session.borrow_mut().refuse(reason);
        Err(End::Refused(reason))
    };
    let version = connect.version;
    let client_id = connect.client_id.clone();
    if let Err(reason) = arrival.may_log_in(&client_id) {
        return refused(client, reason);
    }
    let checked = loop {
        let settings = shared.settings();
        if let Some(elsewhere) = &settings.server_reference {
            let reason = ReasonCode::USE_ANOTHER_SERVER;
            client.connection.session.borrow_mut().refuse_for(reason, elsewhere);
            return Err(End::Refused(reason));
        }
        let certified = authenticate::by_certificate(&settings, names.as_ref());
        if connect.auth_method.is_some() {
            let shown = match certified {
                Ok(certified) => Box::pin(scram::log_in(client, &settings, &mut connect, certified)).await?,
                Err(reason) => Err(reason),
            };
            who.username = connect.username.as_deref().map(ByteString::from);
            // It cannot be asked once more for what has changed meanwhile.
            break shown.and_then(|()| authenticate::still_holds(&settings, &shared.settings(), &connect));
        }
        let checked = match certified {
            Ok(None) => authenticate::check(shared, &settings, &connect, || arrival.may_log_in(&client_id)).await,
            Ok(Some(name)) => {
                who.username = Some(name.clone());
                connect.username = Some(name);
                Ok(())
            }
            Err(reason) => Err(reason),
        };
        // What was right when the check began may not be any more when it ends.
        if Rc::ptr_eq(&settings, &shared.settings()) {
            break checked;
        }
    };
    if checked == Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD) {
        let count = arrival.failed_to_log_in().await;
        who.failed_logins = Some(count);
    }
    let certificate = names.map(all_names).unwrap_or_default();
    let admitted = checked.and_then(|()| {
        shared.state.borrow_mut().open_session(connect, certificate, &client.connection, Instant::now())
    });
    // A will may have been published, a deadline have moved.
    shared.settle();
    shared.tend.notify_one();
    match admitted {
        Ok(key) => {
            tracing::debug!(client = %client_id.escape_debug(), %version, "client connected");
            Ok(key)
        }
        Err(reason) => refused(client, reason),
    }
}

/// The names in a certificate, of any kind.
fn all_names(names: PeerNames) -> Box<[Box<str>]> {
    let PeerNames { common_name, subject, dns, emails, uris } = names;
    let all = common_name.into_iter().chain([subject]).chain(dns).chain(emails).chain(uris);
    all.filter(|name| !name.is_empty()).map(String::into_boxed_str).collect()
}

async fn wait_for_connect<S: ByteStream>(client: &mut Client<S>) -> Result<Connect, End> {
    let mut batch = Batch::default();
    loop {
        let read = std::future::poll_fn(|cx| client.poll_read(cx, &mut batch)).await;
        let connect = batch.control.drain(..).find_map(|(_, control)| match control {
            Control::Connect(connect) => Some(*connect),
            _ => None,
        });
        read?;
        if let Some(connect) = connect {
            return Ok(connect);
        }
        if !client.may_begin_connect() {
            // Other protocols end here, instead of at the length they seem to announce.
            return Err(End::Protocol(ProtocolError::Unexpected("CONNECT was due")));
        }
        if client.connection.session.borrow().is_closed() {
            return Err(End::Refused(ReasonCode::PROTOCOL_ERROR));
        }
    }
}
