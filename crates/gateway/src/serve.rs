//! A gateway from its configuration file to the end: start, watch, reload, drain.

use crate::supervisor::{Gateway, Left};
use crate::watch::{DEBOUNCE, Fingerprint, POLL, Watch};
use crate::{Error, admin, preflight};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_config::{Config, Problems};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How the end came.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// What was under way when the time to drain was over.
    pub left: Left,
}

/// Runs a gateway on this thread's `LocalSet` until `stop`, reloading when its files are saved or `reload` is notified.
///
/// # Errors
/// What keeps it from starting. Once it runs, nothing of a reload ends it.
pub async fn serve(
    path: &Path,
    config: Config,
    stop: CancellationToken,
    reload: &Notify,
    drain_deadline: Duration,
    started: impl FnOnce(&Gateway) -> Result<(), Error>,
) -> Result<Served, Error> {
    // What is saved from here on is new; what was saved since the file was read is read now.
    let known = fingerprints(path, &config).await;
    let config = read_again(path, config).await;
    make_data_dir(&config.gateway.data_dir)?;
    // Before any link is opened: another gateway of this name may be running.
    let admin = match &config.admin {
        Some(admin) => Some((admin.listen.clone(), admin::bind(&admin.listen).await?)),
        None => None,
    };
    let gateway = Gateway::start(config).await?;
    if let Some((listen, socket)) = admin {
        admin::serve(gateway.clone(), listen, socket, stop.child_token());
    }
    started(&gateway)?;
    tracing::info!(gateway = gateway.config().gateway.name, "running");
    let disk_failed = gateway.path().borrow().disk_failed.clone();
    tokio::select! {
        Some(()) = stop.run_until_cancelled(watch(path, &gateway, reload, known)) => {}
        () = stop.cancelled() => {}
        () = disk_failed.cancelled() => {
            // Nothing more is acknowledged: what is not durable is sent again by its sources.
            let tidegate_spool::DiskStatus::Failed(error) = gateway.path().borrow().router.disk().clone() else {
                return Err(Error::Disk("it is not known how".to_owned()));
            };
            return Err(Error::Disk(error));
        }
    }
    tracing::info!("draining");
    let left = gateway.drain(drain_deadline).await;
    Ok(Served { left })
}

/// The file as it is now, or as it was if that is no configuration: the first reload says why.
async fn read_again(path: &Path, config: Config) -> Config {
    let file = path.to_owned();
    match tokio::task::spawn_blocking(move || tidegate_config::load(&file)).await {
        Ok(Ok(loaded)) => loaded.config,
        _ => config,
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
async fn watch(path: &Path, gateway: &Gateway, reload: &Notify, mut known: Fingerprints) {
    let mut watch = Watch::new();
    watch.changed.notify_one();
    loop {
        watch.set(known.keys().cloned());
        let asked = tokio::select! {
            () = watch.changed.notified() => { quiet(&watch.changed).await; false }
            () = reload.notified() => true,
            () = tokio::time::sleep(POLL) => false,
        };
        let now = fingerprints(path, &gateway.config()).await;
        if now == known && !asked {
            continue;
        }
        known = now;
        load(path, gateway).await;
        // Paths may be others now; what was saved while we loaded is seen in the next round.
        for (path, print) in fingerprints(path, &gateway.config()).await {
            known.entry(path).or_insert(print);
        }
        watch.changed.notify_one();
    }
}

/// Waits until no event has come for a while.
async fn quiet(changed: &Notify) {
    while tokio::time::timeout(DEBOUNCE, changed.notified()).await.is_ok() {}
}

/// What each watched file was when it was looked at.
type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

/// What the files are now. Read on another thread: a component may be large.
async fn fingerprints(path: &Path, config: &Config) -> Fingerprints {
    let plugins = config.plugins.values().map(|plugin| plugin.path.clone());
    let paths: Vec<PathBuf> = plugins.chain([path.to_owned()]).collect();
    let read = move || paths.into_iter().map(|path| (path.clone(), Fingerprint::of(&path))).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// Loads the file and applies it, or says everything that is wrong with it.
async fn load(path: &Path, gateway: &Gateway) {
    let file = path.to_owned();
    let read = move || {
        let loaded = tidegate_config::load(&file)?;
        let found = preflight(&loaded);
        Ok((loaded, found))
    };
    let Ok(loaded) = tokio::task::spawn_blocking(read).await else {
        return tracing::error!("reading the configuration panicked, which is a bug; what ran keeps running");
    };
    match loaded {
        Ok((loaded, found)) => {
            let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.problem.is_error());
            warnings.iter().for_each(|warning| tracing::warn!("{}", warning.problem));
            let new: Vec<_> = errors.iter().filter(|found| !gateway.excuses(&found.broker, &loaded.config)).collect();
            if !new.is_empty() {
                gateway.count_refused();
                new.iter().for_each(|found| refused(&found.problem));
                return;
            }
            apply(gateway, loaded.config).await;
        }
        Err(problems) => {
            gateway.count_refused();
            lines(&problems).for_each(|line| refused(&line));
        }
    }
}

fn refused(problem: &dyn std::fmt::Display) {
    tracing::error!("reload refused, what ran keeps running: {problem}");
}

async fn apply(gateway: &Gateway, config: Config) {
    match gateway.reload(config).await {
        Ok(changes) if changes.0.is_empty() => tracing::info!("reloaded, nothing has changed"),
        Ok(changes) => changes.0.iter().for_each(|change| tracing::info!(change, "reloaded")),
        Err(problems) => problems.iter().for_each(|problem| refused(problem)),
    }
}

fn lines(problems: &Problems) -> impl Iterator<Item = String> {
    problems.to_string().lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}
