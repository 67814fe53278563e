//! How a record stands in a file.
//!
//! ```text
//! record  := length u32 | crc32c u32 | sequence u64 | kind u8 | body      all little-endian
//! ```
//! `length` counts what follows the checksum, the checksum covers it.

/// Bytes before the body.
pub(crate) const HEAD: usize = 4 + 4 + 8 + 1;

/// The longest record: the largest packet of MQTT is 256 MiB, a fan-out holds its message once.
pub(crate) const RECORD_MAX: usize = 1 << 30;

/// Appends a record.
pub(crate) fn frame(out: &mut Vec<u8>, sequence: u64, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.push(kind);
    body(out);
    let length = (out.len() - start - 8) as u32;
    let checksum = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// What stands at a place in a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good record: its sequence, its kind, where its body is, and where the next one starts.
    Record { sequence: u64, kind: u8, body: (usize, usize), end: usize },
    /// Nothing was written here.
    Nothing,
    /// A record of so many bytes starts here, and they are not all there.
    Partial { needs: usize },
    /// Something that is no record.
    Damage,
}

/// Looks at one place.
pub(crate) fn find(bytes: &[u8], at: usize) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((head, _)) = rest.split_first_chunk::<HEAD>() else {
        return if rest.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Partial { needs: HEAD } };
    };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, checksum) = (word(0) as usize, word(4));
    if length == 0 && head.iter().all(|byte| *byte == 0) {
        return Found::Nothing;
    }
    if !(HEAD - 8..=RECORD_MAX).contains(&length) {
        return Found::Damage;
    }
    let Some(checked) = rest.get(8..8 + length) else { return Found::Partial { needs: 8 + length } };
    if crc32c::crc32c(checked) != checksum {
        return Found::Damage;
    }
    let sequence = u64::from(word(8)) | u64::from(word(12)) << 32;
    Found::Record { sequence, kind: head[16], body: (at + HEAD, at + 8 + length), end: at + 8 + length }
}

/// How long the record at this place says it is, with its frame, in bytes.
pub(crate) fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
    (HEAD - 8..=RECORD_MAX).contains(&length).then_some(8 + length)
}
