//! A gateway from its configuration file to the end: start, watch, reload, drain.

use crate::data_path::wall_ms;
use crate::files::files;
use crate::history;
use crate::report::Changes;
use crate::running::{Gateway, Left};
use crate::watch::{Fingerprint, Watch};
use crate::{Error, Finding, preflight};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_config::{Config, Fate, Included, Loaded, Problem, Problems, Sources, Touched};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How the end came.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// What was under way when the time to drain was over.
    pub left: Left,
}

/// A gateway that is about to start: its configuration is read, and the folder of its data is there.
pub struct Service {
    path: PathBuf,
    config: Config,
    known: Look,
}

impl Service {
    /// Looks at the file of a configuration that was read from it a moment ago.
    ///
    /// # Errors
    /// The data directory cannot be made.
    pub async fn open(path: &Path, config: Config) -> Result<Self, Error> {
        // What is saved from here on is new; what was saved since the file was read is read now.
        let known = Look::at(path, &config, None).await;
        // If it is no configuration by now, the first reload says why.
        let config = match &known.read {
            Some(loaded) => loaded.config.clone(),
            None => config,
        };
        make_data_dir(&config.gateway.data_dir)?;
        Ok(Self { path: path.to_owned(), config, known })
    }

    /// What it will start with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Runs the gateway on this thread's `LocalSet` until `stop`, reloading when its files are saved or `reload` is notified.
    ///
    /// # Errors
    /// What keeps it from starting. Once it runs, nothing of a reload ends it.
    pub async fn run(
        self,
        stop: CancellationToken,
        reload: &Notify,
        drain_deadline: Duration,
        started: impl FnOnce(&Gateway) -> Result<(), Error>,
    ) -> Result<Served, Error> {
        let Self { path, config, known } = self;
        let gateway = Gateway::start(config).await?;
        started(&gateway)?;
        tracing::info!(name: "running", gateway = gateway.config().gateway.name, "running");
        if let Some(loaded) = &known.read {
            remember(&gateway, loaded.sources.clone(), Vec::new()).await;
        }
        let disk_failed = gateway.path().borrow().disk_failed.clone();
        tokio::select! {
            Some(()) = stop.run_until_cancelled(watch(&path, &gateway, reload, known)) => {}
            () = stop.cancelled() => {}
            () = disk_failed.cancelled() => {
                // Nothing more is acknowledged: what is not durable is sent again by its sources.
                let path = gateway.path().borrow();
                let error = match path.router.disk() {
                    tidegate_spool::DiskStatus::Failed(error) => Some(error.clone()),
                    _ => path.own_disk_error.clone(),
                };
                return Err(Error::Disk(error.unwrap_or_else(|| "it is not known how".to_owned())));
            }
            error = gateway.failed() => {
                gateway.drain(drain_deadline).await;
                return Err(error);
            }
        }
        tracing::info!(name: "draining", "draining");
        let left = gateway.drain(drain_deadline).await;
        Ok(Served { left })
    }
}

fn make_data_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::DataDir { path: path.display().to_string(), error })
}

/// Reloads whenever there is something new; never returns.
async fn watch(path: &Path, gateway: &Gateway, reload: &Notify, mut known: Look) {
    let mut watch = Watch::new();
    loop {
        if watch.set(known.prints.keys(), known.included()) {
            watch.changed.notify_one();
        }
        let asked = watch.wait(reload).await;
        let mut now = Look::at(path, &gateway.config(), Some(&known)).await;
        let is_new = now.prints.iter().any(|(path, print)| known.prints.get(path) != Some(print))
            || (now.sources.is_some() && now.sources != known.sources);
        let read = now.read.take();
        // Of what has become of no use there may be less, and links may lead elsewhere.
        known = now;
        if !is_new && !asked {
            continue;
        }
        load(path, gateway, read).await;
        // There may be other files now; what was saved while we loaded is seen in the next round.
        let mut after = Look::at(path, &gateway.config(), Some(&known)).await;
        for (path, print) in &mut after.prints {
            if let Some(before) = known.prints.remove(path) {
                *print = before;
            }
        }
        known = Look { read: None, sources: known.sources, named: known.named, ..after };
        watch.changed.notify_one();
    }
}

/// What the watched files were when they were looked at.
struct Look {
    /// The configuration, what the one in force names, and what is named there now. The last two differ while a reload is
    /// refused, and a file that was missing for it may come.
    prints: BTreeMap<PathBuf, Fingerprint>,
    /// The texts of the configuration, if there was a file of it that may be read, and what they name.
    sources: Option<Sources>,
    named: BTreeSet<PathBuf>,
    /// What those texts are, if they are good and were not known before: reading 10,000 routes takes a moment. If they are not good,
    /// they are read again after the files were looked at: one that was missing may have come meanwhile.
    read: Option<Loaded>,
}

