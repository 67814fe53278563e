//! The simulated disk forgets what it may forget, and nothing else.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use tidegate_testkit::{Fault, SimDisk};

#[test]
fn what_was_synced_is_there_after_every_crash_and_what_was_not_may_be() {
    let disk = SimDisk::new();
    let file = disk.create("a", 0).unwrap();
    file.write_at(0, &[1; 2048]).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    file.write_at(2048, &[2; 2048]).unwrap();
    let mut seen = BTreeSet::new();
    for choice in 0..500 {
        let left = disk.crash(choice).contents("a");
        assert_eq!(left[..2048], [1; 2048]);
        seen.insert(left);
    }
    assert!(seen.contains(&vec![1; 2048]), "all lost");
    assert!(seen.contains(&[[1; 2048], [2; 2048]].concat()), "all kept");
    assert!(seen.iter().any(|left| (2049..4096).contains(&left.len())), "a prefix");
    assert!(seen.iter().any(|left| left.len() == 4096 && left[2048..2560] == [0; 512]), "a later sector alone");
}

#[test]
fn a_name_that_was_not_synced_may_be_lost_with_all_that_is_in_the_file() {
    let disk = SimDisk::new();
    let file = disk.create("next", 0).unwrap();
    disk.sync_dir().unwrap();
    file.write_at(0, b"data").unwrap();
    file.sync().unwrap();
    disk.rename("next", "log").unwrap();
    disk.create("other", 0).unwrap().sync().unwrap();
    let left: BTreeSet<_> = (0..100).map(|choice| disk.crash(choice).list().unwrap()).collect();
    let expected: [&[&str]; 4] = [&["next"], &["log"], &["next", "other"], &["log", "other"]];
    assert_eq!(left, expected.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect());
}

#[test]
fn a_sync_that_failed_is_not_mended_by_another_one() {
    let disk = SimDisk::new();
    let file = disk.create("a", 0).unwrap();
    disk.sync_dir().unwrap();
    file.write_at(0, b"data").unwrap();
    disk.fail(disk.operations(), Fault::Io);
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.contents("a"), b"data");
    assert!((0..50).all(|choice| disk.crash(choice).contents("a").is_empty()));
    assert_eq!(disk.killed().contents("a"), b"data");
}

#[test]
fn faults_meet_the_operation_they_were_planted_at() {
    let disk = SimDisk::new();
    let file = disk.create("a", 8).unwrap();
    disk.fail(1, Fault::Short);
    assert_eq!(file.write_at(0, b"12345678").unwrap(), 4);
    disk.fail(2, Fault::Full);
    assert_eq!(file.write_at(0, b"12345678").unwrap(), 4);
    assert_eq!(file.write_at(4, b"56789").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.fill(true);
    assert_eq!(file.write_at(0, b"87654321").unwrap(), 8);
    file.write_at(8, b"9").unwrap_err();
    disk.create("b", 0).unwrap_err();
    disk.fill(false);
    disk.fail(disk.operations(), Fault::PowerOff);
    file.set_len(2).unwrap();
    file.sync().unwrap_err();
    assert_eq!(disk.journal(0).iter().filter(|entry| !entry.is_done).count(), 4);
    assert_eq!(disk.crash(1).contents("a"), b"87");
    disk.flip("a", 8);
    assert_eq!(disk.contents("a"), b"86");
}
