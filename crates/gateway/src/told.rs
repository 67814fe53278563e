//! Says where the messages of a target set go, once for each time that this changes.

use crate::data_path::DataPath;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_router::{BrokerId, GoesTo};

/// A set has at most one line in so long: what comes and goes in between is not told.
const QUIET: Duration = Duration::from_secs(5);

/// What was last said of a set; nothing has to be said of one that is as it is at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    members: Vec<BrokerId>,
    goes_to: GoesTo,
    at: Option<Instant>,
}

/// What was said of each set.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<Arc<str>, Said>);

impl Told {
    /// Says what is new. Returns whether there is a set that does not go where it would rather, so that more may be new soon.
    pub(crate) fn tell(&mut self, path: &DataPath, now: Instant) -> bool {
        let mut is_settled = true;
        self.0.retain(|name, _| path.router.sets().any(|(known, _)| known == &**name));
        for (name, members) in path.router.sets() {
            let Some(goes_to) = path.router.goes_to(name, now) else { continue };
            is_settled &= goes_to == GoesTo::Member(0);
            let fresh = || Said { members: members.to_vec(), goes_to: GoesTo::Member(0), at: None };
            let said = self.0.entry(name.into()).or_insert_with(fresh);
            if said.members != members {
                // Another set under the name: a reload has told that.
                *said = Said { goes_to, ..fresh() };
            }
            if said.goes_to == goes_to {
                continue;
            }
            is_settled = false;
            if said.at.is_none_or(|at| now >= at + QUIET) {
                path.say(name, members, said.goes_to, goes_to);
                (said.goes_to, said.at) = (goes_to, Some(now));
            }
        }
        !is_settled
    }
}

impl DataPath {
    fn say(&self, set: &str, members: &[BrokerId], before: GoesTo, after: GoesTo) {
        let broker = |at: usize| members.get(at).map(|broker| self.router.broker(*broker));
        let name = |at: usize| broker(at).map_or("?", |broker| &*broker.name);
        let error = |at: usize| members.get(at).and_then(|broker| self.end(*broker).last_error.as_deref());
        let why = |at: usize| error(at).unwrap_or("it is away");
        match (before, after) {
            (_, GoesTo::Nobody) => {
                let all: Vec<String> = (0..members.len()).map(|at| format!("{}: {}", name(at), why(at))).collect();
                tracing::warn!(set, why = all.join("; "), "all members of the set are away: its messages wait");
            }
            (GoesTo::Nobody, GoesTo::Member(to)) => {
                let is_one = |at: &usize| broker(*at).is_some_and(|slot| slot.health.up_since.is_some());
                let to = (0..members.len()).find(is_one).unwrap_or(to);
                tracing::info!(set, to = name(to), "a member of the set is back: its messages go on");
            }
            (GoesTo::Member(from), GoesTo::Member(to)) if to > from => {
                let (from, why) = (name(from), why(from));
                tracing::warn!(set, to = name(to), from, why, "failover: the set goes to another member now");
            }
            (GoesTo::Member(from), GoesTo::Member(to)) => {
                tracing::info!(
                    set,
                    to = name(to),
                    from = name(from),
                    "failback: the set goes to a preferred member again"
                );
            }
        }
    }
}
