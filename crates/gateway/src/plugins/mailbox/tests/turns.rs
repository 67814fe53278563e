//! [`Signal`] compiled once more over atomics that take turns as a test says, so that every order can be tried.
//!
//! All its operations are sequentially consistent, so what can happen is exactly what can happen in some order of them,
//! one after the other; the atomics here refuse any weaker ordering.

// On purpose: the same source over other atomics.
#[allow(clippy::duplicate_mod)]
#[path = "../signal.rs"]
mod signal;

use signal::Signal;
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex};

/// Whose turn it is, one entry an operation.
struct Turns {
    order: Vec<usize>,
    taken: usize,
    /// Who has no more operations to come.
    done: [bool; 2],
}

struct Referee {
    turns: Mutex<Turns>,
    changed: Condvar,
}

thread_local! {
    static PLAYER: std::cell::RefCell<Option<(Arc<Referee>, usize)>> = const { std::cell::RefCell::new(None) };
}

impl Referee {
    /// Runs one operation when its turn has come.
    fn turn<R>(&self, me: usize, operation: impl FnOnce() -> R) -> R {
        let mut turns = self.turns.lock().unwrap();
        loop {
            let whose = turns.order.get(turns.taken).copied();
            match whose {
                Some(whose) if turns.done[whose] => turns.taken += 1,
                Some(whose) if whose != me => turns = self.changed.wait(turns).unwrap(),
                // Its turn, or all turns are taken and whoever has something left to do does it.
                _ => break,
            }
        }
        let result = operation();
        turns.taken += 1;
        self.changed.notify_all();
        result
    }

    fn is_done(&self, me: usize) {
        self.turns.lock().unwrap().done[me] = true;
        self.changed.notify_all();
    }
}

/// Runs one operation of this thread in its turn; without a referee at once.
fn in_turn<R>(order: std::sync::atomic::Ordering, operation: impl FnOnce() -> R) -> R {
    assert_eq!(order, std::sync::atomic::Ordering::SeqCst, "weaker orders are not tried here");
    let player = PLAYER.with_borrow(Clone::clone);
    match player {
        Some((referee, me)) => referee.turn(me, operation),
        None => operation(),
    }
}

mod atomic {
    use super::in_turn;
    use std::sync::atomic::Ordering;
    pub(super) use std::sync::atomic::Ordering::SeqCst;

    #[derive(Default)]
    pub(super) struct AtomicU64(std::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(super) fn load(&self, order: Ordering) -> u64 {
            in_turn(order, || self.0.load(order))
        }

        pub(super) fn fetch_add(&self, count: u64, order: Ordering) -> u64 {
            in_turn(order, || self.0.fetch_add(count, order))
        }
    }

    #[derive(Default)]
    pub(super) struct AtomicBool(std::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(super) fn load(&self, order: Ordering) -> bool {
            in_turn(order, || self.0.load(order))
        }

        pub(super) fn store(&self, value: bool, order: Ordering) {
            in_turn(order, || self.0.store(value, order));
        }
    }
}

/// One side of a meeting: what it does under the referee, and its name there.
fn play<R>(referee: &Arc<Referee>, me: usize, side: impl FnOnce() -> R) -> R {
    PLAYER.set(Some((Arc::clone(referee), me)));
    let result = side();
    PLAYER.set(None);
    referee.is_done(me);
    result
}

/// Raises the signal `raises` times while it is watched for `looks` more looks, in this order of operations.
/// Whether the watcher saw it, and whether it was woken.
fn meet(order: Vec<usize>, raises: u32, looks: u32) -> (bool, bool) {
    let referee =
        Arc::new(Referee { turns: Mutex::new(Turns { order, taken: 0, done: [false; 2] }), changed: Condvar::new() });
    let signal = Signal::default();
    let seen = signal.raised();
    std::thread::scope(|scope| {
        let raising = scope.spawn(|| play(&referee, 0, || (0..raises).fold(false, |woken, _| signal.raise() || woken)));
        let left = Cell::new(looks);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        let saw = play(&referee, 1, || signal.watch(seen, go_on));
        (saw, raising.join().unwrap())
    })
}

/// All orders of `zeros` operations of one side and `ones` of the other.
fn orders(zeros: usize, ones: usize) -> Vec<Vec<usize>> {
    if zeros + ones == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (side, zeros, ones) in [(0, zeros.wrapping_sub(1), ones), (1, zeros, ones.wrapping_sub(1))] {
        if zeros != usize::MAX && ones != usize::MAX {
            all.extend(orders(zeros, ones).into_iter().map(|mut order| {
                order.push(side);
                order
            }));
        }
    }
    all
}

#[test]
fn whatever_the_order_a_watcher_that_saw_nothing_is_woken() {
    let (mut seen, mut woken) = (0, 0);
    for (raises, looks) in [(1, 0), (1, 1), (1, 2), (2, 1)] {
        // Raising takes two operations, watching three and one more for each look.
        for order in orders(2 * raises as usize, 4 + looks as usize) {
            let (saw, was_woken) = meet(order.clone(), raises, looks);
            assert!(saw || was_woken, "the watcher sleeps for ever: {order:?}");
            seen += u32::from(saw && !was_woken);
            woken += u32::from(was_woken);
        }
    }
    assert!(seen > 0 && woken > 0, "both ways are taken: {seen}, {woken}");
}

#[test]
fn a_watcher_that_sees_it_costs_nobody_a_wake() {
    // It watches, it is raised, it looks.
    assert_eq!(meet(vec![1, 1, 0, 0, 1, 1, 1], 1, 1), (true, false));
}
