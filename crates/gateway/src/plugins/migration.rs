//! What a plugin remembers, brought to the version of another component of it: whole, between two batches of all its workers.
//!
//! It is tried on a copy before anything changes. Then each worker that is to change its plugins comes to a [`Meeting`]; what all
//! of them have decided before is with the data path by then. The last one has it done, and hands over what was written before
//! anybody decides with it. Where it fails, all go on with the plugin that they have.

use super::build::{Prepared, Preparer};
use crate::versions::States;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_plugin::{Plugin, StateStore, Write};
use tidegate_router::{Moved, RouteId};

/// How often one who waits for the others looks whether the end has come.
const LOOK: Duration = Duration::from_millis(100);

/// A plugin, and why what it remembers stays as it is.
pub(crate) type Refused = (Arc<str>, String);

/// A plugin whose state is of another version.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Plugin,
    /// Where states are kept as earlier versions have left them, and whether one may be taken up again.
    pub(crate) states: Option<(States, bool)>,
}

impl Migration {
    /// Brings a state to the plugin's version: by the plugin, or to what it was when that version left it. Nothing is written where it is
    /// of that version. On a copy nothing is kept.
    pub(crate) fn bring(&self, state: &StateStore, is_copy: bool) -> Result<Vec<Write>, String> {
        let version = self.plugin.state_version().map_err(|error| error.to_string())?;
        let left_by = state.version();
        if left_by.as_deref() == version {
            return Ok(Vec::new());
        }
        let before = state.snapshot();
        let brought = match (version, &left_by) {
            (Some(_), _) => self.plugin.migrate(state).map_err(|error| error.to_string()),
            (None, Some(left_by)) => Err(format!(
                "its state was left by a version that calls it `{left_by}`, and this one says none: give it another name \
                 to begin with nothing"
            )),
            (None, None) => return Ok(Vec::new()),
        };
        let (writes, found) = match (brought, &self.states) {
            (Ok(writes), _) => (writes, None),
            (Err(refused), Some((states, true))) => {
                let Some(left) = states.read(&self.name, version) else { return Err(refused) };
                (state.replace(left.state), Some(left.at_ms))
            }
            (Err(refused), _) => return Err(refused),
        };
        if is_copy || before.is_empty() {
            return Ok(writes);
        }
        let (plugin, left_by) = (&*self.name, left_by.as_deref());
        if let Some((states, _)) = &self.states
            && let Err(error) = states.keep(plugin, left_by, before)
        {
            tracing::warn!(plugin, %error, "what it remembered is not kept as it was: a rollback will not find it");
        }
        let told = |version: Option<&str>| version.unwrap_or_default().to_owned();
        let (from, to, keys) = (told(left_by), told(version), state.len());
        match found {
            None => {
                tracing::info!(name: "state_migrated", plugin, from, to, keys, "its state is of another version now")
            }
            Some(at_ms) => tracing::warn!(
                name: "state_restored",
                plugin,
                from,
                to,
                keys,
                at_ms,
                "its state is again as an earlier version has left it"
            ),
        }
        Ok(writes)
    }
}

/// Where all workers come between two batches.
#[derive(Debug)]
pub(crate) struct Meeting {
    at: Mutex<At>,
    changed: Condvar,
}

#[derive(Debug)]
struct At {
    /// So many have not come.
    awaited: usize,
    /// Of whom those were that have come.
    routes: Vec<RouteId>,
    /// Until somebody does them.
    migrations: Option<Vec<Migration>>,
    /// Once that is done.
    refused: Option<Arc<[Refused]>>,
}

/// One worker's place. Who drops it stays away.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Meeting>>);

impl Meeting {
    /// A place for each of so many.
    pub(crate) fn of(migrations: Vec<Migration>, count: usize) -> impl Iterator<Item = Place> {
        let at = Mutex::new(At { awaited: count, routes: Vec::new(), migrations: Some(migrations), refused: None });
        let meeting = Arc::new(Self { at, changed: Condvar::new() });
        (0..count).map(move |_| Place(Some(meeting.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, At> {
        // Nothing is left halfway by a thread that panicked while it held this.
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn come(&self, from: Option<RouteId>) {
        let mut at = self.lock();
        at.awaited -= 1;
        at.routes.extend(from);
        self.changed.notify_all();
    }
}

impl Place {
    /// A worker of this route waits for the others. What becomes of states is handed to `tell` before anybody goes on. Returns
    /// what was refused; `None` if the end has come, by `is_over`, before all were there.
    pub(crate) fn meet(
        mut self,
        route: RouteId,
        tell: impl FnMut(Moved),
        is_over: impl Fn() -> bool,
    ) -> Option<Arc<[Refused]>> {
        let meeting = self.0.take()?;
        meeting.come(Some(route));
        let mut at = meeting.lock();
        loop {
            if let Some(refused) = &at.refused {
                return Some(refused.clone());
            }
            if at.awaited == 0
                && let Some(migrations) = at.migrations.take()
            {
                let routes = std::mem::take(&mut at.routes);
                drop(at);
                let refused = bring_all(&migrations, &routes, tell);
                meeting.lock().refused = Some(refused.clone());
                meeting.changed.notify_all();
                return Some(refused);
            }
            at = meeting.changed.wait_timeout(at, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            if is_over() && at.awaited > 0 {
                return None;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(meeting) = self.0.take() {
            meeting.come(None);
        }
    }
}

fn bring_all(migrations: &[Migration], routes: &[RouteId], mut tell: impl FnMut(Moved)) -> Arc<[Refused]> {
    let mut refused = Vec::new();
    for migration in migrations {
        let plugin = migration.name.clone();
        match migration.bring(&migration.plugin.spec().state, false) {
            Ok(writes) => tell(Moved { plugin, writes, routes: routes.to_vec() }),
            Err(why) => refused.push((plugin, why)),
        }
    }
    refused.into()
}

impl Preparer {
    /// All workers are to come together where states are brought to other versions.
    pub(super) fn call_meeting(&mut self, ready: &mut [Prepared]) {
        let migrations: Vec<Migration> = std::mem::take(&mut self.migrations).into_values().collect();
        if migrations.is_empty() {
            return;
        }
        let workers = ready.iter().map(|prepared| prepared.swaps.len()).sum();
        let swaps = ready.iter_mut().flat_map(|prepared| &mut prepared.swaps);
        swaps.zip(Meeting::of(migrations, workers)).for_each(|(swap, place)| swap.meetings.push(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn nobody_goes_on_before_the_last_has_come() {
        for stays_away in [0, 1, 3] {
            let count = 4;
            let mut places: Vec<Place> = Meeting::of(Vec::new(), count).collect();
            let left = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                let last = places.pop();
                for place in places.drain(stays_away..) {
                    scope.spawn(|| {
                        assert!(place.meet(RouteId::new(1), |_| (), || false).is_some());
                        left.fetch_add(1, SeqCst);
                    });
                }
                drop(std::mem::take(&mut places));
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(left.load(SeqCst), 0, "one may still come");
                drop(last);
            });
            assert_eq!(left.load(SeqCst), count - stays_away - 1);
        }
        // At the end nobody waits for one that never comes.
        let mut places = Meeting::of(Vec::new(), 2);
        let _never = places.next();
        assert!(places.next().unwrap().meet(RouteId::new(1), |_| (), || true).is_none());
    }
}
