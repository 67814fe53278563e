//! What is decided about a received message and is to be recorded.

use crate::ids::{DebtId, QueueId};
use smallvec::SmallVec;
use tidegate_message::Message;
use tidegate_spool::{Delivery, NameId, Parked, StateWrite};

/// What a source waits for: so many of a record's deliveries to some queues.
#[derive(Debug)]
pub(crate) struct Quorum {
    pub(crate) debt: DebtId,
    pub(crate) queues: SmallVec<[QueueId; 4]>,
    /// Members that have yet to take it.
    pub(crate) wanted: usize,
}

/// What goes into one record, of one received message. Most have none: they take the short way.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    pub(crate) deliveries: SmallVec<[Delivery; 1]>,
    /// Where these go, all together.
    pub(crate) queues: SmallVec<[QueueId; 2]>,
    /// Of which of these the source waits for some.
    pub(crate) quorums: Vec<Quorum>,
    pub(crate) parked: Vec<(u64, Parked)>,
    pub(crate) unparked: Vec<u64>,
    /// What is remembered of what is parked.
    pub(crate) state: Vec<StateWrite>,
}

impl Stash {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.parked.is_empty() && self.unparked.is_empty()
    }

    /// Files a message for some queues, in which it will be one item each.
    #[inline]
    pub(crate) fn add(&mut self, route: NameId, queues: SmallVec<[NameId; 2]>, message: Message) {
        self.deliveries.push(Delivery { route, queues, message });
    }
}
