//! The segments of the log: how long each is, how much of it counts, and what was written there.

use crate::items::Place;
use std::collections::VecDeque;
use tidegate_message::ByteString;

/// Where a session's snapshot is.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) client_id: ByteString,
    pub(crate) place: Place,
}

/// One segment as far as it counts.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    bytes: u64,
    /// Of the records that count.
    pub(crate) live: u64,
    /// Messages that were written here; those that are elsewhere now, or gone, among them.
    pub(crate) items: Vec<u64>,
    /// Sessions of which a snapshot was written here.
    pub(crate) sessions: Vec<u32>,
}

/// All segments, the newest last.
#[derive(Debug)]
pub(crate) struct Segments {
    all: VecDeque<Segment>,
    /// The place of `all[0]` in the order of all.
    first: u64,
    bytes: u64,
    live: u64,
    /// Written since the last step of tidying.
    recent: u64,
}

impl Default for Segments {
    fn default() -> Self {
        Self { all: VecDeque::from([Segment::default()]), first: 0, bytes: 0, live: 0, recent: 0 }
    }
}

impl Segments {
    /// A new one begins.
    pub(crate) fn rolled(&mut self) {
        self.all.push_back(Segment::default());
    }

    pub(crate) fn newest(&self) -> u64 {
        self.first + self.all.len() as u64 - 1
    }

    /// A record was written at the end; whether it counts is said by what follows.
    pub(crate) fn wrote(&mut self, length: u64) -> Place {
        self.wrote_in(self.newest(), length)
    }

    pub(crate) fn wrote_in(&mut self, segment: u64, length: u64) -> Place {
        self.bytes += length;
        self.recent += length;
        if let Some(segment) = self.at(segment) {
            segment.bytes += length;
        }
        Place { segment, length }
    }

    fn at(&mut self, segment: u64) -> Option<&mut Segment> {
        self.all.get_mut(segment.checked_sub(self.first)? as usize)
    }

    fn keeps(&mut self, place: Place) {
        self.live += place.length;
        if let Some(segment) = self.at(place.segment) {
            segment.live += place.length;
        }
    }

    /// The record at this place is a message that counts.
    pub(crate) fn keeps_item(&mut self, item: u64, place: Place) {
        self.keeps(place);
        if let Some(segment) = self.at(place.segment) {
            segment.items.push(item);
        }
    }

    /// The record at this place is a snapshot of a session.
    pub(crate) fn keeps_session_at(&mut self, session: u32, place: Place) {
        self.keeps(place);
        if let Some(segment) = self.at(place.segment) {
            segment.sessions.push(session);
        }
    }

    /// The record at this place counts no more.
    pub(crate) fn lost(&mut self, place: Place) {
        self.live = self.live.saturating_sub(place.length);
        if let Some(segment) = self.at(place.segment) {
            segment.live = segment.live.saturating_sub(place.length);
        }
    }

    pub(crate) const fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.live)
    }

    /// The oldest, and its place in the order of all.
    pub(crate) fn oldest(&self) -> Option<(u64, &Segment)> {
        self.all.front().map(|segment| (self.first, segment))
    }

    /// How much was written since this was asked last, in bytes.
    pub(crate) fn take_recent(&mut self) -> u64 {
        std::mem::take(&mut self.recent)
    }

    /// Whether the oldest is to go: it holds nothing, or more than half of everything counts no more.
    pub(crate) fn oldest_is_due(&self) -> bool {
        let oldest = self.all.front().filter(|_| self.all.len() > 1);
        oldest.is_some_and(|oldest| oldest.live == 0 || (self.all.len() > 2 && self.live * 2 < self.bytes))
    }

    pub(crate) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.all.pop_front() {
            self.first += 1;
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }
}

/// How far it has come with the oldest segment.
#[derive(Debug, Default)]
pub(crate) struct Tidying {
    pub(crate) items: usize,
    pub(crate) sessions: usize,
    /// What counts of it is durable elsewhere when this sequence is.
    pub(crate) moved_by: Option<u64>,
}
