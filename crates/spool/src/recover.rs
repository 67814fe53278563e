//! What a folder holds after whatever happened to it.

use crate::files::{CURSORS, NEXT, checkpoint_name, checkpoint_sequence, segment_first, segment_name};
use crate::log_state::LogState;
use crate::log_writer::is_full;
use crate::record::{QueueMark, Record};
use crate::scan::{HEADER, Header, Piece, Scan, read_header};
use crate::storage::{File, Storage, read_full, write_all};
use bytes::Bytes;
use std::io;

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was written by a later version.
    #[error(
        "{file} has format {found}, this version reads up to {known}: run the version that wrote it, or a later one"
    )]
    Newer {
        /// The file that says so.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The disk fails.
    #[error("{file}: {error}")]
    Io {
        /// The file it was about.
        file: String,
        /// What the system says.
        error: io::Error,
    },
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) state: LogState,
    /// First sequences of the segments, ascending.
    pub(crate) segments: Vec<u64>,
    /// The sequence of the newest whole checkpoint, and of the one before it; 0 if there is none.
    pub(crate) checkpoint: u64,
    pub(crate) previous: u64,
    /// All checkpoints, ascending.
    pub(crate) checkpoints: Vec<u64>,
    /// Some of them are torn or rotten: another one is wanted soon.
    pub(crate) wants_checkpoint: bool,
    /// What was read behind the checkpoint, in bytes.
    pub(crate) replayed_bytes: u64,
    /// No record has, or had, a higher sequence.
    pub(crate) last: u64,
    /// Which file of cursors is the older one.
    pub(crate) older_cursors: usize,
    pub(crate) cursor_generation: u64,
    /// Pieces of files that are no records and were not just torn off at the end.
    pub(crate) damaged: u64,
    /// Bytes cut off at the end.
    pub(crate) torn_bytes: u64,
}

pub(crate) fn named(file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |error| OpenError::Io { file, error }
}

/// Reads the folder. With `mend`, cuts what is torn, removes what is left over, and makes durable what it relies on.
pub(crate) fn recover(storage: &dyn Storage, mend: bool) -> Result<Found, OpenError> {
    let names = storage.list().map_err(named("the folder of the spool"))?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| segment_first(name)).collect();
    let mut checkpoints: Vec<u64> = names.iter().filter_map(|name| checkpoint_sequence(name)).collect();
    segments.sort_unstable();
    checkpoints.sort_unstable();
    // Before anything is changed.
    let damaged = check_headers(storage, &names)?;
    if mend && names.iter().any(|name| name == NEXT) {
        storage.remove(NEXT).map_err(named(NEXT))?;
    }
    let mut found = Found {
        state: LogState::default(),
        checkpoint: 0,
        previous: 0,
        wants_checkpoint: false,
        replayed_bytes: 0,
        // Every segment has a record, if only one that rotted.
        last: segments.last().copied().unwrap_or(0),
        older_cursors: 0,
        cursor_generation: 0,
        damaged,
        torn_bytes: 0,
        segments,
        checkpoints,
    };
    let mut marks = choose_checkpoint(storage, &mut found)?;
    found.last = found.last.max(found.checkpoint);
    let replay_from = found.segments.partition_point(|first| *first <= found.checkpoint + 1).saturating_sub(1);
    for at in replay_from..found.segments.len() {
        let first = found.segments[at];
        let name = segment_name(first);
        let file = storage.open(&name).map_err(named(&name))?;
        let is_newest = at + 1 == found.segments.len();
        replay(&*file, first, is_newest, mend, &mut found).map_err(named(&name))?;
    }
    if mend && found.checkpoint > 0 {
        // Whoever wrote it may have been killed before it was durable.
        let name = checkpoint_name(found.checkpoint);
        storage.open(&name).and_then(|file| file.sync()).map_err(named(&name))?;
    }
    if mend {
        storage.sync_dir().map_err(named("the folder of the spool"))?;
    }
    read_cursors(storage, &names, mend, &mut found, &mut marks)?;
    for mark in &marks {
        // What is done was durable. If the log does not reach that far any more, its end rotted: no sequence comes twice.
        let beyond = mark.beyond.iter().map(|item| item.sequence).max().unwrap_or(0);
        found.last = found.last.max(mark.cursor.sequence.saturating_sub(1)).max(beyond);
        found.state.saw(mark.queue);
        if found.state.text(mark.queue).is_some() {
            found.state.mark(mark, false);
        }
    }
    found.state.settle();
    Ok(found)
}

