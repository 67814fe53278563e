//! Sends the ways of sampled messages to a collector: OTLP over HTTP (OpenTelemetry Protocol 1.5, section OTLP/HTTP), on a thread
//! of its own. The collector may be away or slow: what does not fit into the queue is counted as lost, and nothing else waits.

use crate::spans;
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::Traces;
use tidegate_gateway::{Collector, Console, Error, Exported, Journey, Sampling, Tracing};
use tidegate_transport::{Endpoint, dial};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// So many messages wait for a collector that is away or slow. They take some KB each.
const WAITING_MAX: usize = 2_000;

/// So many go into one request, or those of so long.
const BATCH_MAX: usize = 100;
const BATCH_AFTER: Duration = Duration::from_secs(1);

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// At the end of the gateway for what waits.
const LAST: Duration = Duration::from_secs(2);

/// Nothing longer is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends traces from now on until stopped, to whom the configuration says, as reloads change it.
///
/// # Errors
/// There can be no other thread.
pub fn export_traces(console: Console, gateway: String, stop: CancellationToken) -> Result<(), Error> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(export(&console, &gateway, &stop));
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!(%error, "no traces are sent"),
        }
    };
    let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(run);
    thread.map(drop).map_err(|error| Error::Config(vec![format!("sending traces gets no thread: {error}")]))
}

async fn export(console: &Console, gateway: &str, stop: &CancellationToken) {
    // Busy: it has ended.
    let Ok((mut wanted, exported)) = console.ask(|gateway| gateway.traces()).await else { return };
    loop {
        let traces = wanted.borrow_and_update().clone();
        let changed = async {
            tokio::select! {
                changed = wanted.changed() => changed.is_ok(),
                () = stop.cancelled() => false,
            }
        };
        let goes_on = match traces {
            None => changed.await,
            Some(traces) => {
                let mut sender = Sender::new(gateway, &traces, &exported);
                let goes_on = tokio::select! {
                    goes_on = changed => goes_on,
                    () = sender.send_all(console) => false,
                };
                // What waits goes to whom it was meant for.
                _ = timeout(LAST, sender.send_waiting()).await;
                exported.lost(sender.begun(usize::MAX));
                goes_on
            }
        };
        if !goes_on {
            return;
        }
    }
}

struct Sender<'a> {
    gateway: &'a str,
    traces: &'a Traces,
    exported: &'a Arc<Exported>,
    waiting: VecDeque<Arc<Journey>>,
    since: Instant,
    attempts: u32,
    not_before: Option<Instant>,
    /// What the last attempt failed for, so that it is said once.
    failure: Option<String>,
}

/// Why a collector has not taken a request.
enum Refused {
    /// It may take the same later: after that time, if it says so.
    ForNow(String, Option<Duration>),
    ForGood(String),
}

impl<'a> Sender<'a> {
    fn new(gateway: &'a str, traces: &'a Traces, exported: &'a Arc<Exported>) -> Self {
        let since = Instant::now();
        let (waiting, attempts, not_before, failure) = (VecDeque::new(), 0, None, None);
        Self { gateway, traces, exported, waiting, since, attempts, not_before, failure }
    }

    /// Until the gateway has ended.
    async fn send_all(&mut self, console: &Console) {
        let Traces { one_in, rate, endpoint, .. } = self.traces;
        let mut seen = loop {
            match console.sample(Sampling { one_in: *one_in, rate: *rate }).await {
                Ok(Some(seen)) => break seen,
                // It has very much to do.
                _ => sleep(BATCH_AFTER).await,
            }
        };
        tracing::info!(%endpoint, one_in, rate, "messages are sampled for a collector of traces");
        loop {
            let until = self.due();
            tokio::select! {
                journey = seen.seen.recv() => match journey {
                    Some(journey) => self.take(journey, &seen),
                    None => return,
                },
                () = tokio::time::sleep_until(until), if !self.waiting.is_empty() => self.send_some().await,
            }
        }
    }

    /// When there is something to send.
    fn due(&self) -> Instant {
        let gathered = if self.waiting.len() >= BATCH_MAX { self.since } else { self.since + BATCH_AFTER };
        self.not_before.map_or(gathered, |not_before| gathered.max(not_before))
    }

    fn take(&mut self, journey: Arc<Journey>, seen: &Tracing) {
        self.exported.lost(seen.missed());
        if self.waiting.is_empty() {
            self.since = Instant::now();
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
            self.exported.lost(1);
        }
        self.waiting.push_back(journey);
    }

