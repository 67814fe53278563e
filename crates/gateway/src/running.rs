//! A running gateway: started, asked, drained.
//!
//! What a configuration makes of it is in `apply`, what becomes of one broker in `brokers`, and in `late` what happens while
//! the components of some plugins are still compiled.

mod apply;
mod brokers;
mod late;
mod probes;
mod sources;
mod status;

use self::late::Late;
use crate::Error;
use crate::collector::Traced;
use crate::compare;
use crate::console::Console;
use crate::data_path::DataPath;
use crate::embedded::{Addresses, Listening, Patience};
use crate::held::Held;
use crate::plugins::Outbox;
use crate::plugins::build::{Preparer, StageKey};
use crate::recent::Recent;
use crate::report::{Changes, LastReloads};
use crate::snapshot::Snapshot;
use crate::upkeep::{collect, follow_spool, maintain, open_spool};
use crate::versions::{self, Versions};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_config::{Config, ListenAddr};
use tidegate_mqtt::SubscribeFilter;
use tidegate_plugin::StateStore;
use tidegate_router::BrokerId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the tasks of a link may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the last write to the spool may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A running gateway. Clones are the same gateway; all of it lives on the thread that started it.
#[derive(Clone)]
pub struct Gateway {
    inner: Rc<Inner>,
}

