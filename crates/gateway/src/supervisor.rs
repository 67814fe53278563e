//! Owns every task of a running gateway, and changes them when the configuration changes.

use crate::core::{BrokerSlot, Core, Kind, RouteSlot, RouteTarget, SetSlot, Target};
use crate::durable::Pace;
use crate::embedded::{Addresses, Patience, Running};
use crate::held::{self, Held, LinkSettings, link_settings};
use crate::pipeline::{self, Inbox, Outbox};
use crate::port::BrokerPort;
use crate::prepare::{Prepared, Preparer, StageKey};
use crate::report::{self, Changes, LastReloads};
use crate::sets::{Choice, Policy};
use crate::snapshot::Snapshot;
use crate::tasks::{collect, follow_spool, maintain, open_spool};
use crate::users::{self, UserFile};
use crate::{Error, embedded, next_start, settings, subscriptions};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::{self as config, Config};
use tidegate_link::{Address, Link, LinkHandle};
use tidegate_message::SubscriptionIndex;
use tidegate_mqtt::SubscribeFilter;
use tidegate_plugin::StateStore;
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
    core: Rc<RefCell<Core>>,
    config: RefCell<Config>,
    /// What the file said last, of which some waits for the next start.
    written: RefCell<Config>,
    /// Away while a reload builds plugins.
    preparer: Cell<Option<Preparer>>,
    keys: RefCell<HashMap<String, Vec<StageKey>>>,
    /// Of each link, what its passwords and certificates were when it was started.
    material: RefCell<HashMap<String, u64>>,
    tasks: RefCell<HashMap<u16, BrokerTask>>,
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
        let core = Rc::new(RefCell::new(Core::new(outbox.clone(), spool)));
        let empty = Config {
            brokers: BTreeMap::new(),
            targets: BTreeMap::new(),
            plugins: BTreeMap::new(),
            routes: Vec::new(),
            ..config.clone()
        };
        let gateway = Self {
            inner: Rc::new(Inner {
                core: core.clone(),
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
        tokio::task::spawn_local(collect(core.clone(), outbox));
        tokio::task::spawn_local(maintain(core.clone()));
        gateway.apply(config, Patience::Hold).await?;
        tokio::task::spawn_local(gateway.clone().try_held_again());
        // Not before: what it reads is new to the targets, and what an earlier run has begun to send is not.
        tokio::task::spawn_local(follow_spool(core, durable));
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
        self.set_spools(&config);
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
        self.set_sets(&config);
        self.set_paces(&config);
        self.set_routes(&config, prepared, &mut changes);
        self.set_rings(&config);
        {
            let mut core = self.inner.core.borrow_mut();
            core.adopt_queues();
            if !self.inner.recovered.replace(true) {
                core.recover(Instant::now());
            }
        }
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

    fn broker_index(&self, name: &str) -> Option<u16> {
        match self.inner.core.borrow().targets.get(name) {
            Some(Target::Broker(at)) => Some(*at),
            _ => None,
        }
    }

    fn add_broker(&self, name: &str, kind: Kind) -> u16 {
        let mut core = self.inner.core.borrow_mut();
        let name: Arc<str> = name.into();
        // A place whose broker is gone may still be named by messages under way: places are not used again.
        let at = core.brokers.len() as u16;
        core.brokers.push(BrokerSlot::new(name.clone(), kind));
        core.targets.insert(name, Target::Broker(at));
        core.name_broker(at);
        core.restore_link(at);
        at
    }

    fn remove_broker(&self, name: &str) {
        let Some(at) = self.broker_index(name) else { return };
        {
            let mut core = self.inner.core.borrow_mut();
            core.remove_broker(at);
            core.targets.remove(name);
        }
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
        let link = self
            .broker_index(name)
            .filter(|at| matches!(self.inner.core.borrow().brokers[usize::from(*at)].kind, Kind::Link(_)));
        let at = link.unwrap_or_else(|| {
            self.remove_broker(name);
            self.inner.held.hold(name, words);
            // Never run with these: whoever starts it has others.
            let (_, handle) = Link::new(tidegate_link::Settings::new(name, Address::Unix(PathBuf::new())));
            self.add_broker(name, Kind::Link(handle))
        });
        let mut core = self.inner.core.borrow_mut();
        let slot = &mut core.brokers[usize::from(at)];
        slot.last_error = Some(words.to_owned());
        slot.down_since.get_or_insert_with(Instant::now);
        core.hold_back.notify_one();
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
        let running =
            self.broker_index(name).and_then(|at| match &self.inner.core.borrow().brokers[usize::from(at)].kind {
                Kind::Link(handle) => Some((at, handle.clone())),
                _ => None,
            });
        let (at, link) = match running {
            Some((at, handle)) => (at, handle.with_settings(settings)),
            None => {
                self.remove_broker(name);
                let (link, handle) = Link::new(settings);
                (self.add_broker(name, Kind::Link(handle)), link)
            }
        };
        let before = self.inner.tasks.borrow_mut().remove(&at);
        let stop = self.inner.stop.child_token();
        let port = Rc::new(RefCell::new(BrokerPort { core: self.inner.core.clone(), broker: at, name: name.into() }));
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
        let at = self.inner.core.borrow().brokers.len() as u16;
        let port = BrokerPort { core: self.inner.core.clone(), broker: at, name: name.as_str().into() };
        let stop = self.inner.stop.child_token();
        let addresses = opened.addresses.clone();
        let (core, again) = (self.inner.core.clone(), self.inner.again.clone());
        let (kind, own, task) = embedded::start(opened, Running { port, core, at, again, stop: stop.clone() });
        let added = self.add_broker(&name, kind);
        debug_assert_eq!(added, at);
        {
            let mut core = self.inner.core.borrow_mut();
            let slot = &mut core.brokers[usize::from(at)];
            slot.health.up_since = Some(Instant::now());
            slot.version = Some("embedded".to_owned());
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

    /// How much may wait for each target, and how fast it leaves.
    fn set_spools(&self, config: &Config) {
        let names = config.brokers.keys().chain(config.targets.keys());
        let settings = names.map(|name| (name.clone(), config.spool_of(name))).collect();
        self.inner.core.borrow_mut().spool_settings = settings;
    }

    /// The slowest drain of a broker's own queue and of the sets it is in.
    fn set_paces(&self, config: &Config) {
        let mut core = self.inner.core.borrow_mut();
        for slot in &mut core.brokers {
            let name = &*slot.name;
            let sets = config.targets.iter().filter(|(_, set)| set.members.iter().any(|member| member == name));
            let rates = sets.filter_map(|(_, set)| set.spool.drain_rate).chain(config.spool_of(name).drain_rate);
            slot.pace = rates.min().map(|rate| Pace::new(rate, Instant::now()));
        }
    }

    fn set_sets(&self, config: &Config) {
        let mut core = self.inner.core.borrow_mut();
        let gone: Vec<Arc<str>> = core
            .targets
            .iter()
            .filter(|(name, target)| matches!(target, Target::Set(_)) && !config.targets.contains_key(&***name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(Target::Set(at)) = core.targets.remove(&name) {
                core.forget_target(Target::Set(at));
                core.sets[usize::from(at)].members.clear();
            }
        }
        for (name, set) in &config.targets {
            let policy = match set.policy {
                config::Policy::Failover => Policy::Failover,
                config::Policy::Balance => Policy::Balance,
                config::Policy::All => Policy::All,
            };
            let members = set
                .members
                .iter()
                .filter_map(|member| match core.targets.get(member.as_str()) {
                    Some(Target::Broker(at)) => Some(*at),
                    _ => None,
                })
                .collect();
            match core.targets.get(name.as_str()).copied() {
                Some(Target::Set(at)) => {
                    let slot = &mut core.sets[usize::from(at)];
                    if slot.choice.policy != policy || slot.members != members {
                        slot.choice = Choice::new(policy, set.failback);
                    }
                    slot.choice.failback = set.failback;
                    slot.members = members;
                }
                _ => {
                    let name: Arc<str> = name.as_str().into();
                    let at = core.sets.len() as u16;
                    let choice = Choice::new(policy, set.failback);
                    core.sets.push(SetSlot { choice, members });
                    core.targets.insert(name, Target::Set(at));
                }
            }
        }
    }

    fn set_routes(&self, config: &Config, prepared: Vec<Prepared>, changes: &mut Changes) {
        let mut core = self.inner.core.borrow_mut();
        let core = &mut *core;
        let mut keys = HashMap::new();
        for slot in &mut core.routes {
            slot.removed = !config.routes.iter().any(|route| *route.name == *slot.name);
            if slot.removed
                && let Some(inbox) = slot.inbox.take()
            {
                // What its plugins are deciding now still goes out: the verdicts find the slot.
                inbox.retire();
                slot.has_stages = false;
            }
        }
        for (route, prepared) in config.routes.iter().zip(prepared) {
            let found = core.routes.iter().position(|slot| *slot.name == *route.name);
            let at = found.unwrap_or_else(|| {
                core.routes.push(RouteSlot::new(route.name.as_str().into()));
                core.routes.len() - 1
            });
            let source = match core.targets.get(route.from.broker.as_str()) {
                Some(Target::Broker(at)) => *at,
                _ => continue,
            };
            let required = |name: &String| route.required.as_ref().is_none_or(|required| required.contains(name));
            let targets = route
                .to
                .iter()
                .filter_map(|name| {
                    let to = *core.targets.get(name.as_str())?;
                    Some(RouteTarget { to, required: required(name) })
                })
                .collect();
            let name_id = core.spool.name(tidegate_spool::NameKind::Route, &route.name);
            core.routes_by_id.insert(name_id, at as u16);
            let slot = &mut core.routes[at];
            slot.removed = false;
            slot.remap_response = route.remap.as_ref().is_some_and(|remap| remap.response_topic);
            slot.name_id = name_id;
            slot.spooled = route.ack == config::Ack::Spooled;
            slot.persist_qos0 = route.persist_qos0;
            slot.class = match route.priority {
                config::Priority::High => 0,
                config::Priority::Normal => crate::lane::NORMAL,
                config::Priority::Low => 2,
            };
            slot.source = source;
            slot.targets = targets;
            slot.qos = route.qos;
            slot.clear_retain = route.retain == config::Retain::Clear;
            slot.strip = route.remap.as_ref().map_or_else(String::new, |remap| remap.strip.clone());
            slot.prefix = route.remap.as_ref().map_or_else(String::new, |remap| remap.prefix.clone());
            slot.plugins = prepared.plugins;
            changes.now.extend(prepared.changed.iter().map(|what| format!("route `{}` runs {what}", route.name)));
            let has_stages = !prepared.swap.stages.is_empty();
            if has_stages && slot.inbox.is_none() {
                let inbox = Arc::new(Inbox::default());
                if let Err(error) = pipeline::spawn(at as u16, &route.name, inbox.clone(), core.outbox.clone()) {
                    tracing::error!(route = route.name, %error, "no thread for the plugins of this route");
                }
                slot.inbox = Some(inbox);
            }
            if let Some(inbox) = &slot.inbox {
                inbox.swap(prepared.swap);
            }
            slot.has_stages = has_stages;
            keys.insert(prepared.route, prepared.keys);
        }
        *self.inner.keys.borrow_mut() = keys;
        for slot in &mut core.brokers {
            slot.index = SubscriptionIndex::new();
            slot.forget_cache();
        }
        for route in &config.routes {
            let at = core.routes.iter().position(|slot| *slot.name == *route.name);
            let Some(at) = at else { continue };
            let source = &mut core.brokers[usize::from(core.routes[at].source)];
            for filter in &route.from.topics {
                source.index.insert(filter, at as u16);
            }
        }
    }

    /// Routes that would feed themselves through brokers that echo.
    fn set_rings(&self, config: &Config) {
        let mut core = self.inner.core.borrow_mut();
        let rings = config::rings(config).into_iter().filter_map(|ring| {
            let route = |name: &String| core.routes.iter().position(|slot| *slot.name == **name).map(|at| at as u16);
            let broker = |name: &String| match core.targets.get(name.as_str()) {
                Some(Target::Broker(at)) => Some(*at),
                _ => None,
            };
            let routes = ring.routes.iter().map(route).collect::<Option<_>>()?;
            Some(crate::capabilities::Ring { routes, brokers: ring.brokers.iter().map(broker).collect::<Option<_>>()? })
        });
        let rings = rings.collect();
        core.set_rings(rings);
    }

    /// Asks every source for what its routes want.
    fn subscribe(&self, config: &Config) {
        for name in config.brokers.keys() {
            let Some(at) = self.broker_index(name) else { continue };
            let wanted = subscriptions::wanted(config, name);
            let (local, mut subscribed) = match &mut self.inner.core.borrow_mut().brokers[usize::from(at)].kind {
                Kind::Link(handle) => {
                    self.subscribe_link(name, handle.clone(), wanted);
                    continue;
                }
                Kind::Embedded { local, subscribed, .. } => (local.clone(), std::mem::take(subscribed)),
                Kind::Gone => continue,
            };
            // Retained messages come back while we ask: nothing may be borrowed here.
            embedded::subscribe(&local, &mut subscribed, &wanted);
            if let Kind::Embedded { subscribed: known, .. } =
                &mut self.inner.core.borrow_mut().brokers[usize::from(at)].kind
            {
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
            last_reloads: self.last_reloads(),
            ..self.inner.core.borrow().snapshot()
        }
    }

    /// Where the box's own broker of this name listens.
    pub fn addresses(&self, broker: &str) -> Vec<SocketAddr> {
        let Some(at) = self.broker_index(broker) else { return Vec::new() };
        self.inner.tasks.borrow().get(&at).map_or_else(Vec::new, |task| task.addresses.borrow().clone())
    }

    pub(crate) fn core(&self) -> &Rc<RefCell<Core>> {
        &self.inner.core
    }

    /// Takes no more messages, delivers what is under way until the deadline, then says goodbye to every broker.
    pub async fn drain(&self, deadline: Duration) -> Left {
        self.inner.core.borrow_mut().draining = true;
        let until = Instant::now() + deadline;
        let under_way = || self.inner.core.borrow().under_way();
        while under_way() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = self.inner.core.borrow().not_durable();
        for route in &self.inner.core.borrow().routes {
            if let Some(inbox) = &route.inbox {
                inbox.stop();
            }
        }
        self.inner.stop.cancel();
        let tasks: Vec<BrokerTask> = self.inner.tasks.borrow_mut().drain().map(|(_, task)| task).collect();
        let goodbye = async {
            for task in tasks {
                let _ = task.task.await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        let spooled = self.inner.core.borrow_mut().close_spool(CLOSE);
        Left { messages: left, spooled }
    }
}
