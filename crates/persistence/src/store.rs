//! The store of a running broker: what happens is written down, and what counts is remembered.

use crate::items::{Item, Items};
use crate::record::{self, MessageHead, Record, VERSION};
use crate::saved::{CopyId, Found, Handover, Head, NewCopy, Origin, Publisher, Saved, Snapshot, Subscription, Taken};
use crate::segments::{Kept, Segments, Tidying};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::{Message, TopicFilter};
use tidegate_spool::{DiskStats, DiskStatus, Journal, OpenError, Settings, Storage, Wake};

/// A message to be written down.
#[derive(Debug)]
pub struct Draft<'a> {
    /// As published; shares no read buffer.
    pub message: Message,
    /// When it is worth nothing any more, in milliseconds since the epoch.
    pub expires_ms: Option<u64>,
    /// By whom, if it is retained: a message takes the place of the one before on its topic.
    pub retained_by: Option<Publisher>,
    /// Who gets it; their numbers are 0, 1, ...
    pub copies: &'a mut Vec<NewCopy>,
    /// What becomes of the packet id of the client that published it.
    pub handover: Option<Handover>,
    /// By what it is known if the gateway publishes it again in another process.
    pub origin: Option<Origin>,
}

/// The store of one broker. One thread owns it.
#[derive(Debug)]
pub struct Store {
    pub(crate) journal: Journal,
    pub(crate) items: Items,
    pub(crate) sessions: AHashMap<u32, Kept>,
    pub(crate) segments: Segments,
    pub(crate) tidying: Tidying,
    next_item: u64,
    next_session: u32,
    /// Copies that are done and not written down yet.
    done: Vec<CopyId>,
    found: Found,
}

