//! The power is cut after every single operation on disk, and whatever may be left is opened.

use crate::model::Model;
use crate::trial::{Step, Trial};
use tidegate_testkit::{Fault, SimDisk};

/// How many states of the disk are opened; `TIDEGATE_CASES` over 10,000 asks for more in proportion. `scripts/test` runs
/// what is optimised; where that is not, a tenth must do.
const STATES: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
const SCRIPTS: u64 = 12;
const STEPS: usize = 150;

/// Chance that is the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

/// Says what was being done when a test failed.
struct At(String);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at {}", self.0);
        }
    }
}

fn script(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut script = vec![Step::Open { pick: 3 }, Step::Open { pick: 200 }];
    while script.len() < STEPS {
        let (pick, other) = (dice.below(256) as u8, dice.below(256) as u8);
        script.push(match dice.below(40) {
            0 => Step::Open { pick },
            1 => Step::Connected { pick },
            2 => Step::Away { pick },
            3 if pick < 60 => Step::End { pick },
            4 => Step::Subscribe { pick, filter: other },
            5..16 => Step::Publish { to: pick, pad: [20, 60, 200, 900][dice.below(4) as usize], extra: other },
            16 => Step::CopyRetained { pick, topic: other },
            17 => Step::Unretain { topic: other },
            18..20 => Step::Sent { pick },
            20 => Step::TakenOver { pick },
            21..24 => Step::Done { pick },
            24 => Step::DoneAll,
            25 => Step::Took { pick },
            26 => Step::Released { pick },
            27..31 => Step::Tidy,
            31..36 => Step::Work,
            36..40 => Step::Poll,
            _ => continue,
        });
    }
    script
}

enum Told {
    Over(SimDisk, Model),
    ToTheEnd(Box<Trial>),
}

/// Tells a story on a disk whose power is cut at one of its operations.
fn tell(script: &[Step], operation: u64) -> Told {
    let disk = SimDisk::new();
    disk.fail(operation, Fault::PowerOff);
    let Ok(mut trial) = Trial::new(disk.clone()) else { return Told::Over(disk, Model::default()) };
    for step in script {
        trial.step(step);
        if trial.disk.is_off() {
            return Told::Over(trial.disk.clone(), trial.model.clone());
        }
    }
    Told::ToTheEnd(Box::new(trial))
}

#[test]
fn whatever_a_power_loss_leaves_after_any_operation_has_all_that_was_acknowledged() {
    let asked = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let wanted = STATES * asked.max(10_000) / 10_000;
    let points = |seed| match tell(&script(seed), u64::MAX) {
        Told::ToTheEnd(trial) => trial.disk.operations(),
        Told::Over(..) => panic!("nothing went wrong"),
    };
    let each = wanted / (0..SCRIPTS).map(points).sum::<u64>() + 8;
    let seeds = std::sync::atomic::AtomicU64::new(0);
    let states = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= SCRIPTS {
                        return;
                    }
                    states.fetch_add(cut_everywhere(seed, each), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    let states = states.into_inner();
    println!("{states} states");
    assert!(states >= wanted, "only {states} states were looked at");
}

fn cut_everywhere(seed: u64, each: u64) -> u64 {
    let script = script(seed);
    let (mut states, mut point) = (0, 0);
    while let Told::Over(disk, model) = tell(&script, point) {
        let mut dice = Dice(seed << 32 | point);
        for choice in 0..each {
            // Every disk is another one: 0 and 1 are the extremes.
            let choice = if choice < 2 { choice } else { dice.below(u64::MAX) | 2 };
            let _at = At(format!("script {seed}, cut after operation {point}, crash {choice}"));
            let left = if choice % 16 == 5 { disk.killed() } else { disk.crash(choice) };
            let mut trial = Trial::with(left, model.clone(), 1_000_000).expect("a store");
            if choice % 16 == 6 {
                trial.works_on();
            } else {
                // What was found stays, also when it is opened once more after another loss.
                let left = trial.disk.crash(dice.below(u64::MAX));
                trial.reopen(left);
            }
            states += 1;
        }
        point += 1;
    }
    states
}

/// A message stands in one segment, that it is done in the next: whichever of them a power loss brings back, it does not come back.
#[test]
fn segments_that_were_given_back_do_not_come_back_in_another_order() {
    let tell = |operation: Option<u64>| {
        let mut trial = Trial::new(SimDisk::new()).expect("a store");
        trial.step(&Step::Open { pick: 3 });
        for round in 0..60 {
            trial.step(&Step::Publish { to: 1, pad: 300, extra: round });
            // One segment later.
            if round % 8 == 7 {
                trial.step(&Step::DoneAll);
            }
            trial.step(&Step::Work);
            trial.poll();
        }
        trial.step(&Step::DoneAll);
        trial.step(&Step::Work);
        trial.poll();
        // The session's snapshot goes to the end.
        trial.tidy();
        let before = trial.disk.operations();
        if let Some(operation) = operation {
            trial.disk.fail(before + operation, Fault::PowerOff);
        }
        for _ in 0..3 {
            trial.step(&Step::Work);
            trial.poll();
            trial.tidy();
        }
        (trial.disk.operations() - before, trial)
    };
    let (operations, trial) = tell(None);
    assert!(trial.disk.files().len() <= 3 && operations > 3, "{operations} operations left {:?}", trial.disk.files());
    for operation in 0..operations {
        let (_, trial) = tell(Some(operation));
        for choice in 0..64 {
            let _at = At(format!("cut after operation {operation}, crash {choice}"));
            Trial::with(trial.disk.crash(choice), trial.model.clone(), 1_000_000).expect("a store");
        }
    }
}
