//! Says where the messages of a target set go, once for each time that this changes.

use crate::core::{Core, Target};
use crate::deliver::MEMBERS_MAX;
use crate::sets::{Health, Policy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A set has at most one line in so long: what comes and goes in between is not told.
const QUIET: Duration = Duration::from_secs(5);

/// What was last said of a set; nothing has to be said of one that is as it is at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    members: Vec<u16>,
    goes_to: GoesTo,
    at: Option<Instant>,
}

/// Where the messages of a set go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesTo {
    /// Nowhere: every member was given up.
    Nobody,
    /// To this member, by its place in the set; to the first of those that share, too.
    Member(usize),
}

/// What was said of each set.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<Arc<str>, Said>);

impl Told {
    /// Says what is new. Returns whether there is a set that does not go where it would rather, so that more may be new soon.
    pub(crate) fn tell(&mut self, core: &Core, now: Instant) -> bool {
        let mut is_settled = true;
        self.0.retain(|name, _| core.targets.contains_key(name));
        for (name, target) in &core.targets {
            let Target::Set(at) = *target else { continue };
            let members = &core.sets[usize::from(at)].members;
            let goes_to = core.goes_to(at, now);
            is_settled &= goes_to == GoesTo::Member(0);
            let fresh = || Said { members: members.clone(), goes_to: GoesTo::Member(0), at: None };
            let said = self.0.entry(name.clone()).or_insert_with(fresh);
            if said.members != *members {
                // Another set under the name: a reload has told that.
                *said = Said { goes_to, ..fresh() };
            }
            if said.goes_to == goes_to {
                continue;
            }
            is_settled = false;
            if said.at.is_none_or(|at| now >= at + QUIET) {
                core.say(name, members, said.goes_to, goes_to);
                (said.goes_to, said.at) = (goes_to, Some(now));
            }
        }
        !is_settled
    }
}

impl Core {
    /// Where the next message of a set would go. A set of policy `balance` or `all` goes to its first member as long as any
    /// is there.
    fn goes_to(&self, set: u16, now: Instant) -> GoesTo {
        let slot = &self.sets[usize::from(set)];
        let mut health = [Health::default(); MEMBERS_MAX];
        let count = slot.members.len().min(MEMBERS_MAX);
        for (at, member) in slot.members[..count].iter().enumerate() {
            health[at] = self.brokers[usize::from(*member)].health;
        }
        let health = &health[..count];
        if count > 0 && health.iter().all(|member| member.given_up) {
            return GoesTo::Nobody;
        }
        match slot.choice.policy {
            // Only a look: the choice itself is made when there is a message.
            Policy::Failover => GoesTo::Member(slot.choice.clone().choose(health, 0, now)),
            Policy::Balance | Policy::All => GoesTo::Member(0),
        }
    }

    fn say(&self, set: &str, members: &[u16], before: GoesTo, after: GoesTo) {
        let broker = |at: usize| members.get(at).map(|broker| &self.brokers[usize::from(*broker)]);
        let name = |at: usize| broker(at).map_or("?", |slot| &*slot.name);
        let why = |at: usize| broker(at).and_then(|slot| slot.last_error.as_deref()).unwrap_or("it is away");
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

    /// Whether what waits for this broker as a member of a set has another member to go to.
    pub(crate) fn has_stand_in(&self, broker: u16) -> bool {
        let is_up = |member: &u16| self.brokers[usize::from(*member)].health.up_since.is_some();
        let sets = self.sets.iter().filter(|set| set.choice.policy != Policy::All && set.members.contains(&broker));
        sets.flat_map(|set| &set.members).any(|member| *member != broker && is_up(member))
    }
}
