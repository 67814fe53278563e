//! What is on disk stays readable: files of format 1 as they were written once, and files of a format to come.

use crate::trial::{Step, Trial, open};
use std::path::PathBuf;
use tidegate_persistence::{OpenError, Saved};
use tidegate_testkit::SimDisk;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/1")
}

/// Everything once.
fn write() -> SimDisk {
    let mut trial = Trial::new(SimDisk::new()).expect("a store");
    for pick in [3, 0, 200] {
        trial.step(&Step::Open { pick });
        trial.step(&Step::Subscribe { pick, filter: pick });
    }
    trial.step(&Step::Subscribe { pick: 0, filter: 1 });
    trial.step(&Step::Unsubscribe { pick: 0, filter: 1 });
    for extra in [0b11_0000, 0b1101, 0b1000, 0b10_0011] {
        trial.step(&Step::Publish { to: 0b1100_0111, pad: 12, extra });
    }
    trial.step(&Step::Publish { to: 0b1000_0000, pad: 3, extra: 2 });
    trial.step(&Step::Publish { to: 0b0000_0011, pad: 3, extra: 2 });
    trial.step(&Step::CopyRetained { pick: 1, topic: 2 });
    for pick in [1, 2, 3, 4] {
        trial.step(&Step::Sent { pick });
    }
    trial.step(&Step::TakenOver { pick: 2 });
    trial.step(&Step::Done { pick: 0 });
    trial.step(&Step::Done { pick: 3 });
    trial.step(&Step::Unretain { topic: 3 });
    trial.step(&Step::Took { pick: 1 });
    trial.step(&Step::Took { pick: 4 });
    trial.step(&Step::Released { pick: 1 });
    trial.step(&Step::Away { pick: 8 });
    trial.step(&Step::Connected { pick: 1 });
    trial.step(&Step::WillGone { pick: 2 });
    trial.step(&Step::Open { pick: 9 });
    trial.step(&Step::End { pick: 3 });
    trial.step(&Step::Work);
    trial.poll();
    trial.disk
}

/// In words, and in an order.
fn told(mut saved: Saved) -> String {
    saved.sessions.sort_by_key(|session| session.number);
    saved.retained.sort_by_key(|retained| retained.item);
    let sessions = saved.sessions.iter().map(|one| format!("{one:#?}\n"));
    sessions.chain(saved.retained.iter().map(|one| format!("{one:#?}\n"))).collect()
}

/// `TIDEGATE_WRITE_GOLDEN=1` writes the files anew; for a format that was never released only.
#[test]
fn files_of_format_1_are_read() {
    let words = golden().join("found.txt");
    if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() {
        let disk = write();
        std::fs::create_dir_all(golden()).expect("a test on good ground");
        for (name, _) in disk.files().iter().filter(|(name, _)| name.ends_with(".log")) {
            std::fs::write(golden().join(name), disk.contents(name)).expect("a test on good ground");
        }
        std::fs::write(&words, told(open(&disk.killed()).expect("a store").1)).expect("a test on good ground");
    }
    let disk = SimDisk::new();
    for entry in std::fs::read_dir(golden()).expect("a test on good ground") {
        let path = entry.expect("a test on good ground").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name.ends_with(".log") {
            disk.put(&name, &std::fs::read(path).expect("a test on good ground"));
        }
    }
    let (store, saved) = open(&disk).expect("format 1 is read");
    assert_eq!(store.found().damaged, 0);
    assert_eq!(told(saved), std::fs::read_to_string(words).expect("a test on good ground"));
}

#[test]
fn files_of_a_later_version_are_refused_untouched() {
    let disk = write();
    let name = disk.files().iter().map(|(name, _)| name.clone()).find(|name| name.ends_with(".log")).expect("a log");
    // The version of the files, and that of what is in them: the body of the first record, whose checksum comes with it.
    let mut later_files = disk.contents(&name);
    later_files[8] = 2;
    let checksum = crc32c(&later_files[..12]);
    later_files[12..16].copy_from_slice(&checksum.to_le_bytes());
    let mut later_records = disk.contents(&name);
    later_records[16 + 17] = 2;
    let length =
        u32::from_le_bytes([later_records[16], later_records[17], later_records[18], later_records[19]]) as usize;
    let checksum = crc32c(&later_records[24..24 + length]);
    later_records[20..24].copy_from_slice(&checksum.to_le_bytes());
    for bytes in [later_files, later_records] {
        let disk = SimDisk::new();
        disk.put(&name, &bytes);
        let before = disk.operations();
        let Err(OpenError::Newer { file, found: 2, known: 1 }) = open(&disk) else { panic!("a later version is read") };
        assert_eq!((file, disk.contents(&name), disk.operations()), (name.clone(), bytes, before));
    }
}

/// CRC32C, bit by bit: the tests' own.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !crc
}
