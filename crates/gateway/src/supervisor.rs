//! Owns every task of a running gateway, and changes them when the configuration changes.

use crate::broker_port::BrokerPort;
use crate::data_path::{DataPath, Kind};
use crate::embedded::{Addresses, Patience, Running};
use crate::held::{self, Held, LinkSettings, link_settings};
use crate::plugins::build::{Prepared, Preparer, StageKey};
use crate::plugins::{self, Inbox, Outbox};
use crate::report::{self, Changes, LastReloads};
use crate::snapshot::Snapshot;
use crate::upkeep::{collect, follow_spool, maintain, open_spool};
use crate::users::{self, UserFile};
use crate::{Error, embedded, next_start, settings, subscriptions};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::Config;
use tidegate_link::{Address, Link, LinkHandle};
use tidegate_mqtt::{Restored, RestoredMessage, SubscribeFilter};
use tidegate_plugin::StateStore;
use tidegate_router::{BrokerId, Sent};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the tasks of a link may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often it is looked whether a broker has answered to a change of filters, and for how long.
const FILTERS_LOOK: Duration = Duration::from_millis(20);
const FILTERS_SETTLE: Duration = Duration::from_secs(30);

/// How long the last write to the spool may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A running gateway. Clones are the same gateway; all of it lives on the thread that started it.
#[derive(Clone)]
pub struct Gateway {
    inner: Rc<Inner>,
}

struct Inner {
    path: Rc<RefCell<DataPath>>,
    config: RefCell<Config>,
    /// What the file said last, of which some waits for the next start.
    written: RefCell<Config>,
    /// Away while a reload builds plugins.
    preparer: Cell<Option<Preparer>>,
    keys: RefCell<HashMap<String, Vec<StageKey>>>,
    /// Of each link, what its passwords and certificates were when it was started.
    material: RefCell<HashMap<String, u64>>,
    tasks: RefCell<HashMap<BrokerId, BrokerTask>>,
    held: Held,
    /// What each link was last told to subscribe to.
    wanted: RefCell<HashMap<String, Vec<SubscribeFilter>>>,
    /// What is missing, or was wrong, is looked at again now.
    again: Rc<tokio::sync::Notify>,
    stop: CancellationToken,
    /// What an earlier run left has been looked at.
    recovered: Cell<bool>,
    reloads: Cell<u64>,
    reloads_refused: Cell<u64>,
    last_reloads: RefCell<LastReloads>,
    reloading: tokio::sync::Mutex<()>,
}

struct BrokerTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Where the box's own broker listens.
    addresses: Addresses,
    /// The box's own broker, if it is that.
    own: Option<tidegate_broker::Broker>,
}

/// What was not delivered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Messages whose sources were not told that they are taken care of.
    pub messages: u64,
    /// Messages that are in the spool, for the next start.
    pub spooled: u64,
}

