//! One rule and the keys it is about: what is remembered of each, in memory and in the durable state.

use crate::rule::{Rule, Status};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, mem::size_of};
use tidegate_sdk::{
    Message,
    decimal::Decimal,
    ledger::{Ledger, Written},
};

/// Keys and topics may take this much in memory; the default limit of a plugin is 16 MiB.
const MAX_BYTES: usize = 4 << 20;

pub(crate) struct Watch {
    pub(crate) name: String,
    pub(crate) rule: Rule,
    entries: HashMap<String, Entry>,
}

/// An alarm of one key. There is none for a key of which nothing is to be remembered.
struct Entry {
    kept: Kept,
    written: Written,
    /// When it changed last.
    changed_ms: u64,
}

/// What is durable of it, as JSON, so that an operator can read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    status: Status,
    /// Of the message that changed it.
    topic: String,
    /// The messages that changed it last, the earliest first: delivered again, they are decided again from what was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

/// A message that changed an alarm: its `id`, when it came, and what was before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Change(u64, u64, Status);

/// So many changes are known: messages that are decided together may change an alarm several times, and come again together.
const MAX_CHANGES: usize = 8;

/// And for so long.
const CHANGE_KNOWN_MS: u64 = 30_000;

/// What a message is to an alarm.
enum Turn {
    /// The next.
    Next,
    /// The one that made the change of this place, or one that came shortly before it: it is decided from what was before.
    Again(usize),
    /// One from long before what changed the alarm last.
    Late,
}

/// What all rules together may remember.
pub(crate) struct Room {
    pub(crate) ledger: Ledger,
    /// How many entries there are, and what they take in memory.
    pub(crate) entries: usize,
    bytes: usize,
    max_entries: usize,
    /// Something did not fit into the state since this was asked last.
    pub(crate) unwritten: bool,
}

impl Room {
    pub(crate) fn new(max_entries: usize, ledger: Ledger) -> Self {
        Self { ledger, entries: 0, bytes: 0, max_entries, unwritten: false }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries >= self.max_entries || self.bytes >= MAX_BYTES
    }
}

impl Watch {
    pub(crate) fn new(name: String, rule: Rule) -> Self {
        Self { name, rule, entries: HashMap::new() }
    }

    /// Takes over an entry of the state; false if it is none.
    pub(crate) fn restore(&mut self, key: &str, value: &[u8], room: &mut Room) -> bool {
        let Ok(mut kept) = serde_json::from_slice::<Kept>(value) else {
            return false;
        };
        let written = room.ledger.found(&self.state_key(key), value);
        if self.rule.is_silence() {
            kept.status.pending_ms = None; // Nobody knows what came meanwhile: the silence begins with the first call.
        }
        let changed_ms = kept.status.since_ms;
        self.insert(key, Entry { kept, written, changed_ms }, room);
        true
    }

