//! A gateway from its configuration file to the end: start, watch, reload, drain.

use crate::files::files;
use crate::running::{Gateway, Left};
use crate::watch::{Fingerprint, Watch};
use crate::{Error, Finding, admin, preflight};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_config::{Config, Problem, Problems};
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
    loop {
        if watch.set(known.keys()) {
            watch.changed.notify_one();
        }
        let asked = watch.wait(reload).await;
        let now = fingerprints(path, &gateway.config()).await;
        let is_new = now.iter().any(|(path, print)| known.get(path) != Some(print));
        if !is_new && !asked {
            // Of what has become of no use there may be less, and links may lead elsewhere.
            known = now;
            continue;
        }
        known = now;
        load(path, gateway).await;
        // There may be other files now; what was saved while we loaded is seen in the next round.
        let (mut before, after) = (known, fingerprints(path, &gateway.config()).await);
        known = after.into_iter().map(|(path, print)| (path.clone(), before.remove(&path).unwrap_or(print))).collect();
        watch.changed.notify_one();
    }
}

/// What each watched file was when it was looked at.
type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

/// What the files are now: the configuration, what the one in force names, and what is named there now. The last two differ
/// while a reload is refused, and a file that was missing for it may come.
///
/// Read on another thread: a component may be large.
async fn fingerprints(path: &Path, in_force: &Config) -> Fingerprints {
    let (path, mut files) = (path.to_owned(), files(in_force));
    let read = move || {
        if let Some(written) = written(&path) {
            files.extend(self::files(&written));
        }
        files.insert(path);
        files.into_iter().map(|path| (path.clone(), Fingerprint::of(&path))).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// The configuration as the file says, whatever its files say.
fn written(path: &Path) -> Option<Config> {
    let path = std::path::absolute(path).ok()?;
    // Only of a file: a pipe can be read once.
    let is_small = path.metadata().is_ok_and(|is| is.is_file() && is.len() <= tidegate_config::MAX_CONFIG_BYTES);
    let text = is_small.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
    tidegate_config::parse(&text, &path).ok().map(|(config, _)| config)
}

/// Loads the file and applies it, or says everything that is wrong with it.
async fn load(path: &Path, gateway: &Gateway) {
    let file = path.to_owned();
    let read = move || {
        let loaded = tidegate_config::load(&file)?;
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
    apply(gateway, loaded.config).await;
}

fn refuse(gateway: &Gateway, problems: &Problems) {
    let errors = problems.0.iter().filter(|problem| problem.is_error());
    let reasons: Vec<String> = errors.map(Problem::to_string).collect();
    reasons.iter().for_each(|reason| refused(reason));
    warn(problems);
    gateway.refused(reasons);
}

fn refused(reason: &str) {
    tracing::error!("reload refused, what ran keeps running: {reason}");
}

fn warn(problems: &Problems) {
    problems.0.iter().filter(|problem| !problem.is_error()).for_each(|warning| tracing::warn!("{warning:#}"));
}

async fn apply(gateway: &Gateway, config: Config) {
    let was_refused = gateway.last_reloads().is_refused;
    match gateway.reload(config).await {
        Ok(changes) => {
            changes.tell();
            if changes.is_empty() && was_refused {
                tracing::info!("reloaded, nothing has changed: what was refused is as it was again");
            } else if changes.is_empty() {
                tracing::info!("reloaded, nothing has changed");
            }
        }
        Err(problems) => problems.iter().for_each(|problem| refused(problem)),
    }
}
