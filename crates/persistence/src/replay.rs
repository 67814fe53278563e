//! What the records mean, read from the first to the last.

use crate::items::{Item, Items, Place};
use crate::record::Record;
use crate::saved::{
    CopyId, Handover, NewCopy, Origin, Saved, SavedMessage, SavedRetained, SavedSession, SentAs, Snapshot,
};
use crate::segments::{Kept, Segments};
use ahash::{AHashMap, AHashSet};
use tidegate_message::{Message, Topic};
use tidegate_spool::{Journal, JournalRecord};

/// A number of a copy this much above the last one is none.
const COPIES_LOST_MAX: usize = 1 << 16;

struct Session {
    snapshot: Snapshot,
    place: Place,
    /// Those of its copies that it had at some time.
    copies: Vec<CopyId>,
}

/// The state of the log at one of its records.
#[derive(Default)]
pub(crate) struct Replay {
    items: Items,
    sessions: AHashMap<u32, Session>,
    retained: AHashMap<Topic, u64>,
    origins: AHashSet<Origin>,
    /// First sequences of the segments, and how long each is.
    segments: Vec<(u64, u64)>,
    last_item: u64,
    last_session: u32,
}

/// What came of it.
pub(crate) struct Ended {
    pub(crate) items: Items,
    pub(crate) sessions: AHashMap<u32, Kept>,
    pub(crate) segments: Segments,
    pub(crate) last_item: u64,
    pub(crate) last_session: u32,
    pub(crate) saved: Saved,
}

impl Replay {
    /// The next record; false if it makes no sense.
    pub(crate) fn take(&mut self, record: &JournalRecord) -> bool {
        if self.segments.last().is_none_or(|(first, _)| *first != record.segment) {
            self.segments.push((record.segment, 0));
        }
        let segment = self.segments.len() as u64 - 1;
        if let Some((_, bytes)) = self.segments.last_mut() {
            *bytes += record.length;
        }
        let place = Place { segment, length: record.length };
        let Some(record) = Record::decode(record.kind, &record.body) else { return false };
        self.apply(record, place);
        true
    }