impl Store {
    /// Opens the store in a folder, with a thread that writes and calls `wake`.
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>, settings: Settings, wake: Wake) -> Result<(Self, Saved), OpenError> {
        let mut replay = crate::replay::Replay::default();
        let opened = Journal::open("broker", storage, settings, VERSION, wake, &mut |record| replay.take(&record))?;
        Ok(Self::build(opened, replay))
    }

    /// Opens it without a thread: everything is written in [`step`](Self::step). For tests.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_stepwise(storage: Arc<dyn Storage>, settings: Settings) -> Result<(Self, Saved), OpenError> {
        let mut replay = crate::replay::Replay::default();
        let opened = Journal::open_stepwise(storage, settings, VERSION, &mut |record| replay.take(&record))?;
        Ok(Self::build(opened, replay))
    }

    fn build(
        (journal, found): (Journal, tidegate_spool::JournalFound),
        replay: crate::replay::Replay,
    ) -> (Self, Saved) {
        let sequence = journal.sequence();
        let ended = replay.end(&journal);
        let store = Self {
            journal,
            items: ended.items,
            sessions: ended.sessions,
            segments: ended.segments,
            tidying: Tidying::default(),
            // Neither is ever used twice: what an older record says of one of them must not be taken for another.
            next_item: ended.last_item.max(sequence) + 1,
            next_session: ended.last_session.wrapping_add(1),
            done: Vec::new(),
            found: Found { damaged: found.damaged, torn_bytes: found.torn_bytes },
        };
        (store, ended.saved)
    }

    /// The number that the next message gets.
    pub const fn next_item(&self) -> u64 {
        self.next_item
    }

    /// A message for some sessions, retained or both; returns its number. Empties the copies.
    pub fn message(&mut self, draft: Draft<'_>) -> u64 {
        let item = self.next_item;
        self.next_item += 1;
        let is_retained = draft.retained_by.is_some();
        let publisher = draft.retained_by.unwrap_or(Publisher::Gateway);
        let copies: SmallVec<[Option<NewCopy>; 1]> = draft.copies.drain(..).map(Some).collect();
        let expires_ms = draft.expires_ms;
        let head = MessageHead {
            item,
            expires_ms,
            publisher: &publisher,
            is_retained,
            handover: draft.handover,
            origin: draft.origin,
            first_copy: 0,
            copies: &copies,
        };
        self.make_room();
        let (_, length) =
            self.journal.append(record::MESSAGE, |out| record::put_message_record(out, &head, &draft.message));
        let place = self.segments.wrote(length);
        let message = draft.message;
        let kept = Item { message, expires_ms, publisher, is_retained, first_copy: 0, copies, place };
        if kept.counts() {
            self.segments.keeps_item(item, place);
            self.items.put(item, kept);
        }
        item
    }

    /// One more copy of a retained message, for somebody who has subscribed; `None` if it is not kept any more.
    pub fn copy(&mut self, item: u64, mut copy: NewCopy) -> Option<CopyId> {
        copy.order = self.next_item;
        self.next_item += 1;
        let number = self.items.get_mut(item)?.add(copy.clone());
        let id = CopyId { item, copy: number };
        self.record(&Record::Copy { id, copy });
        Some(id)
    }

    /// A copy is on its way under this serial.
    pub fn sent(&mut self, id: CopyId, serial: u64) {
        if self.change(id, |copy| copy.sent = Some(crate::SentAs { serial, taken_over: false })) {
            self.record(&Record::Sent { id, serial });
        }
    }

    /// The client has taken a copy over (PUBREC).
    pub fn taken_over(&mut self, id: CopyId) {
        let marks = |copy: &mut NewCopy| copy.sent.iter_mut().for_each(|sent| sent.taken_over = true);
        if self.change(id, marks) {
            self.record(&Record::TakenOver { id });
        }
    }

    fn change(&mut self, id: CopyId, change: impl FnOnce(&mut NewCopy)) -> bool {
        let copy = self.items.get_mut(id.item).and_then(|item| item.copy_mut(id.copy)).and_then(Option::as_mut);
        copy.map(change).is_some()
    }

    /// A copy needs no more care. Nobody waits for this to be durable: it costs a repetition at QoS 1, and what is
    /// [taken over](Self::taken_over) is not repeated.
    pub fn done(&mut self, id: CopyId) {
        if let Some(place) = self.items.done(id) {
            self.segments.lost(place);
        }
        self.done.push(id);
    }

    /// The topic of a retained message has another one or none; with `is_gone`, none.
    pub fn unretain(&mut self, item: u64, is_gone: bool) {
        if let Some(place) = self.items.unretain(item) {
            self.segments.lost(place);
        }
        if is_gone {
            self.record(&Record::Unretained { item });
        }
    }

    /// A QoS 2 message of a client is taken over by all.
    pub fn took(&mut self, session: u32, packet_id: u16) {
        self.record(&Record::Took(Handover { session, packet_id, taken: Taken::Wholly }));
    }

    /// A client has released a packet id (PUBREL).
    pub fn released(&mut self, session: u32, packet_id: u16) {
        self.record(&Record::Released { session, packet_id });
    }

    /// What the gateway published before says nothing of what it publishes now: its log is another one.
    pub fn forget_origins(&mut self) {
        self.record(&Record::OriginsForgotten);
    }

    /// A new session; returns its number.
    pub fn session(&mut self, snapshot: &Snapshot) -> u32 {
        let number = self.next_session;
        self.next_session = self.next_session.wrapping_add(1);
        self.put_session(number, snapshot);
        number
    }

    /// What a session is now, whatever was said of it before.
    /// Returns how much that takes, in bytes.
    pub(crate) fn put_session(&mut self, number: u32, snapshot: &Snapshot) -> u64 {
        self.make_room();
        let record = Record::Session { number, snapshot: snapshot.clone() };
        let (_, length) = self.journal.append(record.kind(), |out| record.put(out));
        let place = self.segments.wrote(length);
        self.segments.keeps_session_at(number, place);
        let kept = Kept { client_id: snapshot.head.client_id.clone(), place };
        if let Some(before) = self.sessions.insert(number, kept) {
            self.segments.lost(before.place);
        }
        length
    }

    /// The client came back to its session.
    pub fn connected(&mut self, number: u32, head: &Head) {
        self.record(&Record::Connected { number, head: head.clone() });
    }

    /// The client is away since then; whether its will is still to come.
    pub fn away(&mut self, number: u32, since_ms: u64, expiry_s: u32, has_will: bool) {
        self.record(&Record::Away { number, since_ms, expiry_s, has_will });
    }

    /// The will of a session was published.
    pub fn will_gone(&mut self, number: u32) {
        self.record(&Record::WillGone { number });
    }

    /// A subscription is there, in place of the one on the same filter.
    pub fn subscribed(&mut self, number: u32, subscription: &Subscription) {
        self.record(&Record::Subscribed { number, subscription: subscription.clone() });
    }

    /// A subscription is gone.
    pub fn unsubscribed(&mut self, number: u32, filter: &TopicFilter) {
        self.record(&Record::Unsubscribed { number, filter: filter.clone() });
    }

    /// A session has ended, with these copies: all that it had.
    pub fn end_session(&mut self, number: u32, copies: impl IntoIterator<Item = CopyId>) {
        for id in copies {
            if let Some(place) = self.items.done(id) {
                self.segments.lost(place);
            }
        }
        if let Some(kept) = self.sessions.remove(&number) {
            self.segments.lost(kept.place);
            self.record(&Record::Ended { number });
        }
    }

    pub(crate) fn record(&mut self, record: &Record) {
        self.make_room();
        let (_, length) = self.journal.append(record.kind(), |out| record.put(out));
        self.segments.wrote(length);
    }

    pub(crate) fn make_room(&mut self) {
        if self.journal.is_full() {
            self.journal.roll();
            self.segments.rolled();
        }
    }

    /// Hands everything over to be written. Call it once for each batch.
    pub fn flush(&mut self) {
        if !self.done.is_empty() {
            let ids = std::mem::take(&mut self.done);
            let record = Record::Done { ids };
            self.record(&record);
            let Record::Done { mut ids } = record else { return };
            ids.clear();
            self.done = ids;
        }
        self.journal.flush();
    }

    /// Whether there is something to [hand over](Self::flush).
    pub const fn has_unwritten(&self) -> bool {
        !self.done.is_empty() || self.journal.has_unwritten()
    }

    /// The sequence of the last record.
    pub const fn sequence(&self) -> u64 {
        self.journal.sequence()
    }

    /// Everything up to this sequence is durable, as of the last [`poll`](Self::poll).
    pub const fn durable(&self) -> u64 {
        self.journal.durable()
    }

    /// Asks how far everything is durable.
    pub fn poll(&mut self) -> u64 {
        self.journal.poll()
    }

    /// How the disk is doing.
    pub fn status(&self) -> DiskStatus {
        self.journal.status()
    }

    /// Counted since the start.
    pub fn stats(&self) -> DiskStats {
        self.journal.stats()
    }

    /// What was wrong with the files when it was opened.
    pub const fn found(&self) -> Found {
        self.found
    }

    /// How long the log is, and how much of it counts, in bytes.
    pub fn bytes(&self) -> (u64, u64) {
        self.segments.bytes()
    }

    /// How many messages are kept.
    pub fn messages(&self) -> usize {
        self.items.len()
    }

    /// Does the work of the thread, where there is none.
    pub fn step(&mut self) {
        self.flush();
        self.journal.step();
    }

    /// Writes everything there is, and ends; nothing is written from here on. False if it could not all be written.
    pub fn finish(&mut self, patience: Duration) -> bool {
        self.flush();
        self.journal.finish(patience)
    }
}
