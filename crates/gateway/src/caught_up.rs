//! Says when a target has caught up: a backlog that had waited for it is delivered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_router::Backlog;

/// What has waited for longer than this waits for a target that is away or slow.
const BEHIND: Duration = Duration::from_secs(5);

/// A target of which nothing has waited for longer than this has caught up. Under traffic something always waits a little.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// A target has at most one line in so long: one that is on the edge would fill the log.
const QUIET: Duration = Duration::from_secs(10);

/// One target, from the moment on at which it was seen to be behind.
#[derive(Debug, Clone, Copy)]
struct Since {
    /// How long the oldest of its messages had waited at the most.
    waited: Duration,
    /// What it had taken when the last of it was still waiting; [`Backlog::delivered`].
    delivered: u64,
    /// The last look at which it had taken nothing yet.
    idle: Instant,
}

/// What is to be said of one target.
#[derive(Debug, PartialEq, Eq)]
struct CaughtUp {
    target: String,
    messages: u64,
    /// From the last look before it went on: at most so long.
    took: Duration,
    waited: Duration,
}

/// The targets that are behind.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    targets: BTreeMap<String, Since>,
    said: BTreeMap<String, Instant>,
}

impl Behind {
    /// Says which targets have caught up since the last look. `now_ms` is in milliseconds since the epoch. Returns whether
    /// anything waits, so that another look may be worth it.
    pub(crate) fn tell(&mut self, backlogs: Vec<Backlog>, now: Instant, now_ms: u64) -> bool {
        let more = backlogs.iter().any(|backlog| backlog.messages > 0);
        for CaughtUp { target, messages, took, waited } in self.look(backlogs, now, now_ms) {
            tracing::info!(
                name: "caught_up",
                target_name = target,
                messages,
                ?took,
                ?waited,
                "caught up: what had waited is delivered"
            );
        }
        more
    }

    fn look(&mut self, backlogs: Vec<Backlog>, now: Instant, now_ms: u64) -> Vec<CaughtUp> {
        let mut caught_up = Vec::new();
        self.targets.retain(|name, _| backlogs.iter().any(|backlog| backlog.target == *name));
        for Backlog { target, messages, oldest_ms, delivered } in backlogs {
            let waited = match oldest_ms {
                Some(oldest) => Duration::from_millis(now_ms.saturating_sub(oldest)),
                None => Duration::ZERO,
            };
            let Some(since) = self.targets.get_mut(&target) else {
                if waited >= BEHIND {
                    self.targets.insert(target, Since { waited, delivered, idle: now });
                }
                continue;
            };
            since.waited = since.waited.max(waited);
            if delivered == since.delivered {
                since.idle = now;
            }
            // Of what is read from the disk the age is not known until it is there.
            let is_unknown = messages > 0 && oldest_ms.is_none();
            if waited > CAUGHT_UP || is_unknown {
                continue;
            }
            let messages = delivered - since.delivered;
            let took = now - since.idle;
            let waited = since.waited;
            self.targets.remove(&target);
            // Moved, discarded or dropped is not delivered.
            let quiet = self.said.get(&target).is_some_and(|at| now < *at + QUIET);
            if messages > 0 && !quiet {
                self.said.insert(target.clone(), now);
                caught_up.push(CaughtUp { target, messages, took, waited });
            }
        }
        caught_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look at one target finds: how many wait, since when in milliseconds, and how many it has taken.
    fn look(behind: &mut Behind, start: Instant, now_ms: u64, waits: (u64, Option<u64>, u64)) -> Vec<CaughtUp> {
        let (messages, oldest_ms, delivered) = waits;
        let backlog = Backlog { target: "office".to_owned(), messages, oldest_ms, delivered };
        behind.look(vec![backlog], start + Duration::from_millis(now_ms), now_ms)
    }

    #[test]
    fn a_target_that_was_behind_is_told_once_it_has_taken_everything() {
        let (mut behind, start) = (Behind::default(), Instant::now());
        let mut at = |now_ms, waits| look(&mut behind, start, now_ms, waits);
        assert_eq!(at(1_000, (10, Some(0), 5)), [], "a second is nothing");
        assert_eq!(at(1_500, (0, None, 15)), []);
        assert_eq!(at(8_000, (10, Some(2_000), 15)), [], "it is behind now");
        assert_eq!(at(9_000, (300, Some(2_000), 15)), []);
        assert_eq!(at(10_000, (200, None, 115)), [], "it goes on, and what is next is on the disk");
        assert_eq!(at(10_500, (100, Some(9_000), 215)), [], "that has waited too");
        let (took, waited) = (Duration::from_secs(2), Duration::from_secs(7));
        let expected = CaughtUp { target: "office".to_owned(), messages: 295, took, waited };
        assert_eq!(at(11_000, (1, Some(10_900), 310)), [expected], "what came now does not count as a backlog");
        assert_eq!(at(12_000, (0, None, 311)), [], "once");
    }

    #[test]
    fn what_was_moved_or_discarded_was_not_delivered_and_lines_are_rare() {
        let (mut behind, start) = (Behind::default(), Instant::now());
        assert_eq!(look(&mut behind, start, 6_000, (10, Some(0), 5)), []);
        assert_eq!(look(&mut behind, start, 7_000, (0, None, 5)), []);
        let mut lines = 0;
        for n in 0..10 {
            let (at, taken) = (10_000 + n * 6_000, 5 + n);
            look(&mut behind, start, at, (1, Some(at - 6_000), taken));
            lines += look(&mut behind, start, at + 500, (0, None, taken + 1)).len();
        }
        assert_eq!(lines, 5, "every second one in 12 s");
    }
}
