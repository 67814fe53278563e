//! A trial: a store on a simulated disk, and the model beside it.

use crate::disk::{Door, SEGMENT_BYTES};
use crate::model::{Fact, Model, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_persistence::{
    CopyId, Draft, Handover, Head, NewCopy, OpenError, Origin, Publisher, Saved, Settings, Snapshot, Store,
    Subscription, Taken, Will,
};
use tidegate_testkit::SimDisk;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Open { pick: u8 },
    Connected { pick: u8 },
    Away { pick: u8 },
    WillGone { pick: u8 },
    End { pick: u8 },
    Subscribe { pick: u8, filter: u8 },
    Unsubscribe { pick: u8, filter: u8 },
    Publish { to: u8, pad: u16, extra: u8 },
    CopyRetained { pick: u8, topic: u8 },
    Unretain { topic: u8 },
    Sent { pick: u8 },
    TakenOver { pick: u8 },
    Done { pick: u8 },
    DoneAll,
    Took { pick: u8 },
    Released { pick: u8 },
    Flush,
    Work,
    Poll,
    Tidy,
    Close,
    Kill,
    Crash { choice: u64 },
}

/// What the trial knows of a copy.
#[derive(Debug, Clone)]
struct Copy {
    session: u32,
    number: u64,
    sent: Option<(u64, bool)>,
}

pub(crate) struct Trial {
    pub(crate) disk: SimDisk,
    pub(crate) store: Store,
    pub(crate) model: Model,
    sessions: BTreeMap<u32, Snapshot>,
    copies: BTreeMap<CopyId, Copy>,
    /// By topic: the number of the item, and of the message.
    retained: BTreeMap<String, (u64, u64)>,
    /// Done, and the word of it not handed over.
    done: Vec<Fact>,
    had: BTreeSet<(u32, u64)>,
    next: u64,
}

const TOPICS: [&str; 4] = ["a", "a/b", "c", "d/e/f"];

pub(crate) fn number_of(message: &Message) -> u64 {
    u64::from_le_bytes(*message.payload.first_chunk().expect("a message of the tests"))
}

fn message(topic: &str, number: u64, pad: u16) -> Message {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + usize::from(pad), number as u8);
    Message::new(Topic::new(topic).expect("a topic"), payload, QoS::AtLeastOnce)
}

pub(crate) fn open(disk: &SimDisk) -> Result<(Store, Saved), OpenError> {
    let settings = Settings { segment_bytes: SEGMENT_BYTES, ..Settings::default() };
    Store::open_stepwise(Arc::new(Door(disk.clone())), settings)
}

impl Trial {
    pub(crate) fn new(disk: SimDisk) -> Result<Self, OpenError> {
        Self::with(disk, Model::default(), 1)
    }

    /// Opens what is on a disk, which the model must allow.
    pub(crate) fn with(disk: SimDisk, mut model: Model, next: u64) -> Result<Self, OpenError> {
        let (store, saved) = open(&disk)?;
        model.survive(&saved);
        model.acked = store.durable();
        let mut trial = Self {
            disk,
            store,
            model,
            sessions: BTreeMap::new(),
            copies: BTreeMap::new(),
            retained: BTreeMap::new(),
            done: Vec::new(),
            had: BTreeSet::new(),
            next,
        };
        for (session, numbers) in &trial.model.order {
            trial.had.extend(numbers.iter().map(|number| (*session, *number)));
        }
        for one in saved.retained {
            let topic = one.message.topic.as_str().to_owned();
            trial.retained.insert(topic, (one.item, number_of(&one.message)));
        }
        for one in saved.sessions {
            for message in one.messages {
                let number = number_of(&message.message);
                let sent = message.copy.sent.map(|sent| (sent.serial, sent.taken_over));
                trial.copies.insert(message.id, Copy { session: one.number, number, sent });
            }
            trial.sessions.insert(one.number, one.snapshot);
        }
        Ok(trial)
    }

    pub(crate) fn reopen(&mut self, disk: SimDisk) {
        *self = Self::with(disk, self.model.clone(), self.next + 1).expect("a store");
    }

    fn pick_session(&self, pick: u8) -> Option<u32> {
        self.sessions.keys().nth(usize::from(pick) % self.sessions.len().max(1)).copied()
    }

