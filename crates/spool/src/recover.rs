//! What a folder holds after whatever happened to it.

use crate::engine::{CURSORS, NEXT, checkpoint_name, checkpoint_sequence, is_full, segment_first, segment_name};
use crate::record::Record;
use crate::scan::{HEADER, Header, Piece, Scan, read_header};
use crate::state::State;
use crate::storage::{File, Storage, read_full};
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
    pub(crate) state: State,
    /// First sequences of the segments, ascending.
    pub(crate) segments: Vec<u64>,
    /// The sequence of the newest whole checkpoint.
    pub(crate) checkpoint: u64,
    /// All checkpoints, ascending.
    pub(crate) checkpoints: Vec<u64>,
    pub(crate) last: u64,
    /// Which file of cursors is the older one.
    pub(crate) older_cursors: usize,
    pub(crate) cursor_generation: u64,
    /// Pieces of files that are no records and were not just torn off at the end.
    pub(crate) damaged: u64,
    /// Bytes cut off at the end.
    pub(crate) torn_bytes: u64,
    pub(crate) disk_bytes: u64,
}

fn named(file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |error| OpenError::Io { file, error }
}

/// Reads the folder. With `mend`, cuts what is torn and removes what is left over.
pub(crate) fn recover(storage: &dyn Storage, mend: bool) -> Result<Found, OpenError> {
    let names = storage.list().map_err(named("the folder of the spool"))?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| segment_first(name)).collect();
    let mut checkpoints: Vec<u64> = names.iter().filter_map(|name| checkpoint_sequence(name)).collect();
    segments.sort_unstable();
    checkpoints.sort_unstable();
    if mend && names.iter().any(|name| name == NEXT) {
        storage.remove(NEXT).map_err(named(NEXT))?;
    }
    let mut found = Found {
        state: State::default(),
        checkpoint: 0,
        last: segments.last().map_or(0, |first| first - 1),
        older_cursors: 0,
        cursor_generation: 0,
        damaged: 0,
        torn_bytes: 0,
        disk_bytes: 0,
        segments,
        checkpoints,
    };
    for sequence in found.checkpoints.clone().into_iter().rev() {
        let (state, whole, damaged) = read_checkpoint(storage, sequence)?;
        found.damaged += damaged;
        if whole {
            (found.state, found.checkpoint) = (state, sequence);
            break;
        }
    }
    found.last = found.last.max(found.checkpoint);
    let replay_from = found.segments.partition_point(|first| *first <= found.checkpoint + 1).saturating_sub(1);
    for at in 0..found.segments.len() {
        let first = found.segments[at];
        let name = segment_name(first);
        let file = storage.open(&name).map_err(named(&name))?;
        found.disk_bytes += file.len().map_err(named(&name))?;
        if at >= replay_from {
            let is_newest = at + 1 == found.segments.len();
            replay(&*file, first, is_newest && mend, &mut found).map_err(|error| error.into_open(&name))?;
        } else if let Header::Newer(version) = header_of(&*file).map_err(named(&name))? {
            return Err(newer(&name, version));
        }
    }
    read_cursors(storage, &names, &mut found)?;
    found.state.settle();
    Ok(found)
}

enum Trouble {
    Io(io::Error),
    Newer(u32),
}

