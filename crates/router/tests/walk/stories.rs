//! Many stories by chance.

use crate::play::Play;
use crate::story::story;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// `TIDEGATE_STORIES` asks for more. `scripts/test` runs what is optimised; where that is not, a tenth must do.
const STORIES: u64 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

/// So many stories have one seed.
const A_SEED: u64 = 100;

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Tells the stories of one seed; what has gone wrong if something has, with the shortest story that shows it.
fn tell(seed: u64, stories: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: stories as u32, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let told = runner.run(&story(), |story| {
        catch_unwind(AssertUnwindSafe(|| Play::tell(&story))).map_err(|cause| {
            let words = cause.downcast_ref::<String>().cloned();
            let words = words.or_else(|| cause.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            TestCaseError::fail(words.unwrap_or_default())
        })
    });
    told.map_err(|error| match error {
        TestError::Fail(reason, story) => format!("TIDEGATE_SEED={seed}: {reason}\n{story}"),
        TestError::Abort(reason) => format!("TIDEGATE_SEED={seed}: {reason}"),
    })
}

#[test]
fn what_was_acknowledged_arrives_in_order_or_is_accounted_for() {
    let stories = asked("TIDEGATE_STORIES").unwrap_or(STORIES);
    let first = asked("TIDEGATE_SEED");
    let (next, last) = match first {
        Some(seed) => (seed, seed + stories.div_ceil(A_SEED)),
        None => (1, 1 + stories.div_ceil(A_SEED)),
    };
    // A story that fails says so once, when it is as short as it can be.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, failed, failure) = (AtomicU64::new(next), AtomicBool::new(false), std::sync::Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(words) = tell(seed, A_SEED) {
                        failed.store(true, Ordering::Relaxed);
                        *failure.lock().expect("nobody panics") = Some(words);
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    if let Some(words) = failure.into_inner().expect("nobody panics") {
        panic!("{words}");
    }
}
