//! Quorum: a message is for all members of a set, and its source waits for some of them (`require`). All of them have it in
//! the log, so that none is waited for and none goes without.

use crate::Router;
use crate::debt::{Ack, Creditor};
use crate::ids::{DebtId, QueueId};
use crate::route::{RouteTarget, Target};
use crate::sessions::Sessions;
use crate::stash::Quorum;
use crate::ticket::Ticket;
use ahash::AHashMap;
use smallvec::SmallVec;

/// All of them, by the sequence of their record.
pub(crate) type Quorums = AHashMap<u64, Vec<Quorum>>;

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Whether a message with such a debt goes into the log for a set of which its source waits for some members only.
    pub(crate) fn wants_quorum(&self, debt: Option<DebtId>, target: &RouteTarget) -> Option<usize> {
        let Target::Set(set) = target.to else { return None };
        let debt = debt.and_then(|debt| self.debts.get(debt))?;
        let wanted = self.sets[set.at()].quorum()?;
        matches!(debt.to, Creditor::Source(..)).then_some(wanted)
    }

    /// A message is filed for these queues: its source waits for so many of them.
    pub(crate) fn await_quorum(&mut self, debt: DebtId, queues: &[QueueId], wanted: usize) {
        let quorum = Quorum { debt, queues: queues.into(), wanted: wanted.min(queues.len()) };
        if let Some(found) = self.debts.get_mut(debt) {
            found.stash().quorums.push(quorum);
        }
    }

    /// What was filed is in the record of this sequence.
    pub(crate) fn begin_quorums(&mut self, quorums: Vec<Quorum>, sequence: u64) {
        for quorum in &quorums {
            self.debts.wait(quorum.debt);
        }
        self.quorums.insert(sequence, quorums);
    }

    /// A delivery from the log ends; `taken`: with the message at its target.
    #[inline]
    pub(crate) fn note_quorum(&mut self, ticket: Ticket, taken: bool) {
        if !self.quorums.is_empty() {
            self.count_member(ticket, taken);
        }
    }

    #[inline(never)]
    fn count_member(&mut self, ticket: Ticket, taken: bool) {
        let Ticket::Spooled { queue, ordinal } = ticket else { return };
        let Some(sequence) = self.spool.sequence_of(queue.spool(), ordinal) else { return };
        let Some(quorums) = self.quorums.get_mut(&sequence) else { return };
        let mut done = SmallVec::<[DebtId; 1]>::new();
        quorums.retain_mut(|quorum| {
            let Some(at) = quorum.queues.iter().position(|of| *of == queue) else { return true };
            quorum.queues.remove(at);
            quorum.wanted -= usize::from(taken);
            // Those that are left cannot be more than all of them.
            let is_done = quorum.wanted == 0 || quorum.queues.is_empty();
            if is_done {
                done.push(quorum.debt);
            }
            !is_done
        });
        if quorums.is_empty() {
            self.quorums.remove(&sequence);
        }
        done.into_iter().for_each(|debt| self.settle_delivered(debt));
    }
}