    async fn send_waiting(&mut self) {
        while !self.waiting.is_empty() && self.failure.is_none() {
            self.send_some().await;
        }
    }

    /// One request.
    async fn send_some(&mut self) {
        let count = self.waiting.len().min(BATCH_MAX);
        let spans: Vec<Value> = self.waiting.iter().take(count).flat_map(|journey| spans::spans(journey)).collect();
        let body = spans::request(self.gateway, spans).to_string();
        let outcome = timeout(PATIENCE, post(self.traces, body)).await;
        let late = || Err(Refused::ForNow(format!("no answer within {} s", PATIENCE.as_secs()), None));
        let endpoint = &self.traces.endpoint;
        match outcome.unwrap_or_else(|_| late()) {
            Ok(rejected) => {
                if self.failure.take().is_some() {
                    tracing::info!(name: "traces_back", %endpoint, "the collector of traces is there again");
                }
                if let Some(words) = rejected {
                    tracing::warn!(%endpoint, words, "the collector of traces has rejected some of what it was sent");
                }
                self.exported.taken(self.begun(count));
                (self.attempts, self.not_before) = (0, None);
            }
            Err(Refused::ForGood(words)) => {
                self.tell(words, "the collector of traces does not take what it is sent: these are lost");
                self.exported.lost(self.begun(count));
            }
            Err(Refused::ForNow(words, after)) => {
                self.tell(words, "the collector of traces is not there: trying again");
                let pause = after.unwrap_or_else(|| RETRY_MIN.saturating_mul(1 << self.attempts.min(6)));
                self.attempts += 1;
                self.not_before = Some(Instant::now() + pause.clamp(RETRY_MIN, RETRY_MAX));
                return;
            }
        }
        self.waiting.drain(..count);
        self.since = Instant::now();
    }

    /// How many of these are told of for the first time.
    fn begun(&self, count: usize) -> u64 {
        self.waiting.iter().take(count).filter(|journey| journey.told_before == 0).count() as u64
    }

    fn tell(&mut self, words: String, what: &str) {
        if self.failure.as_ref() != Some(&words) {
            tracing::warn!(name: "traces_away", endpoint = %self.traces.endpoint, reason = words, "{what}");
            self.failure = Some(words);
        }
    }
}

/// Sends one request. What the collector says of parts that it has rejected, if it has.
async fn post(traces: &Traces, body: String) -> Result<Option<String>, Refused> {
    let for_now = |error: &dyn std::error::Error| Refused::ForNow(error.to_string(), None);
    let read = traces.clone();
    let collector =
        tokio::task::spawn_blocking(move || Collector::read(&read)).await.map_err(|error| for_now(&error))?;
    let Collector { address, tls, headers } = collector.map_err(|words| Refused::ForNow(words, None))?;
    let endpoint = Endpoint { address: &address, tls: tls.as_ref(), websocket: None, headers: &[] };
    let stream = dial(endpoint).await.map_err(|error| for_now(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| for_now(&error))?;
    let mut request = Request::post(&traces.endpoint.path)
        .header(header::HOST, traces.endpoint.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(body)).map_err(|error| Refused::ForGood(error.to_string()))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.unwrap_or_default();
        Ok::<_, hyper::Error>((status, headers, body))
    };
    // What goes wrong with the connection, the request learns.
    let connection = tokio::spawn(connection);
    let answer = answer.await;
    connection.abort();
    let (status, headers, body) = answer.map_err(|error| for_now(&error))?;
    if status.is_success() {
        return Ok(rejected(&body));
    }
    let words: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
    let words = format!("{status}: {}", words.escape_debug());
    // What the protocol says may be tried again.
    let again = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if !again.contains(&status) {
        return Err(Refused::ForGood(words));
    }
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Refused::ForNow(words, after.map(Duration::from_secs)))
}

/// `partialSuccess` of an answer, if it says anything.
fn rejected(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let partial = &answer["partialSuccess"];
    let (count, words) = (&partial["rejectedSpans"], partial["errorMessage"].as_str().unwrap_or_default());
    let count = count.as_str().and_then(|count| count.parse().ok()).or_else(|| count.as_u64()).unwrap_or(0);
    (count > 0 || !words.is_empty()).then(|| format!("{count} spans: {}", words.escape_debug()))
}