    fn pick_copy(&self, pick: u8) -> Option<CopyId> {
        self.copies.keys().nth(usize::from(pick) % self.copies.len().max(1)).copied()
    }

    /// What a session is, as a fact.
    fn note_session(&mut self, session: u32) {
        let mut plain = self.sessions[&session].clone();
        plain.subscriptions.clear();
        plain.taken.clear();
        let fact = Fact::Session(session);
        self.model.set(self.store.sequence(), fact, Some(Value::Session(Box::new(plain))));
    }

    fn head(&mut self, pick: u8) -> Head {
        self.next += 1;
        let will = (pick & 1 == 0).then(|| Will { message: message("will", self.next, 3), delay_s: u32::from(pick) });
        Head {
            client_id: format!("client-{}", self.next).into(),
            username: (pick & 2 == 0).then(|| format!("user-{}", self.next).into()),
            expiry_s: u32::from(pick),
            keep_alive_s: u16::from(pick),
            bridge: pick & 4 == 0,
            will,
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { pick } => {
                let head = self.head(pick);
                let snapshot = Snapshot { head, away_since_ms: None, subscriptions: Vec::new(), taken: Vec::new() };
                let number = self.store.session(&snapshot);
                assert!(!self.sessions.contains_key(&number));
                self.sessions.insert(number, snapshot);
                self.note_session(number);
            }
            Step::Connected { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                let client_id = self.sessions[&session].head.client_id.clone();
                let head = Head { client_id, ..self.head(pick.rotate_left(3)) };
                self.store.connected(session, &head);
                let known = self.sessions.get_mut(&session).expect("it is there");
                (known.head, known.away_since_ms) = (head, None);
                self.note_session(session);
            }
            Step::Away { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                self.next += 1;
                let (since, has_will) = (self.next, pick & 8 == 0);
                self.store.away(session, since, u32::from(pick), has_will);
                let known = self.sessions.get_mut(&session).expect("it is there");
                (known.away_since_ms, known.head.expiry_s) = (Some(since), u32::from(pick));
                if !has_will {
                    known.head.will = None;
                }
                self.note_session(session);
            }
            Step::WillGone { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                self.store.will_gone(session);
                self.sessions.get_mut(&session).expect("it is there").head.will = None;
                self.note_session(session);
            }
            Step::End { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                let its = |(_, copy): &(&CopyId, &Copy)| copy.session == session;
                let copies: Vec<CopyId> = self.copies.iter().filter(its).map(|(id, _)| *id).collect();
                self.store.end_session(session, copies.iter().copied());
                self.copies.retain(|_, copy| copy.session != session);
                self.sessions.remove(&session);
                self.model.end(self.store.sequence(), session);
            }
            Step::Subscribe { pick, filter } => {
                let Some(session) = self.pick_session(pick) else { return };
                let text = format!("f/{}/#", filter % 5);
                let filter = TopicFilter::new(text.clone()).expect("a filter");
                let one = Subscription {
                    filter,
                    qos: QoS::from_u8(pick % 3).expect("a QoS"),
                    no_local: pick & 1 == 0,
                    retain_as_published: pick & 2 == 0,
                    id: u32::from(pick),
                };
                self.store.subscribed(session, &one);
                let value = Value::Subscription(one.qos as u8, one.id);
                self.model.set(self.store.sequence(), Fact::Subscription(session, text), Some(value));
                let all = &mut self.sessions.get_mut(&session).expect("it is there").subscriptions;
                all.retain(|known| known.filter != one.filter);
                all.push(one);
            }
            Step::Unsubscribe { pick, filter } => {
                let Some(session) = self.pick_session(pick) else { return };
                let text = format!("f/{}/#", filter % 5);
                let filter = TopicFilter::new(text.clone()).expect("a filter");
                let all = &mut self.sessions.get_mut(&session).expect("it is there").subscriptions;
                let before = all.len();
                all.retain(|known| known.filter != filter);
                if all.len() < before {
                    self.store.unsubscribed(session, &filter);
                    self.model.set(self.store.sequence(), Fact::Subscription(session, text), None);
                }
            }
            Step::Publish { to, pad, extra } => self.publish(to, pad, extra),
            Step::CopyRetained { pick, topic } => {
                let Some(session) = self.pick_session(pick) else { return };
                let topic = TOPICS[usize::from(topic) % TOPICS.len()];
                let Some(&(item, number)) = self.retained.get(topic) else { return };
                if !self.had.insert((session, number)) {
                    return;
                }
                let id = self.store.copy(item, NewCopy { from_retained: true, ..copy_for(session, pick) });
                let id = id.expect("it is retained");
                self.copies.insert(id, Copy { session, number, sent: None });
                self.model.set(self.store.sequence(), Fact::Copy(session, number), Some(Value::Copy(None)));
            }
            Step::Unretain { topic } => {
                let topic = TOPICS[usize::from(topic) % TOPICS.len()];
                let Some((item, _)) = self.retained.remove(topic) else { return };
                self.store.unretain(item, true);
                self.model.set(self.store.sequence(), Fact::Retained(topic.to_owned()), None);
            }
            Step::Sent { pick } => {
                let Some(id) = self.pick_copy(pick) else { return };
                self.next += 1;
                self.change(id, Some((self.next, false)));
                self.store.sent(id, self.next);
                self.note_copy(id);
            }
            Step::TakenOver { pick } => {
                let Some(id) = self.pick_copy(pick) else { return };
                let Some((serial, false)) = self.copies[&id].sent else { return };
                self.change(id, Some((serial, true)));
                self.store.taken_over(id);
                self.note_copy(id);
            }
            Step::Done { pick } => {
                if let Some(id) = self.pick_copy(pick) {
                    self.done(id);
                }
            }
            Step::DoneAll => {
                let all: Vec<CopyId> = self.copies.keys().copied().collect();
                all.into_iter().for_each(|id| self.done(id));
            }
            Step::Took { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                self.store.took(session, u16::from(pick) + 1);
                self.took(session, u16::from(pick) + 1, Taken::Wholly);
            }
            Step::Released { pick } => {
                let Some(session) = self.pick_session(pick) else { return };
                let taken = &mut self.sessions.get_mut(&session).expect("it is there").taken;
                let Some((id, _)) = taken.pop() else { return };
                self.store.released(session, id);
                self.model.set(self.store.sequence(), Fact::Taken(session, id), None);
            }
            Step::Flush => self.flush(),
            Step::Work => {
                self.flush();
                self.store.step();
            }
            Step::Poll => self.poll(),
            Step::Tidy => self.tidy(),
            Step::Close => {
                self.flush();
                let sequence = self.store.sequence();
                assert!(self.store.finish(Duration::ZERO), "the disk is good");
                self.model.acked = sequence;
                self.reopen(self.disk.clone());
            }
            Step::Kill => self.reopen(self.disk.killed()),
            Step::Crash { choice } => self.reopen(self.disk.crash(choice)),
        }
    }

