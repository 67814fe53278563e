//! Connects to every broker of a configuration once, for whoever wants to know whether it can be reached, and disturbs nobody.
//!
//! A client id of its own keeps the session of a gateway that runs out of it; nothing is subscribed to, published or left behind.

use crate::settings;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_config::{Broker, Config};
use tidegate_link::{Link, Outgoing, Status};
use tidegate_mqtt::{AckToken, Batch, Connected, PublishError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How much longer than `connect_timeout` a broker may take: several ways of saying hello may have to be tried.
const ATTEMPTS: u32 = 3;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which broker.
    pub broker: String,
    /// What the broker is and can do; or why there is no connection.
    pub found: Result<String, String>,
}

/// Connects to all of them at the same time, from a `LocalSet`. What is wrong with a broker's files and secrets is left to
/// [`preflight`](crate::preflight): such a broker is left out.
pub async fn reach(config: &Config) -> Vec<Reached> {
    let suffix = format!("check-{}", std::process::id());
    let mut trials = Vec::new();
    for (name, broker) in &config.brokers {
        let trial = match broker {
            Broker::Link(link) => match settings::link(name, link) {
                Ok(settings) => tokio::task::spawn_local(try_link(settings, suffix.clone())),
                Err(_) => continue,
            },
            #[cfg(feature = "nats")]
            Broker::Nats(nats) => match settings::nats(nats) {
                Ok(settings) => tokio::task::spawn_local(nats::try_nats(settings, suffix.clone())),
                Err(_) => continue,
            },
            #[cfg(not(feature = "nats"))]
            Broker::Nats(_) => continue,
            Broker::Embedded(_) => continue,
        };
        trials.push((name.clone(), trial));
    }
    let mut all = Vec::new();
    for (broker, trial) in trials {
        let found = trial.await.unwrap_or_else(|_| Err("trying it panicked, which is a bug".to_owned()));
        all.push(Reached { broker, found });
    }
    all
}

async fn try_link(mut settings: tidegate_link::Settings, suffix: String) -> Result<String, String> {
    settings.client_id = format!("{}-{suffix}", settings.client_id).into();
    (settings.will, settings.birth, settings.farewell, settings.mark) = (None, None, None, None);
    settings.session_expiry_s = 0;
    settings.reconnect.min = Duration::ZERO;
    let (bridge_name, within) = (settings.client_id.clone(), settings.connect_timeout * ATTEMPTS);
    let (link, _handle) = Link::new(settings);
    let (said, mut hears) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let (began, ends) = (Instant::now(), stop.clone());
    let running = tokio::task::spawn_local(link.run(Rc::new(RefCell::new(Watching(said))), stop));
    let mut last = None;
    let waiting = async {
        while let Some(status) = hears.recv().await {
            match status {
                Status::Up { version, bridge, connected, .. } => {
                    let took = began.elapsed();
                    let bit = if bridge { " with the bridge bit" } else { "" };
                    return Ok(format!(
                        "answers in {} ms: MQTT {version}{bit}{}",
                        took.as_millis(),
                        can_do(&connected)
                    ));
                }
                // Another way of saying hello follows.
                Status::Down { then: Some(_), error, .. } => last = Some(error.to_string()),
                Status::Down { error, .. } => return Err(error.to_string()),
                _ => {}
            }
        }
        Err("it has ended, which is a bug".to_owned())
    };
    let found = tokio::time::timeout(within, waiting).await;
    ends.cancel();
    let _ = running.await;
    let found = found.unwrap_or_else(|_| Err(last.unwrap_or_else(|| format!("no connection within {within:?}"))));
    match found {
        Err(words) if words.contains("identifier") => {
            Err(format!("{words}; tried as `{bridge_name}`, which it may not know"))
        }
        found => found,
    }
}

/// What a broker said of itself, beyond what all do.
fn can_do(connected: &Connected) -> String {
    let mut words = format!(", QoS up to {}", connected.max_qos as u8);
    words.push_str(if connected.retain_available {
        ", keeps retained messages"
    } else {
        ", keeps no retained messages"
    });
    if !connected.wildcards_available {
        words.push_str(", takes no wildcards");
    }
    if !connected.shared_available {
        words.push_str(", has no shared subscriptions");
    }
    if let Some(bytes) = connected.max_packet_size {
        words.push_str(&format!(", packets up to {bytes} bytes"));
    }
    if connected.receive_maximum < u16::MAX {
        words.push_str(&format!(", {} messages in flight", connected.receive_maximum));
    }
    if connected.keep_alive_s > 0 {
        words.push_str(&format!(", keep-alive {} s", connected.keep_alive_s));
    }
    words
}

/// Only hears how the connection is.
struct Watching(mpsc::UnboundedSender<Status>);

impl tidegate_link::Port for Watching {
    fn heard(&mut self, _: &mut Batch, _: Instant) {}
    fn acks(&mut self, _: &mut Vec<AckToken>) {}
    fn pull(&mut self, _: bool, _: Instant) -> Option<Outgoing> {
        None
    }
    fn refused(&mut self, _: u64, _: &PublishError) {}
    fn status(&mut self, status: &Status) {
        let _ = self.0.send(status.clone());
    }
}

#[cfg(feature = "nats")]
mod nats {
    use super::*;
    use tidegate_nats::{Arrived, Nats, NatsError, Outgoing, Port, Refused, Settings, Status};

    pub(super) async fn try_nats(mut settings: Settings, suffix: String) -> Result<String, String> {
        settings.client_id = format!("{}-{suffix}", settings.client_id);
        // A stream that is missing is made when the gateway starts.
        let made = !std::mem::take(&mut settings.subjects).is_empty();
        let within = settings.connect_timeout * ATTEMPTS;
        let (nats, _handle) = Nats::new(settings);
        let (said, mut hears) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (began, ends) = (Instant::now(), stop.clone());
        let running = tokio::task::spawn_local(nats.run(Rc::new(RefCell::new(Watching(said))), stop));
        let waiting = async {
            while let Some(status) = hears.recv().await {
                match status {
                    Status::Up { version, server, notes } => {
                        let notes: String = notes.iter().map(|note| format!(", {note}")).collect();
                        let took = began.elapsed().as_millis();
                        return Ok(format!("answers in {took} ms: nats-server {version} `{server}`{notes}"));
                    }
                    Status::Down { error: NatsError::Stream(words), .. }
                        if made && words.starts_with("there is no") =>
                    {
                        return Ok("answers, and has no such stream: the gateway makes it when it starts".to_owned());
                    }
                    Status::Down { error, .. } => return Err(error.to_string()),
                    _ => {}
                }
            }
            Err("it has ended, which is a bug".to_owned())
        };
        let found = tokio::time::timeout(within, waiting).await;
        ends.cancel();
        let _ = running.await;
        found.unwrap_or_else(|_| Err(format!("no connection within {within:?}")))
    }

    struct Watching(mpsc::UnboundedSender<Status>);

    impl Port for Watching {
        fn arrived(&mut self, _: &mut Vec<Arrived>, _: Instant) {}
        fn acks(&mut self, _: &mut Vec<u64>) {}
        fn pull(&mut self, _: Instant) -> Option<Outgoing> {
            None
        }
        fn delivered(&mut self, _: &mut Vec<u64>, _: Instant) {}
        fn returned(&mut self, _: Vec<Outgoing>, _: Option<&str>, _: Instant) -> Duration {
            Duration::ZERO
        }
        fn refused(&mut self, _: Outgoing, _: &Refused) {}
        fn status(&mut self, status: &Status) {
            let _ = self.0.send(status.clone());
        }
    }
}