    fn state_key(&self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    fn insert(&mut self, key: &str, entry: Entry, room: &mut Room) {
        room.entries += 1;
        room.bytes += entry.bytes(key);
        self.entries.insert(key.to_owned(), entry);
    }

    /// The events of one reading, none, one or two: how the alarm stands after each.
    ///
    /// # Errors
    /// Nothing is known of the key yet, and it cannot be watched. `has_topic` says whether an event of it could be sent.
    pub(crate) fn read(
        &mut self,
        key: &str,
        reading: Decimal,
        message: &Message,
        room: &mut Room,
        has_topic: impl Fn(&str) -> bool,
    ) -> Result<Vec<Status>, NotWatched> {
        let now_ms = message.received_ms;
        let entry = self.entries.get_mut(key);
        let turn = entry.as_ref().map_or(Turn::Next, |entry| entry.kept.turn(message));
        let before = match (&turn, &entry) {
            (Turn::Late, _) => return Ok(Vec::new()),
            (Turn::Again(at), Some(entry)) => entry.kept.changes[*at].2,
            (_, Some(entry)) => entry.kept.status,
            (_, None) => Status::default(),
        };
        let mut status = before;
        let mut events = Vec::new();
        self.rule.read(&mut status, reading, now_ms, |event| events.push(event));
        let Some(entry) = entry else {
            if !status.is_other_than(&Status::default()) {
                return Ok(events);
            }
            if room.is_full() {
                return Err(NotWatched::Full);
            }
            if !has_topic(&self.name) {
                return Err(NotWatched::NoTopic);
            }
            let changes = if self.rule.is_silence() { Vec::new() } else { vec![Change(message.id, now_ms, before)] };
            let kept = Kept { status, topic: message.topic.clone(), changes };
            let mut entry = Entry { kept, written: Written::default(), changed_ms: now_ms };
            entry.write(&self.state_key(key), room);
            self.insert(key, entry, room);
            return Ok(events);
        };
        // Of a silence each reading is a change, and too many to write.
        let is_change = if self.rule.is_silence() { !events.is_empty() } else { status.is_other_than(&before) };
        entry.kept.status = status;
        if !is_change && matches!(turn, Turn::Next) {
            return Ok(events);
        }
        room.bytes -= entry.bytes(key);
        if let Turn::Again(at) = turn {
            entry.kept.changes.truncate(at);
        }
        if is_change {
            entry.kept.note(Change(message.id, now_ms, before));
        }
        message.topic.clone_into(&mut entry.kept.topic);
        entry.changed_ms = now_ms;
        room.bytes += entry.bytes(key);
        entry.write(&format!("{}:{key}", self.name), room);
        Ok(events)
    }

    /// What time alone changes: so many events and bytes of them, at most, each with its key and the topic of the message before it.
    pub(crate) fn tick(&mut self, now_ms: u64, left: &mut Left, room: &mut Room) -> Vec<(String, String, Status)> {
        let mut due = Vec::new();
        for (key, entry) in &mut self.entries {
            let status = &mut entry.kept.status;
            if self.rule.is_silence() && !status.raised && status.pending_ms.is_none() {
                status.pending_ms = Some(now_ms);
            }
            let bytes = event_bytes(key, &entry.kept.topic);
            if left.events == 0 || bytes > left.bytes || !self.rule.advance(status, now_ms) {
                continue;
            }
            left.events -= 1;
            left.bytes -= bytes;
            let event = *status;
            room.bytes -= entry.bytes(key);
            entry.kept.changes.clear();
            entry.changed_ms = now_ms;
            room.bytes += entry.bytes(key);
            entry.write(&format!("{}:{key}", self.name), room);
            due.push((key.clone(), entry.kept.topic.clone(), event));
        }
        due.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        due
    }

    /// Forgets alarms that were cleared before this time. When room is needed, whoever has been silent longer is forgotten too; else
    /// their coming back is waited for.
    pub(crate) fn forget(&mut self, until_ms: u64, needs_room: bool, room: &mut Room) {
        let (name, is_silence) = (&self.name, self.rule.is_silence());
        self.entries.retain(|key, entry| {
            let Status { raised, pending_ms, .. } = entry.kept.status;
            let is_over = if is_silence { raised && needs_room } else { !raised && pending_ms.is_none() };
            let is_forgotten = is_over && entry.changed_ms <= until_ms;
            if is_forgotten {
                room.ledger.delete(&mut entry.written, &format!("{name}:{key}"));
                room.entries -= 1;
                room.bytes -= entry.bytes(key);
            }
            !is_forgotten
        });
    }
}

/// What one call of the timer may still say.
pub(crate) struct Left {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// No less than an event of this key takes, with a topic of both: a key may be written in escapes.
pub(crate) fn event_bytes(key: &str, topic: &str) -> usize {
    512 + 3 * topic.len() + 7 * key.len()
}

/// Why a key is not watched.
#[derive(Debug, PartialEq)]
pub(crate) enum NotWatched {
    Full,
    NoTopic,
}

impl Kept {
    fn turn(&self, message: &Message) -> Turn {
        if !message.redelivered {
            return Turn::Next;
        }
        match self.changes.iter().position(|Change(by, ..)| *by >= message.id) {
            None => Turn::Next,
            Some(at) => {
                let Change(by, at_ms, _) = self.changes[at];
                let is_near = by == message.id || at_ms.abs_diff(message.received_ms) < CHANGE_KNOWN_MS;
                if is_near { Turn::Again(at) } else { Turn::Late }
            }
        }
    }

    fn note(&mut self, change: Change) {
        self.changes.retain(|Change(_, at_ms, _)| change.1.abs_diff(*at_ms) < CHANGE_KNOWN_MS);
        self.changes.push(change);
        self.changes.drain(..self.changes.len().saturating_sub(MAX_CHANGES));
    }
}

impl Entry {
    fn bytes(&self, key: &str) -> usize {
        size_of::<Self>() + self.kept.changes.len() * size_of::<Change>() + key.len() + self.kept.topic.len()
    }

    /// Where the state has no room for it the alarm is said all the same, and known until the plugin starts again.
    fn write(&mut self, state_key: &str, room: &mut Room) {
        let text = serde_json::to_vec(&self.kept).expect("texts and numbers go into memory");
        if !room.ledger.set(&mut self.written, state_key, &text) {
            room.ledger.delete(&mut self.written, state_key); // Rather nothing than what holds no longer.
            room.unwritten = true;
        }
    }
}
