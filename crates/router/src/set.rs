//! A name for several brokers: which of them a message goes to. Pure: no messages, no I/O.
//!
//! Each member has a *share*: how much of all topics it gets. With `failover` one has all of it, with `balance` each has its
//! weight. A topic, or another key, belongs to the member with the best score for it (`rendezvous`), so that another share of one
//! member moves topics to or from that member only. A message is dealt out by shares alone; they change when somebody looks at the members ([`Set::look`]).
//!
//! A member that was given up is *out* until it has been well for `failback`, and for twice as long if it was given up soon
//! after the last time, and so on.

use crate::ids::BrokerId;
use crate::parts::Parts;
use crate::rendezvous::{best, key_hash};
use crate::strain::Strain;
use std::time::{Duration, Instant};
use tidegate_config::{Policy, Relief, TargetSet};
use tidegate_message::Message;
use tidegate_pacing::Lapses;

/// How a broker is doing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// Since when it takes messages; `None` while it does not.
    pub up_since: Option<Instant>,
    /// Given up: its messages have been handed to the others.
    pub given_up: bool,
}

/// One member of a set.
#[derive(Debug, Clone)]
pub struct Member {
    pub(crate) broker: BrokerId,
    /// Of its name: its scores are the same in every run.
    seed: u64,
    weight: f64,
    strain: Strain,
    /// How much of all topics it gets; 0: none.
    share: f64,
    /// It was given up, and gets nothing.
    is_out: bool,
    /// Since when it is in after it was out.
    in_since: Option<Instant>,
    lapses: Lapses,
}

/// A target set.
#[derive(Debug)]
pub struct Set {
    pub(crate) policy: Policy,
    /// How long a member that was given up must have been well before it is in again.
    failback: Duration,
    /// The level of the topic that is the key.
    level: Option<usize>,
    relief: Option<Relief>,
    pub(crate) takeover_after: Duration,
    /// With policy `all`: how many members a source waits for, if not for all.
    require: Option<usize>,
    /// How often shares were others.
    changes: u64,
    pub(crate) members: Vec<Member>,
    /// Which queues its messages wait in, and in which they are to.
    pub(crate) parts: Parts,
    pub(crate) wanted_parts: Option<Parts>,
    /// After a start: what was filed for it up to this record comes first, for it may lie in the queues of other parts.
    pub(crate) reads_up_to: Option<u64>,
}

/// What each member gets, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shares(Vec<(BrokerId, u64, f64)>);

impl Shares {
    /// Whose a key is; `None` if nobody has a share.
    #[inline]
    pub(crate) fn owner(&self, key: u64) -> Option<BrokerId> {
        best(self.0.iter().copied(), key)
    }

    /// One has it all.
    pub(crate) fn all_of(member: BrokerId) -> Self {
        Self(vec![(member, 0, 1.0)])
    }

    /// All members, with a share or without.
    pub(crate) fn members(&self) -> impl Iterator<Item = BrokerId> {
        self.0.iter().map(|(broker, ..)| *broker)
    }
}

impl Member {
    /// Which broker it is.
    pub const fn broker(&self) -> BrokerId {
        self.broker
    }

    /// How much of all topics it gets now, measured against the others; 0: none.
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// How much of its weight it gets: less than 1 while it is strained.
    pub const fn relieved_to(&self) -> f64 {
        self.strain.share
    }

    /// It was given up, and has not been well for long enough since.
    pub const fn is_out(&self) -> bool {
        self.is_out
    }
}

impl Set {
    /// Which members get a message.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// In order of preference.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How often members have got another share.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Without members.
    pub(crate) fn new() -> Self {
        Self {
            policy: Policy::Failover,
            failback: Duration::ZERO,
            level: None,
            relief: None,
            takeover_after: Duration::ZERO,
            require: None,
            changes: 0,
            members: Vec::new(),
            parts: Parts::default(),
            wanted_parts: None,
            reads_up_to: None,
        }
    }

    /// Whether a message waits in the queue of a part. Those of a set whose members all get everything wait for each member,
    /// whatever parts it had before.
    #[inline]
    pub(crate) fn has_parts(&self) -> bool {
        self.policy != Policy::All && !self.parts.is_empty()
    }

