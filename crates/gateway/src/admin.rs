//! What an operator can ask a running gateway over HTTP: metrics, health, and the messages kept aside.

use crate::running::Gateway;
use crate::waiting::{self, Redirect, RedirectError};
use crate::{Error, listeners};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::time::{Duration, Instant};
use tidegate_config::AdminAddr;
use tidegate_router::PARKED_FOR_TARGET;
use tidegate_router::ReplayError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that wait for the data path's thread.
const WAITING_MAX: usize = 64;

/// How much of a payload is shown.
const PAYLOAD_SHOWN_BYTES: usize = 4096;
/// And of each in a list: to tell which is which.
const PAYLOAD_LISTED_BYTES: usize = 100;

/// How long an operator waits for the disk.
const DURABLE_WITHIN: Duration = Duration::from_secs(5);

/// What is asked of the data path's thread.
#[derive(Debug, Clone)]
enum Question {
    Metrics,
    Ready,
    Parked,
    State,
    ShowParked(u64),
    Replay(u64),
    /// To this target.
    ReplayTo(u64, String),
    Delete(u64),
    /// What waits in the spool, in words.
    Waiting,
    Redirect(Redirect),
    /// What runs, to compare a configuration with.
    Config,
    /// How the last reloads went.
    Reload,
}

type Answer = (StatusCode, &'static str, String);
type Asking = mpsc::Sender<(Question, oneshot::Sender<Answer>)>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The admin server's socket.
pub(crate) enum Socket {
    /// Address and port.
    Tcp(tokio::net::TcpListener),
    /// A path.
    Unix(tokio::net::UnixListener),
}

/// Binds the socket; `None` when its address is not there yet.
///
/// # Errors
/// Why nothing can be served there.
pub(crate) async fn bind(listen: &AdminAddr) -> Result<Option<Socket>, Error> {
    let refused = |at: &dyn std::fmt::Display, error| listeners::refused("the admin server", at, &error);
    match listen {
        AdminAddr::Tcp(addr) => match tokio::net::TcpListener::bind(addr).await {
            Ok(listener) => Ok(Some(Socket::Tcp(listener))),
            Err(error) if listeners::may_come(&error) => {
                tracing::warn!("the admin server: {}", listeners::absent(addr));
                Ok(None)
            }
            Err(error) => Err(refused(addr, error)),
        },
        AdminAddr::Unix(path) => {
            // Left behind by a run that was killed it is in the way; a gateway that runs answers at it.
            if tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(refused(&path.display(), std::io::ErrorKind::AddrInUse.into()));
            }
            let _ = std::fs::remove_file(path);
            let listener = tokio::net::UnixListener::bind(path).map_err(|error| refused(&path.display(), error))?;
            Ok(Some(Socket::Unix(listener)))
        }
    }
}

/// Serves until stopped; where the address was not there, as soon as it is.
pub(crate) fn serve(gateway: Gateway, listen: AdminAddr, socket: Option<Socket>, stop: CancellationToken) {
    let stopped = stop.clone();
    let serving = async move {
        let mut again = listeners::Again::new();
        let mut socket = socket;
        loop {
            match socket {
                Some(socket) => return serve_at(gateway, socket, stop),
                None => tokio::time::sleep(again.next()).await,
            }
            socket = match &listen {
                // Whatever is wrong with it now was not so when the gateway started, and may pass.
                AdminAddr::Tcp(addr) => tokio::net::TcpListener::bind(addr).await.ok().map(Socket::Tcp),
                AdminAddr::Unix(_) => None,
            };
        }
    };
    tokio::task::spawn_local(async move { stopped.run_until_cancelled(serving).await });
}

