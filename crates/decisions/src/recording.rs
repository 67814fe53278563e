//! A recording: messages as they came into their routes, what was decided on each, and what timers said.
//!
//! A file is [`MAGIC`] and blocks. A block is the length of what follows its head, the length of its entries, and the CRC-32C of what
//! follows, each four bytes, little-endian; then entries one after another in postcard (its wire format 1.0), compressed by zstd. A
//! file may be appended to: another block follows, and a recording that begins is an entry. What is behind the last whole block, for
//! a machine or a process that went away, is no entry.

use crate::decision::{Content, Decision, Sent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// How a recording begins: what it is, and the version of its format.
pub const MAGIC: &[u8] = b"TIDEGATE-RECORDING 1\n";

/// Of a block, in bytes.
const HEAD: usize = 12;

/// A block is made of so many bytes of entries; of more, if one entry has more.
const BLOCK_BYTES: usize = 256 * 1024;

/// No block is larger: a message of MQTT has 256 MiB at most (MQTT 5.0 section 1.5.5), and may go out again.
const BLOCK_BYTES_MAX: u32 = 1 << 30;

const LEVEL: i32 = 1;

/// A plugin, when a recording begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginBegin {
    /// SHA-256 of its component.
    pub digest: Box<str>,
    /// Its configuration, as JSON.
    pub config: Box<str>,
    /// What it remembers.
    pub state: BTreeMap<Box<str>, bytes::Bytes>,
}

/// A recording begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Of this gateway.
    pub gateway: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// In milliseconds since the epoch.
    pub at_ms: u64,
    /// Of this route; `None`: of all.
    pub route: Option<Box<str>>,
    /// The plugins of its routes, by name.
    pub plugins: BTreeMap<Box<str>, PluginBegin>,
}

/// A message came into a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number among those that plugins decide on, 0 where a route has none.
    pub id: u64,
    /// In milliseconds since the epoch.
    pub received_ms: u64,
    /// It may have been decided before.
    pub redelivered: bool,
    /// Into this route.
    pub route: Box<str>,
    /// From this broker.
    pub broker: Box<str>,
    /// As it came.
    pub came: Content,
    /// What was decided on it.
    pub decision: Decision,
}

/// The timer of a plugin was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Of this route.
    pub route: Box<str>,
    /// Of this plugin.
    pub plugin: Box<str>,
    /// With this time.
    pub now_ms: u64,
    /// Behind the message of this number.
    pub after: u64,
    /// What it said.
    pub sent: Vec<Sent>,
}

/// What stands in a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// It begins, or goes on after a while.
    Begin(Begin),
    /// A message.
    Message(Message),
    /// A timer.
    Tick(Tick),
    /// Some messages are missing here: they came faster than they may be recorded, or than they were read.
    Gap,
}

/// Makes blocks of entries.
#[derive(Debug, Default)]
pub struct Writer {
    entries: Vec<u8>,
}

impl Writer {
    /// One more entry. Returns a block once there are enough for one.
    ///
    /// # Errors
    /// The entry is larger than a block may be.
    pub fn push(&mut self, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let entries = std::mem::take(&mut self.entries);
        self.entries = postcard::to_extend(entry, entries).map_err(io::Error::other)?;
        if self.entries.len() < BLOCK_BYTES { Ok(None) } else { self.finish() }
    }

    /// A block of what there is; `None` if there is nothing.
    ///
    /// # Errors
    /// It is larger than a block may be.
    pub fn finish(&mut self) -> io::Result<Option<Vec<u8>>> {
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return Ok(None);
        }
        let packed = zstd::bulk::compress(&entries, LEVEL)?;
        let length = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= BLOCK_BYTES_MAX);
            length.ok_or_else(|| io::Error::other("an entry of a recording is larger than a block may be"))
        };
        let mut block = Vec::with_capacity(HEAD + packed.len());
        block.extend(length(&packed)?.to_le_bytes());
        block.extend(length(&entries)?.to_le_bytes());
        block.extend(crc32c::crc32c(&packed).to_le_bytes());
        block.extend(packed);
        Ok(Some(block))
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error(
        "this is no recording of Tidegate, or one of a later version: it does not begin with `TIDEGATE-RECORDING 1`"
    )]
    NoRecording,
    /// What is in a block that is whole is no entry.
    #[error("block {0} is whole and has no entries that this version knows: it was made by another one")]
    Entries(u64),
}

/// The entries of a recording, one after another, up to the last whole block.
pub struct Entries<R> {
    from: R,
    entries: Vec<u8>,
    at: usize,
    blocks: u64,
    whole: u64,
    is_over: bool,
}

