//! Wakes a task of this thread at most once per turn.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// A task sleeps between [`sleep`](Wake::sleep) and the first [`wake`](Wake::wake); while it runs, waking it costs nothing.
pub(crate) struct Wake {
    awake: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Wake {
    fn default() -> Self {
        Self { awake: Cell::new(true), waker: RefCell::new(None) }
    }
}

impl Wake {
    /// Makes the task run, if it does not already.
    pub(crate) fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// The task begins a turn.
    pub(crate) fn begin(&self, cx: &Context<'_>) {
        self.awake.set(true);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// The task has seen everything there was to see.
    pub(crate) fn sleep(&self) {
        self.awake.set(false);
    }
}
