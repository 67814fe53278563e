//! What a spool does on disk and hands out, held against the model.

use super::{Live, Trial};
use crate::model::*;
use tidegate_spool::*;
use tidegate_testkit::What;

impl Trial {
    pub(crate) fn work(&mut self) {
        let before = self.disk.operations();
        self.spool.step();
        let journal = self.disk.journal(before);
        for entry in journal.iter().filter(|entry| entry.is_done) {
            match entry.what {
                What::Write if entry.file.starts_with("cursors-") => self.cursors_wait = true,
                What::Sync if entry.file.starts_with("cursors-") => self.cursors_wait = false,
                What::Remove if entry.file.ends_with(".log") => {
                    assert!(!self.cursors_wait, "{} goes before the cursors are durable", entry.file);
                }
                _ => {}
            }
        }
        let cursors = || journal.iter().filter(|entry| entry.file.starts_with("cursors-"));
        // On a full disk they may not have been written.
        if cursors().any(|entry| entry.what == What::Sync) && cursors().all(|entry| entry.is_done) {
            for place in self.marked.iter().flatten() {
                // One that came back since was not.
                if let Some(durable) = self.model.done.get_mut(place) {
                    *durable = true;
                }
            }
            self.model.forget_done();
        }
        if self.spool.status() == DiskStatus::Good {
            self.marked = None;
        }
    }

    pub(crate) fn poll(&mut self) {
        if self.marked.is_none() {
            self.marked = Some(self.finished());
        }
        let mut news = std::mem::take(&mut self.news);
        self.spool.poll(&mut news);
        assert!(news.durable >= self.model.acked, "durable once, durable for ever");
        self.model.acked = news.durable;
        self.take(std::mem::take(&mut news.ready));
        self.news = news;
        for queue in self.spool.queues() {
            let at = (0..QUEUES).find(|at| key(*at) == self.spool.key(queue)).expect("a queue of the tests");
            if !self.spool.has_backlog(queue) && self.model.acked == self.spool.sequence() {
                // Everything is here that is not done.
                let missing = self.expected[at].iter().find(|(.., maybe)| !maybe);
                assert!(missing.is_none(), "{missing:?} is missing in queue {at}");
                self.expected[at].clear();
                if self.spool.damaged() == 0 {
                    assert_eq!(self.spool.pending(queue).0, self.live[at].len() as u64, "what waits in queue {at}");
                }
            }
        }
    }

    pub(super) fn take(&mut self, ready: Vec<Ready>) {
        for ready in ready {
            let found = self.spool.key(ready.queue);
            let queue = (0..QUEUES).find(|at| key(*at) == found).expect("a queue of the tests");
            let number = number_of(&ready.message);
            // What was done and is gone is passed over.
            let (sequence, received_ms, item, maybe) = loop {
                let next = self.expected[queue].pop_front();
                let next = next.unwrap_or_else(|| panic!("message {number} is not wanted in queue {queue}"));
                if next.2.number == number {
                    break next;
                }
                assert!(next.3, "message {number} comes before {} in queue {queue}", next.2.number);
            };
            let place = (queue, number);
            assert_eq!(ready.message, item.message);
            assert_eq!(ready.received_ms, received_ms);
            assert_eq!(ready.recovered, sequence < self.began, "message {number}");
            assert_eq!(self.spool.text(ready.route), ROUTES[item.route]);
            if !ready.recovered {
                assert!(sequence <= self.spool.durable(), "message {number} is not durable");
            }
            if maybe {
                // It stays one that was done: the word of it may be on the disk still, and come back as well.
                self.model.fuzzy.insert(place);
            }
            if !self.model.fuzzy.contains(&place) {
                let wanted = self.model.sent(place);
                assert!(is_sent_as(&self.spool, ready.sent, wanted), "{place:?}: {:?}, not {wanted:?}", ready.sent);
            }
            self.live[queue].push(Live { ordinal: ready.ordinal, number });
        }
    }

    /// What is done as far as this spool knows: not what may still come back from the life before, or has.
    pub(super) fn finished(&self) -> Vec<Place> {
        let open = |place: &Place| {
            self.expected[place.0].iter().any(|(.., item, _)| item.number == place.1)
                || self.live[place.0].iter().any(|live| live.number == place.1)
        };
        self.model.done.keys().filter(|place| !open(place)).copied().collect()
    }
}
