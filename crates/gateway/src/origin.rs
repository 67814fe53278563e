//! Source messages that wait for their deliveries, so that they can be acknowledged.

use crate::lane::NO_ORIGIN;
use smallvec::SmallVec;
use tidegate_spool::{Delivery, NameId, Parked};

/// A received message on its way to be taken care of.
#[derive(Debug)]
pub(crate) struct Origin<A> {
    pub(crate) ack: A,
    pub(crate) received_us: u64,
    pub(crate) weight_bytes: usize,
    /// Routes and plugins that have not said yet what becomes of it.
    undecided: u32,
    /// Deliveries that the source waits for, and one for the record in the spool.
    waiting: u32,
    /// What is decided and goes into the spool, all of it in one record.
    pub(crate) stash: Stash,
}

/// What goes into one record.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    pub(crate) deliveries: SmallVec<[Delivery; 1]>,
    pub(crate) parked: Vec<(u64, Parked)>,
    pub(crate) unparked: Vec<u64>,
}

impl Stash {
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.parked.is_empty() && self.unparked.is_empty()
    }

    /// Files a message for a queue; a fan-out holds its message once.
    pub(crate) fn add(&mut self, route: NameId, queue: NameId, message: tidegate_message::Message) {
        if let Some(last) = self.deliveries.last_mut()
            && last.route == route
            && last.message == message
        {
            return last.queues.push(queue);
        }
        self.deliveries.push(Delivery { route, queues: smallvec::smallvec![queue], message });
    }
}

/// How a message stands after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something is still due.
    Waits,
    /// All is decided: what is stashed can be written.
    Decided,
    /// Nothing is due any more.
    Done,
}

/// All of them, each under a number that is used again once it is done.
#[derive(Debug)]
pub(crate) struct Origins<A> {
    slots: Vec<Option<Origin<A>>>,
    free: Vec<u32>,
}

impl<A> Default for Origins<A> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<A> Origins<A> {
    /// Files a message that one decision is due for.
    pub(crate) fn insert(&mut self, ack: A, received_us: u64, weight_bytes: usize) -> u32 {
        let stash = Stash::default();
        let origin = Some(Origin { ack, received_us, weight_bytes, undecided: 1, waiting: 0, stash });
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = origin;
                at
            }
            None => {
                self.slots.push(origin);
                // Bounded by the windows of all sources, far below NO_ORIGIN.
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut Origin<A>> {
        if at == NO_ORIGIN { None } else { self.slots.get_mut(at as usize)?.as_mut() }
    }

    /// So many more decisions are due.
    pub(crate) fn expect(&mut self, at: u32, more: u32) {
        if let Some(origin) = self.get_mut(at) {
            origin.undecided += more;
        }
    }

    /// What was to be decided is decided: a delivery is due instead.
    pub(crate) fn hand_over(&mut self, at: u32) -> Step {
        if let Some(origin) = self.get_mut(at) {
            origin.waiting += 1;
        }
        self.decided(at)
    }

    /// One decision is made, and nothing comes of it that the source waits for.
    pub(crate) fn decided(&mut self, at: u32) -> Step {
        let Some(origin) = self.get_mut(at).filter(|origin| origin.undecided > 0) else { return Step::Waits };
        origin.undecided -= 1;
        match (origin.undecided, origin.stash.is_empty(), origin.waiting) {
            (0, false, _) => Step::Decided,
            (0, true, 0) => Step::Done,
            _ => Step::Waits,
        }
    }

    /// Takes what is to be written, in place of which the source waits for the record. Also says whether the source
    /// waits for nothing else.
    pub(crate) fn take_stash(&mut self, at: u32) -> Option<(Stash, bool)> {
        let origin = self.get_mut(at)?;
        origin.waiting += 1;
        Some((std::mem::take(&mut origin.stash), origin.waiting == 1))
    }

    /// One delivery or record is done.
    pub(crate) fn delivered(&mut self, at: u32) -> Step {
        let Some(origin) = self.get_mut(at).filter(|origin| origin.waiting > 0) else { return Step::Waits };
        origin.waiting -= 1;
        if origin.waiting == 0 && origin.undecided == 0 && origin.stash.is_empty() { Step::Done } else { Step::Waits }
    }

    /// Whether all of its routes and plugins have said what becomes of it.
    pub(crate) fn is_decided(&mut self, at: u32) -> bool {
        self.get_mut(at).is_some_and(|origin| origin.undecided == 0)
    }

    /// Takes a message that is done out.
    pub(crate) fn remove(&mut self, at: u32) -> Option<Origin<A>> {
        let origin = self.slots.get_mut(at as usize)?.take();
        if origin.is_some() {
            self.free.push(at);
        }
        origin
    }

    pub(crate) fn received_us(&self, at: u32) -> Option<u64> {
        self.slots.get(at as usize)?.as_ref().map(|origin| origin.received_us)
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
        let mut origins = Origins::default();
        let at = origins.insert("token", 0, 0);
        origins.expect(at, 2);
        assert_eq!(origins.decided(at), Step::Waits);
        assert_eq!(origins.hand_over(at), Step::Waits);
        assert_eq!(origins.delivered(at), Step::Waits, "one decision is due");
        assert_eq!(origins.decided(at), Step::Done);
        assert_eq!(origins.remove(at).map(|origin| origin.ack), Some("token"));
        assert_eq!(origins.decided(at), Step::Waits, "a stale number does nothing");
        assert_eq!(origins.len(), 0);
        assert_eq!(origins.insert("next", 0, 0), at, "numbers are used again");
        assert_eq!(origins.delivered(NO_ORIGIN), Step::Waits);
    }

    #[test]
    fn what_is_stashed_is_written_once_all_is_decided_and_the_source_waits_for_it() {
        let mut origins = Origins::default();
        let at = origins.insert((), 0, 0);
        origins.expect(at, 1);
        let message = Message::new(Topic::new("t").unwrap(), "x", QoS::AtLeastOnce);
        let stash = &mut origins.get_mut(at).unwrap().stash;
        stash.add(1, 7, message.clone());
        stash.add(1, 8, message);
        assert_eq!(origins.decided(at), Step::Waits);
        assert_eq!(origins.decided(at), Step::Decided);
        let (stash, alone) = origins.take_stash(at).unwrap();
        assert_eq!(stash.deliveries.len(), 1, "one message, two queues");
        assert_eq!(stash.deliveries[0].queues.as_slice(), [7, 8]);
        assert!(alone);
        assert_eq!(origins.delivered(at), Step::Done);
    }
}
