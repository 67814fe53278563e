//! The last messages that ended without being delivered, for whoever asks where his are.
//!
//! Each route keeps a few for each reason, so that what is dropped all the time does not hide what is dropped once. Where many
//! are dropped only some are kept each second, and the rest is counted: a drop is cheap, and stays so.

use crate::Router;
use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::RouteId;
use crate::sessions::Sessions;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_message::Topic;

/// So many are kept for each reason of a route.
const KEPT_MAX: usize = 25;
/// And so many reasons of a route: plugins make up their own.
const REASONS_MAX: usize = 32;
/// In each second so many are kept of a reason, and so many in all.
const A_SECOND: u32 = 5;
const A_SECOND_IN_ALL: u32 = 100;
/// Topics are up to 64 KiB long (MQTT 5.0 section 1.5.4).
const TOPIC_BYTES_MAX: usize = 256;

/// A message that ended without being delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// They are numbered; between two there may be some that are not kept.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// In this route.
    pub route: Arc<str>,
    /// Its topic then, or the beginning of a long one; `None` if that is not known any more.
    pub topic: Option<Box<str>>,
    /// As the account has it.
    pub reason: Arc<str>,
}

/// What was dropped for one reason.
#[derive(Debug)]
struct Reason {
    word: Arc<str>,
    kept: VecDeque<Dropped>,
    second: u64,
    left: u32,
}

/// What was dropped of late.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// By the place of the route.
    routes: Vec<Vec<Reason>>,
    number: u64,
    /// Of the seconds in which something was dropped.
    second: u64,
    since: Option<Instant>,
    left: u32,
}

impl Drops {
    /// Time goes on.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.left < A_SECOND_IN_ALL && self.since.is_none_or(|since| now >= since + Duration::from_secs(1)) {
            (self.since, self.left) = (Some(now), A_SECOND_IN_ALL);
            self.second += 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn keep(&mut self, at: RouteId, route: &Arc<str>, topic: Option<&Topic>, reason: &str) {
        if self.routes.len() <= at.at() {
            self.routes.resize_with(at.at() + 1, Vec::new);
        }
        let reasons = &mut self.routes[at.at()];
        let found = reasons.iter().position(|known| *known.word == *reason);
        let place = found.unwrap_or_else(|| {
            if reasons.len() == REASONS_MAX {
                // Whatever has not come up for the longest time makes room.
                let last = |known: &Reason| known.kept.back().map(|dropped| dropped.number);
                let oldest = (0..reasons.len()).min_by_key(|at| last(&reasons[*at]));
                oldest.map(|at| reasons.swap_remove(at));
            }
            reasons.push(Reason { word: reason.into(), kept: VecDeque::new(), second: 0, left: 0 });
            reasons.len() - 1
        });
        let known = &mut reasons[place];
        if known.second != self.second {
            (known.second, known.left) = (self.second, A_SECOND);
        }
        if known.left == 0 {
            return;
        }
        known.left -= 1;
        self.left -= 1;
        if known.kept.len() == KEPT_MAX {
            known.kept.pop_front();
        }
        // A topic of its own: the one at hand keeps all that was read with it.
        let topic = topic.map(|topic| {
            let topic = topic.as_str();
            topic[..topic.floor_char_boundary(TOPIC_BYTES_MAX)].into()
        });
        known.kept.push_back(Dropped {
            number: self.number,
            at: SystemTime::now(),
            route: route.clone(),
            topic,
            reason: known.word.clone(),
        });
    }
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A message ends in a route without being delivered.
    #[inline]
    pub(crate) fn note_drop(&mut self, at: RouteId, topic: Option<&Topic>, reason: DropReason<'_>) {
        self.drops.number += 1;
        if self.drops.left > 0 {
            self.drops.keep(at, &self.routes[at.at()].name, topic, reason.word());
        }
    }

    /// The last messages that ended without being delivered, the oldest first, and how many there have been in all. Not each
    /// of them is kept.
    pub fn dropped(&self) -> (Vec<Dropped>, u64) {
        let mut all: Vec<Dropped> = self.drops.routes.iter().flatten().flat_map(|known| &known.kept).cloned().collect();
        all.sort_unstable_by_key(|dropped| dropped.number);
        (all, self.drops.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(drops: &Drops) -> Vec<String> {
        let kept = drops.routes.iter().flatten().flat_map(|known| &known.kept);
        kept.map(|dropped| format!("{} {}", dropped.reason, dropped.topic.as_deref().unwrap_or("?"))).collect()
    }

    #[test]
    fn what_is_dropped_all_the_time_does_not_hide_what_is_dropped_once() {
        let (mut drops, start) = (Drops::default(), Instant::now());
        let (at, name) = (RouteId::new(1), Arc::from("r"));
        for second in 0..100 {
            drops.tick(start + Duration::from_secs(second));
            for n in 0..1_000 {
                let topic = Topic::new(format!("t/{second}/{n}")).unwrap();
                if drops.left > 0 {
                    drops.keep(at, &name, Some(&topic), "unchanged");
                }
                if (second, n) == (3, 999) {
                    drops.keep(at, &name, Some(&topic), "quota");
                }
            }
        }
        let kept = topics(&drops);
        assert_eq!(kept.len(), KEPT_MAX + 1);
        assert_eq!(kept[0], "unchanged t/95/0");
        assert_eq!(kept[KEPT_MAX - 1], "unchanged t/99/4");
        assert_eq!(kept[KEPT_MAX], "quota t/3/999");
    }

    #[test]
    fn reasons_that_plugins_make_up_and_long_topics_have_bounds() {
        let (mut drops, name) = (Drops::default(), Arc::from("r"));
        drops.tick(Instant::now());
        let topic = Topic::new("ü".repeat(1_000)).unwrap();
        for number in 0..A_SECOND_IN_ALL {
            drops.number = number.into();
            drops.keep(RouteId::new(0), &name, Some(&topic), &format!("reason {number}"));
        }
        assert_eq!(topics(&drops).len(), REASONS_MAX);
        assert!(topics(&drops).iter().any(|one| one.starts_with("reason 99 ")), "the last is there");
        assert!(!topics(&drops).iter().any(|one| one.starts_with("reason 60 ")), "and not an old one");
        assert!(topics(&drops)[0].len() < 2 * TOPIC_BYTES_MAX);
    }
}
