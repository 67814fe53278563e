//! The box's own broker as a part of the gateway: opened, run, and fed without a socket.

use crate::core::{Core, Kind};
use crate::port::BrokerPort;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;
use tidegate_broker::{Broker, Limits, Listener, Local, Settings, Users};
use tidegate_config::{self as config, Config};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{Completion, ReasonCode, SubscribeFilter};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many messages are published in one turn.
const TURN_MESSAGES: usize = 512;

/// A broker whose sockets are bound and whose files were read.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
    settings: Settings,
    listeners: Vec<Listener>,
}

/// Binds the listeners of every embedded broker that is new or changed. All that is wrong, or all of them.
pub(crate) async fn open(config: &Config, before: &Config) -> Result<Vec<Opened>, Vec<String>> {
    let (mut opened, mut wrong) = (Vec::new(), Vec::new());
    for (name, broker) in &config.brokers {
        let config::Broker::Embedded(embedded) = broker else { continue };
        if before.brokers.get(name).is_some_and(|before| before.same_but_spool(broker)) {
            continue;
        }
        let taken = match before.brokers.get(name) {
            Some(config::Broker::Embedded(before)) => &before.listen[..],
            _ => &[],
        };
        if let Some(same) = embedded.listen.iter().find(|one| one.addr.port() != 0 && taken.contains(one)) {
            wrong.push(format!(
                "broker `{name}`: it keeps listening on {}, so its other settings change at the next start only",
                same.addr
            ));
            continue;
        }
        let allow_control_characters = crate::prepare::allows_control_characters(config);
        match open_one(name, embedded, allow_control_characters).await {
            Ok(one) => opened.push(one),
            Err(error) => wrong.push(format!("broker `{name}`: {error}")),
        }
    }
    if wrong.is_empty() { Ok(opened) } else { Err(wrong) }
}

async fn open_one(
    name: &str,
    config: &config::EmbeddedBroker,
    allow_control_characters: bool,
) -> Result<Opened, String> {
    let users = match &config.users {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(Users::parse(&text).map_err(|errors| {
                let words: Vec<_> = errors
                    .iter()
                    .map(|error| format!("{}:{}: {}", path.display(), error.line, error.problem))
                    .collect();
                words.join("\n")
            })?)
        }
        None => None,
    };
    let mut listeners = Vec::new();
    for listen in &config.listen {
        let scheme = match listen.scheme {
            config::ListenScheme::Mqtt => tidegate_broker::Scheme::Mqtt,
            config::ListenScheme::Ws => tidegate_broker::Scheme::Ws,
        };
        listeners.push(tidegate_broker::bind(listen.addr, scheme).await.map_err(|error| error.to_string())?);
    }
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let limits = &config.limits;
    let settings = Settings {
        name: name.to_owned(),
        allow_anonymous: users.is_none(),
        users,
        receive_maximum: limits.receive_maximum,
        max_packet_size: limits.max_packet_size,
        allow_control_characters,
        session_expiry_max_s: u32::try_from(limits.session_expiry_max.as_secs()).unwrap_or(u32::MAX),
        limits: Limits {
            connections: limits.max_connections as usize,
            queue_messages: limits.session_queue_max as usize,
            retained_messages: limits.retained_max as usize,
            ..Limits::default()
        },
        ..Settings::default()
    };
    Ok(Opened { name: name.to_owned(), addresses, settings, listeners })
}

/// Starts a broker, and the task that carries messages and acknowledgements to it.
pub(crate) fn start(
    opened: Opened,
    port: BrokerPort,
    core: Rc<RefCell<Core>>,
    at: u16,
    stop: CancellationToken,
) -> (Kind, JoinHandle<()>) {
    let broker = Broker::new(opened.settings);
    let local = broker.local(Rc::new(RefCell::new(port)));
    let wake = Rc::new(Notify::new());
    let (feeder, fed) = (local.clone(), wake.clone());
    let (name, listeners) = (opened.name, opened.listeners);
    let task = tokio::task::spawn_local(async move {
        let stopped = stop.clone();
        let feeding = tokio::task::spawn_local(async move {
            stopped.run_until_cancelled(feed(core, at, feeder, fed)).await;
        });
        if let Err(error) = broker.run(listeners, stop).await {
            tracing::error!(broker = name, %error, "the box's own broker has stopped");
        }
        let _ = feeding.await;
    });
    (Kind::Embedded { local, subscribed: Vec::new(), acks: Vec::new(), wake }, task)
}

/// Publishes what waits in the lane, and passes acknowledgements on, in turns of its own: the broker may be in the
/// middle of one when they come up.
async fn feed(core: Rc<RefCell<Core>>, at: u16, local: Local, wake: Rc<Notify>) {
    let mut completed = Vec::new();
    loop {
        wake.notified().await;
        loop {
            let now = Instant::now();
            let acks = match &mut core.borrow_mut().brokers[usize::from(at)].kind {
                Kind::Embedded { acks, .. } => std::mem::take(acks),
                _ => return,
            };
            for ack in acks {
                local.ack(ack);
            }
            for _ in 0..TURN_MESSAGES {
                let next = core.borrow_mut().pull(at, true, now);
                let Some(outgoing) = next else { break };
                // An error is what a client would get in PUBACK: this broker refuses the message.
                let reason = local.publish(outgoing.message);
                let reason = if reason.is_error() { reason } else { ReasonCode::SUCCESS };
                completed.push(Completion { key: outgoing.key, reason });
            }
            if completed.is_empty() {
                break;
            }
            core.borrow_mut().completed(at, &completed, now);
            completed.clear();
            tokio::task::yield_now().await;
        }
    }
}

/// Subscribes the gateway to exactly these filters, `now` being what it is subscribed to.
pub(crate) fn subscribe(local: &Local, now: &mut Vec<(TopicFilter, QoS)>, wanted: &[SubscribeFilter]) {
    let wanted: Vec<_> = wanted.iter().filter_map(|one| Some((one.filter.as_ref().ok()?.clone(), one.qos))).collect();
    let gone: Vec<TopicFilter> = now
        .iter()
        .filter(|(filter, _)| !wanted.iter().any(|(kept, _)| kept == filter))
        .map(|(filter, _)| filter.clone())
        .collect();
    let new: Vec<_> = wanted.iter().filter(|one| !now.contains(one)).cloned().collect();
    *now = wanted;
    local.unsubscribe(&gone);
    local.subscribe(&new);
}
