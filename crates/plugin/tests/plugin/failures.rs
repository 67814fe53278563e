//! A failure costs its own message only.

use crate::guest::{Extra, does::*};
use crate::{handle, instance, outcomes, spec};
use tidegate_plugin::{Destination, Outcome};

#[test]
fn every_decision_comes_through() {
    let mut instance = instance(Extra::None, spec());
    let said = handle(&mut instance, &[PASS, FORWARD_TWO, DROP, REJECT, RETRY, PASS]);
    assert_eq!(said, ["pass", "forward 2", "drop too cold", "reject too cold", "retry too cold", "pass"]);
    assert_eq!(instance.stats().calls, 1, "one call for all of them");

    let outcomes = outcomes(&mut instance, &[FORWARD_TWO]);
    let Outcome::Forward(outputs) = &outcomes[0] else { panic!("forward") };
    assert_eq!(outputs[0].topic.as_ref().map(|topic| topic.as_str()), Some("site/a"));
    assert_eq!((outputs[0].to, outputs[1].to), (Destination::Onward, Destination::Target(1)));
    assert_eq!((&outputs[1].topic, &outputs[1].payload), (&None, &None));
}

#[test]
fn a_trap_costs_its_own_message_only() {
    let mut instance = instance(Extra::None, spec());
    let said = handle(&mut instance, &[PASS, DROP, TRAP, PASS, TRAP, FORWARD_TWO]);
    assert_eq!(said, ["pass", "drop too cold", "trap", "pass", "trap", "forward 2"]);
    assert_eq!(handle(&mut instance, &[PASS]), ["pass"], "a fresh guest took over");
}

#[test]
fn a_batch_full_of_traps_is_decided_to_the_last() {
    let mut instance = instance(Extra::None, spec());
    let mut batch = [TRAP; 30];
    batch[29] = PASS;
    let said = handle(&mut instance, &batch);
    assert_eq!(said.iter().filter(|word| *word == "trap").count(), 29);
    assert_eq!(said[29], "pass");
}

#[test]
fn a_message_decided_again_says_so() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(handle(&mut instance, &[PASS, TRAP_ONCE, PASS]), ["pass"; 3]);
    // First in its batch, it is the first of a fresh guest: nobody before it is to blame, and it has one chance only.
    assert_eq!(handle(&mut instance, &[TRAP_ONCE, PASS]), ["pass"; 2]);
    // Alone in a used guest: perhaps its forerunners' fault, so it gets a second chance.
    assert_eq!(handle(&mut instance, &[TRAP_ONCE]), ["pass"]);
}

#[test]
fn a_leak_is_not_blamed_on_the_message_that_finds_the_memory_full() {
    let mut spec = spec();
    spec.limits.memory_bytes = 8 << 20;
    let mut instance = instance(Extra::None, spec);
    for _ in 0..20 {
        // Its next step is too large to begin anew before it.
        assert_eq!(handle(&mut instance, &[LEAK; 3]), ["pass"; 3]);
    }
    assert!(instance.stats().restarts > 3);
    assert!(instance.take_lost_guests().iter().any(|fault| fault.kind() == "memory"));
}

#[test]
fn one_result_too_few_is_charged_to_who_caused_it() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(handle(&mut instance, &[PASS, WRONG_COUNT, DROP]), ["pass", "wrong_count", "drop too cold"]);
}

#[test]
fn a_bad_output_costs_its_message_without_a_restart() {
    let mut instance = instance(Extra::None, spec());
    let batch = [PASS, BAD_TOPIC, FOREIGN_TARGET, FOREIGN_TOPIC, EMPTY_FORWARD, OUTPUTS_65, PASS];
    let said = handle(&mut instance, &batch);
    assert_eq!(
        said,
        ["pass", "bad_topic", "foreign_target", "foreign_topic", "empty_forward", "too_many_outputs", "pass"]
    );
    let stats = instance.stats();
    assert_eq!((stats.calls, stats.failed_calls, stats.restarts), (1, 0, 0));
}

#[test]
fn batches_stay_small_after_a_failure_and_grow_with_success() {
    let mut instance = instance(Extra::None, spec());
    handle(&mut instance, &[TRAP]);
    let before = instance.stats().calls;
    handle(&mut instance, &[PASS; 15]);
    assert_eq!(instance.stats().calls - before, 4, "1, 2, 4, 8");
}

#[test]
fn without_messages_nothing_is_called() {
    let mut instance = instance(Extra::None, spec());
    assert!(handle(&mut instance, &[]).is_empty());
    assert_eq!(instance.stats().calls, 0);
}