impl<R: Read> Entries<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is no recording.
    pub fn new(mut from: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        let is_whole = fill(&mut from, &mut magic)?;
        if !is_whole || magic != MAGIC {
            return Err(Error::NoRecording);
        }
        let whole = MAGIC.len() as u64;
        Ok(Self { from, entries: Vec::new(), at: 0, blocks: 0, whole, is_over: false })
    }

    /// How many bytes of the file are whole as far as it has been read.
    pub const fn whole(&self) -> u64 {
        self.whole
    }

    /// Reads the next block; false at the end, or where it is not whole.
    fn block(&mut self) -> Result<bool, Error> {
        let mut head = [0; HEAD];
        if !fill(&mut self.from, &mut head)? {
            return Ok(false);
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (packed_bytes, bytes, checksum) = (number(0), number(4), number(8));
        if packed_bytes > BLOCK_BYTES_MAX || bytes > BLOCK_BYTES_MAX {
            return Ok(false);
        }
        let mut packed = Vec::new();
        self.from.by_ref().take(packed_bytes.into()).read_to_end(&mut packed)?;
        if packed.len() < packed_bytes as usize || crc32c::crc32c(&packed) != checksum {
            return Ok(false);
        }
        self.blocks += 1;
        self.entries = zstd::bulk::decompress(&packed, bytes as usize).map_err(|_| Error::Entries(self.blocks))?;
        self.at = 0;
        self.whole += (HEAD + packed.len()) as u64;
        Ok(true)
    }
}

impl<R: Read> Iterator for Entries<R> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at >= self.entries.len() {
            if self.is_over {
                return None;
            }
            match self.block() {
                Ok(true) => {}
                Ok(false) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        match postcard::take_from_bytes(&self.entries[self.at..]) {
            Ok((entry, rest)) => {
                self.at = self.entries.len() - rest.len();
                Some(Ok(entry))
            }
            Err(_) => {
                (self.is_over, self.at) = (true, self.entries.len());
                Some(Err(Error::Entries(self.blocks)))
            }
        }
    }
}

/// How many bytes of a recording are whole: what is behind them may be written over.
///
/// # Errors
/// It is no recording, or cannot be read.
pub fn whole_bytes(from: impl Read) -> Result<u64, Error> {
    let mut entries = Entries::new(from)?;
    while entries.block()? {}
    Ok(entries.whole)
}

/// Fills a buffer; false if there is less.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{End, Payload};
    use proptest::prelude::*;

    fn message(id: u64, payload: Vec<u8>) -> Entry {
        let content = Content {
            topic: format!("t/{id}").into(),
            payload: Payload::Whole(payload.into()),
            qos: 1,
            retain: false,
            properties: None,
        };
        let sent = Sent { to: vec!["far".into()], content: content.clone() };
        Entry::Message(Message {
            id,
            received_ms: 1_000 + id,
            redelivered: false,
            route: "up".into(),
            broker: "near".into(),
            came: content,
            decision: Decision { sent: vec![sent], end: End::Onward },
        })
    }

    /// Each list of entries as a block of its own.
    fn file(blocks: &[Vec<Entry>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for entries in blocks {
            let mut writer = Writer::default();
            for entry in entries {
                file.extend(writer.push(entry).unwrap().unwrap_or_default());
            }
            file.extend(writer.finish().unwrap().unwrap_or_default());
        }
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn a_recording_cut_at_any_byte_reads_up_to_there(
            sizes in prop::collection::vec(prop::collection::vec(0..600usize, 1..6), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut id = 0;
            let mut entry = |size: &usize| {
                id += 1;
                message(id, vec![id as u8; *size])
            };
            let blocks: Vec<Vec<Entry>> = sizes.iter().map(|of| of.iter().map(&mut entry).collect()).collect();
            let file_whole = file(&blocks);
            let all: Vec<Entry> = Entries::new(&file_whole[..]).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&all, &blocks.concat());
            prop_assert_eq!(whole_bytes(&file_whole[..]).unwrap(), file_whole.len() as u64);
            let at = MAGIC.len() + cut.index(file_whole.len() - MAGIC.len());
            let mut entries = Entries::new(&file_whole[..at]).unwrap();
            let read: Vec<Entry> = entries.by_ref().map(Result::unwrap).collect();
            prop_assert!(all.starts_with(&read));
            // All blocks that are there, and what is behind them is written over by what is appended.
            let whole = whole_bytes(&file_whole[..at]).unwrap() as usize;
            prop_assert_eq!(entries.whole() as usize, whole);
            let mut appended = file_whole[..whole].to_vec();
            appended.extend(&file(&[vec![Entry::Gap]])[MAGIC.len()..]);
            let again: Vec<Entry> = Entries::new(&appended[..]).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(again, [read, vec![Entry::Gap]].concat());
        }

        #[test]
        fn whatever_is_in_a_file_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut file = MAGIC.to_vec();
            file.extend(bytes);
            assert_eq!(Entries::new(&file[..]).unwrap().filter_map(Result::ok).count(), 0);
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for text in [&b""[..], b"TIDEGATE", b"TIDEGATE-RECORDING 2\nxxxxxxxxxxxxxxx"] {
            assert!(matches!(Entries::new(text), Err(Error::NoRecording)));
        }
    }

    #[test]
    fn a_block_is_written_when_there_is_enough_for_one() {
        let mut writer = Writer::default();
        let blocks = (0..1_000).filter_map(|id| writer.push(&message(id, vec![7; 1_000])).unwrap()).count();
        assert!((5..10).contains(&blocks), "{blocks}");
        assert!(writer.finish().unwrap().is_some() && writer.finish().unwrap().is_none());
    }
}
