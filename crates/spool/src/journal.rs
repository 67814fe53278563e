//! A log of its owner's own records, from whose oldest segment the owner carries forward what still counts.
//!
//! Files, frames, the discipline of writing and the disk behind it are those of the [spool](crate::Spool): one fsync for what has
//! gathered, a torn end is cut, a rotten record is passed over and counted. There are no checkpoints and no cursors: what the
//! records mean is the owner's business, and the whole log is read when it is opened. So it stays as short as the owner makes it:
//! it writes what still counts of the oldest segment once more at the end, and when that is durable it
//! [gives the segment back](Journal::give_back_oldest). Whatever the power does between the two, the record is there at least once.

use crate::DiskStats;
use crate::api::Settings;
use crate::disk_work::{DiskStatus, DiskWork, Wake};
use crate::files::{NEXT, segment_first, segment_name};
use crate::log_writer::{LogWriter, Op};
use crate::record::frame;
use crate::recover::{OpenError, SegmentRecord, check_headers, named, read_segment};
use crate::scan::{HEADER, Piece, Scan, header};
use crate::storage::Storage;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The kind of the record at the head of each segment; its owner's version of the format is its body.
const HEAD: u8 = 0;

/// A record that was found when the journal was opened.
#[derive(Debug)]
pub struct JournalRecord {
    /// Rises from record to record.
    pub sequence: u64,
    /// As it was appended with.
    pub kind: u8,
    /// As it was appended.
    pub body: Bytes,
    /// The first sequence of the segment that it is in.
    pub segment: u64,
    /// How much of the disk it takes, in bytes.
    pub length: u64,
}

/// What opening found beside the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalFound {
    /// Pieces of files that are no records and were not just torn off at the end, and records that make no sense.
    pub damaged: u64,
    /// Bytes cut off at the end.
    pub torn_bytes: u64,
}

/// The journal of a running process. One thread owns it.
pub struct Journal {
    work: DiskWork,
    settings: Settings,
    version: u32,
    buffer: Vec<u8>,
    ops: Vec<Op>,
    /// Of the last record.
    sequence: u64,
    durable: u64,
    /// First sequences of the segments.
    segments: VecDeque<u64>,
    segment_used: u64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("sequence", &self.sequence)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in a folder, with a thread that writes and calls `wake`; its name begins with `name`. `each` is handed every record in the order of
    /// appending, and says whether it makes sense. `version` is the newest version of the owner's records that it knows.
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(
        name: &str,
        storage: Arc<dyn Storage>,
        settings: Settings,
        version: u32,
        wake: Wake,
        each: &mut dyn FnMut(JournalRecord) -> bool,
    ) -> Result<(Self, JournalFound), OpenError> {
        let work = |writer| DiskWork::threads(name, writer, None, &settings, wake);
        Self::build(storage, settings, version, work, each)
    }

