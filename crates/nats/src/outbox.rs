//! What is on its way to the stream: many messages at a time, of each subject one.
//!
//! JetStream acknowledges each message for itself, and may refuse one, or lose it with a leader that dies, while it takes the
//! next. So a message is sent only when the stream has acknowledged the one before it on the same subject; those of other
//! subjects do not wait for it.

use crate::Outgoing;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many messages are here at most, sent or not.
pub(crate) const MESSAGES_MAX: usize = 1024;
/// What they weigh at most, in bytes.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One message.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) outgoing: Outgoing,
    pub(crate) subject: String,
    is_sent: bool,
}

/// All of them, by their numbers in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    /// Of each subject; the first is sent, or may be.
    subjects: HashMap<String, VecDeque<u64>>,
    /// May be sent: nothing of their subjects is before them.
    ready: VecDeque<u64>,
    sent: usize,
    bytes: usize,
    count: u64,
}

impl Outbox {
    /// Whether one more may come.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < MESSAGES_MAX && self.bytes < BYTES_MAX
    }

    /// How many are here.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Their owner's keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.entries.values().map(|entry| entry.outgoing.key)
    }

    /// Whether this one is here still.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.entries.contains_key(&number)
    }

    /// How many have been sent and are not settled.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    pub(crate) fn push(&mut self, outgoing: Outgoing, subject: String) {
        self.count += 1;
        self.bytes += outgoing.message.weight_bytes();
        let queue = self.subjects.entry(subject.clone()).or_default();
        if queue.is_empty() {
            self.ready.push_back(self.count);
        }
        queue.push_back(self.count);
        self.entries.insert(self.count, Entry { outgoing, subject, is_sent: false });
    }

    /// The next message to send, which counts as sent from here on.
    pub(crate) fn send(&mut self) -> Option<(u64, &Entry)> {
        let number = loop {
            let number = self.ready.pop_front()?;
            // It may have been taken back.
            if self.entries.get(&number).is_some_and(|entry| !entry.is_sent) {
                break number;
            }
        };
        let entry = self.entries.get_mut(&number)?;
        entry.is_sent = true;
        self.sent += 1;
        Some((number, entry))
    }

    /// A message is done with, and goes: the next of its subject may be sent. `None` if it has gone.
    pub(crate) fn settle(&mut self, number: u64) -> Option<Outgoing> {
        let entry = self.entries.remove(&number)?;
        self.sent -= usize::from(entry.is_sent);
        self.bytes -= entry.outgoing.message.weight_bytes();
        if let Some(queue) = self.subjects.get_mut(&entry.subject) {
            let was_first = queue.front() == Some(&number);
            queue.retain(|other| *other != number);
            match queue.front() {
                None => drop(self.subjects.remove(&entry.subject)),
                Some(next) if was_first => self.ready.push_back(*next),
                Some(_) => {}
            }
        }
        Some(entry.outgoing)
    }

    /// A message was not taken: it may be sent again.
    pub(crate) fn unsend(&mut self, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.is_sent) {
            entry.is_sent = false;
            self.sent -= 1;
            self.ready.push_back(number);
        }
    }

    /// The connection is gone: what was sent is to be sent again, in the old order.
    pub(crate) fn unsend_all(&mut self) {
        let firsts = self.entries.iter_mut().filter(|(number, entry)| {
            let queue = self.subjects.get(&entry.subject);
            queue.is_some_and(|queue| queue.front() == Some(*number))
        });
        self.ready = firsts
            .map(|(number, entry)| {
                entry.is_sent = false;
                *number
            })
            .collect();
        self.sent = 0;
    }

    /// Takes out what is wanted, in order.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Entry) -> bool) -> Vec<Outgoing> {
        let numbers: Vec<u64> = self.entries.iter().filter(|(_, entry)| wanted(entry)).map(|(at, _)| *at).collect();
        numbers.into_iter().filter_map(|number| self.settle(number)).collect()
    }

    /// Takes out what was not sent, in order.
    pub(crate) fn take_unsent(&mut self) -> Vec<Outgoing> {
        self.take(|entry| !entry.is_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidegate_message::{Message, QoS, Topic};

    fn message(topic: &str, key: u64) -> Outgoing {
        let topic = Topic::new(topic.to_owned()).unwrap();
        Outgoing { key, id: key.to_string(), message: Message::new(topic, "", QoS::AtLeastOnce) }
    }

    fn keys(outgoing: &[Outgoing]) -> Vec<u64> {
        outgoing.iter().map(|one| one.key).collect()
    }

    /// Sends all that may be: numbers and keys.
    fn send_all(outbox: &mut Outbox) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        while let Some((number, entry)) = outbox.send() {
            sent.push((number, entry.outgoing.key));
        }
        sent
    }

    #[test]
    fn of_each_subject_one_is_under_way() {
        let mut outbox = Outbox::default();
        for (key, topic) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            outbox.push(message(topic, key), topic.to_owned());
        }
        let sent = send_all(&mut outbox);
        assert_eq!(sent.iter().map(|(_, key)| *key).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(outbox.settle(sent[0].0).map(|one| one.key), Some(1));
        assert_eq!(send_all(&mut outbox).iter().map(|(_, key)| *key).collect::<Vec<_>>(), [2]);
        // Without a connection the rest goes back, and what was sent stays to be sent again.
        outbox.unsend_all();
        assert_eq!((outbox.sent(), outbox.entries.len()), (0, 3));
        assert_eq!(send_all(&mut outbox).iter().map(|(_, key)| *key).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(keys(&outbox.take_unsent()), [4]);
        assert_eq!(keys(&outbox.take(|_| true)), [2, 3]);
        assert_eq!((outbox.sent(), outbox.entries.len(), outbox.bytes, outbox.subjects.len()), (0, 0, 0, 0));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut outbox = Outbox::default();
        for key in 0..MESSAGES_MAX as u64 {
            assert!(outbox.has_room());
            outbox.push(message("a", key), "a".to_owned());
        }
        assert!(!outbox.has_room());
        let (number, _) = outbox.send().unwrap();
        outbox.settle(number);
        assert!(outbox.has_room());
    }

    proptest! {
        /// Whatever is refused, lost or taken back: what the stream takes of a subject it takes in order, and all of it.
        #[test]
        fn order_within_a_subject_holds_and_nothing_is_lost(
            steps in prop::collection::vec((0u8..5, 0usize..3), 1..200)
        ) {
            let (mut outbox, mut pushed, mut taken) = (Outbox::default(), 0u64, Vec::<(usize, u64)>::new());
            // What goes back comes again before all that is new.
            let mut lane: VecDeque<(usize, u64)> = VecDeque::new();
            let mut flying: Vec<(u64, usize, u64)> = Vec::new();
            let names = ["a", "b", "c"];
            let subject_at = |name: &str| names.iter().position(|one| *one == name).unwrap();
            let fly = |outbox: &mut Outbox, flying: &mut Vec<(u64, usize, u64)>| {
                while let Some((number, entry)) = outbox.send() {
                    flying.push((number, subject_at(&entry.subject), entry.outgoing.key));
                }
            };
            for (step, at) in steps {
                match step {
                    0 | 1 => {
                        pushed += 1;
                        lane.push_back((at, pushed));
                        if let Some((at, key)) = lane.pop_front() {
                            outbox.push(message(names[at], key), names[at].to_owned());
                        }
                    }
                    2 if !flying.is_empty() => {
                        let (number, at, key) = flying.remove(at % flying.len());
                        prop_assert_eq!(outbox.settle(number).map(|one| one.key), Some(key));
                        taken.push((at, key));
                    }
                    3 => {
                        outbox.unsend_all();
                        flying.clear();
                    }
                    4 if !flying.is_empty() => {
                        let (number, ..) = flying.remove(at % flying.len());
                        outbox.unsend(number);
                        let back = outbox.take_unsent();
                        for one in back.into_iter().rev() {
                            lane.push_front((subject_at(one.message.topic.as_str()), one.key));
                        }
                    }
                    _ => fly(&mut outbox, &mut flying),
                }
            }
            // Everything goes through in the end.
            loop {
                fly(&mut outbox, &mut flying);
                match flying.pop() {
                    Some((number, at, key)) => {
                        outbox.settle(number);
                        taken.push((at, key));
                    }
                    None => match lane.pop_front() {
                        Some((at, key)) => outbox.push(message(names[at], key), names[at].to_owned()),
                        None => break,
                    },
                }
            }
            prop_assert_eq!(taken.len() as u64, pushed);
            for subject in 0..names.len() {
                let keys: Vec<u64> = taken.iter().filter(|(at, _)| *at == subject).map(|(_, key)| *key).collect();
                prop_assert!(keys.is_sorted(), "{keys:?}");
            }
        }
    }
}
