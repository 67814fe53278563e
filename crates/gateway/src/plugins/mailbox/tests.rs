//! The way in, and every order in which the two sides of the way out can meet.

use super::*;
use tidegate_message::{QoS, Topic};
use tidegate_router::Ticket;

/// The signal once more, over atomics that take turns.
mod turns;

/// A parcel that a source waits for, or does not.
fn job(id: u64, is_awaited: bool) -> Parcel {
    let message = Message::new(Topic::new("t").unwrap(), "", QoS::AtMostOnce);
    let Ticket::Held { debt, .. } = Ticket::from_key(7) else { unreachable!("7 stands for the seventh debt") };
    let debt = is_awaited.then_some(debt);
    Parcel { message, debt, id, received_ms: 0, received_us: 0, redelivered: false }
}

fn swap(source: &str) -> Swap {
    Swap { source: source.into(), tick: None, stages: Vec::new() }
}

fn ids<'a>(jobs: impl IntoIterator<Item = &'a Parcel>) -> Vec<u64> {
    jobs.into_iter().map(|job| job.id).collect()
}

#[test]
fn a_full_inbox_drops_its_oldest_that_no_source_waits_for() {
    let inbox = Inbox::default();
    let mut jobs: Vec<_> = (0..6).map(|id| job(id, id % 2 == 1)).collect();
    assert_eq!(ids(&inbox.push(&mut jobs, 4)), [0, 2]);
    assert!(jobs.is_empty());
    let mut taken = Vec::new();
    assert!(matches!(inbox.take(&mut taken, None), Next::Decide));
    assert_eq!(ids(&taken), [1, 3, 4, 5]);
}

#[test]
fn what_was_not_decided_comes_again_in_front_and_says_so() {
    let inbox = Inbox::default();
    inbox.push(&mut (0..2).map(|id| job(id, true)).collect(), 10);
    let mut taken = Vec::new();
    inbox.take(&mut taken, None);
    inbox.push(&mut vec![job(2, true)], 10);
    inbox.give_back(&mut taken);
    inbox.take(&mut taken, None);
    let seen: Vec<_> = taken.iter().map(|job| (job.id, job.redelivered)).collect();
    assert_eq!(seen, [(0, true), (1, true), (2, false)]);
}

#[test]
fn a_swap_goes_before_jobs_and_the_end_of_the_route_before_both() {
    let inbox = Inbox::default();
    let mut jobs = Vec::new();
    inbox.push(&mut vec![job(1, true)], 10);
    inbox.stop();
    inbox.swap(swap("first"));
    inbox.swap(swap("second"));
    assert_eq!(inbox.sleep(SLEEP_MAX), Err(Interrupted));
    let next = inbox.take(&mut jobs, None);
    assert!(matches!(&next, Next::Swap(swap) if &*swap.source == "second"), "{next:?}");
    assert!(matches!(inbox.take(&mut jobs, None), Next::Decide), "what came is decided before the end");
    assert!(matches!(inbox.take(&mut jobs, None), Next::Stop));
    inbox.push(&mut vec![job(2, true)], 10);
    inbox.swap(swap("third"));
    inbox.retire();
    let next = inbox.take(&mut jobs, None);
    assert!(matches!(&next, Next::Retire(waiting) if ids(waiting) == [2]), "{next:?}");
}