fn newer(file: &str, found: u32) -> OpenError {
    OpenError::Newer { file: file.to_owned(), found, known: crate::FORMAT_VERSION }
}

/// Refuses what a later version wrote; returns how many headers of segments are damaged. It is the records that count.
pub(crate) fn check_headers(storage: &dyn Storage, names: &[String]) -> Result<u64, OpenError> {
    let mut damaged = 0;
    for name in names {
        let is_segment = segment_first(name).is_some();
        if !is_segment && checkpoint_sequence(name).is_none() && !CURSORS.contains(&&**name) && name != NEXT {
            continue;
        }
        let header = storage.open(name).and_then(|file| header_of(&*file)).map_err(named(name))?;
        match header {
            Header::Newer(version) => return Err(newer(name, version)),
            Header::Damaged if is_segment => damaged += 1,
            _ => {}
        }
    }
    Ok(damaged)
}

pub(crate) fn header_of(file: &dyn File) -> io::Result<Header> {
    let mut bytes = [0; HEADER];
    let count = read_full(file, 0, &mut bytes)?;
    Ok(read_header(&bytes[..count]))
}

/// Takes the newest checkpoint that is as it was written. What is left of others only tells what is done. The log reaches
/// back to the one before the newest, so that one of them may rot.
fn choose_checkpoint(storage: &dyn Storage, found: &mut Found) -> Result<Vec<QueueMark>, OpenError> {
    let mut marks = Vec::new();
    let mut best = None;
    for at in (0..found.checkpoints.len()).rev() {
        let sequence = found.checkpoints[at];
        let checkpoint = read_checkpoint(storage, sequence)?;
        if checkpoint.is_intact() {
            (found.state, found.checkpoint) = (checkpoint.state, sequence);
            found.previous = at.checked_sub(1).map_or(0, |before| found.checkpoints[before]);
            return Ok(marks);
        }
        found.wants_checkpoint = true;
        if checkpoint.end.is_some() {
            // One that was torn is none at all, and nothing depends on it.
            found.damaged += checkpoint.damaged.max(1);
        }
        marks.extend(checkpoint.marks);
        if best.is_none() && checkpoint.end.is_some() {
            best = Some((checkpoint.state, sequence));
        }
    }
    // The whole log says more than half a checkpoint.
    if let Some(best) = best.filter(|_| found.segments.first() != Some(&1)) {
        (found.state, found.checkpoint) = best;
    }
    Ok(marks)
}

struct Checkpoint {
    state: LogState,
    marks: Vec<QueueMark>,
    records: u64,
    /// How many records it should have.
    end: Option<u64>,
    damaged: u64,
}

impl Checkpoint {
    /// True if it is as it was written. Writes reach a disk in any order: that its end is there does not suffice.
    fn is_intact(&self) -> bool {
        self.end == Some(self.records) && self.damaged == 0
    }
}

fn read_checkpoint(storage: &dyn Storage, sequence: u64) -> Result<Checkpoint, OpenError> {
    let name = checkpoint_name(sequence);
    let file = storage.open(&name).map_err(named(&name))?;
    let mut checkpoint =
        Checkpoint { state: LogState::default(), marks: Vec::new(), records: 0, end: None, damaged: 0 };
    if header_of(&*file).map_err(named(&name))? != Header::Good {
        checkpoint.damaged += 1;
    }
    let mut scan = Scan::new(&*file, HEADER as u64, 0);
    while let Some(piece) = scan.next().map_err(named(&name))? {
        match piece {
            Piece::Damage | Piece::Tail => checkpoint.damaged += 1,
            Piece::Record { kind, body, .. } => match Record::decode(kind, &body) {
                Some(Record::End { records }) => checkpoint.end = Some(records),
                Some(record) => {
                    checkpoint.state.apply(0, &record);
                    checkpoint.records += 1;
                    if let Record::Mark(mark) = record {
                        checkpoint.marks.push(mark);
                    }
                }
                None => checkpoint.damaged += 1,
            },
        }
    }
    Ok(checkpoint)
}

