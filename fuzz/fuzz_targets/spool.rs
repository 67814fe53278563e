//! A log with whatever a disk may hold: it is opened without a panic, and what waits then waits after the next start, too.
//!
//! The first byte chooses. With an even one the rest is the segment behind its header, as it is. With an odd one it is cut
//! into bodies of records, each behind a byte for its kind and one for its length, and framed with a checksum that is
//! right: so the readers of bodies are reached, which a checksum keeps chance away from.
#![no_main]

// The same as that of the spool's own tests.
#[path = "../../crates/spool/tests/disk.rs"]
mod disk;

use disk::{Door, open};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tidegate_spool::{News, OpenError, verify};
use tidegate_testkit::SimDisk;

/// Magic, version and checksum.
const HEADER_BYTES: usize = 16;

/// The kinds of records that a log may have: names, transactions, and the steps of QoS 2. Checkpoints have others, and
/// numbers in them that no process has reached.
const KINDS: [u8; 6] = [1, 2, 3, 4, 5, 6];

/// Turns of writing, reading and asking that bring back all of a small log.
const TURNS: usize = 8;

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    let disk = SimDisk::new();
    drop(open(&disk).map(|mut spool| spool.step()));
    let Some((name, _)) = disk.files().into_iter().find(|(name, _)| name.ends_with(".log")) else { return };
    let mut log = disk.contents(&name)[..HEADER_BYTES].to_vec();
    if choice % 2 == 0 {
        log.extend_from_slice(bytes);
    } else {
        framed(bytes, &mut log);
    }
    let disk = SimDisk::new();
    disk.put(&name, &log);
    let _ = verify(&Door(disk.clone()));
    let Ok(waits) = waiting(&disk) else { return };
    assert_eq!(waiting(&disk).expect("what was opened once"), waits, "over a restart");
});

fn framed(mut bytes: &[u8], log: &mut Vec<u8>) {
    let mut sequence = 1u64;
    while let [kind, length, rest @ ..] = bytes {
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let mut checked = sequence.to_le_bytes().to_vec();
        checked.push(KINDS[usize::from(*kind) % KINDS.len()]);
        checked.extend_from_slice(body);
        log.extend_from_slice(&(checked.len() as u32).to_le_bytes());
        log.extend_from_slice(&crc32c::crc32c(&checked).to_le_bytes());
        log.extend_from_slice(&checked);
        (bytes, sequence) = (rest, sequence + 1);
    }
}

/// Opens it, lets everything come that waits, and closes it: how much there was of each queue.
fn waiting(disk: &SimDisk) -> Result<Vec<u64>, OpenError> {
    let mut spool = open(disk)?;
    let mut news = News::default();
    for _ in 0..TURNS {
        spool.step();
        spool.poll(&mut news);
    }
    let waits = spool.queues().map(|queue| spool.pending(queue).0).collect();
    assert!(spool.close(Duration::ZERO), "the disk is good");
    Ok(waits)
}
