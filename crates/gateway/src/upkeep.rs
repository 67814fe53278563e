//! The tasks beside those of the brokers: they bring to the data path what other threads have done, and the time.

use crate::Error;
use crate::caught_up::Behind;
use crate::data_path::DataPath;
use crate::members::LOOK;
use crate::plugins::Outbox;
use crate::told::Told;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::Config;
use tidegate_spool::{Disk, Spool};

/// Looks at least this often whether a source may be read again or a broker is to be given up.
const MAINTENANCE: Duration = Duration::from_millis(500);

/// Opens the spool on a thread of its own: reading it takes a moment.
pub(crate) async fn open_spool(config: &Config, durable: Arc<tokio::sync::Notify>) -> Result<Spool, Error> {
    let folder = config.gateway.data_dir.join("spool");
    let settings = tidegate_spool::Settings {
        segment_bytes: config.gateway.segment_size,
        commit_delay: config.gateway.commit_delay,
        ..tidegate_spool::Settings::default()
    };
    let opened = tokio::task::spawn_blocking(move || {
        let disk = Disk::open(folder).map_err(|error| Error::Spool(error.into()))?;
        let place = disk.folder().display().to_string();
        let wake = Arc::new(move || durable.notify_one());
        Spool::open(Arc::new(disk), settings, wake).map_err(|error| Error::Spool(format!("{place}: {error}").into()))
    });
    opened.await.map_err(|error| Error::Spool(format!("opening it panicked, which is a bug: {error}").into()))?
}

/// How often a backlog that leaves at a pace is looked at, and old messages are looked for.
const PACE: Duration = Duration::from_millis(20);
const AGE: Duration = Duration::from_secs(1);

/// Brings what has become durable to the data path.
pub(crate) async fn follow_spool(path: Rc<RefCell<DataPath>>, durable: Arc<tokio::sync::Notify>) {
    let mut looked = Instant::now();
    loop {
        let (paced, ages) = {
            let path = path.borrow();
            (path.router.is_paced(), path.router.has_ages())
        };
        let wait = if paced { PACE } else { AGE };
        if paced || ages {
            let _ = tokio::time::timeout(wait, durable.notified()).await;
        } else {
            durable.notified().await;
        }
        let now = Instant::now();
        let mut path = path.borrow_mut();
        path.spool_news(now);
        if now - looked >= AGE {
            looked = now;
            let moment = path.moment(now);
            path.router.drop_old(moment);
            // What waits may come to wait for too long: the other task looks.
            path.look.notify_one();
        }
        if paced {
            path.router.wake_paced();
        }
        path.flush(now);
    }
}

/// Brings verdicts from the plugins' threads to the data path.
pub(crate) async fn collect(path: Rc<RefCell<DataPath>>, outbox: Arc<Outbox>) {
    loop {
        outbox.ready.notified().await;
        let now = Instant::now();
        let mut path = path.borrow_mut();
        path.take_decided(now);
        path.flush(now);
    }
}

/// Reads on from sources that were held back, looks after the members of sets, and says which targets have caught up.
pub(crate) async fn maintain(path: Rc<RefCell<DataPath>>) {
    let wake = path.borrow().look.clone();
    let (mut next, mut told, mut behind) = (None, Told::default(), Behind::default());
    let (mut settles, mut more_to_tell) = (true, false);
    loop {
        let longest = if settles { LOOK } else { MAINTENANCE };
        let wait = next.map_or(longest, |at: Instant| at.saturating_duration_since(Instant::now()).min(longest));
        let idle = next.is_none()
            && !settles
            && !more_to_tell
            && !path.borrow().router.has_choices()
            && path.borrow().router.brokers().all(|(_, broker)| broker.down_since.is_none());
        if idle {
            wake.notified().await;
        } else {
            let _ = tokio::time::timeout(wait, wake.notified()).await;
        }
        let now = Instant::now();
        let mut path = path.borrow_mut();
        let moment = path.moment(now);
        path.forget_what_is_owed_to_nobody();
        next = path.router.read_on(moment);
        settles = path.look_at_members(now);
        more_to_tell = told.tell(&path, now);
        more_to_tell |= behind.tell(path.router.backlogs(), now, path.moment(now).us / 1000);
        path.flush(now);
    }
}
