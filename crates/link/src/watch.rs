//! Notices messages that a broker leaves unanswered while the connection lives. No clock and no cost a message: now and
//! then the number of the next message is marked with the time, and what lies before an old mark is old.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often a mark is set while something is unanswered.
const LOOK: Duration = Duration::from_secs(5);

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

    /// Sets a mark if it is time to. Returns the serial below which everything unanswered is overdue.
    pub(crate) fn look(&mut self, now: Instant, next_serial: u64) -> Option<u64> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOOK);
        self.marks.push_back((now, next_serial));
        let mut limit = None;
        while let Some((at, serial)) = self.marks.front().copied().filter(|(at, _)| now >= *at + OVERDUE) {
            limit = Some(serial);
            // The newest of the old marks stays: it is the limit until the next one is old.
            if self.marks.get(1).is_none_or(|(next, _)| now < *next + OVERDUE) {
                break;
            }
            let _ = at;
            self.marks.pop_front();
        }
        limit
    }

    /// How long a connection may go on with something overdue.
    pub(crate) fn patience(&self) -> Duration {
        OVERDUE.saturating_mul(1 << self.given_up.min(10)).min(PATIENCE_MAX)
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
        let mut limit = None;
        for second in 0..59 {
            limit = watch.look(start + Duration::from_secs(second), 10 + second);
            assert_eq!(limit, None);
        }
        for second in 60..200 {
            limit = watch.look(start + Duration::from_secs(second), 10 + second).or(limit);
            let sent_a_minute_ago = 10 + second - 60;
            let found = limit.unwrap();
            assert!(found <= sent_a_minute_ago + 1 && found + 2 * LOOK.as_secs() > sent_a_minute_ago, "{found}");
        }
    }
}