struct Inner {
    path: Rc<RefCell<DataPath>>,
    config: RefCell<Arc<Config>>,
    /// What values that may be secrets are hashed with when another process compares; `None` if it cannot be kept.
    key: Option<tidegate_config::Key>,
    /// What the file said last, of which some waits for the next start.
    written: RefCell<Arc<Config>>,
    /// Away while a reload builds plugins.
    preparer: Cell<Option<Preparer>>,
    keys: RefCell<HashMap<String, Vec<StageKey>>>,
    /// Of each link, what its passwords and certificates were when it was started.
    material: RefCell<HashMap<String, u64>>,
    tasks: RefCell<HashMap<BrokerId, BrokerTask>>,
    held: Held,
    /// What each link was last told to subscribe to.
    wanted: RefCell<HashMap<String, Vec<SubscribeFilter>>>,
    /// Which brokers of sources are subscribed to.
    standbys: RefCell<sources::Standbys>,
    /// What each broker was told of our state.
    told_status: RefCell<HashMap<String, status::ToldStatus>>,
    /// Others may want the counters now, or at other times.
    status_changed: tokio::sync::Notify,
    probes_changed: tokio::sync::Notify,
    /// What is missing, or was wrong, is looked at again now.
    again: Rc<tokio::sync::Notify>,
    stop: CancellationToken,
    /// What an earlier run left has been looked at.
    recovered: Cell<bool>,
    reloads: Cell<u64>,
    reloads_refused: Cell<u64>,
    last_reloads: RefCell<LastReloads>,
    started_at: SystemTime,
    reloading: tokio::sync::Mutex<()>,
    /// Something was applied: there may be a version to look at.
    applied: tokio::sync::Notify,
    /// When workers were told last to bring a state to another version.
    states_moved: Cell<Option<Instant>>,
    /// What came too late to keep it from starting, and ends it.
    /// Which have run, of each plugin.
    versions: RefCell<Versions>,
    /// What is known of them is written by one at a time, so that the last state is the one on disk.
    saving_versions: tokio::sync::Mutex<()>,
    /// The last messages, if they are kept.
    recent: RefCell<Recent>,
    /// Whom traces go to.
    traced: Traced,
    failed: Cell<Option<Error>>,
    has_failed: tokio::sync::Notify,
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
    /// Routes whose plugins take long to compile hold what comes for them until that is done; the others carry. What is
    /// wrong with those plugins comes out of [`failed`](Self::failed) then.
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
        // The folder is ours by now: no other gateway's key is written over.
        let key = compare::make_key(&config.gateway.data_dir);
        let saved = spool.plugins_with_state().into_iter().filter_map(|plugin| {
            let state = StateStore::restored(spool.plugin_state(&plugin)?.clone());
            Some((plugin, state))
        });
        let preparer = Preparer::new(Some(cache), saved.collect(), config.gateway.interpreter);
        let mut preparer = preparer.map_err(|error| Error::Engine(error.into()))?;
        let (data_dir, keep_versions) = (&config.gateway.data_dir, config.gateway.keep_versions);
        preparer.keep_versions(versions::folder(data_dir));
        let versions = Versions::open(data_dir, keep_versions);
        let late = Late::begin(&mut preparer, &config).await;
        let outbox = Arc::new(Outbox::default());
        let path = Rc::new(RefCell::new(DataPath::new(outbox.clone(), spool)));
        path.borrow_mut().router.watch_with(preparer.watched.clone());
        let empty = Config {
            brokers: BTreeMap::new(),
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            plugins: BTreeMap::new(),
            routes: Vec::new(),
            ..config.clone()
        };
        let gateway = Self {
            inner: Rc::new(Inner {
                path: path.clone(),
                config: RefCell::new(Arc::new(empty)),
                key,
                written: RefCell::new(Arc::new(config.clone())),
                preparer: Cell::new(Some(preparer)),
                keys: RefCell::default(),
                material: RefCell::default(),
                tasks: RefCell::default(),
                held: Held::default(),
                wanted: RefCell::default(),
                standbys: RefCell::default(),
                told_status: RefCell::default(),
                status_changed: tokio::sync::Notify::new(),
                probes_changed: tokio::sync::Notify::new(),
                again: Rc::default(),
                stop: CancellationToken::new(),
                recovered: Cell::new(false),
                reloads: Cell::new(0),
                reloads_refused: Cell::new(0),
                last_reloads: RefCell::default(),
                started_at: SystemTime::now(),
                reloading: tokio::sync::Mutex::new(()),
                applied: tokio::sync::Notify::new(),
                states_moved: Cell::new(None),
                versions: RefCell::new(versions),
                saving_versions: tokio::sync::Mutex::new(()),
                recent: RefCell::default(),
                traced: Traced::new(),
                failed: Cell::new(None),
                has_failed: tokio::sync::Notify::new(),
            }),
        };
        tokio::task::spawn_local(collect(path.clone(), outbox));
        tokio::task::spawn_local(maintain(path.clone()));
        gateway.apply_alone(config, Patience::Hold, late.paths()).await?;
        tokio::task::spawn_local(gateway.clone().try_held_again());
        tokio::task::spawn_local(gateway.clone().tell_counters());
        tokio::task::spawn_local(gateway.clone().follow_sources());
        tokio::task::spawn_local(gateway.clone().send_probes());
        tokio::task::spawn_local(gateway.clone().watch_probation());
        tokio::task::spawn_local(gateway.clone().keep_recent());
        // Not before: what it reads is new to the targets, and what an earlier run has begun to send is not.
        tokio::task::spawn_local(follow_spool(path, durable));
        if !late.paths().is_empty() {
            tokio::task::spawn_local(gateway.clone().take_late(late));
        }
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

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.borrow().clone()
    }

    /// What the file said last.
    pub(crate) fn written(&self) -> Arc<Config> {
        self.inner.written.borrow().clone()
    }

    /// What runs, for another process to compare a configuration with, as JSON.
    pub fn shown(&self) -> serde_json::Value {
        let waiting = self.inner.path.borrow().waiting_by_target();
        compare::answer(&self.inner.config.borrow(), &waiting, self.inner.key.as_ref())
    }

    /// A handle to it for other threads.
    pub fn console(&self) -> Console {
        Console::new(self.clone())
    }

    /// Everything that is counted.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            name: self.inner.config.borrow().gateway.name.clone(),
            started_at: Some(self.inner.started_at),
            reloads: self.inner.reloads.get(),
            reloads_refused: self.inner.reloads_refused.get(),
            rollbacks: self.inner.versions.borrow().rollbacks().clone(),
            last_reloads: self.last_reloads(),
            traces: self.inner.traced.counts(),
            ..self.inner.path.borrow().snapshot()
        };
        let path = self.inner.path.borrow();
        let tried = path.all_plugins().filter_map(|info| info.tried.as_ref());
        snapshot.candidates = tried.map(|tried| (tried.plugin.to_string(), tried.snapshot())).collect();
        drop(path);
        self.add_sources(&mut snapshot);
        let config = self.inner.config.borrow();
        for queue in &mut snapshot.queues {
            let quota = config.spool_of(&queue.target);
            let bytes = queue.bytes as f64 / quota.max_bytes as f64;
            let messages = quota.max_messages.map_or(0.0, |max| queue.messages as f64 / max as f64);
            queue.used = Some(bytes.max(messages));
        }
        snapshot
    }

    /// Where the box's own broker of this name listens, but for Unix sockets.
    pub fn addresses(&self, broker: &str) -> Vec<SocketAddr> {
        let Some(at) = self.broker_index(broker) else { return Vec::new() };
        let tasks = self.inner.tasks.borrow();
        let Some(task) = tasks.get(&at) else { return Vec::new() };
        let ip = |one: &Listening| match &one.at {
            ListenAddr::Ip { addr, .. } => Some(*addr),
            ListenAddr::Unix(_) => None,
        };
        task.addresses.borrow().iter().filter_map(ip).collect()
    }

    /// Told after each configuration that was applied.
    pub(crate) fn applied(&self) -> &tokio::sync::Notify {
        &self.inner.applied
    }

    /// When workers were told last to bring a state to another version.
    pub(crate) fn states_moved(&self) -> Option<Instant> {
        self.inner.states_moved.get()
    }

    pub(crate) fn reloading(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.reloading
    }

    /// Applies what the file said last once more, while nobody else applies anything.
    pub(crate) async fn apply_again(&self, written: Config) -> Result<Changes, Error> {
        self.apply_alone(written, Patience::Refuse, &[]).await
    }

    pub(crate) fn saving_versions(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.saving_versions
    }

    pub(crate) fn recent(&self) -> &RefCell<Recent> {
        &self.inner.recent
    }

    pub(crate) fn versions(&self) -> &RefCell<Versions> {
        &self.inner.versions
    }

    pub(crate) fn traced(&self) -> &Traced {
        &self.inner.traced
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
        self.inner.path.borrow_mut().stop_plugins();
        self.save_versions().await;
        self.tell_offline();
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
