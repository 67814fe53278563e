//! Says where the messages of a target set go, once for each time that this changes.

use crate::data_path::DataPath;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::Policy;
use tidegate_router::{BrokerId, Member, Set};

/// A set has at most one round of lines in so long: what comes and goes in between is not told.
const QUIET: Duration = Duration::from_secs(5);

/// Where the messages of a set go: the share of each member.
#[derive(Debug, Clone, PartialEq)]
struct Shares(Vec<(BrokerId, Standing)>);

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    /// Away, and so are all others: messages wait for it.
    Nobody,
    /// It gets nothing.
    None,
    /// It gets messages: all that is meant for it, or this part.
    Gets(f64),
}

impl Shares {
    fn of(path: &DataPath, set: &Set) -> Self {
        let is_up = |member: &Member| path.router.broker(member.broker()).health.up_since.is_some();
        let is_there = set.members().iter().any(|member| !member.is_out() || is_up(member));
        let standing = |member: &Member| match (is_there, member.share() > 0.0) {
            (false, _) => Standing::Nobody,
            (true, false) => Standing::None,
            (true, true) => Standing::Gets(member.relieved_to()),
        };
        Self(set.members().iter().map(|member| (member.broker(), standing(member))).collect())
    }

    fn is_nobody(&self) -> bool {
        self.0.iter().any(|(_, standing)| *standing == Standing::Nobody)
    }

    fn gets(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.0.iter().filter(|(_, standing)| matches!(standing, Standing::Gets(_))).map(|(broker, _)| *broker)
    }
}

/// What was last said of a set; nothing has to be said of one that is as it is at the start.
#[derive(Debug)]
struct Said {
    shares: Shares,
    at: Option<Instant>,
}

/// What was said of each set.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<Arc<str>, Said>);

impl Told {
    /// Says what is new. Returns whether something is still to be said.
    pub(crate) fn tell(&mut self, path: &DataPath, now: Instant) -> bool {
        let mut is_more = false;
        self.0.retain(|name, _| path.router.sets().any(|(known, _)| known == &**name));
        for (name, set) in path.router.sets().filter(|(_, set)| set.policy() != Policy::All) {
            let shares = Shares::of(path, set);
            let said = self.0.entry(name.into()).or_insert_with(|| Said { shares: at_first(set), at: None });
            let members = |shares: &Shares| shares.0.iter().map(|(broker, _)| *broker).collect::<Vec<_>>();
            if members(&said.shares) != members(&shares) {
                // Another set under the name: a reload has told that.
                *said = Said { shares: at_first(set), at: said.at };
            }
            if said.shares == shares {
                continue;
            }
            if said.at.is_some_and(|at| now < at + QUIET) {
                is_more = true;
                continue;
            }
            path.say(name, set.policy(), &said.shares, &shares);
            *said = Said { shares, at: Some(now) };
        }
        is_more
    }
}

/// With everybody well.
fn at_first(set: &Set) -> Shares {
    let gets = |at: usize| set.policy() == Policy::Balance || at == 0;
    let standing = |at| if gets(at) { Standing::Gets(1.0) } else { Standing::None };
    Shares(set.members().iter().enumerate().map(|(at, member)| (member.broker(), standing(at))).collect())
}

impl DataPath {
    fn say(&self, set: &str, policy: Policy, before: &Shares, after: &Shares) {
        let name = |broker: BrokerId| &*self.router.broker(broker).name;
        let why = |broker: BrokerId| {
            let end = self.end(broker);
            end.last_error.as_deref().or(end.given_up_for.as_deref()).unwrap_or("it is away")
        };
        if after.is_nobody() {
            let all: Vec<String> = after.0.iter().map(|(at, _)| format!("{}: {}", name(*at), why(*at))).collect();
            tracing::warn!(
                name: "all_away",
                set,
                why = all.join("; "),
                "all members of the set are away: its messages wait"
            );
            return;
        }
        if before.is_nobody() {
            let to: Vec<&str> = after.gets().map(name).collect();
            tracing::info!(
                name: "member_back",
                set,
                to = to.join(", "),
                "a member of the set is back: its messages go on"
            );
            return;
        }
        if policy == Policy::Failover {
            let place =
                |shares: &Shares| shares.0.iter().position(|(_, standing)| matches!(standing, Standing::Gets(_)));
            let (Some(from), Some(to)) = (place(before), place(after)) else { return };
            let (from_name, to_name) = (name(before.0[from].0), name(after.0[to].0));
            if to > from {
                let why = why(before.0[from].0);
                tracing::warn!(
                    name: "failover",
                    set,
                    to = to_name,
                    from = from_name,
                    why,
                    "failover: the set goes to another member now"
                );
            } else {
                tracing::info!(
                    name: "failback",
                    set,
                    to = to_name,
                    from = from_name,
                    "failback: the set goes to a preferred member again"
                );
            }
            return;
        }
        for ((broker, was), (_, is)) in before.0.iter().zip(&after.0).filter(|((_, was), (_, is))| was != is) {
            let member = name(*broker);
            match (was, is) {
                (_, Standing::None | Standing::Nobody) => {
                    let why = why(*broker);
                    tracing::warn!(
                        name: "balanced",
                        set,
                        member,
                        why,
                        "balance: the topics of a member go to the others now"
                    );
                }
                (Standing::None | Standing::Nobody, Standing::Gets(_)) => {
                    tracing::info!(name: "balanced", set, member, "balance: the topics of a member go to it again");
                }
                (Standing::Gets(was), Standing::Gets(is)) if is < was => {
                    let percent = (is * 100.0).round();
                    tracing::warn!(
                        name: "relieved",
                        set,
                        member,
                        percent,
                        "relief: a member is strained, others take some of its topics"
                    );
                }
                (Standing::Gets(_), Standing::Gets(is)) => {
                    let percent = (is * 100.0).round();
                    tracing::info!(
                        name: "relieved",
                        set,
                        member,
                        percent,
                        "relief: a member is less strained, and gets topics back"
                    );
                }
            }
        }
    }
}
