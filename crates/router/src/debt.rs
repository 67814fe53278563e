//! What a source is owed: one acknowledgement for each message that it waits for, once all that came of it is settled.

use crate::ids::{BrokerId, DebtId, DraftId, QueueId};
use crate::stash::Stash;
use smallvec::SmallVec;
use tidegate_spool::NameId;

/// How an acknowledgement is given back: whatever the source's side wants to see again.
pub trait Ack: Copy {
    /// The packet identifier of a QoS 2 message (MQTT 5.0 section 4.3.3): it goes into the record, so that the message
    /// is known again when the source repeats it after a crash.
    fn exactly_once(self) -> Option<u16>;

    /// Under which name of the log that packet identifier is recorded, where the broker has several sessions: see
    /// [`Router::client_source`](crate::Router::client_source). `None`: under that of the broker.
    fn source(self) -> Option<NameId> {
        None
    }

    /// The packet identifier of a message of QoS 1 or 2, under which the source sends it again on another connection
    /// (MQTT 5.0 section 4.4). `None` where no message comes again.
    fn packet_id(self) -> Option<u16>;
}

/// Who waits for a message to be taken care of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creditor<A> {
    /// A broker, which is told.
    Source(BrokerId, A),
    /// A parked message that enters its route again.
    Replayed,
    /// Nobody waits, and it goes into the spool all the same.
    Nobody,
}

/// Who waits for a record of the log to be durable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owed<A> {
    /// A debt, which may wait for more.
    Debt(DebtId),
    /// A source whose message is all in that record, and what the message weighs.
    Source { source: BrokerId, ack: A, weight_bytes: usize },
}

/// A received message on its way to be taken care of.
#[derive(Debug)]
pub(crate) struct Debt<A> {
    pub(crate) to: Creditor<A>,
    /// In microseconds since the epoch.
    pub(crate) received_us: u64,
    pub(crate) weight_bytes: usize,
    /// Routes and plugins that have not said yet what becomes of it.
    undecided: u32,
    /// Deliveries that the source waits for, and one for the record in the spool.
    waiting: u32,
    /// What is decided and goes into the spool, all of it in one record.
    stash: Option<Box<Stash>>,
    /// The draft that this record is, if it may not be one of its own.
    pub(crate) draft: Option<DraftId>,
    /// Its place in the order of receipt.
    pub(crate) number: u64,
    /// Its source has forgotten our session: its packet identifier is another message's.
    pub(crate) is_forgotten: bool,
    /// It has to stay what it is until it is settled, for others may come to wait for it.
    pub(crate) may_be_followed: bool,
    /// Debts for the same message of other sources: they wait for this one.
    pub(crate) followers: SmallVec<[DebtId; 2]>,
}

impl<A> Debt<A> {
    /// Whether something of it, or decided with it, is to be recorded.
    fn wants_record(&self) -> bool {
        self.draft.is_some() || self.stash.as_ref().is_some_and(|stash| !stash.is_empty())
    }

    /// To file something in.
    pub(crate) fn stash(&mut self) -> &mut Stash {
        self.stash.get_or_insert_default()
    }

    /// Whether what is filed is all that becomes of it, and is nothing but deliveries that nobody else waits for.
    pub(crate) fn is_filed_alone(&self) -> bool {
        let is_plain = |stash: &Stash| {
            let Stash { deliveries: _, queues: _, quorums, parked, unparked, state } = stash;
            quorums.is_empty() && parked.is_empty() && unparked.is_empty() && state.is_empty()
        };
        !self.may_be_followed && self.followers.is_empty() && self.stash.as_deref().is_some_and(is_plain)
    }

    /// Where what is filed goes.
    pub(crate) fn queues(&self) -> &[QueueId] {
        self.stash.as_ref().map_or(&[], |stash| &stash.queues)
    }
}

/// How a debt stands after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something is still due.
    Waits,
    /// All is decided: what is stashed can be written.
    Decided,
    /// Nothing is due any more.
    Done,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Debts<A> {
    slots: Vec<Option<Debt<A>>>,
    free: Vec<DebtId>,
    /// How many there have been.
    count: u64,
}

impl<A> Default for Debts<A> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<A> Debts<A> {
    /// Files a message that one decision is due for.
    pub(crate) fn insert(&mut self, to: Creditor<A>, received_us: u64, weight_bytes: usize) -> DebtId {
        self.count += 1;
        let (stash, number) = (None, self.count);
        let debt = Some(Debt {
            to,
            received_us,
            weight_bytes,
            undecided: 1,
            waiting: 0,
            stash,
            draft: None,
            number,
            is_forgotten: false,
            may_be_followed: false,
            followers: SmallVec::new(),
        });
        match self.free.pop() {
            Some(id) => {
                self.slots[id.at()] = debt;
                id
            }
            None => {
                self.slots.push(debt);
                DebtId::new(self.slots.len() - 1)
            }
        }
    }

    /// Queues of what is filed and not recorded yet.
    pub(crate) fn filed(&self) -> impl Iterator<Item = QueueId> {
        self.slots.iter().flatten().flat_map(|debt| debt.queues().iter().copied())
    }

    pub(crate) fn get_mut(&mut self, id: DebtId) -> Option<&mut Debt<A>> {
        self.slots.get_mut(id.at())?.as_mut()
    }

