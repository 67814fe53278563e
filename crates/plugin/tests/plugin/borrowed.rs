//! Calls on a thread that is only borrowed: what would hold it up leaves it, whole, and ends elsewhere.

use crate::guest::{Extra, does::*};
use crate::{hasty, instance, spec, word};
use std::task::Poll;
use tidegate_message::{Message, QoS, Topic};
use tidegate_plugin::{Input, Instance, Outcome, StateGrant, poll_briefly, run_here};

/// Whether the thread was left, and the outcomes, as words.
fn begin_here(instance: &mut Instance, does: &[u8]) -> (bool, Vec<String>) {
    let topic = Topic::new("dev/1").unwrap();
    let message = |byte: &u8| Message::new(topic.clone(), vec![*byte], QoS::AtLeastOnce);
    let messages: Vec<Message> = does.iter().map(message).collect();
    let input = |(id, message)| Input { id, message, received_ms: 0, redelivered: false };
    let inputs: Vec<Input<'_>> = (1..).zip(&messages).map(input).collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut call = Box::pin(instance.handle("home", &inputs, &mut outcomes));
    let is_left = poll_briefly(call.as_mut()) == Poll::Pending;
    if is_left {
        // Fibers go on on any thread.
        std::thread::scope(|scope| scope.spawn(|| run_here(call)).join().unwrap());
    } else {
        drop(call);
    }
    assert_eq!(outcomes.len(), does.len(), "exactly one outcome for each");
    (is_left, outcomes.iter().map(word).collect())
}

#[test]
fn what_is_quick_is_decided_where_it_is() {
    let mut instance = instance(Extra::None, spec());
    let (is_left, said) = begin_here(&mut instance, &[PASS, DROP, FORWARD_TWO, REJECT, RETRY]);
    assert!(!is_left);
    assert_eq!(said[..3], ["pass", "drop too cold", "forward 2"]);
}

#[test]
fn a_loop_leaves_after_a_slice_and_is_cut_at_its_deadline() {
    let mut instance = instance(Extra::None, hasty());
    assert_eq!(begin_here(&mut instance, &[LOOP]), (true, vec!["deadline".into()]));
    assert_eq!(instance.stats().calls, 1, "it went on where it was");
    let (is_left, said) = begin_here(&mut instance, &[PASS]);
    assert_eq!((is_left, &*said[0]), (true, "pass"), "a fresh guest is not made here");
    assert!(!begin_here(&mut instance, &[PASS]).0);
}

#[test]
fn a_guest_that_sleeps_sleeps_elsewhere() {
    let mut instance = instance(Extra::Sleep, hasty());
    assert_eq!(begin_here(&mut instance, &[PASS, NAP, PASS]), (true, vec!["pass".into(); 3]));
    assert_eq!(begin_here(&mut instance, &[SLEEP]), (true, vec!["deadline".into()]));
}

#[test]
fn a_call_that_has_left_has_all_of_its_deadline() {
    let mut instance = instance(Extra::Sleep, spec());
    // Several beats of the clock, the first of which would have ended the slice.
    assert_eq!(begin_here(&mut instance, &[NAP; 20]), (true, vec!["pass".into(); 20]));
    assert_eq!(instance.stats().failed_calls, 0);
}

#[test]
fn what_a_guest_says_is_written_elsewhere() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(begin_here(&mut instance, &[LOG_FLOOD]), (true, vec!["pass".into()]));
}

#[test]
fn a_fault_is_told_apart_elsewhere() {
    let mut instance = instance(Extra::None, spec());
    assert_eq!(
        begin_here(&mut instance, &[PASS, TRAP, DROP]),
        (true, ["pass", "trap", "drop too cold"].map(String::from).into())
    );
}

#[test]
fn what_a_call_that_left_has_written_is_its_plugins_state() {
    let mut granted = spec();
    granted.grants.state = StateGrant::Granted;
    let mut instance = instance(Extra::State, granted);
    let (_, said) = begin_here(&mut instance, &[SET, LOG_FLOOD]);
    assert_eq!(said, ["pass", "pass"]);
    assert_eq!(instance.take_written().len(), 1);
}