fn serve_at(gateway: Gateway, socket: Socket, stop: CancellationToken) {
    let (asking, mut asked) = mpsc::channel::<(Question, oneshot::Sender<Answer>)>(WAITING_MAX);
    tokio::task::spawn_local(async move {
        while let Some((question, reply)) = asked.recv().await {
            let is_edit = matches!(question, Question::Delete(_) | Question::Redirect(_));
            let given = answer(&gateway, question);
            if is_edit && given.0 == StatusCode::OK {
                // Others need not wait for the disk.
                let gateway = gateway.clone();
                tokio::task::spawn_local(async move { reply.send(once_durable(&gateway, given).await) });
            } else {
                let _ = reply.send(given);
            }
        }
    });
    let number = |question: fn(u64) -> Question| {
        move |State(asking): State<Asking>, Path(number): Path<u64>| ask(asking, question(number))
    };
    let plain = |question: Question| move |State(asking): State<Asking>| ask(asking, question.clone());
    let router = Router::new()
        .route("/metrics", get(plain(Question::Metrics)))
        // Answers as long as the process serves requests at all.
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(plain(Question::Ready)))
        .route("/state", get(plain(Question::State)))
        .route("/config", get(plain(Question::Config)))
        .route("/reload", get(plain(Question::Reload)))
        .route("/spool", get(plain(Question::Waiting)))
        .route("/spool/{from}/move", post(move_waiting))
        .route("/spool/{from}/discard", post(discard_waiting))
        .route("/parked", get(plain(Question::Parked)))
        .route("/parked/{number}", get(number(Question::ShowParked)).delete(number(Question::Delete)))
        .route("/parked/{number}/replay", post(replay))
        .with_state(asking);
    let ended = |served: std::io::Result<()>| {
        if let Err(error) = served {
            tracing::error!(%error, "the admin listener has stopped");
        }
    };
    match socket {
        Socket::Tcp(listener) => {
            if let Ok(addr) = listener.local_addr() {
                tracing::info!(%addr, "admin listener");
            }
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            tokio::spawn(async move { ended(serving.await) });
        }
        Socket::Unix(listener) => {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            tokio::spawn(async move { ended(serving.await) });
        }
    }
}

async fn ask(asking: Asking, question: Question) -> Response {
    let (reply, answer) = oneshot::channel();
    let busy = (StatusCode::SERVICE_UNAVAILABLE, TEXT, "busy, try again\n".to_owned());
    let (status, kind, body) = match asking.try_send((question, reply)) {
        Ok(()) => answer.await.unwrap_or(busy),
        Err(_) => busy,
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// An operator is told that something is done when a crash cannot undo it any more.
async fn once_durable(gateway: &Gateway, answer: Answer) -> Answer {
    let wanted = gateway.path().borrow().router.spool().sequence();
    let started = Instant::now();
    while gateway.path().borrow().router.spool().durable() < wanted {
        if started.elapsed() > DURABLE_WITHIN {
            let words = format!("{}, and not on disk yet: a crash now would undo it\n", answer.2.trim_end());
            return (StatusCode::ACCEPTED, TEXT, words);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    answer
}

fn answer(gateway: &Gateway, question: Question) -> Answer {
    match question {
        Question::Metrics => (StatusCode::OK, PROMETHEUS, gateway.snapshot().prometheus()),
        Question::Ready => ready(gateway),
        Question::State => {
            let path = gateway.path().borrow();
            let spool = path.router.spool();
            let all: serde_json::Map<String, serde_json::Value> = spool
                .plugins_with_state()
                .into_iter()
                .map(|plugin| {
                    let keys = spool.plugin_state(&plugin).into_iter().flatten();
                    let keys = keys.map(|(key, value)| (key.clone(), json!(BASE64.encode(value)))).collect();
                    (plugin, serde_json::Value::Object(keys))
                })
                .collect();
            (StatusCode::OK, JSON, json!(all).to_string() + "\n")
        }
        Question::Parked => {
            let path = gateway.path().borrow();
            let spool = path.router.spool();
            let list: Vec<_> = spool.parked().iter().map(|(number, parked)| describe(*number, parked)).collect();
            (StatusCode::OK, JSON, json!(list).to_string() + "\n")
        }
        Question::ShowParked(number) => {
            let path = gateway.path().borrow();
            let spool = path.router.spool();
            let found = spool.parked().get(&number);
            found.map_or_else(
                || unknown(number),
                |parked| {
                    let mut shown = describe(number, parked);
                    shown["payload"] = beginning(&parked.message.payload, PAYLOAD_SHOWN_BYTES);
                    (StatusCode::OK, JSON, shown.to_string() + "\n")
                },
            )
        }
        Question::Replay(_) | Question::ReplayTo(..) => {
            let mut path = gateway.path().borrow_mut();
            let (number, replayed) = match &question {
                Question::ReplayTo(number, to) => (*number, path.replay(*number, Some(to), Instant::now())),
                Question::Replay(number) => (*number, path.replay(*number, None, Instant::now())),
                _ => (0, Err(ReplayError::Unknown)),
            };
            match replayed {
                Ok(()) => (StatusCode::OK, TEXT, format!("message {number} is on its way again\n")),
                Err(ReplayError::NoTarget(target)) => {
                    let words = format!("there is no broker or target set `{target}`; name another with `to`\n");
                    (StatusCode::CONFLICT, TEXT, words)
                }
                Err(ReplayError::Unknown) => unknown(number),
                Err(ReplayError::NoRoute(route)) => {
                    let words = format!("its route `{route}` is not configured any more; delete it or add the route\n");
                    (StatusCode::CONFLICT, TEXT, words)
                }
            }
        }
        Question::Delete(number) => {
            if gateway.path().borrow_mut().router.delete_parked(number) {
                (StatusCode::OK, TEXT, format!("message {number} is deleted\n"))
            } else {
                unknown(number)
            }
        }
        Question::Config => (StatusCode::OK, JSON, gateway.shown().to_string() + "\n"),
        Question::Reload => (StatusCode::OK, JSON, gateway.last_reloads().json().to_string() + "\n"),
        Question::Waiting => (StatusCode::OK, TEXT, gateway.waiting_in_words()),
        Question::Redirect(what) => {
            let mut path = gateway.path().borrow_mut();
            let now = Instant::now();
            let moment = path.moment(now);
            let outcome = waiting::redirect(&mut path.router, &what, moment);
            path.flush(now);
            match outcome {
                Ok(count) => (StatusCode::OK, TEXT, format!("{count} messages\n")),
                Err(error) => (StatusCode::NOT_FOUND, TEXT, format!("{}\n", RedirectError::from(error))),
            }
        }
    }
}

async fn move_waiting(State(asking): State<Asking>, Path(from): Path<String>, RawQuery(query): RawQuery) -> Response {
    let to = query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("to=")));
    let to = to.unwrap_or_default().to_owned();
    ask(asking, Question::Redirect(Redirect::Move { from, to })).await
}

async fn discard_waiting(State(asking): State<Asking>, Path(from): Path<String>) -> Response {
    ask(asking, Question::Redirect(Redirect::Discard { from })).await
}

async fn replay(State(asking): State<Asking>, Path(number): Path<u64>, RawQuery(query): RawQuery) -> Response {
    // Names of targets need no escapes.
    let to = query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("to=")));
    let question = match to {
        Some(to) => Question::ReplayTo(number, to.to_owned()),
        None => Question::Replay(number),
    };
    ask(asking, question).await
}