    pub(crate) fn get(&self, id: DebtId) -> Option<&Debt<A>> {
        self.slots.get(id.at())?.as_ref()
    }

    /// So many more decisions are due.
    pub(crate) fn expect(&mut self, id: DebtId, more: u32) {
        if let Some(debt) = self.get_mut(id) {
            debt.undecided += more;
        }
    }

    /// Whether all that is left of it is one decision: nothing is filed, and the source waits for nothing else.
    #[inline]
    pub(crate) fn is_last_decision(&self, id: DebtId) -> bool {
        self.get(id).is_some_and(|debt| debt.undecided == 1 && debt.waiting == 0 && !debt.wants_record())
    }

    /// Whether it is of a parked message that an operator replays.
    #[inline]
    pub(crate) fn is_replay(&self, id: DebtId) -> bool {
        self.get(id).is_some_and(|debt| matches!(debt.to, Creditor::Replayed))
    }

    /// What was to be decided is decided: a delivery is due instead.
    pub(crate) fn hand_over(&mut self, id: DebtId) -> Step {
        if let Some(debt) = self.get_mut(id) {
            debt.waiting += 1;
        }
        self.decided(id)
    }

    /// One decision is made, and nothing comes of it that the source waits for.
    pub(crate) fn decided(&mut self, id: DebtId) -> Step {
        let Some(debt) = self.get_mut(id).filter(|debt| debt.undecided > 0) else { return Step::Waits };
        debt.undecided -= 1;
        match (debt.undecided, debt.wants_record(), debt.waiting) {
            (0, true, _) => Step::Decided,
            (0, false, 0) => Step::Done,
            _ => Step::Waits,
        }
    }

    /// Takes what is to be written, in place of which the source waits for the record. Also says whether the source
    /// waits for nothing else.
    pub(crate) fn take_stash(&mut self, id: DebtId) -> Option<(Box<Stash>, bool)> {
        let debt = self.get_mut(id)?;
        debt.waiting += 1;
        Some((debt.stash.take().unwrap_or_default(), debt.waiting == 1))
    }

    /// The source waits for one thing more.
    pub(crate) fn wait(&mut self, id: DebtId) {
        if let Some(debt) = self.get_mut(id) {
            debt.waiting += 1;
        }
    }

    /// One delivery or record is done.
    pub(crate) fn delivered(&mut self, id: DebtId) -> Step {
        let Some(debt) = self.get_mut(id).filter(|debt| debt.waiting > 0) else { return Step::Waits };
        debt.waiting -= 1;
        if debt.waiting == 0 && debt.undecided == 0 && !debt.wants_record() { Step::Done } else { Step::Waits }
    }

    /// Whether all of its routes and plugins have said what becomes of it.
    pub(crate) fn is_decided(&self, id: DebtId) -> bool {
        self.get(id).is_some_and(|debt| debt.undecided == 0)
    }

    /// The packet identifiers of these sources' messages mean others from here on.
    pub(crate) fn forget(&mut self, is_of: impl Fn(BrokerId) -> bool) {
        for debt in self.slots.iter_mut().flatten() {
            debt.is_forgotten |= matches!(debt.to, Creditor::Source(source, _) if is_of(source));
        }
    }

    /// Takes a debt that is settled out.
    pub(crate) fn remove(&mut self, id: DebtId) -> Option<Debt<A>> {
        let debt = self.slots.get_mut(id.at())?.take();
        if debt.is_some() {
            self.free.push(id);
        }
        debt
    }

    pub(crate) fn received_us(&self, id: DebtId) -> Option<u64> {
        self.get(id).map(|debt| debt.received_us)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{Message, QoS, Topic};

    #[test]
    fn a_message_is_done_after_its_last_decision_and_its_last_delivery() {
        let mut debts = Debts::default();
        let id = debts.insert(Creditor::Source(BrokerId::new(0), "token"), 0, 0);
        debts.expect(id, 2);
        assert_eq!(debts.decided(id), Step::Waits);
        assert_eq!(debts.hand_over(id), Step::Waits);
        assert_eq!(debts.delivered(id), Step::Waits, "one decision is due");
        assert_eq!(debts.decided(id), Step::Done);
        assert_eq!(debts.remove(id).map(|debt| debt.to), Some(Creditor::Source(BrokerId::new(0), "token")));
        assert_eq!(debts.decided(id), Step::Waits, "a stale number does nothing");
        assert_eq!(debts.len(), 0);
        assert_eq!(debts.insert(Creditor::Nobody, 0, 0), id, "numbers are used again");
    }

    #[test]
    fn what_is_stashed_is_written_once_all_is_decided_and_the_source_waits_for_it() {
        let mut debts = Debts::<()>::default();
        let id = debts.insert(Creditor::Nobody, 0, 0);
        debts.expect(id, 1);
        let message = Message::new(Topic::new("t").unwrap(), "x", QoS::AtLeastOnce);
        debts.get_mut(id).unwrap().stash().add(1, smallvec::smallvec![7, 8], message);
        assert_eq!(debts.decided(id), Step::Waits);
        assert_eq!(debts.decided(id), Step::Decided);
        let (stash, alone) = debts.take_stash(id).unwrap();
        assert_eq!(stash.deliveries[0].queues.as_slice(), [7, 8]);
        assert!(alone);
        assert_eq!(debts.delivered(id), Step::Done);
    }
}
