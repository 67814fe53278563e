//! The power is cut after every single operation on disk, and whatever may be left is opened.

use crate::disk::open;
use crate::model::Model;
use crate::raw;
use crate::script::{At, Dice, Told, script, tell};
use crate::trial::Trial;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidegate_testkit::{Fault, SimDisk};

/// How many states of the disk are opened; `TIDEGATE_CASES` over 10,000 asks for more in proportion. `scripts/test` runs
/// what is optimised; where that is not, a tenth must do.
const STATES: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
const SCRIPTS: u64 = 12;
const STEPS: usize = 60;

/// Opens what is left, checks it against the model, and works on with it.
fn look(disk: SimDisk, model: &Model, choice: u64) {
    let mut model = model.clone();
    model.survive(&raw::read(&disk));
    let window = if choice.is_multiple_of(2) { 8192 } else { 3 };
    let mut trial = Trial::with(disk, model, window, 1_000_000 + choice % 1_000_000).expect("a spool");
    if choice % 16 == 6 { trial.works_on() } else { trial.works_on_a_little() }
}

fn points(seed: u64) -> u64 {
    match tell(&script(seed, STEPS, true), u64::MAX, Fault::PowerOff, 8192) {
        Told::ToTheEnd(trial) => trial.disk.operations(),
        Told::Over(..) => panic!("nothing went wrong"),
    }
}

/// Tells the other thread to stop when one fails.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
    }
}

fn cut_everywhere(seed: u64, each: u64, has_failed: &AtomicBool) -> u64 {
    let script = script(seed, STEPS, true);
    let (mut states, mut point) = (0, 0);
    while !has_failed.load(Ordering::Relaxed) {
        let (disk, model) = match tell(&script, point, Fault::PowerOff, if seed.is_multiple_of(2) { 8192 } else { 4 }) {
            Told::Over(disk, model) => (disk, model),
            Told::ToTheEnd(_) => return states,
        };
        let mut dice = Dice(seed << 32 | point);
        for choice in 0..each {
            // Every disk is another one: 0 and 1 are the extremes.
            let choice = if choice < 2 { choice } else { dice.below(u64::MAX) | 2 };
            let _at = At(format!("script {seed}, cut after operation {point}, crash {choice}"));
            let left = disk.crash(choice);
            if choice % 4 == 3 {
                // It is cut again while it is being opened, or soon after.
                let mut model = model.clone();
                model.lose(&raw::read(&left));
                left.fail(dice.below(9), Fault::PowerOff);
                if let Ok(mut spool) = open(&left) {
                    spool.step();
                }
                look(left.crash(dice.below(u64::MAX)), &model, choice);
            } else {
                look(left, &model, choice);
            }
            states += 1;
        }
        point += 1;
    }
    states
}

#[test]
fn whatever_a_power_loss_leaves_after_any_operation_has_all_that_was_acknowledged() {
    let asked = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let wanted = STATES * asked.max(10_000) / 10_000;
    let all: u64 = (0..SCRIPTS).map(points).sum();
    let each = wanted / all + 8;
    let (next, states, has_failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let _alarm = Alarm(&has_failed);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SCRIPTS {
                        return;
                    }
                    states.fetch_add(cut_everywhere(seed, each, &has_failed), Ordering::Relaxed);
                }
            });
        }
    });
    let states = states.into_inner();
    println!("{states} states after {all} operations");
    assert!(states >= wanted, "only {states} states were looked at");
}

#[test]
fn what_segments_said_that_are_gone_is_still_known_after_a_power_loss() {
    for seed in 400..440 {
        let Told::ToTheEnd(mut trial) = tell(&script(seed, STEPS, true), u64::MAX, Fault::Io, 8192) else {
            panic!("nothing went wrong")
        };
        trial.gives_back();
        assert!(trial.disk.files().iter().all(|(name, _)| *name != "0000000000000001.log"), "the first one is gone");
        for choice in 0..20 {
            let _at = At(format!("script {seed}, crash {choice}"));
            look(trial.disk.crash(choice), &trial.model, choice);
        }
    }
}

#[test]
fn what_a_process_wrote_that_was_killed_at_any_operation_is_durable_once_it_was_opened() {
    let mut states = 0;
    for seed in 500..506 {
        let script = script(seed, STEPS, true);
        for point in 0.. {
            let Told::Over(disk, mut model) = tell(&script, point, Fault::PowerOff, 8192) else { break };
            let disk = disk.killed();
            model.survive(&raw::read(&disk));
            let Ok(trial) = Trial::with(disk, model, 8192, 1_000_000) else { panic!("a spool") };
            for choice in 0..12 {
                let _at = At(format!("script {seed}, killed after operation {point}, crash {choice}"));
                look(trial.disk.crash(choice), &trial.model, choice);
                states += 1;
            }
        }
    }
    assert!(states > 5_000, "only {states} states were looked at");
}