impl Trouble {
    fn into_open(self, name: &str) -> OpenError {
        match self {
            Self::Io(error) => named(name)(error),
            Self::Newer(version) => newer(name, version),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn newer(file: &str, found: u32) -> OpenError {
    OpenError::Newer { file: file.to_owned(), found, known: crate::FORMAT_VERSION }
}

fn header_of(file: &dyn File) -> io::Result<Header> {
    let mut bytes = [0; HEADER];
    let count = read_full(file, 0, &mut bytes)?;
    Ok(if count < HEADER || bytes == [0; HEADER] { Header::Damaged } else { read_header(&bytes) })
}

fn replay(file: &dyn File, first: u64, may_cut: bool, found: &mut Found) -> Result<(), Trouble> {
    match header_of(file)? {
        Header::Newer(version) => return Err(Trouble::Newer(version)),
        Header::Damaged if file.len()? > 0 => found.damaged += 1,
        _ => {}
    }
    let mut scan = Scan::new(file, HEADER as u64, first.saturating_sub(1));
    let mut end = HEADER as u64;
    let mut torn = false;
    while let Some(piece) = scan.next()? {
        match piece {
            Piece::Damage => found.damaged += 1,
            Piece::Tail => torn = true,
            Piece::Record { sequence, kind, body, end: after } => {
                end = after;
                found.last = found.last.max(sequence);
                match Record::decode(kind, &body) {
                    // What names mean is said again at the start of each segment.
                    Some(record @ Record::Name { .. }) => found.state.apply(&record),
                    Some(record) if sequence > found.checkpoint => found.state.apply(&record),
                    Some(_) => {}
                    None => found.damaged += 1,
                }
            }
        }
    }
    let length = file.len()?;
    if torn {
        found.torn_bytes += length.saturating_sub(end);
    }
    if torn && !may_cut {
        found.damaged += 1;
    }
    if may_cut && length > end {
        match file.set_len(end).and_then(|()| file.sync()) {
            Err(error) if !is_full(&error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The state a checkpoint holds, whether it is whole, and how much of it is damaged.
fn read_checkpoint(storage: &dyn Storage, sequence: u64) -> Result<(State, bool, u64), OpenError> {
    let name = checkpoint_name(sequence);
    let file = storage.open(&name).map_err(named(&name))?;
    let mut state = State::default();
    let (mut records, mut damaged, mut whole) = (0, 0, false);
    match header_of(&*file).map_err(named(&name))? {
        Header::Newer(version) => return Err(newer(&name, version)),
        // It is the records that count.
        Header::Damaged => damaged += 1,
        Header::Good => {}
    }
    let mut scan = Scan::new(&*file, HEADER as u64, 0);
    while let Some(piece) = scan.next().map_err(named(&name))? {
        match piece {
            Piece::Damage | Piece::Tail => damaged += 1,
            Piece::Record { kind, body, .. } => match Record::decode(kind, &body) {
                // A record that rotted is lost, the others are not. A file that was not finished has no end.
                Some(Record::End { records: all }) => whole = all >= records,
                Some(record) => {
                    state.apply(&record);
                    records += 1;
                }
                None => damaged += 1,
            },
        }
    }
    // A torn one is none at all, and nothing depends on it.
    Ok((state, whole, if whole { damaged } else { 0 }))
}

fn read_cursors(storage: &dyn Storage, names: &[String], found: &mut Found) -> Result<(), OpenError> {
    let mut generations = [0; 2];
    for (at, name) in CURSORS.into_iter().enumerate() {
        if !names.iter().any(|there| there == name) {
            continue;
        }
        let file = storage.open(name).map_err(named(name))?;
        if let Header::Newer(version) = header_of(&*file).map_err(named(name))? {
            return Err(newer(name, version));
        }
        let mut scan = Scan::new(&*file, HEADER as u64, 0);
        // Each mark is true by itself, also one that is left over from a longer list or stands in a torn file.
        while let Some(piece) = scan.next().map_err(named(name))? {
            if let Piece::Record { sequence, kind, body, .. } = piece
                && let Some(Record::Mark(mark)) = Record::decode(kind, &body)
            {
                generations[at] = generations[at].max(sequence);
                // What is done was durable: a cursor beyond the end of the log is not one of this log.
                if mark.cursor.sequence <= found.last + 1 && found.state.text(mark.queue).is_some() {
                    found.state.mark(&mark);
                }
            }
        }
    }
    found.older_cursors = usize::from(generations[0] > generations[1]);
    found.cursor_generation = generations[0].max(generations[1]);
    Ok(())
}
