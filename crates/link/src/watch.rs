//! Notices messages that a broker leaves unanswered while the connection lives. No clock and no cost a message: now and
//! then the number of the next message is marked with the time, and what lies before an old mark is old.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_pacing::Doubling;

/// How often a mark is set while something is unanswered.
const LOOK: Duration = Duration::from_secs(5);

/// A PUBREL whose answer has not come after this long never gets one; once that has happened, sooner.
const PUBREL: Duration = Duration::from_secs(20);
const PUBREL_AGAIN: Duration = Duration::from_secs(5);

/// After this long without an answer a message is overdue.
pub(crate) const OVERDUE: Duration = Duration::from_secs(60);

/// A connection is given up for overdue messages after [`OVERDUE`], then after twice as long, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// When, and the serial of the next packet id then.
    marks: VecDeque<(Instant, u64)>,
    next: Option<Instant>,
    /// Connections given up in a row.
    given_up: u32,
    /// PUBRELs have been without an answer before.
    pubrels_are_lost: bool,
}

/// Serials below which what is unanswered has been so for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of messages.
    pub(crate) messages: Option<u64>,
    /// Of PUBRELs.
    pub(crate) pubrels: Option<u64>,
}

impl Watch {
    /// A connection is up; everything unanswered is sent on it again.
    pub(crate) fn connected(&mut self, now: Instant, next_serial: u64) {
        self.marks.clear();
        self.marks.push_back((now, next_serial));
        self.next = Some(now + LOOK);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Sets a mark if it is time to, and says what is overdue then.
    pub(crate) fn look(&mut self, now: Instant, next_serial: u64) -> Option<Limits> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOOK);
        self.marks.push_back((now, next_serial));
        // The newest of the old marks is the limit until the next one is old.
        while self.marks.get(1).is_some_and(|(at, _)| now >= *at + OVERDUE) {
            self.marks.pop_front();
        }
        let older_than = |age: Duration| {
            let old = self.marks.iter().rev().find(|(at, _)| now >= *at + age);
            old.map(|(_, serial)| *serial)
        };
        let pubrel = if self.pubrels_are_lost { PUBREL_AGAIN } else { PUBREL };
        Some(Limits { messages: older_than(OVERDUE), pubrels: older_than(pubrel) })
    }

    pub(crate) fn loses_pubrels(&self) -> bool {
        self.pubrels_are_lost
    }

    /// A PUBREL was without an answer for so long.
    pub(crate) fn lost_pubrel(&mut self) {
        self.pubrels_are_lost = true;
    }

    /// How long a connection may go on with something overdue.
    pub(crate) fn patience(&self) -> Duration {
        Doubling::new(OVERDUE, PATIENCE_MAX).after(self.given_up)
    }

    /// How many connections in a row were given up.
    pub(crate) fn given_up(&self) -> u32 {
        self.given_up
    }

    pub(crate) fn give_up(&mut self) {
        self.given_up += 1;
    }

    /// Nothing is overdue.
    pub(crate) fn well(&mut self) {
        self.given_up = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_a_minute_ago_is_overdue_and_what_came_later_is_not() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.connected(start, 10);
        for second in 0..59 {
            let limits = watch.look(start + Duration::from_secs(second), 10 + second);
            assert_eq!(limits.and_then(|limits| limits.messages), None);
        }
        for second in 60..200 {
            let Some(limits) = watch.look(start + Duration::from_secs(second), 10 + second) else { continue };
            let (messages, pubrels) = (limits.messages.unwrap(), limits.pubrels.unwrap());
            for (limit, age) in [(messages, OVERDUE), (pubrels, PUBREL)] {
                let then = 10 + second - age.as_secs();
                assert!(limit <= then && limit + 2 * LOOK.as_secs() > then, "{limit}");
            }
        }
    }
}
