//! A name for several brokers: which of them a message goes to.

use crate::ids::BrokerId;
use std::time::{Duration, Instant};
use tidegate_config::Policy;

/// Where a member stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// Since when it takes messages; `None` while it does not.
    pub up_since: Option<Instant>,
    /// Given up: its messages have been handed to the others.
    pub given_up: bool,
}

/// A target set.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) choice: Choice,
    pub(crate) members: Vec<BrokerId>,
}

/// The choice among members, without any I/O.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) policy: Policy,
    /// How long an earlier member must have been up before it takes over again.
    pub(crate) failback: Duration,
    active: usize,
}

impl Choice {
    pub(crate) const fn new(policy: Policy, failback: Duration) -> Self {
        Self { policy, failback, active: 0 }
    }

    /// The place of the member for a topic whose hash this is, of `count` members. Not for [`Policy::All`].
    ///
    /// A member that is down keeps its messages until it is given up, so that their order is kept when they move.
    pub(crate) fn choose(
        &mut self,
        count: usize,
        health: impl Fn(usize) -> Health,
        topic_hash: u64,
        now: Instant,
    ) -> usize {
        if count == 0 {
            return 0;
        }
        self.active = self.active.min(count - 1);
        match self.policy {
            Policy::Balance => {
                let well = (0..count).filter(|at| !health(*at).given_up).count();
                let nth = topic_hash as usize % if well == 0 { count } else { well };
                (0..count).filter(|at| well == 0 || !health(*at).given_up).nth(nth).unwrap_or(0)
            }
            Policy::Failover | Policy::All => {
                if health(self.active).given_up {
                    let next = (0..count).find(|at| health(*at).up_since.is_some());
                    self.active = next.unwrap_or(self.active);
                } else if self.active > 0 {
                    let steady = |member: Health| member.up_since.is_some_and(|since| now - since >= self.failback);
                    if let Some(earlier) = (0..self.active).find(|at| steady(health(*at))) {
                        self.active = earlier;
                    }
                }
                self.active
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(since: Instant) -> Health {
        Health { up_since: Some(since), given_up: false }
    }
    const LOST: Health = Health { up_since: None, given_up: true };
    const DOWN: Health = Health { up_since: None, given_up: false };

    fn choose(choice: &mut Choice, health: &[Health], hash: u64, now: Instant) -> usize {
        choice.choose(health.len(), |at| health[at], hash, now)
    }

    #[test]
    fn failover_takes_the_first_that_is_well_and_goes_back_when_it_has_been_well_for_long() {
        let start = Instant::now();
        let mut choice = Choice::new(Policy::Failover, Duration::from_secs(30));
        let mut chosen = |health: &[Health], now| choose(&mut choice, health, 0, now);
        assert_eq!(chosen(&[up(start), up(start)], start), 0);
        assert_eq!(chosen(&[DOWN, up(start)], start), 0, "a short absence moves nothing");
        assert_eq!(chosen(&[LOST, up(start)], start), 1);
        let back = start + Duration::from_secs(10);
        assert_eq!(chosen(&[up(back), up(start)], back + Duration::from_secs(29)), 1);
        assert_eq!(chosen(&[up(back), up(start)], back + Duration::from_secs(30)), 0);
        assert_eq!(chosen(&[LOST, LOST], start), 0, "with nobody well, wait where we are");
    }

    #[test]
    fn the_last_of_many_members_is_one_too() {
        let now = Instant::now();
        let mut health = vec![LOST; 40];
        health[39] = up(now);
        assert_eq!(choose(&mut Choice::new(Policy::Failover, Duration::ZERO), &health, 0, now), 39);
        assert_eq!(choose(&mut Choice::new(Policy::Balance, Duration::ZERO), &health, 7, now), 39);
    }

    #[test]
    fn balance_keeps_a_topic_on_one_member_and_leaves_out_the_lost() {
        let now = Instant::now();
        let mut choice = Choice::new(Policy::Balance, Duration::ZERO);
        let all = [up(now), up(now), up(now)];
        let spread: Vec<_> = (0..6).map(|hash| choose(&mut choice, &all, hash, now)).collect();
        assert_eq!(spread, [0, 1, 2, 0, 1, 2]);
        let two = [up(now), LOST, up(now)];
        let spread: Vec<_> = (0..4).map(|hash| choose(&mut choice, &two, hash, now)).collect();
        assert_eq!(spread, [0, 2, 0, 2]);
        assert_eq!(choose(&mut choice, &[LOST, LOST], 1, now), 1);
    }
}
