//! What waits for one client, and how large it may become.

use crate::settings::Limits;
use std::collections::VecDeque;
use std::time::Instant;
use tidegate_message::{Message, QoS};
use tidegate_persistence::CopyId;

/// A message that waits for a client.
#[derive(Debug)]
pub(crate) struct Queued {
    /// With the QoS and retain flag to send it with; shares no read buffer.
    pub(crate) message: Message,
    pub(crate) subscription_ids: Box<[u32]>,
    pub(crate) expires: Option<Instant>,
    pub(crate) weight: usize,
    /// A retained message, sent because of a new subscription: its bytes are counted where it is retained.
    pub(crate) from_retained: bool,
    /// Where it is kept, if it is.
    pub(crate) copy: Option<CopyId>,
    /// The serial of the group that it is for; 0: it is for this client alone.
    pub(crate) group: u32,
}

/// A first-in, first-out queue with a bound on messages and bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Queued>,
    bytes: usize,
    retained: usize,
    /// How many were ever filed.
    filed: u64,
}

/// What all queues together hold.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct QueueTotal {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Messages in it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they weigh, without what is counted where it is retained.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts what was filed; one that was filed before this is gone when [`taken`](Self::taken) has reached it.
    pub(crate) fn filed(&self) -> u64 {
        self.filed
    }

    /// Counts what was taken out.
    pub(crate) fn taken(&self) -> u64 {
        self.filed - self.entries.len() as u64
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.entries.front()
    }

    /// Files a message at the end; false when there is no room for it.
    pub(crate) fn push(&mut self, queued: Queued, limits: &Limits, total: &mut QueueTotal) -> bool {
        if !self.has_room(&queued, limits, total) {
            return false;
        }
        self.push_anyway(queued, total);
        true
    }

    fn has_room(&self, queued: &Queued, limits: &Limits, total: &QueueTotal) -> bool {
        if queued.from_retained {
            // As many as can be retained, once: more only if a client subscribes again and again without reading.
            return self.retained < limits.retained_messages;
        }
        self.has_room_for(queued.weight, queued.message.qos, limits, total)
    }

    /// Whether a message of this weight would have room, in bytes.
    pub(crate) fn has_room_for(&self, weight: usize, qos: QoS, limits: &Limits, total: &QueueTotal) -> bool {
        let share = if qos == QoS::AtMostOnce { 2 } else { 1 };
        self.entries.len() - self.retained < limits.queue_messages / share
            && self.bytes + weight <= limits.queue_bytes / share
            && total.bytes + weight <= limits.queue_bytes_total / share
    }

    /// Files a message that had its place before.
    pub(crate) fn push_anyway(&mut self, queued: Queued, total: &mut QueueTotal) {
        if queued.from_retained {
            self.retained += 1;
        } else {
            self.bytes += queued.weight;
            total.bytes += queued.weight;
        }
        total.messages += 1;
        self.filed += 1;
        self.entries.push_back(queued);
    }

    /// What waits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.entries.iter()
    }

    pub(crate) fn pop(&mut self, total: &mut QueueTotal) -> Option<Queued> {
        let queued = self.entries.pop_front()?;
        total.messages -= 1;
        if queued.from_retained {
            self.retained -= 1;
        } else {
            self.bytes -= queued.weight;
            total.bytes -= queued.weight;
        }
        Some(queued)
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self, total: &mut QueueTotal) -> Vec<Queued> {
        let all = std::iter::from_fn(|| self.pop(total)).collect();
        self.entries = VecDeque::new();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::Topic;

    fn queued(qos: QoS, weight: usize) -> Queued {
        let message = Message::new(Topic::new("t").unwrap(), "x", qos);
        Queued {
            message,
            subscription_ids: Box::default(),
            expires: None,
            weight,
            from_retained: false,
            copy: None,
            group: 0,
        }
    }

    #[test]
    fn qos_0_leaves_half_of_the_queue_to_the_rest() {
        let limits = Limits { queue_messages: 10, ..Limits::default() };
        let (mut queue, mut total) = (Queue::default(), QueueTotal::default());
        let taken = (0..20).filter(|_| queue.push(queued(QoS::AtMostOnce, 1), &limits, &mut total)).count();
        assert_eq!(taken, 5);
        let taken = (0..20).filter(|_| queue.push(queued(QoS::AtLeastOnce, 1), &limits, &mut total)).count();
        assert_eq!(taken, 5);
        assert_eq!(queue.take_all(&mut total).len(), 10);
        assert_eq!((total.messages, total.bytes), (0, 0));
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let limits = Limits { queue_bytes: 100, queue_bytes_total: 150, ..Limits::default() };
        let (mut one, mut other, mut total) = (Queue::default(), Queue::default(), QueueTotal::default());
        assert!(one.push(queued(QoS::AtLeastOnce, 100), &limits, &mut total));
        assert!(!other.push(queued(QoS::AtLeastOnce, 51), &limits, &mut total));
        assert!(other.push(queued(QoS::AtLeastOnce, 50), &limits, &mut total));
        one.pop(&mut total);
        assert!(other.push(queued(QoS::AtLeastOnce, 50), &limits, &mut total));
    }
}
