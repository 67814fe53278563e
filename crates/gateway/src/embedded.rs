//! The box's own broker as a part of the gateway: opened, run, and fed without a socket.

mod doors;
mod feed;
mod keeps;

use crate::broker_port::BrokerPort;
use crate::data_path::{DataPath, Kind};
use crate::settings::{Wrong, line_by_line};
use crate::{Error, held, listeners, own_access, own_tls};
pub(crate) use doors::{Addresses, Listening};
use doors::{bind, bind_or_take, bound};
use keeps::Keeps;
pub(crate) use keeps::folder;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Instant;
use tidegate_broker::{Access, Broker, Limits, ListenTls, Listener, Local, Settings, Users};
use tidegate_config::{self as config, Config, ListenAddr};
use tidegate_message::{QoS, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter};
use tidegate_router::BrokerId;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many messages are published in one turn.
const TURN_MESSAGES: usize = 512;

/// A broker whose sockets are bound and whose files were read, as far as they are there.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    settings: Settings,
    listeners: Vec<Listener>,
    /// Where it is to listen later.
    missing: Vec<ListenAddr>,
    /// Its user file, and what is wrong with it: then nobody is let in.
    users: Option<(config::EmbeddedBroker, Wrong)>,
    /// What it keeps over a restart.
    keeps: Keeps,
}

/// What to do about a user file that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// At a start: the broker waits for a better one, and the others run.
    Hold,
    /// At a reload: what ran keeps running.
    Refuse,
}

/// Binds the listeners of every embedded broker that is new or changed, or takes those over that are `here`: of brokers that run, and
/// stop when these start. All that is wrong, or all of them; an address that is not there yet is not wrong.
pub(crate) async fn open(
    config: &Config,
    before: &Config,
    patience: Patience,
    here: &[Listening],
) -> Result<Vec<Opened>, Error> {
    let (mut opened, mut wrong) = (Vec::new(), Vec::new());
    for (name, broker) in &config.brokers {
        let config::Broker::Embedded(embedded) = broker else { continue };
        if before.brokers.get(name).is_some_and(|before| before.keeps_connections(broker)) {
            continue;
        }
        let allow_control_characters = crate::plugins::build::allows_control_characters(config);
        let keeps = keeps::open(name, config, before).await?;
        match open_one(name, embedded, allow_control_characters, patience, keeps, here).await {
            Ok(one) => opened.push(one),
            Err(Error::Config(words)) => wrong.extend(words),
            // Nothing else in the file is to be put right for this one.
            Err(error) => return Err(error),
        }
    }
    if wrong.is_empty() { Ok(opened) } else { Err(Error::Config(wrong)) }
}

/// Who is let in at a broker, and what they may do there.
pub(crate) struct Admitted {
    /// `None`: anyone.
    pub(crate) users: Option<Users>,
    /// `None`: everything.
    pub(crate) access: Option<Access>,
    /// What listeners with TLS have.
    pub(crate) tls: Option<ListenTls>,
}

/// What the files of a broker of this name say of its clients. Does I/O.
pub(crate) fn admitted(name: &str, config: &config::EmbeddedBroker) -> Result<Admitted, Wrong> {
    let tls = config.tls.as_ref().map(own_tls::listen_tls).transpose()?;
    Ok(Admitted { users: users(config)?, access: own_access::access(name, &config.lists)?, tls })
}

/// The users of a broker; `None`: anyone.
pub(crate) fn users(config: &config::EmbeddedBroker) -> Result<Option<Users>, Wrong> {
    let Some(path) = &config.users else { return Ok(None) };
    let wrong = |words| Wrong { key: "users", words, elsewhere: false };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("{}: {error}; make it with `mosquitto_passwd -c FILE NAME`", path.display())))?;
    let users = Users::parse(&text);
    users.map(Some).map_err(|errors| wrong(line_by_line(path, errors.iter().map(|error| (error.line, &error.problem)))))
}

