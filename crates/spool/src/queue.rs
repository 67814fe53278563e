//! One queue: what of it is in memory, and what is done.

use crate::log_state::Done;
use crate::reader::Place;
use crate::record::{ItemId, NameId, QueueMark, Record, Totals};
use std::collections::{BTreeSet, VecDeque};

/// How much of one queue is in memory at most: enough to keep a link busy, little enough for hundreds of queues.
pub(crate) const WINDOW_ITEMS: usize = 8 * 1024;
pub(crate) const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// One item in the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) item: ItemId,
    pub(crate) route: NameId,
    pub(crate) bytes: u32,
    pub(crate) received_ms: u64,
    pub(crate) done: bool,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: NameId,
    pub(crate) window: VecDeque<Slot>,
    /// The ordinal of `window[0]`.
    pub(crate) base: u32,
    pub(crate) window_bytes: u64,
    /// Items in the window that are done, behind one that is not.
    done_in_window: usize,
    /// Appended, to come into the window as soon as they are durable.
    pub(crate) fresh: usize,
    pub(crate) fresh_bytes: u64,
    /// Everything before it is in the window or done.
    pub(crate) loaded: ItemId,
    /// The last item that only the disk has.
    pub(crate) backlog_until: Option<ItemId>,
    pub(crate) place: Place,
    pub(crate) is_reading: bool,
    /// Done behind the cursor, as found at the start; these do not come into the window.
    pub(crate) done_beyond: BTreeSet<ItemId>,
    pub(crate) done: Totals,
    pub(crate) appended: Totals,
    /// How much of it is in memory at most.
    pub(crate) window_items: usize,
    /// Something became done since [`put_mark`](Self::put_mark).
    pub(crate) moved: bool,
    /// The record of its mark, as of then.
    marked: Vec<u8>,
}

impl Queue {
    pub(crate) fn new(name: NameId, found: &Done) -> Self {
        let waits = found.may_wait();
        Self {
            name,
            window: VecDeque::new(),
            base: 0,
            window_bytes: 0,
            done_in_window: 0,
            fresh: 0,
            fresh_bytes: 0,
            loaded: found.cursor,
            // How far it goes is not known before it is read.
            backlog_until: waits.then_some(ItemId { sequence: u64::MAX, index: 0 }),
            place: Place::default(),
            is_reading: false,
            done_beyond: found.beyond.clone(),
            done: if waits { found.done } else { found.appended },
            appended: found.appended,
            window_items: WINDOW_ITEMS,
            moved: true,
            marked: Vec::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.window.len() + self.fresh < self.window_items && self.window_bytes + self.fresh_bytes < WINDOW_BYTES
    }

    pub(crate) fn wants_more(&self) -> bool {
        self.backlog_until.is_some()
            && !self.is_reading
            && self.fresh == 0
            && self.window.len() < self.window_items.div_ceil(2)
            && self.window_bytes < WINDOW_BYTES / 2
    }

    /// Puts an item at the end of the window and returns its ordinal.
    pub(crate) fn push(&mut self, slot: Slot) -> u32 {
        self.window_bytes += u64::from(slot.bytes);
        let after = ItemId { index: slot.item.index + 1, ..slot.item };
        self.loaded = self.loaded.max(after);
        self.window.push_back(slot);
        self.base.wrapping_add(self.window.len() as u32 - 1)
    }

    pub(crate) fn slot(&self, ordinal: u32) -> Option<&Slot> {
        self.window.get(ordinal.wrapping_sub(self.base) as usize)
    }

    /// Marks an item done; `None` if it was, or is none.
    pub(crate) fn finish(&mut self, ordinal: u32) -> Option<Slot> {
        let slot = self.window.get_mut(ordinal.wrapping_sub(self.base) as usize).filter(|slot| !slot.done)?;
        slot.done = true;
        self.moved = true;
        let slot = *slot;
        self.done_in_window += 1;
        self.done.items += 1;
        self.done.bytes += u64::from(slot.bytes);
        while self.window.front().is_some_and(|slot| slot.done) {
            if let Some(gone) = self.window.pop_front() {
                self.window_bytes -= u64::from(gone.bytes);
                self.done_in_window -= 1;
                self.base = self.base.wrapping_add(1);
            }
        }
        if self.is_empty() {
            // What rotted on disk will never be done.
            self.done = self.appended;
            self.done_beyond.clear();
        }
        Some(slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.fresh == 0 && self.backlog_until.is_none()
    }

    /// Everything before it is done.
    pub(crate) fn cursor(&self) -> ItemId {
        self.window.front().map_or(self.loaded, |slot| slot.item)
    }

    pub(crate) fn pending(&self) -> Totals {
        Totals {
            items: self.appended.items.saturating_sub(self.done.items),
            bytes: self.appended.bytes.saturating_sub(self.done.bytes),
        }
    }

    /// Appends the record of its mark. That of a queue that stands still is the one of last time, with its generation: each
    /// mark is true by itself, and of a hundred queues few move between two batches.
    pub(crate) fn put_mark(&mut self, generation: u64, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.moved) {
            self.marked.clear();
            Record::Mark(self.mark()).encode(generation, &mut self.marked);
        }
        out.extend_from_slice(&self.marked);
    }

    pub(crate) fn mark(&self) -> QueueMark {
        // The window is not looked through for nothing.
        let done = self.window.iter().filter(|slot| slot.done).take(self.done_in_window);
        let mut beyond: Vec<ItemId> = done.map(|slot| slot.item).collect();
        let cursor = self.cursor();
        beyond.extend(self.done_beyond.range(cursor..));
        QueueMark { queue: self.name, cursor, beyond, done: self.done, appended: self.appended }
    }
}
