//! What waits in the spool: told, moved to another target, discarded; while a gateway runs, and while none does.

use crate::data_path::DataPath;
use crate::source_ack::SourceAck;
use crate::target_sessions::TargetSessions;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidegate_config::{Config, Priority};
use tidegate_router::{Moment, MoveError, Router};
use tidegate_spool::{Disk, OpenError, Settings, Spool};

/// What to do with everything that waits for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// It waits for another one from here on.
    Move {
        /// The target it waits for; it need not be configured.
        from: String,
        /// A broker or a set that is configured.
        to: String,
    },
    /// It is dropped, and counted as `discarded`.
    Discard {
        /// The target it waits for; it need not be configured.
        from: String,
    },
}

/// How many steps of the log without any change mean that the disk takes no more: then moving or discarding ends with
/// an error instead of going on for ever.
const IDLE_MAX: u32 = 16;

/// Why nothing was moved or discarded.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// The request makes no sense.
    #[error("{0}")]
    Refused(String),
    /// The spool cannot be opened.
    #[error("the spool cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// The disk did not take all of it. What was not moved waits where it was.
    #[error("the disk fails or is full; what was not moved waits where it was")]
    Disk,
}

impl From<MoveError> for RedirectError {
    fn from(error: MoveError) -> Self {
        Self::Refused(match error {
            MoveError::Nothing(target) => format!("nothing waits for a target `{target}`"),
            MoveError::NoTarget(target) => format!("no broker or target set is called `{target}`"),
            MoveError::Same => "it waits there already: name another target".to_owned(),
        })
    }
}

/// Begins it. Returns how many messages it is about.
pub(crate) fn redirect(
    router: &mut Router<SourceAck, TargetSessions>,
    what: &Redirect,
    now: Moment,
) -> Result<u64, MoveError> {
    match what {
        Redirect::Move { from, to } => router.move_waiting(from, to, now),
        Redirect::Discard { from } => router.discard_waiting(from, now),
    }
}

/// Does it in the spool of a gateway that does not run. Returns how many messages were moved or discarded.
///
/// # Errors
/// Nothing waits there, the new target is not configured, or the disk fails.
pub fn redirect_stopped(disk: Disk, config: &Config, what: &Redirect) -> Result<u64, RedirectError> {
    let settings = Settings { segment_bytes: config.gateway.segment_size, ..Settings::default() };
    let spool = Spool::open_stepwise(Arc::new(disk), settings)?;
    let us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let now = Moment { at: Instant::now(), us };
    let mut router = Router::<SourceAck, _>::new(spool, TargetSessions::default(), now);
    // Nothing is sent: every target is one that only takes what is moved to it.
    for name in config.brokers.keys() {
        router.add_broker(name, false);
    }
    router.configure(&Config { routes: Vec::new(), ..config.clone() }, now);
    let count = redirect(&mut router, what, now)?;
    let mut idle = 0;
    while router.is_moving() {
        let before = (router.spool().sequence(), router.waiting());
        router.step_log();
        router.spool_news(now);
        idle = if before == (router.spool().sequence(), router.waiting()) { idle + 1 } else { 0 };
        if *router.disk() != tidegate_spool::DiskStatus::Good || idle > IDLE_MAX {
            return Err(RedirectError::Disk);
        }
    }
    router.close(std::time::Duration::ZERO);
    Ok(count)
}

impl DataPath {
    /// How many messages wait in the spool, by the broker or target set that they wait for.
    pub(crate) fn waiting_by_target(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (waiting, _) in self.router.waiting().into_iter().filter(|(waiting, _)| waiting.items > 0) {
            *all.entry(waiting.key.target).or_default() += waiting.items;
        }
        all
    }
}

impl crate::Gateway {
    /// What waits, for people: a line for each target and class of priority.
    pub fn waiting_in_words(&self) -> String {
        let snapshot = self.snapshot();
        let config = self.config();
        let mut words = String::new();
        for queue in snapshot.queues.iter().filter(|queue| queue.messages > 0) {
            let known = config.brokers.contains_key(&queue.target) || config.targets.contains_key(&queue.target);
            let note = if known { "" } else { ", for a target that is not configured" };
            let oldest = humantime::format_duration(std::time::Duration::from_secs(queue.oldest_s as u64));
            let _ = writeln!(
                words,
                "target {}, priority {}: {} messages, {} bytes, the oldest for {oldest}{note}",
                queue.target, queue.priority, queue.messages, queue.bytes
            );
        }
        if words.is_empty() {
            words += "no message waits\n";
        }
        let _ = writeln!(words, "{} messages are parked", snapshot.parked_now);
        words
    }
}

/// A class of priority in the word that the configuration has for it.
pub(crate) const fn word(class: Priority) -> &'static str {
    match class {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}
