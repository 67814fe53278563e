//! The disk fails or fills up at every single operation.

use crate::disk::{Door, open};
use crate::model::Model;
use crate::raw;
use crate::script::{At, Told, script, tell};
use crate::trial::{Step, Trial};
use tidegate_spool::{DiskStatus, OpenError, verify};
use tidegate_testkit::{Fault, SimDisk, What};

const SCRIPTS: u64 = 8;
const STEPS: usize = 60;

/// Calls `look` with every place in some stories that a fault can have.
fn at_every_operation(closes: bool, fault: Fault, mut look: impl FnMut(u64, &[Step], Told)) {
    for seed in 100..100 + SCRIPTS {
        let script = script(seed, STEPS, closes);
        let Told::ToTheEnd(whole) = tell(&script, u64::MAX, fault, 8192) else { panic!("nothing went wrong") };
        for point in 0..whole.disk.operations() {
            let _at = At(format!("script {seed}, {fault:?} at operation {point}"));
            look(point, &script, tell(&script, point, fault, if seed.is_multiple_of(2) { 8192 } else { 4 }));
        }
    }
}

fn reopens(disk: SimDisk, model: &Model) {
    let mut model = model.clone();
    model.survive(&raw::read(&disk));
    Trial::with(disk, model, 8192, 1_000_000).expect("a spool").works_on();
}

fn is_sync(what: What) -> bool {
    matches!(what, What::Sync | What::SyncDir)
}

#[test]
fn after_a_failed_write_or_fsync_nothing_is_acknowledged_and_nothing_is_synced() {
    let mut failed = 0;
    at_every_operation(false, Fault::Io, |point, _, told| {
        let Told::ToTheEnd(mut trial) = told else {
            // Opening says so, too.
            assert!(point < 4, "only opening may end early");
            return;
        };
        let journal = trial.disk.journal(point);
        assert!(!journal[0].is_done);
        trial.work();
        if matches!(journal[0].what, What::Write) || is_sync(journal[0].what) {
            failed += 1;
            assert!(matches!(trial.spool.status(), DiskStatus::Failed(_)), "{:?}", trial.spool.status());
        }
        if let DiskStatus::Failed(_) = trial.spool.status() {
            trial.poll();
            let durable = trial.spool.durable();
            for _ in 0..3 {
                trial.step(&Step::Append { to: 7, pad: 9, rich: false, extra: 0 });
                trial.work();
                trial.poll();
            }
            assert_eq!(trial.spool.durable(), durable, "nothing is acknowledged any more");
            let model = trial.model.clone();
            assert!(!trial.shut(), "closing says that not all was written");
            let later = trial.disk.journal(point + 1);
            assert!(!later.iter().any(|entry| is_sync(entry.what)), "no fsync may be tried again: {later:?}");
            for choice in 0..8 {
                reopens(trial.disk.crash(choice), &model);
            }
            // The process ends, the system lives on: what it takes for written may be only in memory.
            let killed = trial.disk.killed();
            let mut survivor = model.clone();
            survivor.survive(&raw::read(&killed));
            let trial = Trial::with(killed, survivor, 8192, 1_000_000).expect("a spool");
            for choice in 0..4 {
                reopens(trial.disk.crash(choice), &trial.model);
            }
        }
    });
    assert!(failed > 200, "only {failed} operations failed");
}

#[test]
fn a_disk_that_is_full_for_a_moment_loses_nothing() {
    for fault in [Fault::Full, Fault::Short] {
        at_every_operation(false, fault, |_, _, told| {
            let Told::ToTheEnd(mut trial) = told else { panic!("a full disk ended it") };
            trial.drain();
            assert_eq!(trial.spool.status(), DiskStatus::Good);
            let report = verify(&Door(trial.disk.clone())).expect("a report");
            assert_eq!((report.damaged, report.torn_bytes), (Vec::new(), 0), "nothing half written is left");
            trial.works_on();
        });
    }
}

#[test]
fn nothing_is_acknowledged_on_a_full_disk_and_everything_goes_on_when_there_is_room() {
    let mut full = 0;
    at_every_operation(false, Fault::FullForGood, |_, _, told| {
        let Told::ToTheEnd(mut trial) = told else { panic!("a full disk ended it") };
        trial.work();
        trial.poll();
        let durable = trial.spool.durable();
        // More than a segment was set aside for.
        for _ in 0..12 {
            trial.step(&Step::Append { to: 7, pad: 900, rich: false, extra: 0 });
        }
        trial.work();
        trial.poll();
        assert_eq!(trial.spool.status(), DiskStatus::Full);
        if trial.spool.durable() == durable {
            full += 1;
        }
        for choice in 0..4 {
            reopens(trial.disk.crash(choice), &trial.model);
        }
        reopens(trial.disk.killed(), &trial.model);
        trial.disk.fill(false);
        trial.drain();
        assert_eq!(trial.spool.status(), DiskStatus::Good);
        trial.gives_back();
        trial.works_on();
    });
    assert!(full > 200, "the disk was full only {full} times");
}

#[test]
fn a_spool_opens_on_a_full_disk() {
    for seed in 200..230 {
        let Told::ToTheEnd(trial) = tell(&script(seed, STEPS, true), u64::MAX, Fault::Io, 8192) else {
            panic!("nothing went wrong")
        };
        for choice in 0..20 {
            let disk = trial.disk.crash(choice);
            disk.fill(true);
            let mut model = trial.model.clone();
            model.survive(&raw::read(&disk));
            let mut trial = Trial::with(disk.clone(), model, 8192, 1_000_000).expect("a spool");
            trial.work();
            trial.poll();
            assert_eq!(trial.spool.status(), DiskStatus::Full);
            trial.step(&Step::Append { to: 7, pad: 9, rich: false, extra: 0 });
            trial.work();
            trial.poll();
            disk.fill(false);
            trial.drain();
            trial.works_on();
        }
    }
}

#[test]
fn a_read_that_fails_is_told_and_changes_nothing() {
    for seed in 300..310 {
        let Told::ToTheEnd(trial) = tell(&script(seed, STEPS, true), u64::MAX, Fault::Io, 8192) else {
            panic!("nothing went wrong")
        };
        for after in 0..1000 {
            let _at = At(format!("script {seed}, read {after} fails"));
            let disk = trial.disk.killed();
            disk.fail_read(after);
            match open(&disk) {
                Err(error) => assert!(matches!(error, OpenError::Io { .. }), "{error}"),
                Ok(_) => break,
            }
            reopens(disk.killed(), &trial.model);
            assert!(after < 999, "opening ends");
        }
    }
}
