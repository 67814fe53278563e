//! Tells systemd how the gateway does: see sd_notify(3). Without a supervisor that listens, nothing of this happens.

use sd_notify::{NotifyState, notify};
use std::time::{Duration, Instant};
use tidegate_admin::model::Problems;
use tidegate_gateway::{Console, Snapshot};
use tokio_util::sync::CancellationToken;

/// A broker may be away for long: after this time the start is over, ready or not, and the status says what is missing.
const START_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked during the start, and behind it where there is no watchdog.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_LATER: Duration = Duration::from_secs(5);

/// Of the watchdog's time: how often it is fed.
const FEEDS: u32 = 3;

/// Says that the gateway is ready once it is, or after a while; how it does from then on; and feeds the watchdog for as long as
/// the thread that carries the messages answers.
pub(crate) async fn tell(console: Console, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let (began, mut started, mut told) = (Instant::now(), false, String::new());
    loop {
        // Taken on that thread: it does not answer while it hangs.
        let Ok(snapshot) = console.snapshot().await else { break };
        let Problems { ready, problems } = Problems::of(&snapshot);
        let status = in_words(&snapshot, &problems);
        if !started && (ready || began.elapsed() > START_WITHIN) {
            started = true;
            say(&[NotifyState::Ready]);
        }
        if status != told {
            say(&[NotifyState::Status(&status)]);
            told = status;
        }
        if watchdog.is_some() {
            say(&[NotifyState::Watchdog]);
        }
        let wait = match (started, watchdog) {
            (false, _) => LOOK,
            (true, Some(within)) => (within / FEEDS).min(LOOK_LATER),
            (true, None) => LOOK_LATER,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::debug!(%error, "the supervisor does not listen");
    }
}

/// One line.
fn in_words(snapshot: &Snapshot, problems: &[String]) -> String {
    let up = snapshot.brokers.iter().filter(|broker| broker.up).count();
    let refused = if snapshot.last_reloads.is_refused { "; the last reload was refused" } else { "" };
    let first = problems.first().map(|problem| format!("; {problem}")).unwrap_or_default();
    format!("{up} of {} brokers connected{refused}{first}", snapshot.brokers.len())
}
