//! A reader of the log that shares nothing with the spool's: which records are on a disk, whatever is around them.

use std::collections::{BTreeMap, BTreeSet};
use tidegate_testkit::SimDisk;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Of all good records.
    pub(crate) sequences: BTreeSet<u64>,
    /// Where each good record is: file, first byte and the one behind the last.
    pub(crate) places: BTreeMap<u64, (String, usize, usize)>,
}

const HEAD: usize = 17;

pub(crate) fn read(disk: &SimDisk) -> Raw {
    let mut raw = Raw::default();
    for (name, _) in disk.files().iter().filter(|(name, _)| name.ends_with(".log")) {
        let bytes = disk.contents(name);
        let mut at = 16;
        while at + HEAD <= bytes.len() {
            let Some(end) = frame(&bytes, at) else {
                at += 1;
                continue;
            };
            let sequence = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().expect("a test on good ground"));
            raw.sequences.insert(sequence);
            raw.places.insert(sequence, (name.clone(), at, end));
            at = end;
        }
    }
    raw
}

/// Where the record that starts here ends, if it is a good one.
fn frame(bytes: &[u8], at: usize) -> Option<usize> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a test on good ground"));
    let length = word(at) as usize;
    let checked = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
    (length >= HEAD - 8 && crc32c::crc32c(checked) == word(at + 4)).then_some(at + 8 + length)
}
