//! A name for several brokers: which of them a message goes to.

use std::time::{Duration, Instant};

/// How a set chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The first that is well.
    Failover,
    /// One of those that are well, the same for the same topic.
    Balance,
    /// All of them.
    All,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Health {
    pub(crate) up_since: Option<Instant>,
    /// Given up: its messages have been handed to the others.
    pub(crate) given_up: bool,
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
    pub(crate) fn new(policy: Policy, failback: Duration) -> Self {
        Self { policy, failback, active: 0 }
    }

    /// The member for a topic whose hash this is. Not for [`Policy::All`].
    ///
    /// A member that is down keeps its messages until it is given up, so that their order is kept when they move.
    pub(crate) fn choose(&mut self, health: &[Health], topic_hash: u64, now: Instant) -> usize {
        if health.is_empty() {
            return 0;
        }
        self.active = self.active.min(health.len() - 1);
        match self.policy {
            Policy::Balance => {
                let well = health.iter().filter(|member| !member.given_up).count();
                let nth = if well == 0 { topic_hash as usize % health.len() } else { topic_hash as usize % well };
                let mut candidates = (0..health.len()).filter(|at| well == 0 || !health[*at].given_up);
                candidates.nth(nth).unwrap_or(0)
            }
            Policy::Failover | Policy::All => {
                if health[self.active].given_up {
                    let next = (0..health.len()).find(|at| health[*at].up_since.is_some());
                    self.active = next.unwrap_or(self.active);
                } else if self.active > 0 {
                    let steady = |member: &Health| member.up_since.is_some_and(|since| now - since >= self.failback);
                    if let Some(earlier) = (0..self.active).find(|at| steady(&health[*at])) {
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

    #[test]
    fn failover_takes_the_first_that_is_well_and_goes_back_when_it_has_been_well_for_long() {
        let start = Instant::now();
        let mut choice = Choice::new(Policy::Failover, Duration::from_secs(30));
        assert_eq!(choice.choose(&[up(start), up(start)], 0, start), 0);
        assert_eq!(choice.choose(&[DOWN, up(start)], 0, start), 0, "a short absence moves nothing");
        assert_eq!(choice.choose(&[LOST, up(start)], 0, start), 1);
        let back = start + Duration::from_secs(10);
        assert_eq!(choice.choose(&[up(back), up(start)], 0, back + Duration::from_secs(29)), 1);
        assert_eq!(choice.choose(&[up(back), up(start)], 0, back + Duration::from_secs(30)), 0);
        assert_eq!(choice.choose(&[LOST, LOST], 0, start), 0, "with nobody well, wait where we are");
    }

    #[test]
    fn balance_keeps_a_topic_on_one_member_and_leaves_out_the_lost() {
        let now = Instant::now();
        let mut choice = Choice::new(Policy::Balance, Duration::ZERO);
        let all = [up(now), up(now), up(now)];
        let spread: Vec<_> = (0..6).map(|hash| choice.choose(&all, hash, now)).collect();
        assert_eq!(spread, [0, 1, 2, 0, 1, 2]);
        let two = [up(now), LOST, up(now)];
        let spread: Vec<_> = (0..4).map(|hash| choice.choose(&two, hash, now)).collect();
        assert_eq!(spread, [0, 2, 0, 2]);
        assert_eq!(choice.choose(&[LOST, LOST], 1, now), 1);
    }
}