    /// Whether its messages wait in other queues than they are to.
    pub(crate) fn wants_other_parts(&self) -> bool {
        self.wanted_parts.as_ref().is_some_and(|wanted| *wanted != self.parts)
    }

    /// As configured now, with the members there are. Those that were there stay as they are.
    pub(crate) fn configure(&mut self, configured: &TargetSet, members: impl Iterator<Item = (BrokerId, String)>) {
        let known = std::mem::take(&mut self.members);
        let is_other = self.policy != configured.policy;
        (self.policy, self.failback) = (configured.policy, configured.failback);
        (self.level, self.relief, self.takeover_after) =
            (configured.level, configured.relief, configured.takeover_after);
        self.require = configured.require;
        self.members = members
            .map(|(broker, name)| {
                let weight = configured.weight_of(&name);
                let fresh = || Member {
                    broker,
                    seed: key_hash(&name),
                    weight,
                    strain: Strain::default(),
                    share: 0.0,
                    is_out: false,
                    in_since: None,
                    lapses: Lapses::default(),
                };
                let known = known.iter().find(|known| known.broker == broker && !is_other);
                known.map_or_else(fresh, |known| Member { weight, ..known.clone() })
            })
            .collect();
    }

    /// How many of its members a source waits for, if all get a message and not all are waited for.
    pub(crate) fn quorum(&self) -> Option<usize> {
        self.require.filter(|require| self.policy == Policy::All && *require < self.members.len())
    }

