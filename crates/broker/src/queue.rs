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
    /// Each with its number, from 1 on.
    entries: VecDeque<(u64, Queued)>,
    bytes: usize,
    retained: usize,
    /// How many were ever filed.
    filed: u64,
    /// Nothing in it has expired before.
    expires_from: Option<Instant>,
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

    /// Up to where what was filed is gone.
    pub(crate) fn taken(&self) -> u64 {
        self.entries.front().map_or(self.filed, |(number, _)| number - 1)
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.entries.front().map(|(_, queued)| queued)
    }

    /// Files a message at the end; false when there is no room for it. What has expired makes room, and is given back in `expired`.
    pub(crate) fn push(
        &mut self,
        queued: Queued,
        limits: &Limits,
        total: &mut QueueTotal,
        now: Instant,
        expired: &mut Vec<Queued>,
    ) -> bool {
        if !self.has_room(&queued, limits, total) {
            *expired = self.take_expired(total, now);
            if expired.is_empty() || !self.has_room(&queued, limits, total) {
                return false;
            }
        }
        self.push_anyway(queued, total);
        true
    }

    fn take_expired(&mut self, total: &mut QueueTotal, now: Instant) -> Vec<Queued> {
        if self.expires_from.is_none_or(|from| from > now) {
            return Vec::new();
        }
        let is_over = |queued: &Queued| queued.expires.is_some_and(|at| at <= now);
        let (over, left) = std::mem::take(&mut self.entries).into_iter().partition(|(_, queued)| is_over(queued));
        self.entries = left;
        self.expires_from = self.iter().filter_map(|queued| queued.expires).min();
        let over: VecDeque<(u64, Queued)> = over;
        over.into_iter().map(|(_, queued)| queued).inspect(|queued| self.uncount(queued, total)).collect()
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
        self.expires_from = self.expires_from.into_iter().chain(queued.expires).min();
        self.entries.push_back((self.filed, queued));
    }

    /// What waits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.entries.iter().map(|(_, queued)| queued)
    }

    pub(crate) fn pop(&mut self, total: &mut QueueTotal) -> Option<Queued> {
        let (_, queued) = self.entries.pop_front()?;
        self.uncount(&queued, total);
        Some(queued)
    }

    fn uncount(&mut self, queued: &Queued, total: &mut QueueTotal) {
        total.messages -= 1;
        if queued.from_retained {
            self.retained -= 1;
        } else {
            self.bytes -= queued.weight;
            total.bytes -= queued.weight;
        }
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
    use std::time::Duration;
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

    fn push(queue: &mut Queue, queued: Queued, limits: &Limits, total: &mut QueueTotal) -> bool {
        queue.push(queued, limits, total, Instant::now(), &mut Vec::new())
    }

    #[test]
    fn what_has_expired_makes_room_and_keeps_its_place_in_the_count() {
        let limits = Limits { queue_messages: 4, ..Limits::default() };
        let (mut queue, mut total, start) = (Queue::default(), QueueTotal::default(), Instant::now());
        let later = start + Duration::from_secs(10);
        let expiring = |expires| Queued { expires, ..queued(QoS::AtLeastOnce, 5) };
        for expires in [None, Some(start), Some(later), Some(start)] {
            assert!(push(&mut queue, expiring(expires), &limits, &mut total));
        }
        let mut expired = Vec::new();
        assert!(queue.push(expiring(None), &limits, &mut total, start, &mut expired));
        assert_eq!((expired.len(), queue.len(), queue.bytes(), total.bytes), (2, 3, 15, 15));
        assert_eq!((queue.filed(), queue.taken()), (5, 0), "the first is there");
        queue.pop(&mut total);
        assert_eq!(queue.taken(), 2, "the next is the third");
        assert!(push(&mut queue, expiring(None), &limits, &mut total));
        assert!(push(&mut queue, expiring(None), &limits, &mut total));
        expired.clear();
        let before = later - Duration::from_nanos(1);
        assert!(!queue.push(expiring(None), &limits, &mut total, before, &mut expired) && expired.is_empty());
        assert!(queue.push(expiring(None), &limits, &mut total, later, &mut expired) && expired.len() == 1);
        assert_eq!(queue.take_all(&mut total).len(), 4);
        assert_eq!((total.messages, total.bytes, queue.taken()), (0, 0, queue.filed()));
    }

    #[test]
    fn qos_0_leaves_half_of_the_queue_to_the_rest() {
        let limits = Limits { queue_messages: 10, ..Limits::default() };
        let (mut queue, mut total) = (Queue::default(), QueueTotal::default());
        let taken = (0..20).filter(|_| push(&mut queue, queued(QoS::AtMostOnce, 1), &limits, &mut total)).count();
        assert_eq!(taken, 5);
        let taken = (0..20).filter(|_| push(&mut queue, queued(QoS::AtLeastOnce, 1), &limits, &mut total)).count();
        assert_eq!(taken, 5);
        assert_eq!(queue.take_all(&mut total).len(), 10);
        assert_eq!((total.messages, total.bytes), (0, 0));
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let limits = Limits { queue_bytes: 100, queue_bytes_total: 150, ..Limits::default() };
        let (mut one, mut other, mut total) = (Queue::default(), Queue::default(), QueueTotal::default());
        assert!(push(&mut one, queued(QoS::AtLeastOnce, 100), &limits, &mut total));
        assert!(!push(&mut other, queued(QoS::AtLeastOnce, 51), &limits, &mut total));
        assert!(push(&mut other, queued(QoS::AtLeastOnce, 50), &limits, &mut total));
        one.pop(&mut total);
        assert!(push(&mut other, queued(QoS::AtLeastOnce, 50), &limits, &mut total));
    }
}
