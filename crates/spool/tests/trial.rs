//! A trial: a spool on a simulated disk, and the model beside it.

mod ends;
mod news;
mod steps;

use crate::disk::open;
use crate::model::*;
use crate::raw;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_spool::*;
use tidegate_testkit::SimDisk;

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

pub(crate) struct Trial {
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

impl Trial {
    pub(crate) fn new(disk: SimDisk, window: usize) -> Self {
        Self::with(disk, Model::default(), window, 1).expect("a spool")
    }

    /// Opens what is on a disk, which is what the model has.
    pub(crate) fn with(disk: SimDisk, model: Model, window: usize, next_number: u64) -> Result<Self, OpenError> {
        let mut spool = open(&disk)?;
        spool.set_window_items(window);
        let began = spool.durable() + 1;
        let mut trial = Self {
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
        assert_eq!(small_of(&mut trial.spool), trial.model.small(), "after opening");
        assert!(trial.spool.durable() >= trial.model.acked, "what was durable still is");
        if trial.recovers_sent {
            let ready = trial.spool.recover_sent();
            trial.take(ready);
            for queue in 0..QUEUES {
                let late = trial.expected[queue].iter().find(|(.., item, maybe)| {
                    let place = (queue, item.number);
                    !maybe && !trial.model.fuzzy.contains(&place) && trial.model.sent(place).is_some()
                });
                // The power may have gone as the last thing of opening it was done.
                let may_read = !trial.disk.is_off();
                assert!(late.is_none() || !may_read, "{late:?} was being sent and was not recovered at once");
            }
        }
        Ok(trial)
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

    /// Closes it and opens it again, perhaps after a power loss; false if either fails.
    pub(crate) fn close(&mut self, loses_power: bool) -> bool {
        if !self.shut() {
            return false;
        }
        let next = self.next_number + 1;
        let disk = if loses_power { self.disk.crash(0) } else { self.disk.clone() };
        match Self::with(disk, self.model.clone(), self.window, next) {
            Ok(trial) => *self = trial,
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
}