    /// Its members in order of preference.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        self.members.iter().map(|member| member.broker)
    }

    /// Whether a broker is a member.
    pub(crate) fn has(&self, broker: BrokerId) -> bool {
        self.brokers().any(|member| member == broker)
    }

    /// Whether there is a choice: a message is for one of several.
    pub(crate) fn chooses(&self) -> bool {
        self.policy != Policy::All && self.members.len() > 1
    }

    /// Each member with the seed of its scores and its share.
    fn parts(&self) -> impl Iterator<Item = (BrokerId, u64, f64)> + Clone + '_ {
        self.members.iter().map(|member| (member.broker, member.seed, member.share))
    }

    /// What each member gets.
    pub(crate) fn shares(&self) -> Shares {
        Shares(self.parts().collect())
    }

    /// By what the member that gets a message is chosen.
    #[inline]
    pub(crate) fn key<'a>(&self, message: &'a Message) -> &'a str {
        let key = message.key();
        match self.level {
            // What a plugin says comes first.
            Some(level) if !message.has_key() => key.split('/').nth(level).unwrap_or(key),
            _ => key,
        }
    }

    /// The member that a key belongs to; `None` without members. Not for [`Policy::All`].
    #[inline]
    pub(crate) fn owner(&self, key: u64) -> Option<BrokerId> {
        best(self.parts(), key)
    }

    /// The member that a message belongs to; `None` without members.
    #[inline]
    pub(crate) fn owner_of(&self, message: &Message) -> Option<BrokerId> {
        self.owner(key_hash(self.key(message)))
    }

    /// A broker was given up at this moment. Returns whether it is a member.
    pub(crate) fn put_out(&mut self, broker: BrokerId, now: Instant) -> bool {
        let failback = self.failback;
        let Some(member) = self.members.iter_mut().find(|member| member.broker == broker) else { return false };
        if !std::mem::replace(&mut member.is_out, true) {
            member.lapses.failed(member.in_since.map(|since| now.saturating_duration_since(since)), failback);
        }
        true
    }

    /// Lets members in that have been well for long enough, and gives each its share. True if a share is another now.
    pub(crate) fn look(&mut self, health: impl Fn(BrokerId) -> Health, now: Instant) -> bool {
        for member in self.members.iter_mut().filter(|member| member.is_out) {
            let patience = member.lapses.patience(self.failback);
            if health(member.broker).up_since.is_some_and(|since| now >= since + patience) {
                (member.is_out, member.in_since) = (false, Some(now));
            }
        }
        let before: Vec<f64> = self.members.iter().map(|member| member.share).collect();
        let is_up = |member: &Member| health(member.broker).up_since.is_some();
        // A member that is away for a moment keeps its messages, so that their order is kept.
        let mut is_in: Vec<bool> = self.members.iter().map(|member| !member.is_out).collect();
        if !is_in.contains(&true) {
            // Who has only just come is better than nobody.
            is_in = self.members.iter().map(is_up).collect();
            if !is_in.contains(&true) {
                // With nobody there, messages wait where they are.
                is_in = before.iter().map(|share| *share > 0.0).collect();
            }
        }
        match self.policy {
            Policy::Failover | Policy::All => {
                let active = before.iter().position(|share| *share > 0.0);
                let first = is_in.iter().position(|is_in| *is_in);
                let first_up = (0..is_in.len()).find(|at| is_in[*at] && is_up(&self.members[*at]));
                let to = match active {
                    // Back to an earlier one, if that is there.
                    Some(active) if is_in[active] => first_up.filter(|at| *at < active).unwrap_or(active),
                    _ => first_up.or(first).or(active).unwrap_or(0),
                };
                self.members
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, member)| member.share = f64::from(u8::from(at == to)));
            }
            Policy::Balance => {
                for (member, is_in) in self.members.iter_mut().zip(&is_in) {
                    member.share = if *is_in { member.weight * member.strain.share } else { 0.0 };
                }
            }
        }
        let is_other = self.members.iter().zip(&before).any(|(member, before)| member.share != *before);
        // The first time is no change.
        self.changes += u64::from(is_other && before.iter().any(|share| *share > 0.0));
        is_other
    }

    /// Looks which members are strained. To be called before [`look`](Self::look), and with what a broker's `strain` says.
    pub(crate) fn look_at_strain(&mut self, of: impl Fn(BrokerId) -> (usize, Option<Duration>, bool), now: Instant) {
        for member in &mut self.members {
            match self.relief {
                Some(bounds) => member.strain.look(bounds, of(member.broker), self.failback, now),
                None => member.strain = Strain::default(),
            }
        }
    }

    /// Whether its shares may change with time alone.
    pub(crate) fn is_waiting(&self) -> bool {
        self.relief.is_some() || self.wants_other_parts() || self.members.iter().any(|member| member.is_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const FAILBACK: Duration = Duration::from_secs(30);
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    fn up(since: Instant) -> Health {
        Health { up_since: Some(since), given_up: false }
    }
    const DOWN: Health = Health { up_since: None, given_up: false };

    fn set(policy: Policy, count: usize, weights: &[(&str, u32)]) -> Set {
        let configured = TargetSet {
            policy,
            members: NAMES[..count].iter().map(|name| (*name).to_owned()).collect(),
            failback: FAILBACK,
            takeover_after: Duration::from_secs(10),
            weights: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect(),
            level: None,
            relief: None,
            require: None,
            spool: tidegate_config::SpoolSettings::default(),
        };
        let mut set = Set::new();
        set.configure(&configured, (0..count).map(|at| (BrokerId::new(at), NAMES[at].to_owned())));
        set
    }

    fn owner(set: &Set, key: u64) -> usize {
        set.owner(key_hash(&format!("dev/{key}/temp"))).expect("a member").at()
    }

    fn owners(set: &Set) -> Vec<usize> {
        (0..10_000).map(|key| owner(set, key)).collect()
    }

    #[test]
    fn failover_takes_the_first_that_is_well_and_goes_back_when_it_has_been_well_for_long() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut set = set(Policy::Failover, 2, &[]);
        let looked = |set: &mut Set, health: [Health; 2], seconds| {
            set.look(|broker| health[broker.at()], at(seconds));
            owner(set, 7)
        };
        assert_eq!(looked(&mut set, [DOWN, DOWN], 0), 0, "before anybody is there, the preferred one");
        assert_eq!(looked(&mut set, [DOWN, up(start)], 1), 0, "a short absence moves nothing");
        set.put_out(BrokerId::new(0), at(3));
        assert_eq!(looked(&mut set, [DOWN, up(start)], 3), 1);
        assert_eq!(looked(&mut set, [up(at(10)), up(start)], 39), 1);
        assert_eq!(looked(&mut set, [up(at(10)), up(start)], 40), 0);
        // Given up again soon after, it has to be well for twice as long.
        set.put_out(BrokerId::new(0), at(50));
        assert_eq!(looked(&mut set, [up(at(50)), up(start)], 50), 1);
        assert_eq!(looked(&mut set, [up(at(50)), up(start)], 109), 1);
        assert_eq!(looked(&mut set, [up(at(50)), up(start)], 110), 0);
        // Long after, it is as at first.
        set.put_out(BrokerId::new(0), at(1_000));
        assert_eq!(looked(&mut set, [up(at(1_000)), up(start)], 1_000), 1);
        assert_eq!(looked(&mut set, [up(at(1_000)), up(start)], 1_030), 0);
    }

    #[test]
    fn with_nobody_well_messages_wait_where_they_are_and_go_to_whoever_comes_first() {
        let start = Instant::now();
        for policy in [Policy::Failover, Policy::Balance] {
            let mut set = set(policy, 3, &[]);
            set.look(|_| up(start), start);
            let before = owners(&set);
            (0..3).for_each(|at| assert!(set.put_out(BrokerId::new(at), start)));
            set.look(|_| DOWN, start);
            assert_eq!(owners(&set), before, "{policy:?}");
            let came = start + Duration::from_secs(1);
            set.look(|broker| if broker.at() == 2 { up(came) } else { DOWN }, came);
            assert!(owners(&set).iter().all(|owner| *owner == 2), "{policy:?}");
        }
    }

    #[test]
    fn balance_is_even_and_by_weight() {
        let now = Instant::now();
        let mut four = set(Policy::Balance, 4, &[]);
        four.look(|_| up(now), now);
        let mut counts = BTreeMap::<usize, usize>::new();
        owners(&four).iter().for_each(|owner| *counts.entry(*owner).or_default() += 1);
        assert!(counts.values().all(|count| (2_250..=2_750).contains(count)), "{counts:?}");
        let mut weighted = set(Policy::Balance, 3, &[("b", 3)]);
        weighted.look(|_| up(now), now);
        let of_b = owners(&weighted).iter().filter(|owner| **owner == 1).count();
        assert!((5_700..6_300).contains(&of_b), "three of five: {of_b}");
    }

    #[test]
    fn only_the_topics_of_a_member_that_leaves_move_and_only_they_come_back() {
        let start = Instant::now();
        let mut ten = set(Policy::Balance, 10, &[]);
        ten.look(|_| up(start), start);
        let before = owners(&ten);
        ten.put_out(BrokerId::new(4), start);
        assert!(ten.look(|_| up(start), start), "another share");
        let without = owners(&ten);
        let moved = before.iter().zip(&without).filter(|(before, after)| before != after);
        let moved: Vec<_> = moved.collect();
        assert!(moved.iter().all(|(before, after)| **before == 4 && **after != 4));
        assert!((900..1_100).contains(&moved.len()), "a tenth: {}", moved.len());
        assert!(ten.look(|_| up(start), start + FAILBACK));
        assert_eq!(owners(&ten), before);
        assert!(!ten.look(|_| up(start), start + FAILBACK), "nothing is new");
    }

    #[test]
    fn a_level_of_the_topic_is_the_key_unless_a_plugin_says_one() {
        use tidegate_message::{Properties, QoS, Topic};
        let mut set = set(Policy::Balance, 2, &[]);
        set.level = Some(1);
        let mut message = Message::new(Topic::new("site/7/temp").unwrap(), "", QoS::AtMostOnce);
        assert_eq!(set.key(&message), "7");
        message.properties = Some(Box::new(Properties { key: Some("k/9".into()), ..Properties::default() }));
        assert_eq!(set.key(&message), "k/9");
        let short = Message::new(Topic::new("site").unwrap(), "", QoS::AtMostOnce);
        assert_eq!(set.key(&short), "site");
    }
}
