//! The writing half: carries out what the data path asked for, in order, and says how far the log is durable.
//!
//! Works on any [`Storage`] and never waits for anything else, so that tests can run it step by step. In a gateway it
//! has a thread of its own: see `disk_work.rs`.

use crate::files::{CURSORS, NEXT, checkpoint_name, segment_name};
use crate::storage::{File, Storage, write_all};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// One thing to be done on disk.
#[derive(Debug)]
pub(crate) enum Op {
    /// Whole records for the end of the current segment.
    Write { bytes: Vec<u8>, last: u64 },
    /// What was written is durable before anything behind it is written.
    Sync,
    /// A new segment, which starts with these bytes; their last record is `last`.
    Roll { first: u64, head: Vec<u8>, last: u64 },
    /// What the log says up to a sequence.
    Checkpoint { sequence: u64, bytes: Vec<u8> },
    /// What is done of each queue. Loses nothing but time when it is lost itself.
    Cursors { bytes: Vec<u8> },
    /// Cursors are made durable, then these files go.
    Remove { names: Vec<String> },
    /// A file goes, and for good: whatever happens, it is gone before anything that is removed behind it.
    RemoveForGood { name: String },
}

/// Why the writer cannot go on.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// There is no room. Everything not done yet is still there to be done.
    Full,
    /// The disk failed. What is durable nobody knows; only a restart finds out.
    Failed(io::Error),
}

/// Counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Bytes written.
    pub written_bytes: u64,
    /// How often data was made durable.
    pub syncs: u64,
    /// How long that took together, in microseconds.
    pub sync_us: u64,
}

/// What writes the log, its checkpoints and its cursors, in the order asked for.
pub(crate) struct LogWriter {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    segment: Option<Arc<dyn File>>,
    end: u64,
    /// Of the records written, the last; durable up to `durable`.
    written: u64,
    durable: u64,
    checkpoint: u64,
    /// Something failed. From then on nothing is synced: it would seem to succeed.
    broken: bool,
    has_next: bool,
    /// Which of the two files of cursors is being written, and whether it is there and not durable.
    cursors: [Option<Arc<dyn File>>; 2],
    cursors_at: usize,
    cursors_dirty: bool,
    pub(crate) stats: DiskStats,
}

impl LogWriter {
    pub(crate) fn new(storage: Arc<dyn Storage>, segment_bytes: u64, durable: u64, cursors_at: usize) -> Self {
        Self {
            storage,
            segment_bytes,
            segment: None,
            end: 0,
            written: durable,
            durable,
            checkpoint: 0,
            broken: false,
            has_next: false,
            cursors: [None, None],
            cursors_at,
            cursors_dirty: false,
            stats: DiskStats::default(),
        }
    }

