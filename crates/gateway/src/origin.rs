//! Source messages that wait for their deliveries, so that they can be acknowledged.

use crate::lane::NO_ORIGIN;

/// A received message whose acknowledgement is due when all its deliveries are done.
#[derive(Debug)]
pub(crate) struct Origin<A> {
    pub(crate) ack: A,
    pub(crate) received_us: u64,
    pub(crate) weight_bytes: usize,
    waiting: u32,
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
    /// Files a message that one delivery, or decision, is due for.
    pub(crate) fn insert(&mut self, ack: A, received_us: u64, weight_bytes: usize) -> u32 {
        let origin = Some(Origin { ack, received_us, weight_bytes, waiting: 1 });
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

    /// So many more deliveries are due.
    pub(crate) fn expect(&mut self, at: u32, more: u32) {
        if let Some(Some(origin)) = self.slots.get_mut(at as usize) {
            origin.waiting += more;
        }
    }

    /// One is done. Returns the message when that was the last.
    pub(crate) fn done(&mut self, at: u32) -> Option<Origin<A>> {
        if at == NO_ORIGIN {
            return None;
        }
        let slot = self.slots.get_mut(at as usize)?;
        let origin = slot.as_mut()?;
        origin.waiting -= 1;
        if origin.waiting > 0 {
            return None;
        }
        self.free.push(at);
        slot.take()
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

    #[test]
    fn a_message_is_acknowledged_once_after_its_last_delivery() {
        let mut origins = Origins::default();
        let at = origins.insert("token", 0, 0);
        origins.expect(at, 2);
        assert!(origins.done(at).is_none());
        assert!(origins.done(at).is_none());
        assert_eq!(origins.done(at).map(|origin| origin.ack), Some("token"));
        assert!(origins.done(at).is_none(), "a stale number does nothing");
        assert_eq!(origins.len(), 0);
        assert_eq!(origins.insert("next", 0, 0), at, "numbers are used again");
        assert!(origins.done(NO_ORIGIN).is_none());
    }
}
