//! Keeps the log short: what counts of the oldest segment is written once more at the end, then the segment goes.

use crate::record::{self, MessageHead};
use crate::saved::Snapshot;
use crate::segments::Tidying;
use crate::store::Store;

/// What is done at once is as much as was written since, twice, and this, in bytes.
const AT_ONCE: u64 = 64 * 1024;

/// Looking at something is worth this much, in bytes.
const STEP: u64 = 16;

impl Store {
    /// A step of tidying, if there is something to tidy: in proportion to what was written since the last one. `snapshot` says what a
    /// session is now, by its number and client id. Call it after each batch, before [`flush`](Self::flush). Returns whether there is more to do
    /// that waits for nothing.
    pub fn tidy(&mut self, mut snapshot: impl FnMut(u32, &str) -> Option<Snapshot>) -> bool {
        let mut budget = AT_ONCE + 2 * self.segments.take_recent();
        while let Some(step) = self.tidy_one(&mut snapshot) {
            budget = budget.saturating_sub(step.max(STEP));
            if budget == 0 {
                return true;
            }
        }
        false
    }

    /// The next step, and how much it wrote, in bytes; `None`: there is none now.
    fn tidy_one(&mut self, snapshot: &mut impl FnMut(u32, &str) -> Option<Snapshot>) -> Option<u64> {
        if let Some(sequence) = self.tidying.moved_by {
            if self.journal.durable() < sequence {
                return None;
            }
            self.journal.give_back_oldest();
            self.segments.forget_oldest();
            self.tidying = Tidying::default();
            return Some(0);
        }
        let began = self.tidying.items + self.tidying.sessions > 0;
        if !began && !self.segments.oldest_is_due() {
            return None;
        }
        let (oldest, segment) = self.segments.oldest()?;
        if segment.live == 0 {
            // What it held is gone, or elsewhere: perhaps in a record that is not durable yet.
            self.tidying.moved_by = Some(self.journal.sequence());
            return Some(0);
        }
        if let Some(item) = segment.items.get(self.tidying.items).copied() {
            self.tidying.items += 1;
            return Some(self.move_item(item, oldest));
        }
        if let Some(number) = segment.sessions.get(self.tidying.sessions).copied() {
            self.tidying.sessions += 1;
            return Some(self.move_session(number, oldest, snapshot));
        }
        self.tidying.moved_by = Some(self.journal.sequence());
        Some(0)
    }

    /// Writes a message once more, if it is still there.
    fn move_item(&mut self, number: u64, oldest: u64) -> u64 {
        if self.items.get(number).is_none_or(|item| item.place.segment != oldest) {
            return 0;
        }
        self.make_room();
        let Some(item) = self.items.get_mut(number) else { return 0 };
        let head = MessageHead {
            item: number,
            expires_ms: item.expires_ms,
            publisher: &item.publisher,
            is_retained: item.is_retained,
            handover: None,
            // It was long ago.
            origin: None,
            first_copy: item.first_copy,
            copies: &item.copies,
        };
        let (_, length) =
            self.journal.append(record::MESSAGE, |out| record::put_message_record(out, &head, &item.message));
        let place = self.segments.wrote(length);
        let before = std::mem::replace(&mut item.place, place);
        self.segments.lost(before);
        self.segments.keeps_item(number, place);
        length
    }

    fn move_session(
        &mut self,
        number: u32,
        oldest: u64,
        snapshot: &mut impl FnMut(u32, &str) -> Option<Snapshot>,
    ) -> u64 {
        let Some(kept) = self.sessions.get(&number).filter(|kept| kept.place.segment == oldest) else { return 0 };
        let Some(snapshot) = snapshot(number, &kept.client_id) else { return 0 };
        self.put_session(number, &snapshot)
    }
}
