//! Stories that are the same every time, for tests that look at each of their operations on disk.

use crate::model::Model;
use crate::trial::{Step, Trial};
use tidegate_testkit::{Fault, SimDisk};

/// Chance that is the same every time (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

/// Says what was being done when a test failed.
pub(crate) struct At(pub(crate) String);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at {}", self.0);
        }
    }
}

/// A story of so many steps; with `closes`, the spool is closed and opened between them.
pub(crate) fn script(seed: u64, steps: usize, closes: bool) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut script = Vec::new();
    while script.len() < steps {
        let (queue, pick) = (dice.below(3) as u8, dice.below(256) as u8);
        script.push(match dice.below(30) {
            0..10 => Step::Append {
                to: dice.below(256) as u8,
                pad: [20, 60, 200, 900][dice.below(4) as usize],
                rich: dice.below(4) == 0,
                extra: if dice.below(2) == 0 { dice.below(256) as u8 } else { 0 },
            },
            10..13 => Step::Done { queue, pick },
            13 => Step::DoneAll { queue },
            14..16 => Step::Sent { queue, pick },
            16..18 => Step::TakenOver { queue, pick },
            18 => Step::Released { source: queue, pick },
            19 if pick < 60 => Step::Forgotten { source: queue },
            20..25 => Step::Work,
            25..29 => Step::Poll,
            29 if closes && pick < 128 => Step::Close,
            _ => continue,
        });
    }
    script
}

/// Tells a story on a disk that has a fault at one of its operations. Ends early when the power is cut.
pub(crate) fn tell(script: &[Step], operation: u64, fault: Fault, window: usize) -> Told {
    let disk = SimDisk::new();
    disk.fail(operation, fault);
    let Ok(mut trial) = Trial::with(disk.clone(), Model::default(), window, 1) else {
        return Told::Over(disk, Model::default());
    };
    for step in script {
        if matches!(step, Step::Close) {
            if !trial.close(false) {
                return Told::Over(trial.disk.clone(), trial.model.clone());
            }
        } else {
            trial.step(step);
        }
        if trial.disk.is_off() {
            return Told::Over(trial.disk.clone(), trial.model.clone());
        }
    }
    Told::ToTheEnd(Box::new(trial))
}

pub(crate) enum Told {
    /// It ended early, with this disk, and the model says what must be on it.
    Over(SimDisk, Model),
    ToTheEnd(Box<Trial>),
}