    fn apply(&mut self, record: Record, place: Place) {
        match record {
            Record::Message {
                item,
                message,
                expires_ms,
                publisher,
                is_retained,
                handover,
                origin,
                first_copy,
                copies,
            } => {
                self.origins.extend(origin);
                self.last_item = self.last_item.max(item);
                if let Some(handover) = handover {
                    self.took(handover);
                }
                let kept = Item { message, expires_ms, publisher, is_retained, first_copy, copies, place };
                for (copy, new) in kept.left() {
                    self.last_item = self.last_item.max(new.order);
                    if let Some(session) = self.sessions.get_mut(&new.session) {
                        session.copies.push(CopyId { item, copy });
                    }
                }
                if is_retained {
                    let topic = kept.message.topic.clone();
                    if let Some(before) = self.retained.insert(topic, item).filter(|before| *before != item) {
                        self.items.unretain(before);
                    }
                }
                if kept.counts() {
                    self.items.put(item, kept);
                }
            }
            Record::Copy { id, copy } => {
                let session = copy.session;
                let Some(item) = self.items.get_mut(id.item) else { return };
                item.forget_first();
                // A record between may have rotted: numbers stand for themselves.
                let Some(at) = id.copy.checked_sub(item.first_copy).map(|at| at as usize) else { return };
                if at >= item.copies.len() + COPIES_LOST_MAX {
                    return;
                }
                if at >= item.copies.len() {
                    item.copies.resize(at + 1, None);
                }
                self.last_item = self.last_item.max(copy.order);
                item.copies[at] = Some(copy);
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.copies.push(id);
                }
            }
            Record::Sent { id, serial } => {
                self.change(id, |copy| copy.sent = Some(SentAs { serial, taken_over: false }));
            }
            Record::TakenOver { id } => {
                self.change(id, |copy| copy.sent.iter_mut().for_each(|sent| sent.taken_over = true));
            }
            Record::Done { ids } => self.done(ids),
            Record::Unretained { item } => {
                self.items.unretain(item);
            }
            Record::Took(handover) => self.took(handover),
            Record::OriginsForgotten => self.origins.clear(),
            Record::Released { session, packet_id } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.snapshot.taken.retain(|(id, _)| *id != packet_id);
                }
            }
            Record::Session { number, snapshot } => {
                self.last_session = self.last_session.max(number);
                match self.sessions.get_mut(&number) {
                    Some(session) => (session.snapshot, session.place) = (snapshot, place),
                    None => drop(self.sessions.insert(number, Session { snapshot, place, copies: Vec::new() })),
                }
            }
            Record::Ended { number } => {
                self.last_session = self.last_session.max(number);
                if let Some(session) = self.sessions.remove(&number) {
                    self.done(session.copies);
                }
            }
            Record::Connected { number, .. }
            | Record::Away { number, .. }
            | Record::WillGone { number }
            | Record::Subscribed { number, .. }
            | Record::Unsubscribed { number, .. } => {
                self.last_session = self.last_session.max(number);
                if let Some(session) = self.sessions.get_mut(&number) {
                    change_session(&mut session.snapshot, record);
                }
            }
        }
    }

    fn took(&mut self, handover: Handover) {
        let Handover { session, packet_id, taken } = handover;
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let known = session.snapshot.taken.iter_mut().find(|(id, _)| *id == packet_id);
        match known {
            Some((_, before)) => *before = taken,
            None => session.snapshot.taken.push((packet_id, taken)),
        }
    }

    fn change(&mut self, id: CopyId, change: impl FnOnce(&mut NewCopy)) {
        if let Some(Some(copy)) = self.items.get_mut(id.item).and_then(|item| item.copy_mut(id.copy)) {
            change(copy);
        }
    }

    /// Behind the last record.
    pub(crate) fn end(mut self, journal: &Journal) -> Ended {
        self.forget_copies_for_nobody();
        let mut segments = Segments::default();
        // Also those without a record: each of the journal's segments has its place.
        let mut numbers = Vec::new();
        let mut read = self.segments.iter().peekable();
        for (at, first) in journal.segments().enumerate() {
            if at > 0 {
                segments.rolled();
            }
            if let Some((_, bytes)) = read.next_if(|(begins, _)| *begins == first) {
                segments.wrote(*bytes);
                numbers.push(segments.newest());
            }
        }
        let moved =
            |place: Place| Place { segment: numbers.get(place.segment as usize).copied().unwrap_or(0), ..place };
        let mut items: Vec<u64> = self.items.iter().map(|(number, _)| number).collect();
        items.sort_unstable();
        for number in items {
            let Some(item) = self.items.get_mut(number) else { continue };
            item.place = moved(item.place);
            let place = item.place;
            segments.keeps_item(number, place);
        }
        let mut saved = self.saved();
        saved.all.origins = self.origins;
        let mut sessions = AHashMap::new();
        for (number, session) in self.sessions {
            let place = moved(session.place);
            segments.keeps_session_at(number, place);
            sessions.insert(number, Kept { client_id: session.snapshot.head.client_id.clone(), place });
            let mut messages = saved.messages.remove(&number).unwrap_or_default();
            messages.sort_unstable_by_key(|message| (message.copy.order.max(message.id.item), message.id.copy));
            saved.all.sessions.push(SavedSession { number, snapshot: session.snapshot, messages });
        }
        let (last_item, last_session) = (self.last_item, self.last_session);
        Ended { items: self.items, sessions, segments, last_item, last_session, saved: saved.all }
    }

    /// The session of a copy may have rotted.
    fn forget_copies_for_nobody(&mut self) {
        let sessions = &self.sessions;
        let for_nobody = |(number, item): (u64, &Item)| {
            let gone = item.left().filter(|(_, copy)| !sessions.contains_key(&copy.session));
            gone.map(|(copy, _)| CopyId { item: number, copy }).collect::<Vec<_>>()
        };
        let gone: Vec<CopyId> = self.items.iter().flat_map(for_nobody).collect();
        self.done(gone);
    }

    fn done(&mut self, ids: Vec<CopyId>) {
        for id in ids {
            self.items.done(id);
        }
    }

    fn saved(&self) -> SavedItems {
        let mut saved = SavedItems::default();
        for (number, item) in self.items.iter() {
            if item.is_retained {
                let (message, publisher) = (item.message.clone(), item.publisher.clone());
                let one = SavedRetained { item: number, message, publisher, expires_ms: item.expires_ms };
                saved.all.retained.push(one);
            }
            for (copy, new) in item.left() {
                let message = Message { qos: new.qos, retain: new.retain, ..item.message.clone() };
                let id = CopyId { item: number, copy };
                let one = SavedMessage { id, message, expires_ms: item.expires_ms, copy: new.clone() };
                saved.messages.entry(new.session).or_default().push(one);
            }
        }
        saved
    }
}

#[derive(Default)]
struct SavedItems {
    /// Without the sessions.
    all: Saved,
    messages: AHashMap<u32, Vec<SavedMessage>>,
}

fn change_session(snapshot: &mut Snapshot, record: Record) {
    match record {
        Record::Connected { head, .. } => (snapshot.head, snapshot.away_since_ms) = (head, None),
        Record::Away { since_ms, expiry_s, has_will, .. } => {
            snapshot.away_since_ms = Some(since_ms);
            snapshot.head.expiry_s = expiry_s;
            if !has_will {
                snapshot.head.will = None;
            }
        }
        Record::WillGone { .. } => snapshot.head.will = None,
        Record::Subscribed { subscription, .. } => {
            let known = snapshot.subscriptions.iter_mut().find(|known| known.filter == subscription.filter);
            match known {
                Some(known) => *known = subscription,
                None => snapshot.subscriptions.push(subscription),
            }
        }
        Record::Unsubscribed { filter, .. } => snapshot.subscriptions.retain(|known| known.filter != filter),
        _ => {}
    }
}
