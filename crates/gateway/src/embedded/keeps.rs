//! What the box's own brokers keep over a restart: found, opened, and handed from one to the next.

use crate::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_broker::{Broker, DiskError, Persisted, Settings};
use tidegate_config::{self as config, Config};

/// What a broker keeps over a restart.
pub(super) enum Keeps {
    Nothing,
    /// In this folder, which the broker that runs still has: it is opened when that has let go of it.
    In(PathBuf),
    Opened(Box<Persisted>),
}

/// What a broker of this name is to keep, `before` being what runs.
pub(super) async fn open(name: &str, config: &Config, before: &Config) -> Result<Keeps, Error> {
    let Some(at) = folder(config, name) else { return Ok(Keeps::Nothing) };
    if folder(before, name).as_ref() == Some(&at) {
        return Ok(Keeps::In(at));
    }
    Ok(Keeps::Opened(Box::new(open_kept(name, at).await?)))
}

/// Where a broker of this name keeps what outlives the process; `None`: it keeps nothing.
pub(crate) fn folder(config: &Config, name: &str) -> Option<PathBuf> {
    let own = config.brokers.get(name).and_then(config::Broker::embedded)?;
    own.persistence.then(|| config.gateway.data_dir.join("brokers").join(name))
}

/// One that was removed a moment ago may still have it.
const LOCKED_TRIES: u32 = 30;
const LOCKED_WAIT: Duration = Duration::from_millis(100);

/// Opens what a broker keeps over a restart; reading all of it does not hold anybody up.
async fn open_kept(name: &str, folder: PathBuf) -> Result<Persisted, Error> {
    let mut tries = 0;
    loop {
        let at = folder.clone();
        let opened = tokio::task::spawn_blocking(move || Persisted::open(&at)).await;
        match opened.map_err(|error| Error::Spool(error.into()))? {
            Ok(persisted) => return Ok(persisted),
            Err(tidegate_broker::Error::Folder(DiskError::InUse(_))) if tries < LOCKED_TRIES => {
                tries += 1;
                tokio::time::sleep(LOCKED_WAIT).await;
            }
            Err(error) => {
                let hint = "mend it, or set `persistence = false` to keep nothing";
                return Err(Error::Config(vec![format!("broker `{name}`: {}: {error}; {hint}", folder.display())]));
            }
        }
    }
}

/// A broker that goes on with what is kept.
pub(super) fn broker(name: &str, settings: Settings, keeps: Keeps) -> Broker {
    match opened_now(name, keeps) {
        Some(persisted) => {
            let (sessions, retained) = persisted.counts();
            let damaged = persisted.damaged();
            if damaged > 0 {
                tracing::error!(
                    name: "persistence_damaged",
                    broker = name,
                    damaged,
                    "records of what is kept over a restart are damaged; the rest is there"
                );
            }
            tracing::info!(name: "persistence_opened", broker = name, sessions, retained, "what was kept is there");
            Broker::with_persistence(settings, *persisted)
        }
        None => Broker::new(settings),
    }
}

/// The thread that wrote for the broker before may still be about to end.
fn open_in_turn(folder: &Path) -> Result<Persisted, tidegate_broker::Error> {
    let mut tries = 0;
    loop {
        match Persisted::open(folder) {
            Err(tidegate_broker::Error::Folder(DiskError::InUse(_))) if tries < LOCKED_TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// What it keeps, which the broker before has let go of.
fn opened_now(name: &str, keeps: Keeps) -> Option<Box<Persisted>> {
    match keeps {
        Keeps::Nothing => None,
        Keeps::Opened(persisted) => Some(persisted),
        Keeps::In(folder) => match open_in_turn(&folder) {
            Ok(persisted) => Some(Box::new(persisted)),
            Err(error) => {
                tracing::error!(
                    name: "persistence_failed",
                    broker = name,
                    error = format!("{}: {error}", folder.display()),
                    "nothing is kept over a restart; mend it and start again"
                );
                None
            }
        },
    }
}
