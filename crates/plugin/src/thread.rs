//! Whose thread a call runs on: one that may wait, or one that serves sockets and is only borrowed.
//!
//! Calls are futures, and every future here runs on the thread that polls it. On a thread of its own it runs to the end in
//! one go ([`run_here`]): whatever a guest waits for, the thread waits. On a borrowed one ([`poll_briefly`]) it gives the
//! thread back as soon as it would wait, or after one slice of computing; whoever polls it next, anywhere else, goes on
//! where it was. That a guest's call can be left halfway is what wasmtime's fibers are for.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

thread_local! {
    static IS_BORROWED: Cell<bool> = const { Cell::new(false) };
}

/// Ends the borrowing, also when a poll panics.
struct Borrowed;

impl Drop for Borrowed {
    fn drop(&mut self) {
        IS_BORROWED.set(false);
    }
}

/// Polls a future of this crate on a thread that must not be held up. [`Poll::Pending`]: the thread is given back, and the
/// future, whole, is to be polled to its end on another thread; nothing wakes anybody for it.
pub fn poll_briefly<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    IS_BORROWED.set(true);
    let _borrowed = Borrowed;
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a future of this crate to its end on this thread.
pub fn run_here<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Only what gives a borrowed thread back is ever pending.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// Whether the thread that runs this is one that must not be held up.
pub(crate) fn is_borrowed() -> bool {
    IS_BORROWED.get()
}

/// Goes on only on a thread that may wait.
pub async fn leave_borrowed() {
    poll_fn(|_| if is_borrowed() { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_wait_gives_a_borrowed_thread_back_and_goes_on_where_it_was() {
        let mut steps = 0;
        let mut future = Box::pin(async {
            steps += 1;
            leave_borrowed().await;
            steps += 1;
            steps
        });
        assert_eq!(poll_briefly(future.as_mut()), Poll::Pending);
        assert_eq!(poll_briefly(future.as_mut()), Poll::Pending, "it does not come back to it");
        assert_eq!(run_here(future), 2);
        assert!(!is_borrowed());
    }
}