impl Gateway {
    /// Builds everything and connects. Must be called on a `LocalSet` of a current-thread runtime.
    ///
    /// A broker whose files or secrets cannot be used keeps only itself from starting: it is held back and tried again. So
    /// is an address to listen on that this machine has not yet.
    ///
    /// # Errors
    /// Everything else that is wrong, in words; nothing has been started then.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let cache = config.gateway.data_dir.join("cache");
        let durable = Arc::new(tokio::sync::Notify::new());
        let spool = open_spool(&config, durable.clone()).await?;
        let saved = spool.plugins_with_state().into_iter().filter_map(|plugin| {
            let state = StateStore::restored(spool.plugin_state(&plugin)?.clone());
            Some((plugin, state))
        });
        let preparer = Preparer::new(Some(cache), saved.collect()).map_err(|error| Error::Engine(error.to_string()))?;
        let outbox = Arc::new(Outbox::default());
        let path = Rc::new(RefCell::new(DataPath::new(outbox.clone(), spool)));
        let empty = Config {
            brokers: BTreeMap::new(),
            targets: BTreeMap::new(),
            plugins: BTreeMap::new(),
            routes: Vec::new(),
            ..config.clone()
        };
        let gateway = Self {
            inner: Rc::new(Inner {
                path: path.clone(),
                config: RefCell::new(empty),
                written: RefCell::new(config.clone()),
                preparer: Cell::new(Some(preparer)),
                keys: RefCell::default(),
                material: RefCell::default(),
                tasks: RefCell::default(),
                held: Held::default(),
                wanted: RefCell::default(),
                again: Rc::default(),
                stop: CancellationToken::new(),
                recovered: Cell::new(false),
                reloads: Cell::new(0),
                reloads_refused: Cell::new(0),
                last_reloads: RefCell::default(),
                reloading: tokio::sync::Mutex::new(()),
            }),
        };
        tokio::task::spawn_local(collect(path.clone(), outbox));
        tokio::task::spawn_local(maintain(path.clone()));
        gateway.apply(config, Patience::Hold).await?;
        tokio::task::spawn_local(gateway.clone().try_held_again());
        // Not before: what it reads is new to the targets, and what an earlier run has begun to send is not.
        tokio::task::spawn_local(follow_spool(path, durable));
        Ok(gateway)
    }

    /// Changes a running gateway to another configuration: only what differs is touched.
    ///
    /// # Errors
    /// Every reason why not; what ran keeps running.
    pub async fn reload(&self, config: Config) -> Result<Changes, Vec<String>> {
        let outcome = self.apply(config, Patience::Refuse).await.map_err(|error| match error {
            Error::Config(words) => words,
            other => vec![other.to_string()],
        });
        match &outcome {
            Ok(_) => self.inner.reloads.set(self.inner.reloads.get() + 1),
            Err(reasons) => self.refused(reasons.clone()),
        }
        outcome
    }

    /// A reload was refused, perhaps before it came here: its file could not be read.
    pub fn refused(&self, reasons: Vec<String>) {
        self.inner.reloads_refused.set(self.inner.reloads_refused.get() + 1);
        self.inner.last_reloads.borrow_mut().refused(reasons);
    }

    /// How the last reloads went.
    pub fn last_reloads(&self) -> LastReloads {
        self.inner.last_reloads.borrow().clone()
    }

    /// Whether what is wrong with this broker's files was so before, and the broker is held back for it: then a reload is
    /// not to blame.
    pub(crate) fn excuses(&self, name: &str, after: &Config) -> bool {
        let before = self.inner.config.borrow();
        let after = &next_start::in_force(&before, after);
        self.inner.held.excuses(name, before.brokers.get(name), after.brokers.get(name))
            || self.waits_for_users(name) && before.brokers.get(name) == after.brokers.get(name)
    }

    /// Whether a broker of the box's own lets nobody in, or listens nowhere yet.
    fn waits_for_users(&self, name: &str) -> bool {
        let at = self.broker_index(name);
        let tasks = self.inner.tasks.borrow();
        let task = at.and_then(|at| tasks.get(&at));
        task.is_some_and(|task| task.own.is_some() && task.addresses.borrow().is_empty())
    }

    async fn apply(&self, written: Config, patience: Patience) -> Result<Changes, Error> {
        let inner = &self.inner;
        let _one_at_a_time = inner.reloading.lock().await;
        let before = inner.config.borrow().clone();
        let config = next_start::in_force(&before, &written);
        let (wanted, runs) = (config.clone(), before.clone());
        let reading = move || (link_settings(&wanted, |_| true), users::read(&wanted, &runs));
        let (links, user_files) = tokio::task::spawn_blocking(reading)
            .await
            .map_err(|error| Error::Config(vec![format!("reading secrets panicked, which is a bug: {error}")]))?;
        if patience == Patience::Refuse {
            let new = |link: &&LinkSettings| {
                !inner.held.excuses(&link.name, before.brokers.get(&link.name), config.brokers.get(&link.name))
            };
            let words = |link: &LinkSettings| {
                let wrong = link.read.as_ref().err()?;
                Some(format!("broker `{}`: {}", link.name, settings::in_words(wrong)))
            };
            let mut wrong: Vec<_> = links.iter().filter(new).filter_map(words).collect();
            let users = user_files.iter().filter(|file| file.goes_on && !self.waits_for_users(&file.broker));
            wrong.extend(users.filter_map(|file| {
                let words = &file.settings.as_ref().err()?.words;
                Some(format!("broker `{}`: {words}", file.broker))
            }));
            if !wrong.is_empty() {
                return Err(Error::Config(wrong));
            }
        }
        // Sockets before links: who finds another gateway in its place must not have thrown out that one's clients.
        let new_brokers = embedded::open(&config, &before, patience, |name| !self.waits_for_users(name)).await?;
        let prepared = self.prepare(&config).await.map_err(Error::Config)?;
        // From here on nothing can fail.
        let difference = before.difference(&config);
        let mut changes = Changes {
            now: report::changes(&before, &config),
            next_start: next_start::told(&config, &inner.written.borrow(), &written),
        };
        for name in &difference.brokers.removed {
            self.remove_broker(name);
        }
        for LinkSettings { name, read, material } in links {
            let settings = match read {
                Ok(settings) => settings,
                Err(wrong) => {
                    self.hold_link(&name, &settings::in_words(&wrong));
                    continue;
                }
            };
            let released = inner.held.release(&name);
            let rotated = inner.material.borrow_mut().insert(name.clone(), material).is_some_and(|old| old != material);
            let added = difference.brokers.added.contains(&name);
            if added || rotated || released || difference.brokers.changed.contains(&name) {
                if rotated {
                    changes.rotated(&name, "another password or certificate");
                }
                self.start_link(&config, &name, settings);
            }
        }
        for opened in new_brokers {
            self.start_embedded(opened);
        }
        for file in user_files {
            self.set_users(file, &mut changes);
        }
        inner.again.notify_waiters();
        self.configure(&config, prepared, &mut changes);
        self.subscribe(&config);
        *inner.config.borrow_mut() = config;
        *inner.written.borrow_mut() = written;
        inner.last_reloads.borrow_mut().applied();
        Ok(changes)
    }

    /// Builds plugins on a thread of its own: compiling never stalls traffic.
    async fn prepare(&self, config: &Config) -> Result<Vec<Prepared>, Vec<String>> {
        let Some(mut preparer) = self.inner.preparer.take() else {
            return Err(vec!["the plugin host is gone after a bug; restart the gateway".to_owned()]);
        };
        let (config, keys) = (config.clone(), self.inner.keys.borrow().clone());
        let built = tokio::task::spawn_blocking(move || {
            let outcome = preparer.prepare(&config, &keys);
            (preparer, outcome)
        });
        match built.await {
            Ok((preparer, outcome)) => {
                self.inner.preparer.set(Some(preparer));
                outcome
            }
            Err(error) => Err(vec![format!("building the plugins panicked, which is a bug: {error}")]),
        }
    }

    fn broker_index(&self, name: &str) -> Option<BrokerId> {
        self.inner.path.borrow().router.broker_named(name)
    }

    /// The handle of a link.
    fn link_of(&self, at: BrokerId) -> Option<LinkHandle> {
        match &self.inner.path.borrow().end(at).kind {
            Kind::Link(handle) => Some(handle.clone()),
            Kind::Embedded { .. } | Kind::Gone => None,
        }
    }

    fn remove_broker(&self, name: &str) {
        let Some(at) = self.broker_index(name) else { return };
        self.inner.path.borrow_mut().remove_broker(at);
        self.inner.material.borrow_mut().remove(name);
        self.inner.held.release(name);
        self.inner.wanted.borrow_mut().remove(name);
        if let Some(task) = self.inner.tasks.borrow_mut().remove(&at) {
            task.stop.cancel();
        }
    }

    /// Keeps a link from starting, and the others from being kept by it. What is sent to it waits.
    fn hold_link(&self, name: &str, words: &str) {
        if self.inner.held.hold(name, words) {
            tracing::error!(broker = name, error = words, "not started; tried again every minute and at each reload");
        }
        let link = self.broker_index(name).filter(|at| self.link_of(*at).is_some());
        let at = link.unwrap_or_else(|| {
            self.remove_broker(name);
            self.inner.held.hold(name, words);
            // Never run with these: whoever starts it has others.
            let (_, handle) = Link::new(tidegate_link::Settings::new(name, Address::Unix(PathBuf::new())));
            self.inner.path.borrow_mut().add_broker(name, Kind::Link(handle))
        });
        let mut path = self.inner.path.borrow_mut();
        path.end_mut(at).last_error = Some(words.to_owned());
        path.router.broker_mut(at).down_since.get_or_insert_with(Instant::now);
        path.look.notify_one();
    }

    /// Reads the files of brokers that are held back again, every minute; starts those that are right now.
    async fn try_held_again(self) {
        let stop = self.inner.stop.clone();
        while stop.run_until_cancelled(tokio::time::sleep(held::AGAIN)).await.is_some() {
            let names = self.inner.held.names();
            if names.is_empty() {
                continue;
            }
            let _one_at_a_time = self.inner.reloading.lock().await;
            let config = self.config();
            let reading =
                tokio::task::spawn_blocking(move || link_settings(&config, |name| names.iter().any(|n| n == name)));
            for LinkSettings { name, read, material } in reading.await.unwrap_or_default() {
                match read {
                    Ok(settings) if self.inner.held.release(&name) => {
                        tracing::info!(broker = name, "its files can be used now");
                        self.inner.material.borrow_mut().insert(name.clone(), material);
                        self.start_link(&self.config(), &name, settings);
                    }
                    Ok(_) => {}
                    Err(wrong) => self.hold_link(&name, &settings::in_words(&wrong)),
                }
            }
        }
    }

    /// Starts a link, or goes on with a running one under other settings.
    fn start_link(&self, config: &Config, name: &str, mut settings: tidegate_link::Settings) {
        // Its retained messages ended with the process before; a session that was kept would not bring them again.
        settings.fetch_retained = config.feeds_embedded(name);
        let running = self.broker_index(name).and_then(|at| Some((at, self.link_of(at)?)));
        let (at, link) = match running {
            Some((at, handle)) => (at, handle.with_settings(settings)),
            None => {
                self.remove_broker(name);
                let (link, handle) = Link::new(settings);
                (self.inner.path.borrow_mut().add_broker(name, Kind::Link(handle)), link)
            }
        };
        let before = self.inner.tasks.borrow_mut().remove(&at);
        let stop = self.inner.stop.child_token();
        let port = Rc::new(RefCell::new(BrokerPort { path: self.inner.path.clone(), broker: at, name: name.into() }));
        let stopped = stop.clone();
        let task = tokio::task::spawn_local(async move {
            if let Some(before) = before {
                before.stop.cancel();
                let _ = tokio::time::timeout(GOODBYE, before.task).await;
            }
            link.run(port, stopped).await;
        });
        let task = BrokerTask { stop, task, addresses: Addresses::default(), own: None };
        self.inner.tasks.borrow_mut().insert(at, task);
    }

    fn start_embedded(&self, opened: embedded::Opened) {
        let name = opened.name.clone();
        self.remove_broker(&name);
        let path = self.inner.path.clone();
        let at = BrokerId::new(path.borrow().router.brokers().count());
        let port = BrokerPort { path: path.clone(), broker: at, name: name.as_str().into() };
        let stop = self.inner.stop.child_token();
        let addresses = opened.addresses.clone();
        let again = self.inner.again.clone();
        let (kind, own, task) =
            embedded::start(opened, Running { port, path: path.clone(), at, again, stop: stop.clone() });
        {
            let mut path = path.borrow_mut();
            let added = path.add_broker(&name, kind);
            debug_assert_eq!(added, at);
            path.router.broker_mut(at).health.up_since = Some(Instant::now());
            path.end_mut(at).version = Some("embedded".to_owned());
        }
        let task = BrokerTask { stop, task, addresses, own: Some(own) };
        self.inner.tasks.borrow_mut().insert(at, task);
    }

    /// Lets in who is in a user file now.
    fn set_users(&self, file: UserFile, changes: &mut Changes) {
        let before = self.inner.material.borrow_mut().insert(file.broker.clone(), file.material);
        let is_new = file.goes_on && before.is_some_and(|before| before != file.material);
        let Some(at) = self.broker_index(&file.broker).filter(|_| is_new) else { return };
        // What is wrong with a file has been said: nobody is let in yet.
        let own = self.inner.tasks.borrow().get(&at).and_then(|task| task.own.clone());
        let (Some(own), Ok(settings)) = (own, file.settings) else { return };
        own.reconfigure(settings);
        changes.rotated(&file.broker, "other users");
    }

    /// Takes over sets, routes and plugins, once the brokers are as the configuration has them.
    fn configure(&self, config: &Config, prepared: Vec<Prepared>, changes: &mut Changes) {
        let mut path = self.inner.path.borrow_mut();
        let path = &mut *path;
        let now = path.moment(Instant::now());
        path.router.configure(config, now);
        let removed: Vec<_> = path.router.routes().filter(|(_, route)| route.removed).map(|(at, _)| at).collect();
        for route in removed {
            if let Some(inbox) = path.pipeline(route).inbox.take() {
                // What its plugins are deciding now still goes out: the verdicts find the route.
                inbox.retire();
            }
        }
        let mut keys = HashMap::new();
        for (route, prepared) in config.routes.iter().zip(prepared) {
            let Some(at) = path.router.route_at(&route.name) else { continue };
            changes.now.extend(prepared.changed.iter().map(|what| format!("route `{}` runs {what}", route.name)));
            let outbox = path.outbox.clone();
            let pipeline = path.pipeline(at);
            pipeline.plugins = prepared.plugins;
            if !prepared.swap.stages.is_empty() && pipeline.inbox.is_none() {
                let inbox = Arc::new(Inbox::default());
                if let Err(error) = plugins::spawn(at, &route.name, inbox.clone(), outbox) {
                    tracing::error!(route = route.name, %error, "no thread for the plugins of this route");
                }
                pipeline.inbox = Some(inbox);
            }
            if let Some(inbox) = &pipeline.inbox {
                inbox.swap(prepared.swap);
            }
            keys.insert(prepared.route, prepared.keys);
        }
        *self.inner.keys.borrow_mut() = keys;
        if !self.inner.recovered.replace(true) {
            path.recover();
        }
        path.flush(Instant::now());
    }

    /// Asks every source for what its routes want.
    fn subscribe(&self, config: &Config) {
        for name in config.brokers.keys() {
            let Some(at) = self.broker_index(name) else { continue };
            let wanted = subscriptions::wanted(config, name);
            let (local, mut subscribed) = match &mut self.inner.path.borrow_mut().end_mut(at).kind {
                Kind::Link(handle) => {
                    self.subscribe_link(name, handle.clone(), wanted);
                    continue;
                }
                Kind::Embedded { local, subscribed, .. } => (local.clone(), std::mem::take(subscribed)),
                Kind::Gone => continue,
            };
            // Retained messages come back while we ask: nothing may be borrowed here.
            embedded::subscribe(&local, &mut subscribed, &wanted);
            if let Kind::Embedded { subscribed: known, .. } = &mut self.inner.path.borrow_mut().end_mut(at).kind {
                *known = subscribed;
            }
        }
    }

    /// Straight to what is wanted, or in two steps where a message could come twice in between.
    fn subscribe_link(&self, name: &str, handle: LinkHandle, wanted: Vec<SubscribeFilter>) {
        let before = self.inner.wanted.borrow().get(name).cloned().unwrap_or_default();
        let first = subscriptions::between(&before, &wanted).unwrap_or_else(|| wanted.clone());
        self.inner.wanted.borrow_mut().insert(name.to_owned(), first.clone());
        handle.subscribe(&first);
        if first == wanted {
            return;
        }
        let (inner, name) = (Rc::downgrade(&self.inner), name.to_owned());
        tokio::task::spawn_local(async move {
            // What the broker never answers must not keep the old filters for ever.
            let until = Instant::now() + FILTERS_SETTLE;
            while !handle.is_settled() && Instant::now() < until {
                tokio::time::sleep(FILTERS_LOOK).await;
            }
            let Some(inner) = inner.upgrade() else { return };
            let mut all = inner.wanted.borrow_mut();
            // Another reload may have had other wishes since.
            if let Some(now) = all.get_mut(&name)
                && *now == first
            {
                now.clone_from(&wanted);
                handle.subscribe(&wanted);
            }
        });
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.inner.config.borrow().clone()
    }

    /// Everything that is counted.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            reloads: self.inner.reloads.get(),
            reloads_refused: self.inner.reloads_refused.get(),
            ..self.inner.path.borrow().snapshot()
        }
    }

    /// Where the box's own broker of this name listens.
    pub fn addresses(&self, broker: &str) -> Vec<SocketAddr> {
        let Some(at) = self.broker_index(broker) else { return Vec::new() };
        self.inner.tasks.borrow().get(&at).map_or_else(Vec::new, |task| task.addresses.borrow().clone())
    }

    pub(crate) fn path(&self) -> &Rc<RefCell<DataPath>> {
        &self.inner.path
    }

    /// Takes no more messages, delivers what is under way until the deadline, then says goodbye to every broker.
    pub async fn drain(&self, deadline: Duration) -> Left {
        self.inner.path.borrow_mut().router.drain();
        let until = Instant::now() + deadline;
        let under_way = || self.inner.path.borrow().router.under_way();
        while under_way() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = self.inner.path.borrow().router.not_durable();
        self.inner.path.borrow().stop_plugins();
        self.inner.stop.cancel();
        let tasks: Vec<BrokerTask> = self.inner.tasks.borrow_mut().drain().map(|(_, task)| task).collect();
        let goodbye = async {
            for task in tasks {
                let _ = task.task.await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        let spooled = self.inner.path.borrow_mut().router.close(CLOSE);
        Left { messages: left, spooled }
    }
}

impl DataPath {
    /// At the start, before any link connects: what was being sent at QoS 2 goes on where it was.
    fn recover(&mut self) {
        for waiting in self.router.waiting_for_nobody() {
            let (target_name, messages) = (waiting.key.target, waiting.items);
            tracing::warn!(target_name, messages, "wait for a target that is not configured");
        }
        let now = self.moment(Instant::now());
        for (at, sent, received) in self.router.recover(now) {
            let Kind::Link(handle) = &self.end(at).kind else { continue };
            let restored = |Sent { serial, ticket, message }| RestoredMessage { serial, key: ticket.key(), message };
            let sent = sent.into_iter().map(restored).collect();
            for key in handle.clone().restore(Restored { sent, received }) {
                self.router.complete(tidegate_router::Ticket::from_key(key), now);
            }
        }
        self.spool_news(now.at);
    }
}
