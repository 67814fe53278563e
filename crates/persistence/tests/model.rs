//! What may be found after whatever happened to the disk: for each fact, what it was when it was last durable, and everything
//! that it became since.

use std::collections::BTreeMap;
use tidegate_persistence::{Saved, Snapshot, Taken};

/// Something that is true of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// What a session is but for the rest.
    Session(u32),
    Subscription(u32, String),
    Taken(u32, u16),
    /// A message of this number for a session.
    Copy(u32, u64),
    Retained(String),
}

/// How it is with it; nothing, if it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Session(Box<Snapshot>),
    Subscription(u8, u32),
    Taken(Taken),
    /// Whether it was sent, and whether taken over.
    Copy(Option<(u64, bool)>),
    Retained(u64),
}

/// A fact from when it was last durable.
type History = Vec<(u64, Option<Value>)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    facts: BTreeMap<Fact, History>,
    /// What happened together: the sequence, and what it made.
    together: Vec<(u64, Vec<Fact>)>,
    /// In which order the messages of a session came.
    pub(crate) order: BTreeMap<u32, Vec<u64>>,
    pub(crate) acked: u64,
}

impl Model {
    pub(crate) fn now(&self, fact: &Fact) -> Option<&Value> {
        self.facts.get(fact)?.last()?.1.as_ref()
    }

    pub(crate) fn set(&mut self, sequence: u64, fact: Fact, value: Option<Value>) {
        if let Fact::Copy(session, number) = &fact
            && !self.facts.contains_key(&fact)
        {
            self.order.entry(*session).or_default().push(*number);
        }
        self.facts.entry(fact).or_default().push((sequence, value));
    }

    /// These came of one record.
    pub(crate) fn one_record(&mut self, sequence: u64, facts: Vec<Fact>) {
        self.together.push((sequence, facts));
    }

    /// A session has ended, with everything.
    pub(crate) fn end(&mut self, sequence: u64, session: u32) {
        let of = |fact: &&Fact| match fact {
            Fact::Session(of) | Fact::Subscription(of, _) | Fact::Taken(of, _) | Fact::Copy(of, _) => *of == session,
            Fact::Retained(_) => false,
        };
        let all: Vec<Fact> = self.facts.keys().filter(of).cloned().collect();
        for fact in all {
            self.set(sequence, fact, None);
        }
    }

    /// Checks what was found, and takes it for what is.
    pub(crate) fn survive(&mut self, saved: &Saved) {
        let found = found(saved);
        let session_may_be_gone = |model: &Self, session: u32| {
            model
                .facts
                .get(&Fact::Session(session))
                .is_none_or(|history| history.iter().any(|(_, value)| value.is_none()))
        };
        for (fact, value) in &found {
            let Some(history) = self.facts.get(fact) else { panic!("{fact:?} never was, and is {value:?}") };
            assert!(
                history.iter().any(|(_, one)| one.as_ref() == Some(value)),
                "{fact:?} is {value:?}, and durable up to {} was: {history:?}",
                self.acked
            );
        }
        for (fact, history) in &self.facts {
            if found.contains_key(fact) {
                self.check_age(fact, history, found.get(fact));
                continue;
            }
            let of_session = match fact {
                Fact::Subscription(of, _) | Fact::Taken(of, _) | Fact::Copy(of, _) => Some(*of),
                Fact::Session(_) | Fact::Retained(_) => None,
            };
            if of_session.is_some_and(|session| {
                session_may_be_gone(self, session) && !found.contains_key(&Fact::Session(session))
            }) {
                continue;
            }
            self.check_age(fact, history, None);
        }
        for (sequence, facts) in &self.together {
            if *sequence <= self.acked {
                continue;
            }
            // What has become something else since may be that, and what was for a session that is gone is.
            let untouched = |fact: &&Fact| {
                let last = self.facts.get(*fact).and_then(|all| all.last());
                let of_nobody = matches!(fact, Fact::Copy(of, _) if !found.contains_key(&Fact::Session(*of)));
                last.is_some_and(|last| last.0 == *sequence) && !of_nobody
            };
            let is_it = |fact: &Fact| found.get(fact) == self.now(fact);
            let there: Vec<bool> = facts.iter().filter(untouched).map(is_it).collect();
            assert!(there.iter().all(|one| *one == there[0]), "half of a record: {facts:?} {there:?}");
        }
        for session in &saved.sessions {
            let order = self.order.get(&session.number).map_or(&[][..], |order| order);
            let places: Vec<_> = session
                .messages
                .iter()
                .map(|message| order.iter().position(|number| *number == crate::trial::number_of(&message.message)))
                .collect();
            assert!(
                places.is_sorted() && places.iter().all(Option::is_some),
                "{places:?} of session {}",
                session.number
            );
        }
        // From here on that is what is.
        let mut facts = BTreeMap::new();
        for (fact, value) in found {
            facts.insert(fact, vec![(0, Some(value))]);
        }
        self.facts = facts;
        self.together.clear();
    }

    /// Nothing older is found than what was durable.
    fn check_age(&self, fact: &Fact, history: &History, value: Option<&Value>) {
        let first = history.iter().rposition(|(sequence, _)| *sequence <= self.acked);
        let may_be_nothing = first.is_none() && value.is_none();
        let allowed = &history[first.unwrap_or(0)..];
        assert!(
            may_be_nothing || allowed.iter().any(|(_, one)| one.as_ref() == value),
            "{fact:?} is {value:?}; durable up to {} was one of {allowed:?}",
            self.acked
        );
    }
}

/// What a store has, as facts.
fn found(saved: &Saved) -> BTreeMap<Fact, Value> {
    let mut found = BTreeMap::new();
    for retained in &saved.retained {
        let topic = retained.message.topic.as_str().to_owned();
        let number = crate::trial::number_of(&retained.message);
        assert!(found.insert(Fact::Retained(topic), Value::Retained(number)).is_none(), "retained twice");
    }
    for session in &saved.sessions {
        let number = session.number;
        let mut snapshot = session.snapshot.clone();
        for (id, taken) in snapshot.taken.drain(..) {
            found.insert(Fact::Taken(number, id), Value::Taken(taken));
        }
        for one in snapshot.subscriptions.drain(..) {
            let filter = one.filter.as_str().to_owned();
            found.insert(Fact::Subscription(number, filter), Value::Subscription(one.qos as u8, one.id));
        }
        assert!(found.insert(Fact::Session(number), Value::Session(Box::new(snapshot))).is_none(), "a session twice");
        for message in &session.messages {
            let sent = message.copy.sent.map(|sent| (sent.serial, sent.taken_over));
            let fact = Fact::Copy(number, crate::trial::number_of(&message.message));
            assert!(found.insert(fact, Value::Copy(sent)).is_none(), "a copy twice");
        }
    }
    found
}
