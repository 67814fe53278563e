//! Where each message that somebody looks at is now: the numbers of messages under way, beside the walk.

use super::follow::Following;
use crate::ids::{DebtId, QueueId};
use crate::ticket::Ticket;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::VecDeque;
use tidegate_message::{Message, Topic};

/// So many messages that nobody waits for are known by their number at a time. There are hardly more in the lanes.
const LOOSE_MAX: usize = 50_000;

/// The numbers of messages under way, while somebody looks.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    is_on: bool,
    /// The log wants all of them.
    pub(super) logs: bool,
    last: u64,
    /// Of the message that a step is about now, if somebody looks at it.
    pub(super) current: Option<u64>,
    /// By the number of its parcel.
    pub(super) parcels: AHashMap<u64, u64>,
    pub(super) debts: AHashMap<DebtId, u64>,
    /// What goes into the record that is being made, in order.
    pub(super) stashed: Vec<(QueueId, Option<u64>)>,
    /// What is in the log and has not come out of it, by the number of its record, in order.
    pub(super) recorded: AHashMap<u64, Vec<(QueueId, Option<u64>)>>,
    pub(super) spooled: AHashMap<(QueueId, u32), u64>,
    /// By where their payloads are.
    loose: AHashMap<usize, VecDeque<Loose>>,
    loose_count: usize,
    pub(super) following: Following,
}

/// A message that nobody waits for, in a lane: known by its topic and by where its payload is, which no other message has while
/// this is here.
#[derive(Debug)]
struct Loose {
    topic: Topic,
    _payload: Bytes,
    id: u64,
}

impl Trace {
    /// A batch begins.
    #[inline]
    pub(crate) fn look(&mut self) {
        self.logs = tracing::enabled!(tracing::Level::DEBUG);
        let is_on = self.logs || self.following.is_on();
        if self.is_on && !is_on {
            self.forget();
        }
        (self.is_on, self.current) = (is_on, None);
    }

    /// Nobody looks any more.
    #[cold]
    pub(super) fn forget(&mut self) {
        let (last, following) = (self.last, std::mem::take(&mut self.following));
        *self = Self { last, following, ..Self::default() };
    }

    /// Whether somebody wants to know of some messages.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether somebody looks at the message that the step is about.
    #[inline]
    pub(crate) const fn is_about_one(&self) -> bool {
        self.current.is_some()
    }

    /// Whether somebody looks at the message of a debt.
    pub(crate) fn knows(&self, debt: DebtId) -> bool {
        self.debts.contains_key(&debt)
    }

    pub(super) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn owe(&mut self, debt: DebtId, id: u64) {
        if self.debts.insert(debt, id).is_none() {
            self.following.opens(id);
        }
    }

    pub(super) fn give(&mut self, parcel: u64, id: u64) {
        if self.parcels.insert(parcel, id).is_none() {
            self.following.opens(id);
        }
    }

    pub(super) fn take_parcel(&mut self, parcel: u64) -> Option<u64> {
        let id = self.parcels.remove(&parcel)?;
        self.following.closes(id);
        Some(id)
    }

    /// The number of a message that has a ticket. One that nobody waits for is known by what it is, once.
    pub(super) fn id_of(&mut self, ticket: Ticket, message: Option<&Message>) -> Option<u64> {
        match ticket {
            Ticket::Spooled { queue, ordinal } => self.spooled.get(&(queue, ordinal)).copied(),
            Ticket::Held { debt, .. } => self.debts.get(&debt).copied(),
            Ticket::Loose { .. } => self.take_loose(message?),
        }
    }

    /// A message of the log has left its queue, by whatever way.
    #[cold]
    #[inline(never)]
    pub(crate) fn spool_done(&mut self, queue: QueueId, ordinal: u32) {
        if let Some(id) = self.spooled.remove(&(queue, ordinal)) {
            self.following.closes(id);
        }
    }

    pub(super) fn give_loose(&mut self, message: &Message, id: u64) {
        if self.loose_count < LOOSE_MAX {
            self.loose_count += 1;
            let loose = Loose { topic: message.topic.clone(), _payload: message.payload.clone(), id };
            self.loose.entry(message.payload.as_ptr() as usize).or_default().push_back(loose);
            self.following.opens(id);
        }
    }

    pub(super) fn take_loose(&mut self, message: &Message) -> Option<u64> {
        let of_payload = message.payload.as_ptr() as usize;
        let all = self.loose.get_mut(&of_payload)?;
        let at = all.iter().position(|loose| loose.topic == message.topic)?;
        let Loose { id, .. } = all.remove(at)?;
        if all.is_empty() {
            self.loose.remove(&of_payload);
        }
        self.loose_count -= 1;
        self.following.closes(id);
        Some(id)
    }

    /// What waits in a record for a queue has come out of it.
    pub(super) fn take_recorded(&mut self, sequence: u64, queue: QueueId) -> Option<u64> {
        let waiting = self.recorded.get_mut(&sequence)?;
        let at = waiting.iter().position(|(of, _)| *of == queue)?;
        let (_, id) = waiting.remove(at);
        if waiting.iter().all(|(_, id)| id.is_none()) {
            self.recorded.remove(&sequence);
        }
        id
    }
}
