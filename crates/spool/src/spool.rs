//! The data path's side of the spool: `append` writes down what happens, `poll` brings back what is durable, `waiting`
//! says what is there, `names` numbers what records speak of, `segments` gives space back.

mod append;
mod names;
mod poll;
mod segments;
mod waiting;

use crate::api::Settings;
use crate::disk_work::{DiskStatus, DiskWork, Wake};
use crate::log_state::LogState;
use crate::log_writer::{LogWriter, Op};
use crate::queue::{Queue, Slot, WINDOW_ITEMS};
use crate::reader::Answer;
use crate::record::{NameId, NameKind, Record};
use crate::recover::{Found, OpenError, recover};
use crate::scan::header;
use crate::storage::Storage;
use crate::{DiskStats, QueueId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::Message;

/// How much room for the next batch is made at once, in bytes, if the last one was as long.
pub(crate) const BUFFER_KEPT: usize = 1024 * 1024;

struct Fresh {
    queue: QueueId,
    slot: Slot,
    message: Message,
}

/// The spool of a running gateway. One thread owns it.
pub struct Spool {
    work: DiskWork,
    storage: Arc<dyn Storage>,
    settings: Settings,
    state: LogState,
    queues: Vec<Queue>,
    by_name: BTreeMap<NameId, QueueId>,
    buffer: Vec<u8>,
    ops: Vec<Op>,
    /// Of the last record.
    sequence: u64,
    /// The first record of this run.
    began: u64,
    durable: u64,
    next_name: NameId,
    /// Names are in the buffer that no record speaks of yet.
    has_new_names: bool,
    fresh: VecDeque<Fresh>,
    /// First sequences of the segments.
    segments: Vec<u64>,
    segment_used: u64,
    checkpoints: Vec<u64>,
    /// The newest that is durable, and the one before it.
    checkpoint: u64,
    previous: u64,
    since_checkpoint: u64,
    generation: u64,
    cursors_moved: bool,
    damaged: u64,
    found_damaged: u64,
    torn_bytes: u64,
    read_error: Option<String>,
    answers: Vec<Answer>,
    window_items: usize,
}

impl Spool {
    /// Opens the spool in a folder, with two threads that write and read; they call `wake`.
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>, settings: Settings, wake: Wake) -> Result<Self, OpenError> {
        Self::build(storage, settings, |writer, storage| {
            DiskWork::threads("spool", writer, Some(storage), &settings, wake)
        })
    }

    /// Opens the spool without threads: everything is written and read in [`step`](Self::step). For tests,
    /// and for commands that change the log of a stopped gateway.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_stepwise(storage: Arc<dyn Storage>, settings: Settings) -> Result<Self, OpenError> {
        Self::build(storage, settings, |writer, storage| Ok(DiskWork::stepwise(writer, storage)))
    }

    fn build(
        storage: Arc<dyn Storage>,
        settings: Settings,
        work: impl FnOnce(LogWriter, Arc<dyn Storage>) -> std::io::Result<DiskWork>,
    ) -> Result<Self, OpenError> {
        let found = recover(&*storage, true)?;
        let writer = LogWriter::new(storage.clone(), settings.segment_bytes, found.last, found.older_cursors);
        let work = work(writer, storage.clone());
        let work = work.map_err(|error| OpenError::Io { file: "the threads of the spool".to_owned(), error })?;
        let Found { state, segments, checkpoint, previous, checkpoints, last, .. } = found;
        let next_name = if last == 0 { 0 } else { state.highest_name.saturating_add(1) };
        let mut spool = Self {
            work,
            storage,
            settings,
            queues: Vec::new(),
            by_name: BTreeMap::new(),
            buffer: Vec::new(),
            ops: Vec::new(),
            sequence: last,
            began: last + 1,
            durable: last,
            next_name,
            has_new_names: false,
            fresh: VecDeque::new(),
            segments,
            segment_used: 0,
            checkpoints,
            checkpoint,
            previous,
            since_checkpoint: if found.wants_checkpoint { u64::MAX / 2 } else { found.replayed_bytes },
            generation: found.cursor_generation,
            cursors_moved: false,
            damaged: 0,
            found_damaged: found.damaged,
            torn_bytes: found.torn_bytes,
            read_error: None,
            answers: Vec::new(),
            window_items: WINDOW_ITEMS,
            state,
        };
        // A queue whose name was torn off has only what was not durable.
        let known = |name: &&NameId| spool.state.names.get(name).is_some_and(|(kind, _)| *kind == NameKind::Queue);
        let known: Vec<NameId> = spool.state.queues.keys().filter(known).copied().collect();
        for name in known {
            spool.add_queue(name);
        }
        spool.roll();
        spool.flush();
        Ok(spool)
    }

    /// The sequence of the last record.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Everything up to here is durable, as of the last [`poll`](Self::poll).
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// How the disk is doing.
    pub fn status(&self) -> DiskStatus {
        match &self.read_error {
            Some(error) => DiskStatus::Failed(error.clone()),
            None => self.work.progress().status,
        }
    }

    /// Counted since the start.
    pub fn stats(&self) -> DiskStats {
        self.work.progress().stats
    }

    /// Records and pieces of files that are damaged: found at the start and since.
    pub const fn damaged(&self) -> u64 {
        self.damaged + self.found_damaged
    }

    /// How much was cut off at the end of the log at the start, in bytes: torn by a power loss, or rotten.
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Keeps this many items of each queue in memory at most, 8,192 if nothing is said.
    pub fn set_window_items(&mut self, items: usize) {
        self.window_items = items.max(1);
        for queue in &mut self.queues {
            queue.window_items = self.window_items;
        }
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// DiskWork everything over to be written. Call it once for each batch.
    pub fn flush(&mut self) {
        self.take_buffer();
        if std::mem::take(&mut self.cursors_moved) {
            self.generation += 1;
            let mut bytes = header().to_vec();
            let mut records = 0;
            // Cursors may reach the disk when the log does not: they speak only of what is durable. What was done was, and
            // so is everything before it and the queue's name.
            for queue in self.queues.iter_mut().filter(|queue| queue.done.items > 0) {
                queue.put_mark(self.generation, &mut bytes);
                records += 1;
            }
            Record::End { records }.encode(self.generation, &mut bytes);
            self.ops.push(Op::Cursors { bytes });
        }
        self.work.push(&mut self.ops);
    }

    /// Does the work of the threads, where there are none.
    pub fn step(&mut self) {
        self.flush();
        self.work.step();
    }

    /// Writes everything there is, and ends. False if it could not all be written.
    pub fn close(mut self, patience: Duration) -> bool {
        self.finish(patience)
    }

    /// As [`close`](Self::close), for an owner that cannot let go of it: nothing is written from here on.
    pub fn finish(&mut self, patience: Duration) -> bool {
        self.cursors_moved = true;
        self.flush();
        self.work.finish(patience)
    }
}
