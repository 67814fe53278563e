//! Holds bytes back until the owner's log is durable as far as they rely on it.
//!
//! Positions count the bytes of one connection from its start. Marks are set between packets, so what may leave ends
//! between packets too, unless a packet was under way already when its mark was set.

use std::collections::VecDeque;

/// The gate of one connection.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// How many bytes have left.
    written: u64,
    /// The highest sequence number that was asked for.
    asked: u64,
    /// Where the bytes end that have a mark, or had one.
    marked_to: u64,
    /// Not durable when last looked, in the order of both fields.
    marks: VecDeque<Mark>,
}

/// From this position on nothing leaves before the log is durable up to this sequence number.
#[derive(Debug, Clone, Copy)]
struct Mark {
    from: u64,
    sequence: u64,
}

impl Gate {
    /// What waits now, `waiting` bytes, relies on the log up to `sequence`: it and what follows it are held until that is
    /// durable. A number that is not above those before asks for nothing.
    pub(crate) fn ask(&mut self, sequence: u64, waiting: usize) {
        if sequence <= self.asked {
            return;
        }
        self.asked = sequence;
        let from = std::mem::replace(&mut self.marked_to, self.written + waiting as u64);
        match self.marks.back_mut() {
            // Nothing was written between the two.
            Some(last) if last.from == from => last.sequence = sequence,
            _ => self.marks.push_back(Mark { from, sequence }),
        }
    }

    /// Whether nothing is held, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many bytes of what waits may leave when the log is durable up to `durable`.
    pub(crate) fn allowed(&mut self, durable: u64) -> usize {
        while self.marks.front().is_some_and(|mark| mark.sequence <= durable) {
            self.marks.pop_front();
        }
        let Some(mark) = self.marks.front() else { return usize::MAX };
        usize::try_from(mark.from.saturating_sub(self.written)).unwrap_or(usize::MAX)
    }

    /// `count` more bytes have left.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_up_to_the_first_mark_that_is_not_durable() {
        let mut gate = Gate::default();
        assert_eq!(gate.allowed(0), usize::MAX);
        gate.ask(5, 100);
        gate.ask(5, 120);
        gate.ask(9, 150);
        assert_eq!(gate.allowed(4), 0);
        assert_eq!(gate.allowed(5), 100);
        gate.wrote(60);
        assert_eq!((gate.allowed(8), gate.is_open()), (40, false));
        assert_eq!((gate.allowed(9), gate.is_open()), (usize::MAX, true));
    }

    #[test]
    fn a_mark_on_an_empty_buffer_holds_what_follows() {
        let mut gate = Gate::default();
        gate.wrote(30);
        gate.ask(1, 0);
        assert_eq!(gate.allowed(0), 0);
        gate.ask(2, 10);
        gate.ask(3, 10);
        assert_eq!(gate.allowed(1), 0);
        assert_eq!(gate.allowed(2), 10);
        assert_eq!(gate.allowed(3), usize::MAX);
    }

    #[test]
    fn marks_share_what_they_hold() {
        let mut gate = Gate::default();
        (1..1000).for_each(|sequence| gate.ask(sequence, 0));
        assert_eq!(gate.marks.len(), 1);
        assert_eq!(gate.allowed(998), 0);
    }

    #[test]
    fn a_number_asked_for_before_asks_for_nothing() {
        let mut gate = Gate::default();
        gate.ask(7, 10);
        assert_eq!(gate.allowed(7), usize::MAX);
        gate.ask(0, 20);
        gate.ask(7, 20);
        assert!(gate.is_open());
    }
}