async fn open_one(
    name: &str,
    config: &config::EmbeddedBroker,
    allow_control_characters: bool,
    patience: Patience,
    keeps: Keeps,
    here: &[Listening],
) -> Result<Opened, Error> {
    let mut held = None;
    let admitted = match admitted(name, config) {
        Ok(admitted) => admitted,
        Err(wrong) if patience == Patience::Hold => {
            held = Some((config.clone(), wrong));
            Admitted { users: Users::parse("").ok(), access: Some(Access::default()), tls: None }
        }
        Err(wrong) => return Err(Error::Config(vec![format!("broker `{name}`: {}", wrong.words)])),
    };
    let (mut listeners, mut addresses, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for listen in &config.listen {
        match bind_or_take(listen, here).await {
            // What is taken is found now, though nobody is let in before there are users.
            Ok(_) if held.is_some() => missing.push(listen.clone()),
            Ok(listener) => {
                addresses.push(Listening { at: bound(listen, &listener), listener: listener.clone() });
                listeners.push(listener);
            }
            Err(error) if listeners::may_come(&error) => missing.push(listen.clone()),
            Err(error) => {
                let broker = format!("broker `{name}`");
                return Err(match here.iter().find(|one| one.at.overlaps(listen)) {
                    Some(ours) => listeners::not_yet(&broker, listen, &ours.at),
                    None => listeners::refused(&broker, listen, &error),
                });
            }
        }
    }
    let addresses = Rc::new(RefCell::new(addresses));
    Ok(Opened {
        name: name.to_owned(),
        addresses,
        settings: settings(name, config, admitted, allow_control_characters),
        listeners,
        missing,
        users: held,
        keeps,
    })
}

/// So many sessions, connected or not, for each client that may be connected at a time.
const SESSIONS_PER_CONNECTION: usize = 4;

pub(crate) fn settings(
    name: &str,
    config: &config::EmbeddedBroker,
    admitted: Admitted,
    allow_control_characters: bool,
) -> Settings {
    let (limits, Admitted { users, access, tls }) = (&config.limits, admitted);
    Settings {
        name: name.to_owned(),
        allow_anonymous: users.is_none(),
        users,
        access,
        tls,
        identity: config.tls.as_ref().and_then(|tls| tls.identity).map(own_tls::identity),
        receive_maximum: limits.receive_maximum,
        max_packet_size: limits.max_packet_size,
        allow_control_characters,
        session_expiry_max_s: u32::try_from(limits.session_expiry_max.as_secs()).unwrap_or(u32::MAX),
        keep_alive_max_s: limits.keep_alive_max.map(|max| u16::try_from(max.as_secs()).unwrap_or(u16::MAX)),
        proxies: config.proxies.clone(),
        server_reference: config.server_reference.clone(),
        response_information: config.response_information.clone(),
        limits: Limits {
            connections: limits.max_connections as usize,
            // Whoever may connect has a session: more clients than sessions would be turned away.
            sessions: SESSIONS_PER_CONNECTION * limits.max_connections as usize,
            subscriptions: limits.session_subscriptions_max as usize,
            queue_messages: limits.session_queue_max as usize,
            queue_bytes: bytes(limits.session_queue_size),
            queue_bytes_total: bytes(limits.queues_size),
            retained_messages: limits.retained_max as usize,
            retained_bytes: bytes(limits.retained_size),
            message_rate: limits.message_rate,
            byte_rate: limits.byte_rate,
            connections_per_address: limits.connections_per_address,
            connect_rate: limits.connect_rate,
        },
        ..Settings::default()
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// What runs an embedded broker.
pub(crate) struct Running {
    pub(crate) port: BrokerPort,
    pub(crate) path: Rc<RefCell<DataPath>>,
    /// Its place among the brokers.
    pub(crate) at: BrokerId,
    /// What is wrong is looked at again now.
    pub(crate) again: Rc<Notify>,
    pub(crate) stop: CancellationToken,
}

/// Starts a broker, and the tasks that carry messages and acknowledgements to it and complete what is missing.
pub(crate) fn start(opened: Opened, running: Running) -> (Kind, Broker, JoinHandle<()>) {
    let Running { port, path, at, again, stop } = running;
    let Opened { name, addresses, settings, listeners, missing, users, keeps } = opened;
    let allow_control_characters = settings.allow_control_characters;
    let broker = keeps::broker(&name, settings, keeps);
    let started = broker.clone();
    let local = broker.local(Rc::new(RefCell::new(port)));
    local.origins_reach(path.borrow().router.spool().durable());
    let wake = Rc::new(Notify::new());
    let (feeder, fed) = (local.clone(), wake.clone());
    let task = tokio::task::spawn_local(async move {
        let (fed_until, completed_until) = (stop.clone(), stop.clone());
        let (fed_path, failing) = (path.clone(), path.clone());
        let feeding = tokio::task::spawn_local(async move {
            fed_until.run_until_cancelled(feed::feed(fed_path, at, feeder, fed)).await;
        });
        let rest = Rest {
            broker: broker.clone(),
            name: name.clone(),
            path,
            at,
            again,
            addresses,
            allow_control_characters,
            stop: stop.clone(),
        };
        let completing = tokio::task::spawn_local(async move {
            completed_until.run_until_cancelled(rest.complete(missing, users)).await;
        });
        let ran = broker.run(listeners, stop).await;
        if let Err(tidegate_broker::Error::Disk(error)) = &ran {
            // As when that of the spool fails.
            let mut path = failing.borrow_mut();
            path.own_disk_error = Some(error.clone());
            path.disk_failed.cancel();
        }
        if let Err(error) = ran {
            tracing::error!(name: "broker_stopped", broker = name, %error, "the box's own broker has stopped");
        }
        let _ = feeding.await;
        let _ = completing.await;
    });
    (Kind::Embedded { local, subscribed: Vec::new(), wake }, started, task)
}

/// What completes a broker that runs without some of its listeners, or without users.
struct Rest {
    broker: Broker,
    name: String,
    path: Rc<RefCell<DataPath>>,
    at: BrokerId,
    again: Rc<Notify>,
    addresses: Addresses,
    allow_control_characters: bool,
    stop: CancellationToken,
}

impl Rest {
    async fn complete(self, mut missing: Vec<ListenAddr>, users: Option<(config::EmbeddedBroker, Wrong)>) {
        if let Some((config, wrong)) = users {
            self.wait_for_users(&config, wrong).await;
        }
        let (mut wait, mut said) = (listeners::Again::new(), String::new());
        while !missing.is_empty() {
            let mut words = Vec::new();
            let mut still = Vec::new();
            for listen in missing {
                match bind(&listen).await {
                    Ok(listener) => self.listen(&listen, listener),
                    Err(error) => {
                        words.push(match listeners::may_come(&error) {
                            true => listeners::absent(&listen),
                            false => format!("cannot listen on {listen}: {error}; tried again until it can"),
                        });
                        still.push(listen);
                    }
                }
            }
            missing = still;
            let words = words.join(", and ");
            if words != said && !words.is_empty() {
                tracing::warn!(broker = self.name, "{words}");
            }
            self.say((!words.is_empty()).then_some(&*words));
            said = words;
            if !missing.is_empty() {
                let _ = tokio::time::timeout(wait.wait(), self.again.notified()).await;
            }
        }
    }

    /// Nobody is let in before the user file can be used.
    async fn wait_for_users(&self, config: &config::EmbeddedBroker, mut wrong: Wrong) {
        let mut said = String::new();
        loop {
            if wrong.words != said {
                tracing::error!(
                    name: "broker_not_started",
                    broker = self.name,
                    error = wrong.words,
                    "not started: nobody is let in"
                );
                self.say(Some(&wrong.words));
                said.clone_from(&wrong.words);
            }
            let _ = tokio::time::timeout(held::AGAIN, self.again.notified()).await;
            match admitted(&self.name, config) {
                Ok(admitted) => {
                    let allow = self.allow_control_characters;
                    self.broker.reconfigure(settings(&self.name, config, admitted, allow));
                    tracing::info!(name: "broker_started_late", broker = self.name, "the user file and the access lists can be used now");
                    return;
                }
                Err(again) => wrong = again,
            }
        }
    }

    fn listen(&self, listen: &ListenAddr, listener: Listener) {
        let at = bound(listen, &listener);
        tracing::info!(name: "listening", broker = self.name, addr = at.place(), "listening");
        self.addresses.borrow_mut().push(Listening { at, listener: listener.clone() });
        let serving = self.broker.clone().serve(listener, self.stop.clone());
        let name = self.name.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = serving.await {
                tracing::error!(broker = name, %error, "a listener has stopped");
            }
        });
    }

    /// What is missing, for those who ask whether the gateway is ready.
    fn say(&self, missing: Option<&str>) {
        let mut path = self.path.borrow_mut();
        path.end_mut(self.at).last_error = missing.map(str::to_owned);
        let nowhere = missing.is_some() && self.addresses.borrow().is_empty();
        if nowhere {
            path.went_down(self.at);
        } else {
            let known = path.router.broker_mut(self.at);
            (known.down_since, known.health.given_up) = (None, false);
            known.health.up_since.get_or_insert_with(Instant::now);
        }
    }
}

/// Subscribes the gateway to exactly these filters, `now` being what it is subscribed to.
pub(crate) fn subscribe(local: &Local, now: &mut Vec<(TopicFilter, QoS, RetainHandling)>, wanted: &[SubscribeFilter]) {
    let asked = |one: &SubscribeFilter| {
        // What was stored came with the subscription: its session is as old as the broker.
        let handling = match one.retain_handling {
            RetainHandling::Send | RetainHandling::SendIfNew => RetainHandling::SendIfNew,
            RetainHandling::Never => RetainHandling::Never,
        };
        Some((one.filter.as_ref().ok()?.clone(), one.qos, handling))
    };
    let wanted: Vec<_> = wanted.iter().filter_map(asked).collect();
    let had: HashMap<&str, QoS> = now.iter().map(|(filter, qos, _)| (filter.as_str(), *qos)).collect();
    let stays: HashSet<&str> = wanted.iter().map(|(filter, ..)| filter.as_str()).collect();
    let gone: Vec<TopicFilter> =
        now.iter().map(|(filter, ..)| filter).filter(|filter| !stays.contains(filter.as_str())).cloned().collect();
    let new: Vec<_> = wanted.iter().filter(|(filter, qos, _)| had.get(filter.as_str()) != Some(qos)).cloned().collect();
    *now = wanted;
    local.unsubscribe(&gone);
    local.subscribe(&new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_may_connect_may_have_a_session() {
        for max_connections in [1, 1024, 20_000] {
            let limits = config::EmbeddedLimits { max_connections, ..config::EmbeddedLimits::default() };
            let config = config::EmbeddedBroker {
                listen: Vec::new(),
                tls: None,
                users: None,
                lists: Default::default(),
                limits,
                persistence: true,
                proxies: Vec::new(),
                server_reference: None,
                response_information: None,
                spool: Default::default(),
                status: None,
            };
            let limits = settings("box", &config, Admitted { users: None, access: None, tls: None }, false).limits;
            assert!(limits.sessions >= limits.connections, "{limits:?}");
        }
        assert_eq!(Limits::default().sessions, SESSIONS_PER_CONNECTION * Limits::default().connections);
    }
}
