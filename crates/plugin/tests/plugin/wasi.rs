//! A component that imports WASI finds nothing there that could hurt.

use crate::guest::{Extra, does::*};
use crate::{handle, instance, outcomes, spec};
use tidegate_plugin::{Fault, Outcome};

#[test]
fn the_world_is_empty_and_typed_as_wasi_is() {
    let mut instance = instance(Extra::Tour, spec());
    assert_eq!(handle(&mut instance, &[LOOK, LOOK]), ["pass"; 2]);
    assert_eq!(instance.stats().failed_calls, 0);
}

#[test]
fn exit_is_a_trap() {
    let mut instance = instance(Extra::Tour, spec());
    let outcome = outcomes(&mut instance, &[EXIT]).remove(0);
    assert_eq!(outcome, Outcome::Fault(Fault::Trap("it exited with failure".into())));
}

#[test]
fn the_last_words_of_a_call_stand_in_its_fault() {
    let mut instance = instance(Extra::Tour, spec());
    let Outcome::Fault(Fault::Trap(text)) = outcomes(&mut instance, &[SCREAM]).remove(0) else { panic!("a trap") };
    assert!(text.contains("unreachable") && text.ends_with("; it said: a line of log"), "{text}");
    // Those of one call are not those of the next.
    let outcome = outcomes(&mut instance, &[EXIT]).remove(0);
    assert_eq!(outcome, Outcome::Fault(Fault::Trap("it exited with failure".into())));
    let kinds: Vec<_> = instance.take_lost_guests().iter().map(Fault::kind).collect();
    assert_eq!((kinds, instance.take_lost_guests().len()), (vec!["trap"; 2], 0));
}

#[test]
fn a_short_sleep_is_a_sleep() {
    let mut instance = instance(Extra::Sleep, spec());
    assert_eq!(handle(&mut instance, &[PASS, NAP, PASS]), ["pass"; 3]);
    assert!(instance.stats().busy.as_micros() >= 1000);
}