    /// Up to which sequence the log is durable.
    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }

    /// The sequence of the newest checkpoint written.
    pub(crate) const fn checkpointed(&self) -> u64 {
        self.checkpoint
    }

    /// Does what it can. What is done leaves `ops`.
    pub(crate) fn run(&mut self, ops: &mut VecDeque<Op>) -> Result<(), WriteError> {
        let outcome = self.run_all(ops);
        self.broken |= matches!(outcome, Err(WriteError::Failed(_)));
        outcome
    }

    fn run_all(&mut self, ops: &mut VecDeque<Op>) -> Result<(), WriteError> {
        if self.broken {
            return Err(WriteError::Failed(io::Error::other("the disk has failed before")));
        }
        while let Some(op) = ops.front_mut() {
            let done = match op {
                Op::Write { bytes, last } => {
                    let last = *last;
                    self.write(bytes).map(|()| self.written = last)
                }
                Op::Sync => self.sync(),
                Op::Roll { first, head, last } => {
                    let (name, last) = (segment_name(*first), *last);
                    self.sync()
                        .and_then(|()| self.roll(&name, head))
                        .map(|()| (self.written, self.durable) = (last, last))
                }
                Op::Checkpoint { sequence, bytes } => {
                    let name = checkpoint_name(*sequence);
                    let (sequence, result) = (*sequence, self.sync().and_then(|()| self.checkpoint(&name, bytes)));
                    result.map(|whole| self.checkpoint = if whole { sequence } else { self.checkpoint })
                }
                Op::Cursors { bytes } => self.write_cursors(bytes),
                Op::Remove { names } => {
                    self.sync_cursors().and_then(|()| names.iter().try_for_each(|name| self.remove(name)))
                }
                Op::RemoveForGood { name } => self.remove_for_good(name),
            };
            if let Err(error) = done.map_err(classify) {
                if matches!(error, WriteError::Full) {
                    self.make_room(ops).map_err(WriteError::Failed)?;
                }
                return Err(error);
            }
            ops.pop_front();
        }
        self.sync().map_err(classify)
    }

    /// On a full disk removing may overtake writing: what is removed is done with, whatever is written behind. So may
    /// cursors, which speak only of what is durable.
    fn make_room(&mut self, ops: &mut VecDeque<Op>) -> io::Result<()> {
        let mut outcome = Ok(());
        ops.retain(|op| {
            outcome = match (&outcome, op) {
                (Ok(()), Op::Cursors { bytes }) => self.write_cursors(bytes),
                (Ok(()), Op::Remove { names }) => {
                    self.sync_cursors().and_then(|()| names.iter().try_for_each(|name| self.remove(name)))
                }
                (Ok(()), Op::RemoveForGood { name }) => self.remove_for_good(name),
                _ => return true,
            };
            false
        });
        outcome
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.segment else { return Err(io::Error::other("no segment is open")) };
        if let Err(error) = write_all(&**file, self.end, bytes) {
            // What is half there must not be taken for a record.
            file.set_len(self.end)?;
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.stats.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()> {
        if self.durable == self.written {
            return Ok(());
        }
        if let Some(file) = &self.segment {
            let started = std::time::Instant::now();
            fatal(file.sync())?;
            self.stats.syncs += 1;
            self.stats.sync_us += started.elapsed().as_micros() as u64;
        }
        self.durable = self.written;
        Ok(())
    }

    fn roll(&mut self, name: &str, head: &[u8]) -> io::Result<()> {
        let file = if std::mem::take(&mut self.has_next) {
            self.storage.open(NEXT)?
        } else {
            self.storage.create(NEXT, self.segment_bytes)?
        };
        write_all(&*file, 0, head)?;
        fatal(file.sync())?;
        self.storage.rename(NEXT, name)?;
        fatal(self.storage.sync_dir())?;
        if let Some(before) = self.segment.replace(file) {
            // What was set aside and not used; nothing depends on it.
            let _ = before.set_len(self.end);
        }
        self.end = head.len() as u64;
        self.stats.written_bytes += head.len() as u64;
        self.stats.syncs += 1;
        Ok(())
    }

    /// Writes a checkpoint; true if there was room for it. Without one, segments only stay longer.
    fn checkpoint(&mut self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let written = self.storage.create(name, 0).and_then(|file| write_all(&*file, 0, bytes).map(|()| file));
        match written {
            Ok(file) => {
                fatal(file.sync())?;
                fatal(self.storage.sync_dir())?;
                self.stats.written_bytes += bytes.len() as u64;
                Ok(true)
            }
            Err(error) if is_full(&error) => self.remove(name).map(|()| false),
            Err(error) => Err(error),
        }
    }

    fn write_cursors(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.try_write_cursors(bytes) {
            // They can wait until there is room.
            Err(error) if is_full(&error) => Ok(()),
            other => other,
        }
    }

    fn try_write_cursors(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = self.cursors_at;
        let file = match &self.cursors[at] {
            Some(file) => file.clone(),
            None => {
                let file = self.storage.create(CURSORS[at], 0)?;
                fatal(self.storage.sync_dir())?;
                self.cursors[at].insert(file).clone()
            }
        };
        self.cursors_dirty = true;
        write_all(&*file, 0, bytes)?;
        self.stats.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether [`sync_cursors`](Self::sync_cursors) would do something.
    pub(crate) const fn has_cursors_to_sync(&self) -> bool {
        self.cursors_dirty && !self.broken
    }

    /// Makes the cursors durable; from then on the other file is written, so that one is always whole.
    pub(crate) fn sync_cursors(&mut self) -> io::Result<()> {
        if !self.cursors_dirty || self.broken {
            return Ok(());
        }
        let at = self.cursors_at;
        self.cursors_at = 1 - at;
        self.cursors_dirty = false;
        if let Some(file) = &self.cursors[at]
            && let Err(error) = fatal(file.sync())
        {
            self.broken = true;
            return Err(error);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match self.storage.remove(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_for_good(&mut self, name: &str) -> io::Result<()> {
        self.remove(name)?;
        fatal(self.storage.sync_dir())
    }

    /// Work for a quiet moment: the next segment.
    pub(crate) fn prepare(&mut self) {
        if !self.broken && !self.has_next && self.segment.is_some() && self.end > self.segment_bytes / 2 {
            self.has_next = self.storage.create(NEXT, self.segment_bytes).is_ok();
        }
    }
}

/// An error of a sync is never one that going on could mend.
fn fatal<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("fsync: {error}")))
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn classify(error: io::Error) -> WriteError {
    if is_full(&error) { WriteError::Full } else { WriteError::Failed(error) }
}
