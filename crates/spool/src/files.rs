//! The names of the files in the folder of a spool.

/// The next segment, made while there is time.
pub(crate) const NEXT: &str = "next";

/// The two files of cursors.
pub(crate) const CURSORS: [&str; 2] = ["cursors-0", "cursors-1"];

/// The name of the segment whose first record has this sequence.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:016x}.log")
}

/// The first sequence of the segment with this name.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The name of the checkpoint of what the log says up to this sequence.
pub(crate) fn checkpoint_name(sequence: u64) -> String {
    format!("{sequence:016x}.checkpoint")
}

/// The sequence of the checkpoint with this name.
pub(crate) fn checkpoint_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".checkpoint").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
