//! The way in, and every order in which the two sides of the way out can meet.

use super::*;
use tidegate_message::{QoS, Topic};
use tidegate_plugin::{leave_borrowed, run_here};
use tidegate_router::{Ticket, Verdict};

/// The signal once more, over atomics that take turns.
mod turns;

/// A parcel that a source waits for, or does not.
fn job(id: u64, is_awaited: bool) -> Parcel {
    let message = Message::new(Topic::new("t").unwrap(), "", QoS::AtMostOnce);
    let Ticket::Held { debt, .. } = Ticket::from_key(7) else { unreachable!("7 stands for the seventh debt") };
    let debt = is_awaited.then_some(debt);
    Parcel { message, debt, id, received_ms: 0, received_us: 0, redelivered: false }
}

/// Decides that all go onward; told to stop, it stops halfway through the first batch.
#[derive(Default)]
struct Clerk {
    stops: bool,
}

impl Decides for Clerk {
    async fn decide(&mut self, jobs: &mut Vec<Parcel>) -> Result<Vec<Decided>, Interrupted> {
        if std::mem::take(&mut self.stops) {
            leave_borrowed().await;
        }
        Ok(jobs.drain(..).map(|job| Decided::Parcel(job, Verdict::Onward)).collect())
    }
}

/// What the thread is to do next, with a worker that it has.
fn turn(inbox: &Inbox<Clerk>, jobs: &mut Vec<Parcel>) -> Next {
    match inbox.take(Box::default(), jobs, None) {
        Turn::Do(_, next) => next,
        Turn::End(_) => panic!("nothing was begun"),
    }
}

fn decided_ids(decided: &[Decided]) -> Vec<u64> {
    let id = |one: &Decided| match one {
        Decided::Parcel(job, Verdict::Onward) => job.id,
        other => panic!("{other:?}"),
    };
    decided.iter().map(id).collect()
}

/// An inbox with a worker that rests in it.
fn with_resting(clerk: Clerk) -> Inbox<Clerk> {
    let inbox = Inbox::<Clerk>::default();
    inbox.lock().worker = Some(Box::new(clerk));
    inbox
}

#[test]
fn a_few_jobs_are_decided_at_once_where_they_come_in() {
    let inbox = with_resting(Clerk::default());
    let mut jobs = vec![job(1, true), job(2, false)];
    let Here::Decided(decided) = inbox.decide_here(&mut jobs, || false) else { panic!("not here") };
    assert_eq!(decided_ids(&decided), [1, 2]);
    assert!(jobs.is_empty() && inbox.lock().worker.is_some());
}

#[test]
fn what_anything_of_the_route_waits_before_is_for_the_thread() {
    let refuses = |inbox: &Inbox<Clerk>, count: u64, is_elsewhere: bool| {
        let mut jobs: Vec<_> = (10..10 + count).map(|id| job(id, true)).collect();
        let here = inbox.decide_here(&mut jobs, || is_elsewhere);
        matches!(here, Here::Refused) && jobs.len() as u64 == count
    };
    assert!(refuses(&Inbox::default(), 1, false), "the thread has the worker");
    let inbox = with_resting(Clerk::default());
    assert!(refuses(&inbox, 1, true), "verdicts wait in the outbox");
    assert!(refuses(&inbox, 1 + HERE_MAX as u64, false), "many");
    inbox.push(&mut vec![job(1, true)], 10);
    assert!(refuses(&inbox, 1, false), "jobs wait");
    let inbox = with_resting(Clerk::default());
    inbox.swap(swap("next"));
    assert!(refuses(&inbox, 1, false), "a swap waits");
    let inbox = with_resting(Clerk::default());
    inbox.lock().until = Some(Instant::now());
    assert!(refuses(&inbox, 1, false), "a tick is due");
    let inbox = with_resting(Clerk::default());
    inbox.stop();
    assert!(refuses(&inbox, 1, false), "the end has come");
}

#[test]
fn what_had_to_leave_is_ended_by_the_thread_before_anything_else() {
    let inbox = Inbox::<Clerk>::default();
    let turn = std::thread::scope(|scope| {
        let thread = scope.spawn(|| inbox.take(Box::new(Clerk { stops: true }), &mut Vec::new(), None));
        while inbox.lock().worker.is_none() {
            std::thread::yield_now();
        }
        assert!(matches!(inbox.decide_here(&mut vec![job(1, true)], || false), Here::Elsewhere));
        assert!(matches!(inbox.decide_here(&mut vec![job(2, true)], || false), Here::Refused), "one is undecided");
        inbox.push(&mut vec![job(2, true)], 10);
        inbox.retire();
        thread.join().expect("no panic")
    });
    let Turn::End(begun) = turn else { panic!("it does something else first") };
    let (worker, left, decided) = run_here(begun);
    assert_eq!((decided_ids(&decided.expect("decided")), left.len()), (vec![1], 0));
    let Turn::Do(_, Next::Retire(waiting)) = inbox.take(worker, &mut Vec::new(), None) else {
        panic!("the route is gone")
    };
    assert_eq!(ids(&waiting), [2]);
}

fn swap(source: &str) -> Swap {
    Swap { source: source.into(), tick: None, stages: Vec::new(), meetings: Vec::new() }
}

fn ids<'a>(jobs: impl IntoIterator<Item = &'a Parcel>) -> Vec<u64> {
    jobs.into_iter().map(|job| job.id).collect()
}

#[test]
fn a_full_inbox_drops_its_oldest_that_no_source_waits_for() {
    let inbox = Inbox::<Clerk>::default();
    let mut jobs: Vec<_> = (0..6).map(|id| job(id, id % 2 == 1)).collect();
    assert_eq!(ids(&inbox.push(&mut jobs, 4)), [0, 2]);
    assert!(jobs.is_empty());
    let mut taken = Vec::new();
    assert!(matches!(turn(&inbox, &mut taken), Next::Decide));
    assert_eq!(ids(&taken), [1, 3, 4, 5]);
}

#[test]
fn what_was_not_decided_comes_again_in_front_and_says_so() {
    let inbox = Inbox::<Clerk>::default();
    inbox.push(&mut (0..2).map(|id| job(id, true)).collect(), 10);
    let mut taken = Vec::new();
    turn(&inbox, &mut taken);
    inbox.push(&mut vec![job(2, true)], 10);
    inbox.give_back(&mut taken);
    turn(&inbox, &mut taken);
    let seen: Vec<_> = taken.iter().map(|job| (job.id, job.redelivered)).collect();
    assert_eq!(seen, [(0, true), (1, true), (2, false)]);
}

#[test]
fn a_swap_goes_before_jobs_and_the_end_of_the_route_before_both() {
    let inbox = Inbox::<Clerk>::default();
    let mut jobs = Vec::new();
    inbox.push(&mut vec![job(1, true)], 10);
    inbox.stop();
    inbox.swap(swap("first"));
    inbox.swap(swap("second"));
    assert_eq!(inbox.sleep(SLEEP_MAX), Err(Interrupted));
    let next = turn(&inbox, &mut jobs);
    assert!(matches!(&next, Next::Swap(swap) if &*swap.source == "second"), "{next:?}");
    assert!(matches!(turn(&inbox, &mut jobs), Next::Decide), "what came is decided before the end");
    assert!(matches!(turn(&inbox, &mut jobs), Next::Stop));
    inbox.push(&mut vec![job(2, true)], 10);
    inbox.swap(swap("third"));
    inbox.retire();
    let next = turn(&inbox, &mut jobs);
    assert!(matches!(&next, Next::Retire(waiting) if ids(waiting) == [2]), "{next:?}");
}
