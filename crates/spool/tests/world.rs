//! A spool on a simulated disk, and the model beside it.

use crate::disk::{SEGMENT_BYTES, open};
use crate::model::*;
use crate::raw;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_spool::*;
use tidegate_testkit::{SimDisk, What};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append { to: u8, pad: u16, rich: bool, extra: u8 },
    Done { queue: u8, pick: u8 },
    DoneAll { queue: u8 },
    Sent { queue: u8, pick: u8 },
    TakenOver { queue: u8, pick: u8 },
    Released { source: u8, pick: u8 },
    Forgotten { source: u8 },
    Flush,
    Work,
    Poll,
    Close,
    Kill,
    Crash { choice: u64 },
}

struct Live {
    ordinal: u32,
    number: u64,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) spool: Spool,
    pub(crate) model: Model,
    /// Handed out and not done, by queue.
    live: Vec<Vec<Live>>,
    /// To be handed out, in order: sequence, time, item, and whether it may be gone because it was done.
    expected: Vec<VecDeque<(u64, u64, Item, bool)>>,
    began: u64,
    next_number: u64,
    next_serial: u64,
    /// What was done at the first poll since the disk last kept pace.
    marked: Option<Vec<Place>>,
    window: usize,
    /// They were written, and not synced.
    cursors_wait: bool,
    news: News,
    recovers_sent: bool,
}

impl World {
    pub(crate) fn new(disk: SimDisk, window: usize) -> Self {
        Self::with(disk, Model::default(), window, 1).expect("a spool")
    }

    /// Opens what is on a disk, which is what the model has.
    pub(crate) fn with(disk: SimDisk, model: Model, window: usize, next_number: u64) -> Result<Self, OpenError> {
        let mut spool = open(&disk)?;
        spool.set_window_items(window);
        let began = spool.durable() + 1;
        let mut world = Self {
            disk,
            spool,
            live: (0..QUEUES).map(|_| Vec::new()).collect(),
            expected: (0..QUEUES).map(|queue| model.waiting(queue).into()).collect(),
            model,
            began,
            next_number,
            next_serial: next_number << 32,
            marked: None,
            window,
            cursors_wait: false,
            news: News::default(),
            recovers_sent: next_number.is_multiple_of(2),
        };
        assert_eq!(small_of(&mut world.spool), world.model.small(), "after opening");
        assert!(world.spool.durable() >= world.model.acked, "what was durable still is");
        if world.recovers_sent {
            let ready = world.spool.recover_sent();
            world.take(ready);
            for queue in 0..QUEUES {
                let late = world.expected[queue].iter().find(|(.., item, maybe)| {
                    let place = (queue, item.number);
                    !maybe && !world.model.fuzzy.contains(&place) && world.model.sent(place).is_some()
                });
                assert!(late.is_none(), "{late:?} was being sent and was not recovered at once");
            }
        }
        Ok(world)
    }

