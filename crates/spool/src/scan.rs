//! Reads a file of records from front to back, over damage if there is some.

use crate::record::{self, Found};
use crate::storage::{File, read_full};
use bytes::Bytes;
use std::io;

/// How much is read at a time, in bytes: from the end of what was written to that of the room that was set aside.
const CHUNK: usize = 256 * 1024;

/// How much is looked at at a time where nothing is kept.
const LOOK: usize = 64 * 1024;

/// What every file starts with: eight bytes of magic, the version of the format, and a checksum of both.
pub(crate) const HEADER: usize = 16;
const MAGIC: &[u8; 8] = b"TIDEGATE";

/// The version of the format that is written. Every older one is read, none so far.
pub const FORMAT_VERSION: u32 = 1;

/// How far a sequence may jump, where the records between are damaged.
const JUMP_MAX: u64 = 1 << 32;

/// The header of a file.
pub(crate) fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Good,
    Newer(u32),
    Damaged,
}

pub(crate) fn read_header(bytes: &[u8]) -> Header {
    let Some((head, _)) = bytes.split_first_chunk::<HEADER>() else { return Header::Damaged };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if &head[..8] != MAGIC || crc32c::crc32c(&head[..12]) != word(12) {
        return Header::Damaged;
    }
    if word(8) > FORMAT_VERSION { Header::Newer(word(8)) } else { Header::Good }
}

/// One piece of a file.
#[derive(Debug)]
pub(crate) enum Piece {
    Record {
        sequence: u64,
        kind: u8,
        body: Bytes,
        /// Where the next one starts.
        end: u64,
    },
    /// So many bytes were no record; good ones follow.
    Damage,
    /// So many bytes at the end are no record: torn, or rotten.
    Tail,
}

/// A walk through one file.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    chunk: Bytes,
    /// Where in the file the chunk starts.
    offset: u64,
    at: usize,
    last: u64,
    /// Sequences rise from record to record.
    is_ordered: bool,
    ended: bool,
}

impl<'a> Scan<'a> {
    /// From this place on; records before it had sequences up to `last`.
    pub(crate) fn new(file: &'a dyn File, offset: u64, last: u64) -> Self {
        Self { file, chunk: Bytes::new(), offset, at: 0, last, is_ordered: true, ended: false }
    }

    /// All records from this place on, whatever their sequences: each stands for itself.
    pub(crate) fn unordered(file: &'a dyn File, offset: u64) -> Self {
        Self { is_ordered: false, ..Self::new(file, offset, 0) }
    }

    /// Where the next piece starts.
    pub(crate) const fn place(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// The sequence of the last record seen.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match record::find(&self.chunk, self.at) {
                Found::Record { sequence, kind, body, end } if self.may_follow(sequence) => {
                    (self.last, self.at) = (sequence, end);
                    let body = self.chunk.slice(body.0..body.1);
                    return Ok(Some(Piece::Record { sequence, kind, body, end: self.place() }));
                }
                // At the end of a chunk zeros may be the start of a record only by mistake, but there may be more.
                Found::Nothing if self.chunk.len() - self.at < record::HEAD => {
                    if !self.read(record::HEAD)? {
                        self.ended = true;
                        return Ok(None);
                    }
                }
                Found::Partial { needs } => {
                    if !self.read(needs)? {
                        return self.resume();
                    }
                }
                Found::Nothing | Found::Record { .. } | Found::Damage => return self.resume(),
            }
        }
    }

    const fn may_follow(&self, sequence: u64) -> bool {
        !self.is_ordered || (sequence > self.last && sequence - self.last < JUMP_MAX)
    }

    /// Reads on, so that at least `needs` bytes are there from here; false if the file has no more.
    fn read(&mut self, needs: usize) -> io::Result<bool> {
        let rest = self.file.len()?.saturating_sub(self.place()) as usize;
        if needs > rest {
            // A length that rotted must not ask for memory.
            return Ok(self.read_to(rest)? >= needs);
        }
        Ok(self.read_to(needs.max(CHUNK).min(rest))? >= needs)
    }

    fn read_to(&mut self, length: usize) -> io::Result<usize> {
        let kept = self.chunk.slice(self.at..);
        if kept.len() >= length {
            return Ok(kept.len());
        }
        let mut bytes = vec![0; length];
        bytes[..kept.len()].copy_from_slice(&kept);
        let count = read_full(self.file, self.place() + kept.len() as u64, &mut bytes[kept.len()..])?;
        bytes.truncate(kept.len() + count);
        self.offset = self.place();
        (self.chunk, self.at) = (bytes.into(), 0);
        Ok(self.chunk.len())
    }

    /// Looks for the next good record behind damage.
    fn resume(&mut self) -> io::Result<Option<Piece>> {
        if self.rest_is_zero()? {
            // Room that was set aside and not used.
            self.ended = true;
            return Ok(None);
        }
        let rest = self.file.len()?.saturating_sub(self.place()) as usize;
        self.read_to(rest)?;
        // If its length is not what rotted, the next one follows: nothing inside is mistaken for a record.
        let hop = record::length(&self.chunk, self.at).map(|length| self.at + length).filter(|at| self.is_record(*at));
        let search = self.at + 1..self.chunk.len().saturating_sub(record::HEAD);
        match hop.or_else(|| search.into_iter().find(|at| self.is_record(*at))) {
            Some(at) => {
                self.at = at;
                Ok(Some(Piece::Damage))
            }
            None => {
                self.ended = true;
                Ok(Some(Piece::Tail))
            }
        }
    }

    /// Whether there are only zeros from here on, without keeping them: a segment has megabytes of them.
    fn rest_is_zero(&self) -> io::Result<bool> {
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let mut offset = self.file.written_from(self.offset + self.chunk.len() as u64)?;
        let mut buffer = vec![0; LOOK];
        let mut seen = &self.chunk[self.at..];
        loop {
            if !is_zero(seen) {
                return Ok(false);
            }
            let count = read_full(self.file, offset, &mut buffer)?;
            if count == 0 {
                return Ok(true);
            }
            offset += count as u64;
            seen = &buffer[..count];
        }
    }

    fn is_record(&self, at: usize) -> bool {
        let sequence = self.chunk.get(at + 8..at + 16).and_then(|bytes| bytes.try_into().ok());
        sequence.map(u64::from_le_bytes).is_some_and(|sequence| self.may_follow(sequence))
            && matches!(record::find(&self.chunk, at), Found::Record { .. })
    }
}