    fn change(&mut self, id: CopyId, sent: Option<(u64, bool)>) {
        self.copies.get_mut(&id).expect("it is there").sent = sent;
    }

    fn note_copy(&mut self, id: CopyId) {
        let Copy { session, number, sent } = self.copies[&id];
        self.model.set(self.store.sequence(), Fact::Copy(session, number), Some(Value::Copy(sent)));
    }

    fn done(&mut self, id: CopyId) {
        let Some(copy) = self.copies.remove(&id) else { return };
        self.store.done(id);
        let fact = Fact::Copy(copy.session, copy.number);
        // It may be gone from now on, and is when the word of it is durable.
        self.model.set(u64::MAX, fact.clone(), None);
        self.done.push(fact);
    }

    fn took(&mut self, session: u32, id: u16, taken: Taken) {
        let all = &mut self.sessions.get_mut(&session).expect("it is there").taken;
        all.retain(|(known, _)| *known != id);
        all.push((id, taken));
        self.model.set(self.store.sequence(), Fact::Taken(session, id), Some(Value::Taken(taken)));
    }

    fn publish(&mut self, to: u8, pad: u16, extra: u8) {
        self.next += 1;
        let number = self.next;
        let topic = TOPICS[usize::from(extra) % TOPICS.len()];
        let sessions: Vec<u32> =
            self.sessions.keys().enumerate().filter(|(at, _)| to >> (at % 6) & 1 != 0).map(|(_, of)| *of).collect();
        let mut copies: Vec<NewCopy> = sessions.iter().map(|session| copy_for(*session, extra)).collect();
        let retained_by = match to >> 6 {
            0 | 1 => None,
            2 => Some(Publisher::Gateway),
            _ => Some(Publisher::Client("somebody".into())),
        };
        let taken = if extra & 4 == 0 { Taken::Wholly } else { Taken::Partly };
        let by = self.pick_session(extra).filter(|_| extra & 8 != 0);
        let handover = by.map(|session| Handover { session, packet_id: number as u16, taken });
        let is_retained = retained_by.is_some();
        let expires_ms = (extra & 16 != 0).then_some(number);
        let origin = (extra & 64 != 0).then(|| Origin { sequence: number, index: u32::from(extra) });
        let item = self.store.next_item();
        let draft = Draft {
            message: message(topic, number, pad),
            expires_ms,
            retained_by,
            copies: &mut copies,
            handover,
            origin,
        };
        assert_eq!(self.store.message(draft), item);
        let sequence = self.store.sequence();
        let mut facts = Vec::new();
        for (copy, session) in sessions.iter().enumerate() {
            self.copies.insert(CopyId { item, copy: copy as u32 }, Copy { session: *session, number, sent: None });
            self.had.insert((*session, number));
            facts.push((Fact::Copy(*session, number), Value::Copy(None)));
        }
        if is_retained {
            if let Some((before, _)) = self.retained.insert(topic.to_owned(), (item, number)) {
                self.store.unretain(before, false);
            }
            facts.push((Fact::Retained(topic.to_owned()), Value::Retained(number)));
        }
        if let Some(Handover { session, packet_id, taken }) = handover {
            self.took(session, packet_id, taken);
        }
        if !facts.is_empty() {
            self.model.one_record(sequence, facts.iter().map(|(fact, _)| fact.clone()).collect());
        }
        for (fact, value) in facts {
            self.model.set(sequence, fact, Some(value));
        }
    }

