//! One bit of a closed spool is turned over: anything but that record is still there.

use crate::disk::Door;
use crate::model::{Happened, Model, QUEUES};
use crate::raw;
use crate::script::{At, Dice, Told, script, tell};
use crate::trial::Trial;
use std::collections::BTreeSet;
use tidegate_spool::verify;
use tidegate_testkit::{Fault, SimDisk};

/// How many bits are turned over, one at a time.
const FLIPS: u64 = 10_000;
const SPOOLS: u64 = 40;

fn closed(seed: u64) -> (SimDisk, Model) {
    let Told::ToTheEnd(mut trial) = tell(&script(seed, 80, true), u64::MAX, Fault::Io, 8192) else {
        panic!("nothing went wrong")
    };
    trial.model.keeps_done = true;
    assert!(trial.shut(), "the disk is good");
    (trial.disk.crash(0), trial.model.clone())
}

#[test]
fn one_bit_that_rots_takes_one_record_with_it_at_most_and_is_counted() {
    let (mut lost_items, mut counted) = (0, 0);
    for seed in 0..SPOOLS {
        let (disk, whole) = closed(1000 + seed);
        let before = raw::read(&disk);
        let files = disk.files();
        let all: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let newest = files.iter().rfind(|(name, _)| name.ends_with(".checkpoint")).map(|(name, _)| name.clone());
        let newest = newest.expect("a checkpoint");
        let checkpoint = u64::from_str_radix(newest.trim_end_matches(".checkpoint"), 16).expect("a number");
        let mut dice = Dice(seed);
        for _ in 0..FLIPS / SPOOLS {
            let mut at = dice.below(all);
            let (name, _) = files
                .iter()
                .find(|(_, bytes)| {
                    let is_here = at < *bytes;
                    at -= if is_here { 0 } else { *bytes };
                    is_here
                })
                .expect("a file");
            let bit = at * 8 + dice.below(8);
            let _at = At(format!("spool {seed}, bit {bit} of {name} in {files:?}"));
            let rotten = disk.crash(0);
            rotten.flip(name, bit);

            let lost: BTreeSet<u64> = before.sequences.difference(&raw::read(&rotten).sequences).copied().collect();
            assert!(lost.len() <= 1);
            let mut model = whole.clone();
            let waits: usize = (0..QUEUES).map(|queue| model.waiting(queue).iter().filter(|one| !one.3).count()).sum();
            model.rot(&lost, checkpoint);
            let left: usize = (0..QUEUES).map(|queue| model.waiting(queue).iter().filter(|one| !one.3).count()).sum();
            if !name.ends_with(".log") {
                // What was done may come back, and nothing else may happen.
                model.done.values_mut().for_each(|durable| *durable = false);
            }
            model.acked = before.sequences.last().copied().unwrap_or(0).min(model.acked) - lost.len() as u64;

            let report = verify(&Door(rotten.clone())).expect("damage is no error");
            if !name.starts_with("cursors-") {
                assert!(!report.damaged.is_empty() || report.torn_bytes > 0, "{report:?}");
                counted += 1;
            }
            assert!(report.damaged.iter().all(|damage| damage.file == *name));

            let mut trial = Trial::with(rotten, model, 8192, 1_000_000).expect("a spool");
            trial.drain();
            if left < waits {
                lost_items += waits - left;
                assert!(trial.spool.damaged() > 0 || trial.spool.torn_bytes() > 0, "a lost message is counted");
            }
            trial.works_on_a_little();
        }
    }
    println!("{counted} of {FLIPS} flips were outside of cursors, {lost_items} messages were lost");
    assert!(lost_items > 100, "only {lost_items} messages were hit");
}

/// Records of messages that wait are not in the way of what follows them.
#[test]
fn a_closed_spool_has_something_to_lose() {
    let waits = (0..SPOOLS).map(|seed| {
        let (_, model) = closed(1000 + seed);
        let sent = model.events.iter().filter(|(_, what)| matches!(what, Happened::Sent { .. })).count();
        ((0..QUEUES).map(|queue| model.waiting(queue).len()).sum::<usize>(), sent)
    });
    let (waits, sent): (Vec<_>, Vec<_>) = waits.unzip();
    assert!(waits.iter().sum::<usize>() > 100, "{waits:?}");
    assert!(sent.iter().sum::<usize>() > 20, "{sent:?}");
}

#[test]
fn a_name_that_rots_takes_nothing_with_it() {
    let mut names = 0;
    for seed in 0..20 {
        let Told::ToTheEnd(mut trial) = tell(&script(4000 + seed, 14, false), u64::MAX, Fault::Io, 8192) else {
            panic!("nothing went wrong")
        };
        assert!(trial.shut(), "the disk is good");
        for (sequence, (name, start, end)) in raw::read(&trial.disk).places {
            let is_name = trial.disk.contents(&name)[start + 16] == 1;
            if !is_name {
                continue;
            }
            let _at = At(format!("spool {seed}, the name at {sequence}"));
            let rotten = trial.disk.crash(0);
            rotten.flip(&name, (start + end) as u64 / 2 * 8);
            let mut model = trial.model.clone();
            model.acked -= 1;
            // A checkpoint may cover it, then a start does not look there; the last one of all may as well be torn.
            let report = verify(&Door(rotten.clone())).expect("damage is no error");
            assert!(!report.damaged.is_empty() || report.torn_bytes > 0);
            Trial::with(rotten, model, 8192, 1_000_000).expect("a spool").works_on();
            names += 1;
        }
    }
    assert!(names > 100, "only {names} names were hit");
}