impl Look {
    /// Looks, on another thread: a component may be large.
    async fn at(path: &Path, in_force: &Config, known: Option<&Self>) -> Self {
        let (path, mut files) = (path.to_owned(), files(in_force));
        let known = known.map(|known| (known.sources.clone(), known.named.clone()));
        let look = move || {
            // Before it is read: what is saved meanwhile is new in the next round.
            let print = Fingerprint::of(&path);
            let sources = text_of(&path).and_then(|text| Sources::of(&text, &path).ok());
            let (named, read) = match (&sources, known) {
                (None, _) => (BTreeSet::new(), None),
                (Some(sources), Some((Some(before), named))) if *sources == before => (named, None),
                (Some(sources), _) => {
                    let read = tidegate_config::load_sources(sources).ok();
                    let named = read.as_ref().map(|loaded| self::files(&loaded.config));
                    (named.unwrap_or_else(|| named_all_the_same(sources)), read)
                }
            };
            files.extend(named.iter().cloned());
            files.extend(sources.iter().flat_map(Sources::files));
            files.remove(&path);
            let mut prints: BTreeMap<_, _> =
                files.into_iter().map(|file| (file.clone(), Fingerprint::of(&file))).collect();
            prints.insert(path, print);
            Self { prints, sources, named, read }
        };
        let nothing = Self { prints: BTreeMap::new(), sources: None, named: BTreeSet::new(), read: None };
        tokio::task::spawn_blocking(look).await.unwrap_or(nothing)
    }

    /// Which files belong to the configuration if they are there.
    fn included(&self) -> &[Included] {
        self.sources.as_ref().map_or(&[], Sources::included)
    }
}

/// The text of the configuration. Only of a file: a pipe can be read once.
fn text_of(path: &Path) -> Option<String> {
    let is_small = path.metadata().is_ok_and(|is| is.is_file() && is.len() <= tidegate_config::MAX_CONFIG_BYTES);
    is_small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// What a configuration names that may be good but for its files.
fn named_all_the_same(sources: &Sources) -> BTreeSet<PathBuf> {
    tidegate_config::parse_sources(sources).map(|config| files(&config)).unwrap_or_default()
}

/// Loads the file and applies it, or says everything that is wrong with it.
async fn load(path: &Path, gateway: &Gateway, read: Option<Loaded>) {
    let file = path.to_owned();
    let read = move || {
        let loaded = read.map_or_else(|| tidegate_config::load(&file), Ok)?;
        let found = preflight(&loaded);
        Ok((loaded, found))
    };
    let Ok(read) = tokio::task::spawn_blocking(read).await else {
        return tracing::error!("reading the configuration panicked, which is a bug; what ran keeps running");
    };
    let (loaded, found) = match read {
        Ok(read) => read,
        Err(problems) => return refuse(gateway, &problems),
    };
    let counts = |found: &Finding| !found.problem.is_error() || !gateway.excuses(&found.broker, &loaded.config);
    let found = found.into_iter().filter(counts).map(|found| found.problem);
    let problems = Problems(loaded.warnings.into_iter().chain(found).collect()).sorted();
    if problems.errors() > 0 {
        return refuse(gateway, &problems);
    }
    warn(&problems);
    apply(gateway, loaded.config, loaded.sources).await;
}

/// Keeps what runs from now on for `tidegate config history`.
async fn remember(gateway: &Gateway, sources: Sources, changes: Vec<String>) {
    let (data_dir, now_ms) = (gateway.config().gateway.data_dir.clone(), wall_ms());
    let keep = move || history::keep(&data_dir, &sources, &changes, now_ms);
    let kept = tokio::task::spawn_blocking(keep).await.map_err(|error| error.to_string());
    if let Err(error) = kept.and_then(|kept| kept.map_err(|error| error.to_string())) {
        tracing::warn!(error, "this configuration is not kept: it cannot be rolled back to");
    }
}

fn refuse(gateway: &Gateway, problems: &Problems) {
    let errors = problems.0.iter().filter(|problem| problem.is_error());
    let reasons: Vec<String> = errors.map(Problem::to_string).collect();
    reasons.iter().for_each(|reason| refused(reason));
    warn(problems);
    gateway.refused(reasons);
}

fn refused(reason: &str) {
    tracing::error!(name: "reload_refused", "reload refused, what ran keeps running: {reason}");
}

fn warn(problems: &Problems) {
    problems.0.iter().filter(|problem| !problem.is_error()).for_each(|warning| tracing::warn!("{warning:#}"));
}

/// A line of the log for each change.
fn tell(changes: &Changes) {
    changes.now.iter().for_each(|change| tracing::info!(name: "reloaded", change, "reloaded"));
    changes.next_start.iter().for_each(|change| tracing::warn!(name: "reloaded", change, "reloaded"));
    for Touched { target, messages, fate } in &changes.touched {
        match fate {
            Fate::Nobody => tracing::warn!(target_name = target, messages, %fate, "reloaded, messages wait"),
            _ => tracing::info!(target_name = target, messages, %fate, "reloaded, messages wait"),
        }
    }
}

async fn apply(gateway: &Gateway, config: Config, sources: Sources) {
    let was_refused = gateway.last_reloads().is_refused;
    match gateway.reload(config).await {
        Ok(changes) => {
            remember(gateway, sources, changes.now.iter().chain(&changes.next_start).cloned().collect()).await;
            tell(&changes);
            if changes.is_empty() && was_refused {
                tracing::info!("reloaded, nothing has changed: what was refused is as it was again");
            } else if changes.is_empty() {
                tracing::info!("reloaded, nothing has changed");
            }
        }
        Err(problems) => problems.iter().for_each(|problem| refused(problem)),
    }
}