fn unknown(number: u64) -> Answer {
    (StatusCode::NOT_FOUND, TEXT, format!("no message {number} is parked\n"))
}

fn describe(number: u64, parked: &tidegate_spool::Parked) -> serde_json::Value {
    let for_target = parked.kind == PARKED_FOR_TARGET;
    json!({
        "number": number,
        "route": parked.route,
        "plugin": if for_target { "" } else { &parked.plugin },
        "target": if for_target { &parked.plugin } else { "" },
        "kind": parked.kind,
        "reason": parked.reason,
        "topic": parked.message.topic.as_str(),
        "qos": parked.message.qos as u8,
        "retain": parked.message.retain,
        "received_ms": parked.received_ms,
        "payload_bytes": parked.message.payload.len(),
        "payload": beginning(&parked.message.payload, PAYLOAD_LISTED_BYTES),
    })
}

/// The first bytes of a payload, as text.
fn beginning(payload: &[u8], most: usize) -> serde_json::Value {
    json!(String::from_utf8_lossy(&payload[..payload.len().min(most)]))
}

/// Ready when every broker that is needed is connected, has granted our subscriptions and answers, and every set has a
/// member that takes or brings messages.
fn ready(gateway: &Gateway) -> Answer {
    let snapshot = gateway.snapshot();
    let mut words = String::new();
    let mut is_ready = true;
    for broker in snapshot.brokers.iter().filter(|broker| !broker.ready) {
        let name = &broker.name;
        // A member that is away takes nothing from its set as long as another is there, and a source's broker nothing from it.
        is_ready &= !broker.needed;
        let aside = if broker.needed { "" } else { " (others of its set are there)" };
        if broker.problems.is_empty() {
            let doing = if broker.up { "subscribing" } else { "connecting" };
            let error = broker.error.as_deref().unwrap_or(doing);
            words.push_str(&format!("broker {name}: {error}{aside}\n"));
        }
        for problem in &broker.problems {
            words.push_str(&format!("broker {name}: {problem}{aside}\n"));
        }
        if let (false, false, Some(error)) = (broker.problems.is_empty(), broker.up, &broker.error) {
            words.push_str(&format!("broker {name}: {error}{aside}\n"));
        }
    }
    for set in &snapshot.sets_down {
        is_ready = false;
        words.push_str(&format!("target {set}: none of its members is connected\n"));
    }
    for source in &snapshot.sources_down {
        is_ready = false;
        words.push_str(&format!("source {source}: none of its brokers is subscribed to\n"));
    }
    for route in &snapshot.looping_routes {
        words.push_str(&format!("route {route}: in a loop over another gateway; what comes again is dropped\n"));
    }
    for route in &snapshot.waiting_routes {
        is_ready = false;
        words.push_str(&format!("route {route}: its plugins are being compiled\n"));
    }
    if is_ready {
        (StatusCode::OK, TEXT, format!("ready\n{words}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, TEXT, words)
    }
}