    /// The same on another disk: one that was left behind by a kill or a crash.
    pub(crate) fn reopen(&mut self, disk: SimDisk) {
        let mut model = self.model.clone();
        model.survive(&raw::read(&disk));
        *self = Self::with(disk, model, self.window, self.next_number + 1).expect("a spool");
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { to, pad, rich, extra } => self.append(to, pad, rich, extra),
            Step::Done { queue, pick } => self.done(usize::from(queue) % QUEUES, usize::from(pick)),
            Step::DoneAll { queue } => {
                let queue = usize::from(queue) % QUEUES;
                while !self.live[queue].is_empty() {
                    self.done(queue, 0);
                }
            }
            Step::Sent { queue, pick } => self.sent(usize::from(queue) % QUEUES, pick),
            Step::TakenOver { queue, pick } => self.taken_over(usize::from(queue) % QUEUES, pick),
            Step::Released { source, pick } => self.released(usize::from(source) % SOURCES.len(), pick),
            Step::Forgotten { source } => {
                let source = usize::from(source) % SOURCES.len();
                let name = self.spool.name(NameKind::Source, SOURCES[source]);
                let sequence = self.spool.forgotten(name);
                if sequence > 0 {
                    self.model.events.push((sequence, Happened::Forgotten { source }));
                }
            }
            Step::Flush => self.spool.flush(),
            Step::Work => self.work(),
            Step::Poll => self.poll(),
            Step::Close => assert!(self.close(self.next_number.is_multiple_of(3)), "the disk is good"),
            Step::Kill => self.reopen(self.disk.killed()),
            Step::Crash { choice } => self.reopen(self.disk.crash(choice)),
        }
    }

    fn append(&mut self, to: u8, pad: u16, rich: bool, extra: u8) {
        let mut appended = Appended { received_ms: 1_000 + self.next_number, ..Appended::default() };
        let mut deliveries = smallvec::SmallVec::new();
        // Bits say which queues; with the highest, it goes through both routes, as two messages.
        for (part, route) in ROUTES.iter().enumerate().take(1 + usize::from(to >> 7)) {
            let number = self.next_number;
            self.next_number += 1;
            let message = message(number, usize::from(pad), rich);
            let queues: Vec<usize> = (0..QUEUES).filter(|queue| (to >> part) >> queue & 1 != 0).collect();
            if queues.is_empty() {
                continue;
            }
            let items = queues.iter();
            appended.items.extend(items.map(|queue| Item {
                queue: *queue,
                number,
                route: Some(part),
                message: message.clone(),
            }));
            let queues = queues.iter().map(|queue| {
                let queue = self.spool.queue(&key(*queue));
                self.spool.queue_name(queue)
            });
            let queues = queues.collect();
            let route = self.spool.name(NameKind::Route, route);
            deliveries.push(Delivery { route, queues, message });
        }
        let mut transaction = Transaction { received_ms: appended.received_ms, deliveries, ..Transaction::default() };
        let number = self.next_number;
        if extra & 1 != 0 {
            let source = usize::from(extra >> 4) % SOURCES.len();
            let packet_id = number as u16;
            appended.taken.push((source, packet_id));
            transaction.taken.push((self.spool.name(NameKind::Source, SOURCES[source]), packet_id));
        }
        if extra & 2 != 0 {
            let parked = Parked {
                route: "all".to_owned(),
                plugin: PLUGINS[0].to_owned(),
                kind: "failed".to_owned(),
                reason: number.to_string(),
                received_ms: number,
                message: message(number, 5, true),
            };
            let at = self.spool.next_parked();
            assert!(!self.model.small().parked.contains_key(&at), "numbers of parked messages are not used again");
            appended.parked.push((at, parked.clone()));
            transaction.parked.push((at, parked));
        }
        if extra & 4 != 0
            && let Some(number) = self.spool.parked().keys().next().copied()
        {
            appended.unparked.push(number);
            transaction.unparked.push(number);
        }
        if extra & 8 != 0 {
            let at = usize::from(extra >> 5) % PLUGINS.len();
            let plugin = self.spool.name(NameKind::Plugin, PLUGINS[at]);
            let (key, value) = (format!("key{}", extra >> 6), (extra & 16 == 0).then(|| number.to_le_bytes().to_vec()));
            appended.state.push((at, key.clone(), value.clone()));
            transaction.state.push(StateWrite { plugin, key, value });
        }
        let items = appended.items.clone();
        let received_ms = appended.received_ms;
        let sequence = self.spool.append(transaction);
        self.model.events.push((sequence, Happened::Appended(appended)));
        for item in items {
            self.expected[item.queue].push_back((sequence, received_ms, item, false));
        }
    }

    fn done(&mut self, queue: usize, pick: usize) {
        if self.live[queue].is_empty() {
            return;
        }
        let at = pick % self.live[queue].len();
        let Live { ordinal, number } = self.live[queue].remove(at);
        let id = self.spool.queue(&key(queue));
        assert!(self.spool.waits(id, ordinal));
        self.spool.done(id, ordinal).expect("it was not done");
        assert_eq!(self.spool.done(id, ordinal), None, "nothing is done twice");
        self.model.done.insert((queue, number), false);
    }

    fn sent(&mut self, queue: usize, pick: u8) {
        let live = &self.live[queue];
        if live.is_empty() {
            return;
        }
        let Live { ordinal, number } = live[usize::from(pick) % live.len()];
        if self.model.fuzzy.contains(&(queue, number)) {
            return;
        }
        let link = usize::from(pick >> 7);
        let serial = self.next_serial;
        self.next_serial += 1;
        let id = self.spool.queue(&key(queue));
        let name = self.spool.name(NameKind::Link, LINKS[link]);
        let sequence = self.spool.sent(id, ordinal, name, serial);
        self.model.events.push((sequence, Happened::Sent { place: (queue, number), link, serial }));
    }

    fn taken_over(&mut self, queue: usize, pick: u8) {
        let sent = self.live[queue].iter().filter_map(|live| {
            let place = (queue, live.number);
            let sent = self.model.sent(place).filter(|_| !self.model.fuzzy.contains(&place))?;
            Some((live.ordinal, place, sent))
        });
        let sent: Vec<_> = sent.collect();
        if sent.is_empty() {
            return;
        }
        let (ordinal, place, (link, serial, _)) = sent[usize::from(pick) % sent.len()];
        let id = self.spool.queue(&key(queue));
        let sequence = self.spool.taken_over(id, ordinal);
        assert!(sequence > 0, "{place:?} was sent");
        self.model.events.push((sequence, Happened::TakenOver { place, link, serial }));
    }

    fn released(&mut self, source: usize, pick: u8) {
        let name = self.spool.name(NameKind::Source, SOURCES[source]);
        let taken = &self.model.small().taken[source];
        let Some(packet_id) = taken.iter().nth(usize::from(pick) % taken.len().max(1)).copied() else {
            assert_eq!(self.spool.released(name, 1), 0);
            return;
        };
        let sequence = self.spool.released(name, packet_id);
        self.model.events.push((sequence, Happened::Released { source, packet_id }));
    }

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

    fn take(&mut self, ready: Vec<Ready>) {
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
            if let Some(route) = item.route {
                assert_eq!(self.spool.text(ready.route), ROUTES[route]);
            }
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
    fn finished(&self) -> Vec<Place> {
        let open = |place: &Place| {
            self.expected[place.0].iter().any(|(.., item, _)| item.number == place.1)
                || self.live[place.0].iter().any(|live| live.number == place.1)
        };
        self.model.done.keys().filter(|place| !open(place)).copied().collect()
    }

    /// Closes it and opens it again, perhaps after a power loss; false if either fails.
    pub(crate) fn close(&mut self, loses_power: bool) -> bool {
        if !self.shut() {
            return false;
        }
        let next = self.next_number + 1;
        let disk = if loses_power { self.disk.crash(0) } else { self.disk.clone() };
        match Self::with(disk, self.model.clone(), self.window, next) {
            Ok(world) => *self = world,
            Err(_) => return false,
        }
        true
    }

    /// Closes it. Only model and disk mean anything after that.
    pub(crate) fn shut(&mut self) -> bool {
        let sequence = self.spool.sequence();
        let finished = self.finished();
        // Another spool takes its place.
        let spool = std::mem::replace(&mut self.spool, open(&SimDisk::new()).expect("a spool"));
        if !spool.close(Duration::ZERO) {
            return false;
        }
        self.model.acked = sequence;
        for place in finished {
            self.model.done.insert(place, true);
        }
        self.model.forget_done();
        true
    }

    /// Everything is delivered.
    pub(crate) fn drain(&mut self) {
        for _ in 0..10_000 {
            self.work();
            self.poll();
            for queue in 0..QUEUES {
                // The newest first, sometimes.
                while let Some(last) = self.live[queue].len().checked_sub(1) {
                    self.done(queue, if self.next_number.is_multiple_of(2) { last } else { 0 });
                }
            }
            let is_read = self.spool.queues().all(|queue| !self.spool.has_backlog(queue));
            if is_read
                && self.expected.iter().all(VecDeque::is_empty)
                && self.live.iter().all(Vec::is_empty)
                && self.model.acked == self.spool.sequence()
            {
                break;
            }
        }
        for queue in self.spool.queues() {
            assert_eq!(self.spool.pending(queue), (0, 0));
        }
        assert!(self.expected.iter().all(VecDeque::is_empty), "not everything came: {:?}", self.expected);
    }

    /// A spool works on after whatever happened to it: what comes is delivered, and nothing is left.
    pub(crate) fn works_on(&mut self) {
        self.append(0b111, 40, true, 0b1010_1011);
        self.drain();
        self.append(0b101, 10, false, 0);
        self.drain();
        assert!(self.close(true), "the disk is good");
        self.drain();
    }

    /// The same in short.
    pub(crate) fn works_on_a_little(&mut self) {
        self.append(0b110, 20, false, 0b1001);
        self.drain();
    }

    /// When all is done, segments are given back.
    pub(crate) fn gives_back(&mut self) {
        self.drain();
        for _ in 0..6 {
            let segments = self.spool.segments();
            for _ in 0..100 {
                self.append(0b111, 200, false, 0);
                self.drain();
                if self.spool.segments() > segments {
                    break;
                }
            }
        }
        self.work();
        self.poll();
        self.work();
        let files = self.disk.files();
        let segments = files.iter().filter(|(name, _)| name.ends_with(".log")).count();
        assert_eq!(segments, self.spool.segments());
        // Two checkpoints are covered, and one is written when the log has grown by eight times its length.
        let bytes: u64 = files.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, bytes)| bytes).sum();
        let longest = files.iter().filter(|(name, _)| name.ends_with(".checkpoint")).map(|(_, bytes)| *bytes).max();
        let enough = 2 * (longest.unwrap_or(0) * 8 + 3 * SEGMENT_BYTES);
        assert!(bytes <= enough, "{bytes} bytes are left where {enough} suffice: {files:?}");
        let checkpoints = files.iter().filter(|(name, _)| name.ends_with(".checkpoint")).count();
        assert!(checkpoints <= 3, "{checkpoints} checkpoints are left");
    }
}
