//! Deadlines, memory, outputs and log are bounded.

use crate::guest::{Extra, does::*};
use crate::{handle, hasty, instance, outcomes, spec};
use std::time::{Duration, Instant};
use tidegate_plugin::{Fault, Outcome};

/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn a_loop_is_cut_at_its_deadline() {
    let mut instance = instance(Extra::None, hasty());
    let began = Instant::now();
    assert_eq!(handle(&mut instance, &[LOOP]), ["deadline"]);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(100) + SLACK, "{took:?}");
    assert_eq!(handle(&mut instance, &[PASS, LOOP, DROP]), ["pass", "deadline", "drop too cold"]);
}

#[test]
fn a_call_that_waits_for_a_core_is_not_cut() {
    let mut instance = instance(Extra::None, hasty());
    let others = 10 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let said: Vec<_> = (0..10).flat_map(|_| handle(&mut instance, &[COUNT])).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(said, ["pass"; 10]);
    });
    assert_eq!(instance.stats().failed_calls, 0);
    assert_eq!(handle(&mut instance, &[LOOP]), ["deadline"]);
}

#[test]
fn a_sleep_is_cut_at_its_deadline() {
    let mut instance = instance(Extra::Sleep, hasty());
    let began = Instant::now();
    assert_eq!(handle(&mut instance, &[PASS, SLEEP, NAP]), ["pass", "deadline", "pass"]);
    assert!(began.elapsed() < Duration::from_millis(200) + SLACK, "{:?}", began.elapsed());
}

#[test]
fn a_plugin_that_hangs_on_everything_is_given_up_so_that_a_circuit_can_open() {
    let mut instance = instance(Extra::None, hasty());
    let said = handle(&mut instance, &[LOOP; 100]);
    // Four calls were cut: the batch, and three messages alone.
    assert_eq!(said[..3], ["deadline"; 3]);
    assert!(said[3..].iter().all(|word| word.starts_with("retry")), "{said:?}");
    assert_eq!(handle(&mut instance, &[PASS]), ["pass"]);
}

#[test]
fn a_memory_bomb_is_refused_at_its_limit() {
    let mut instance = instance(Extra::None, spec());
    let outcomes = outcomes(&mut instance, &[PASS, MEMORY_BOMB, PASS]);
    assert_eq!(outcomes[1], Outcome::Fault(Fault::Memory { limit_bytes: 16 << 20 }));
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Pass, &Outcome::Pass));
    assert!(instance.memory_bytes() < 2 << 20);
}

#[test]
fn a_plugin_whose_memory_grows_begins_anew_before_a_call_fails() {
    let mut instance = instance(Extra::None, spec());
    for _ in 0..40 {
        // A MiB each, of 16.
        assert_eq!(handle(&mut instance, &[LEAK]), ["pass"]);
    }
    let kinds: Vec<_> = instance.take_lost_guests().iter().map(Fault::kind).collect();
    assert_eq!(kinds, ["memory_near"; 2]);
    assert_eq!((instance.stats().failed_calls, instance.stats().restarts), (0, 2));
}

#[test]
fn a_plugin_that_holds_much_and_no_more_is_left_alone() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(handle(&mut instance, &[LEAK; 14]), ["pass"; 14]);
    let holds = instance.memory_bytes();
    assert!(holds > 14 << 20, "{holds}");
    for _ in 0..100 {
        assert_eq!(handle(&mut instance, &[PASS, DROP]), ["pass", "drop too cold"]);
    }
    assert_eq!((instance.memory_bytes(), instance.take_lost_guests().len()), (holds, 0));
}

#[test]
fn an_output_bomb_is_refused_before_it_is_copied() {
    let mut instance = instance(Extra::None, spec());
    let said = handle(&mut instance, &[PASS, OUTPUT_BOMB, OUT_OF_BOUNDS, PASS]);
    assert_eq!(said, ["pass", "too_large", "trap", "pass"]);
}

#[test]
fn a_log_flood_is_cut_and_counted() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(handle(&mut instance, &[LOG_FLOOD]).len(), 1);
    assert!(instance.plugin().suppressed_log_lines() >= 900);
}