fn replay(file: &dyn File, first: u64, is_newest: bool, mend: bool, found: &mut Found) -> io::Result<()> {
    let (checkpoint, state, replayed_bytes) = (found.checkpoint, &mut found.state, &mut found.replayed_bytes);
    let read = read_segment(file, first, is_newest, mend, &mut |piece| {
        if piece.sequence > checkpoint {
            *replayed_bytes += piece.length;
        }
        match Record::decode(piece.kind, &piece.body) {
            // What names mean is said again at the start of each segment.
            Some(record @ Record::Name { .. }) => state.apply(piece.sequence, &record),
            Some(record) if piece.sequence > checkpoint => state.apply(piece.sequence, &record),
            Some(_) => {}
            None => return false,
        }
        true
    })?;
    found.last = found.last.max(read.last);
    found.damaged += read.damaged;
    found.torn_bytes += read.torn_bytes;
    Ok(())
}

/// One record of a segment.
pub(crate) struct SegmentRecord {
    pub(crate) sequence: u64,
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
    /// With its frame, in bytes.
    pub(crate) length: u64,
}

/// What was found in a segment.
pub(crate) struct SegmentRead {
    /// The highest sequence; 0 without a record.
    pub(crate) last: u64,
    pub(crate) damaged: u64,
    /// Bytes cut off at the end.
    pub(crate) torn_bytes: u64,
}

/// Reads a segment and hands each of its records out; `each` says whether it makes sense. With `mend`, the newest is cut where
/// it is torn, and made durable.
pub(crate) fn read_segment(
    file: &dyn File,
    first: u64,
    is_newest: bool,
    mend: bool,
    each: &mut dyn FnMut(SegmentRecord) -> bool,
) -> io::Result<SegmentRead> {
    let mut scan = Scan::new(file, HEADER as u64, first.saturating_sub(1));
    let mut end = HEADER as u64;
    let mut torn = false;
    let mut read = SegmentRead { last: 0, damaged: 0, torn_bytes: 0 };
    while let Some(piece) = scan.next()? {
        match piece {
            Piece::Damage => read.damaged += 1,
            Piece::Tail => torn = true,
            Piece::Record { sequence, kind, body, end: after } => {
                let length = after - end;
                end = after;
                read.last = read.last.max(sequence);
                read.damaged += u64::from(!each(SegmentRecord { sequence, kind, body, length }));
            }
        }
    }
    if !is_newest {
        read.damaged += u64::from(torn);
        return Ok(read);
    }
    let length = file.len()?;
    if torn {
        read.torn_bytes += length.saturating_sub(end);
    }
    if !mend {
        return Ok(read);
    }
    if length > end {
        match file.set_len(end) {
            Err(error) if !is_full(&error) => return Err(error),
            _ => {}
        }
    }
    make_durable(file, end.min(length))?;
    Ok(read)
}

/// Whoever wrote it may have been killed before it was durable, or have ended because an fsync failed. After that a system
/// may take for written what is only in memory, so it is written once more.
fn make_durable(file: &dyn File, length: u64) -> io::Result<()> {
    let mut bytes = vec![0; length as usize];
    let count = read_full(file, 0, &mut bytes)?;
    match write_all(file, 0, &bytes[..count]) {
        Err(error) if !is_full(&error) => return Err(error),
        _ => {}
    }
    file.sync()
}

fn read_cursors(
    storage: &dyn Storage,
    names: &[String],
    mend: bool,
    found: &mut Found,
    marks: &mut Vec<QueueMark>,
) -> Result<(), OpenError> {
    let mut whole = [0; 2];
    for (at, name) in CURSORS.into_iter().enumerate() {
        if !names.iter().any(|there| there == name) {
            continue;
        }
        let file = storage.open(name).map_err(named(name))?;
        let mut scan = Scan::unordered(&*file, HEADER as u64);
        let mut count = 0;
        // Each mark is true by itself, also one that is left over from a longer list or stands in a torn file.
        while let Some(piece) = scan.next().map_err(named(name))? {
            let Piece::Record { sequence: generation, kind, body, .. } = piece else { continue };
            found.cursor_generation = found.cursor_generation.max(generation);
            match Record::decode(kind, &body) {
                Some(Record::Mark(mark)) => {
                    marks.push(mark);
                    count += 1;
                }
                Some(Record::End { records }) if records == count => whole[at] = whole[at].max(generation),
                _ => {}
            }
        }
    }
    // The one to be written next: never the only one that is whole, and durable.
    found.older_cursors = usize::from(whole[0] > whole[1]);
    let stays = 1 - found.older_cursors;
    if mend && whole[stays] > 0 {
        let name = CURSORS[stays];
        let file = storage.open(name).map_err(named(name))?;
        file.len().and_then(|length| make_durable(&*file, length)).map_err(named(name))?;
    }
    Ok(())
}