    /// Opens the journal without a thread: everything is written in [`step`](Self::step). For tests.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_stepwise(
        storage: Arc<dyn Storage>,
        settings: Settings,
        version: u32,
        each: &mut dyn FnMut(JournalRecord) -> bool,
    ) -> Result<(Self, JournalFound), OpenError> {
        let reads = storage.clone();
        Self::build(storage, settings, version, |writer| Ok(DiskWork::stepwise(writer, reads)), each)
    }

    fn build(
        storage: Arc<dyn Storage>,
        settings: Settings,
        version: u32,
        work: impl FnOnce(LogWriter) -> std::io::Result<DiskWork>,
        each: &mut dyn FnMut(JournalRecord) -> bool,
    ) -> Result<(Self, JournalFound), OpenError> {
        let (segments, last, found) = recover(&*storage, version, each)?;
        let work = work(LogWriter::new(storage, settings.segment_bytes, last, 0))
            .map_err(|error| OpenError::Io { file: "the thread of the journal".to_owned(), error })?;
        let mut journal = Self {
            work,
            settings,
            version,
            buffer: Vec::new(),
            ops: Vec::new(),
            sequence: last,
            durable: last,
            segments: segments.into(),
            segment_used: 0,
        };
        journal.roll();
        journal.flush();
        Ok((journal, found))
    }

    /// Writes a record and returns its sequence, and how much of the disk it takes, in bytes: once [`durable`](Self::durable) has
    /// reached it, it is there to stay. `kind` is not 0.
    pub fn append(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> (u64, u64) {
        debug_assert_ne!(kind, HEAD, "that one is the journal's own");
        self.sequence += 1;
        let before = self.buffer.len();
        frame(&mut self.buffer, self.sequence, kind, body);
        let length = (self.buffer.len() - before) as u64;
        self.segment_used += length;
        (self.sequence, length)
    }

    /// Whether the newest segment is as long as one becomes: its owner [begins](Self::roll) another one.
    pub const fn is_full(&self) -> bool {
        self.segment_used >= self.settings.segment_bytes
    }

    /// Begins a segment.
    pub fn roll(&mut self) {
        self.take_buffer();
        let mut head = header().to_vec();
        self.sequence += 1;
        let version = self.version;
        frame(&mut head, self.sequence, HEAD, |out| out.extend_from_slice(&version.to_le_bytes()));
        self.segment_used = head.len() as u64;
        self.segments.push_back(self.sequence);
        self.ops.push(Op::Roll { first: self.sequence, head, last: self.sequence });
    }

    fn take_buffer(&mut self) {
        if !self.buffer.is_empty() {
            let room = self.buffer.len().min(crate::spool::BUFFER_KEPT);
            let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(room));
            self.ops.push(Op::Write { bytes, last: self.sequence });
        }
    }

    /// Hands everything over to be written. Call it once for each batch.
    pub fn flush(&mut self) {
        self.take_buffer();
        self.work.push(&mut self.ops);
    }

    /// Whether there is something to [hand over](Self::flush).
    pub const fn has_unwritten(&self) -> bool {
        !(self.buffer.is_empty() && self.ops.is_empty())
    }

    /// Does the work of the thread, where there is none.
    pub fn step(&mut self) {
        self.flush();
        self.work.step();
    }

    /// The sequence of the last record.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Everything up to here is durable, as of the last [`poll`](Self::poll).
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Asks how far the log is durable.
    pub fn poll(&mut self) -> u64 {
        self.durable = self.work.progress().durable;
        self.durable
    }

    /// How the disk is doing.
    pub fn status(&self) -> DiskStatus {
        self.work.progress().status
    }

    /// Counted since the start.
    pub fn stats(&self) -> DiskStats {
        self.work.progress().stats
    }

    /// The first sequences of all segments, the oldest first. The newest is being written.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.segments.iter().copied()
    }

    /// Removes the oldest segment. What still counts of it must have been appended again, and be
    /// [durable](Self::durable): on a full disk removing overtakes writing. The newest segment stays.
    pub fn give_back_oldest(&mut self) {
        if self.segments.len() < 2 {
            return;
        }
        if let Some(first) = self.segments.pop_front() {
            self.take_buffer();
            self.ops.push(Op::RemoveForGood { name: segment_name(first) });
        }
    }

    /// Writes everything there is, and ends; nothing is written from here on. False if it could not all be written.
    pub fn finish(&mut self, patience: Duration) -> bool {
        self.flush();
        self.work.finish(patience)
    }
}

/// Reads the folder: the segments, the highest sequence, and what is wrong.
fn recover(
    storage: &dyn Storage,
    version: u32,
    each: &mut dyn FnMut(JournalRecord) -> bool,
) -> Result<(Vec<u64>, u64, JournalFound), OpenError> {
    let names = storage.list().map_err(named("the folder of the journal"))?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| segment_first(name)).collect();
    segments.sort_unstable();
    // Before anything is changed.
    let mut found = JournalFound { damaged: check_headers(storage, &names)?, torn_bytes: 0 };
    check_versions(storage, &segments, version)?;
    if names.iter().any(|name| name == NEXT) {
        storage.remove(NEXT).map_err(named(NEXT))?;
    }
    // Every segment has a record, if only one that rotted.
    let mut last = segments.last().copied().unwrap_or(0);
    for (at, first) in segments.iter().enumerate() {
        let name = segment_name(*first);
        let file = storage.open(&name).map_err(named(&name))?;
        let is_newest = at + 1 == segments.len();
        let mut one = |record: SegmentRecord| {
            let SegmentRecord { sequence, kind, body, length } = record;
            kind == HEAD || each(JournalRecord { sequence, kind, body, segment: *first, length })
        };
        let read = read_segment(&*file, *first, is_newest, true, &mut one).map_err(named(&name))?;
        last = last.max(read.last);
        found.damaged += read.damaged;
        found.torn_bytes += read.torn_bytes;
    }
    storage.sync_dir().map_err(named("the folder of the journal"))?;
    Ok((segments, last, found))
}

/// Refuses what a later version of the owner wrote.
fn check_versions(storage: &dyn Storage, segments: &[u64], known: u32) -> Result<(), OpenError> {
    for first in segments {
        let name = segment_name(*first);
        let file = storage.open(&name).map_err(named(&name))?;
        let mut scan = Scan::new(&*file, HEADER as u64, first.saturating_sub(1));
        let piece = scan.next().map_err(named(&name))?;
        let Some(Piece::Record { kind: HEAD, body, .. }) = piece else { continue };
        let Some(written) = body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else { continue };
        if written > known {
            return Err(OpenError::Newer { file: name, found: written, known });
        }
    }
    Ok(())
}
