//! What has come from the stream and is not acknowledged yet, and what was of late.
//!
//! A message that comes again is the same one if its sequence in the stream and the time of its publishing are. One that the
//! owner still has is not given to it again; one that it has taken care of is acknowledged again. So a redelivery within
//! one process is never a second message.

use crate::ack_subject::Delivery;
use async_nats::Subject;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Which message of the stream: its sequence, and when it was published, in nanoseconds since the epoch. A stream that is
/// made again has the same sequences.
type Identity = (u64, i128);

#[derive(Debug)]
struct Held {
    identity: Identity,
    /// Where it is acknowledged.
    reply: Subject,
    /// When the server was told last that we have it.
    told: Instant,
}

/// What is to be done with a message that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new: the owner acknowledges it by this number.
    New(u64),
    /// The owner has it.
    Held,
    /// It was taken care of: it is to be acknowledged again.
    Done,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Inbox {
    held: BTreeMap<u64, Held>,
    numbers: HashMap<Identity, u64>,
    /// Acknowledged, the oldest first, and where.
    done: VecDeque<(Identity, Subject)>,
    done_max: usize,
    count: u64,
}

impl Inbox {
    /// One that knows so many of those that are done.
    pub(crate) fn new(done_max: usize) -> Self {
        Self { held: BTreeMap::new(), numbers: HashMap::new(), done: VecDeque::new(), done_max, count: 0 }
    }

    /// Knows so many from here on.
    pub(crate) fn remember(&mut self, done_max: usize) {
        self.done_max = done_max;
    }

    /// How many the owner has.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// A message has come.
    pub(crate) fn take(&mut self, delivery: &Delivery, reply: &Subject, now: Instant) -> Verdict {
        let identity = (delivery.sequence, delivery.published_ns);
        if delivery.delivered > 1 {
            if let Some(held) = self.numbers.get(&identity).and_then(|number| self.held.get_mut(number)) {
                (held.reply, held.told) = (reply.clone(), now);
                return Verdict::Held;
            }
            if self.done.iter().any(|(done, _)| *done == identity) {
                return Verdict::Done;
            }
        }
        self.count += 1;
        self.numbers.insert(identity, self.count);
        self.held.insert(self.count, Held { identity, reply: reply.clone(), told: now });
        Verdict::New(self.count)
    }

    /// The owner has taken care of a message: where to acknowledge it.
    pub(crate) fn done(&mut self, number: u64) -> Option<Subject> {
        let Held { identity, reply, .. } = self.held.remove(&number)?;
        self.numbers.remove(&identity);
        while self.done.len() >= self.done_max.max(1) {
            self.done.pop_front();
        }
        self.done.push_back((identity, reply.clone()));
        Some(reply)
    }

    /// Where to say that a message is still ours, for each of which that was said too long ago.
    pub(crate) fn overdue(&mut self, period: Duration, now: Instant) -> Vec<Subject> {
        let overdue = self.held.values_mut().filter(|held| now.saturating_duration_since(held.told) >= period);
        overdue
            .map(|held| {
                held.told = now;
                held.reply.clone()
            })
            .collect()
    }

    /// Where those were acknowledged that were of late: on a new connection it is said again, for it may have been lost
    /// with the old one.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = &Subject> {
        self.done.iter().map(|(_, reply)| reply)
    }

    /// The stream is another by that name: what was done of the old one says nothing about it.
    pub(crate) fn forget(&mut self) {
        self.done.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(sequence: u64, published_ns: i128, delivered: u64) -> Delivery {
        Delivery { sequence, published_ns, delivered }
    }

    #[test]
    fn what_comes_again_is_known_while_it_is_held_and_after() {
        let (mut inbox, now, reply) = (Inbox::new(2), Instant::now(), |text: &str| Subject::from(text));
        let Verdict::New(first) = inbox.take(&delivery(1, 10, 1), &reply("r1"), now) else { panic!() };
        assert_eq!(inbox.take(&delivery(1, 10, 2), &reply("r2"), now), Verdict::Held);
        assert_eq!(inbox.held(), 1);
        // The newest delivery is the one that is acknowledged.
        assert_eq!(inbox.done(first), Some(reply("r2")));
        assert_eq!(inbox.done(first), None);
        assert_eq!(inbox.take(&delivery(1, 10, 3), &reply("r3"), now), Verdict::Done);
        // The same sequence of a stream that was made again.
        assert!(matches!(inbox.take(&delivery(1, 99, 2), &reply("r4"), now), Verdict::New(_)));
        for sequence in 2..=3 {
            let Verdict::New(number) = inbox.take(&delivery(sequence, 10, 1), &reply("r"), now) else { panic!() };
            inbox.done(number);
        }
        assert!(matches!(inbox.take(&delivery(1, 10, 4), &reply("r5"), now), Verdict::New(_)), "long ago");
        inbox.forget();
        assert_eq!(inbox.acknowledged().count(), 0);
    }

    #[test]
    fn the_server_is_told_now_and_then_what_is_still_held() {
        let (mut inbox, now, period) = (Inbox::new(2), Instant::now(), Duration::from_secs(10));
        inbox.take(&delivery(1, 10, 1), &Subject::from("r"), now);
        assert_eq!(inbox.overdue(period, now + Duration::from_secs(9)), []);
        assert_eq!(inbox.overdue(period, now + period), [Subject::from("r")]);
        assert_eq!(inbox.overdue(period, now + period), []);
    }
}