    fn flush(&mut self) {
        self.store.flush();
        let sequence = self.store.sequence();
        for fact in std::mem::take(&mut self.done) {
            self.model.set(sequence, fact, None);
        }
    }

    pub(crate) fn poll(&mut self) {
        let durable = self.store.poll();
        assert!(durable >= self.model.acked, "durable once, durable for ever");
        self.model.acked = durable;
    }

    pub(crate) fn tidy(&mut self) {
        let sessions = &self.sessions;
        self.store.tidy(|number, client_id| {
            let snapshot = sessions.get(&number).expect("a session of the store");
            assert_eq!(&*snapshot.head.client_id, client_id);
            Some(snapshot.clone())
        });
    }

    /// Whatever happened to it, it works on, and stays short.
    pub(crate) fn works_on(&mut self) {
        for round in 0..40 {
            self.step(&Step::Publish { to: 0b1000_0111, pad: 150, extra: round });
            self.step(&Step::Done { pick: round });
            if round % 4 == 0 {
                self.step(&Step::DoneAll);
            }
            self.tidy();
            self.step(&Step::Work);
            self.poll();
        }
        self.is_short();
        self.step(&Step::Close);
    }

    /// At most twice what counts, and two segments.
    pub(crate) fn is_short(&mut self) {
        for _ in 0..200 {
            self.tidy();
            self.step(&Step::Work);
            self.poll();
        }
        let (bytes, live) = self.store.bytes();
        let most = 2 * live + 3 * SEGMENT_BYTES;
        assert!(bytes <= most, "{bytes} bytes where {live} count");
        let files = self.disk.files();
        let on_disk: u64 = files.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, bytes)| bytes).sum();
        assert!(on_disk <= most + 4 * SEGMENT_BYTES, "{on_disk} bytes on disk where {live} count: {files:?}");
    }
}

fn copy_for(session: u32, extra: u8) -> NewCopy {
    NewCopy {
        session,
        qos: QoS::from_u8(1 + extra % 2).expect("a QoS"),
        retain: extra & 1 == 0,
        from_retained: false,
        order: 0,
        subscription_ids: (0..u32::from(extra % 3)).collect(),
        group: (extra & 32 != 0).then(|| TopicFilter::new("$share/g/a").expect("a filter")),
        sent: None,
    }
}
