//! What a spool should hold, as a list of what happened.

use crate::raw::Raw;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_message::{ByteString, Message, Properties, QoS, Topic};
use tidegate_spool::{Key, NameKind, Parked, SentItem, Spool};

pub(crate) const QUEUES: usize = 3;
pub(crate) const SOURCES: [&str; 2] = ["field", "hall"];
pub(crate) const LINKS: [&str; 2] = ["cloud", "backup"];
pub(crate) const PLUGINS: [&str; 2] = ["drop-unchanged", "throttle"];
pub(crate) const ROUTES: [&str; 2] = ["all", "alarms"];

pub(crate) fn key(queue: usize) -> Key {
    Key::new(["cloud", "cloud", "archive"][queue], [0, 5, 0][queue])
}

/// A message in a queue; the number is in the payload.
pub(crate) type Place = (usize, u64);

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) queue: usize,
    pub(crate) number: u64,
    pub(crate) route: usize,
    pub(crate) message: Message,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Appended {
    pub(crate) received_ms: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) taken: Vec<(usize, u16)>,
    pub(crate) parked: Vec<(u64, Parked)>,
    pub(crate) unparked: Vec<u64>,
    pub(crate) state: Vec<(usize, String, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Appended(Appended),
    Sent { place: Place, link: usize, serial: u64 },
    TakenOver { place: Place, link: usize, serial: u64 },
    Released { source: usize, packet_id: u16 },
    Forgotten { source: usize },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<(u64, Happened)>,
    /// Everything up to here was reported durable.
    pub(crate) acked: u64,
    /// What was marked done, and whether that is durable.
    pub(crate) done: BTreeMap<Place, bool>,
    /// Done, and came back: whether it was sent nobody knows.
    pub(crate) fuzzy: BTreeSet<Place>,
    /// What is done may come back: it is not forgotten.
    pub(crate) keeps_done: bool,
}

/// What should be there besides messages in queues.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Small {
    pub(crate) taken: [BTreeSet<u16>; SOURCES.len()],
    pub(crate) parked: BTreeMap<u64, Parked>,
    pub(crate) state: [BTreeMap<String, Vec<u8>>; PLUGINS.len()],
}

impl Model {
    /// Forgets what a crash has taken. What is left is durable once it was opened.
    pub(crate) fn survive(&mut self, raw: &Raw) {
        self.lose(raw);
        self.acked = self.events.iter().map(|(sequence, _)| *sequence).max().unwrap_or(0).max(self.acked);
    }

    /// Forgets what a crash has taken: of what was not reported durable, any part.
    pub(crate) fn lose(&mut self, raw: &Raw) {
        let acked = self.acked;
        self.events.retain(|(sequence, _)| *sequence <= acked || raw.sequences.contains(sequence));
    }

    /// What is done for good is of no interest any more, but that it must not come back.
    pub(crate) fn forget_done(&mut self) {
        if self.keeps_done {
            return;
        }
        let done = &mut self.done;
        for (_, what) in &mut self.events {
            if let Happened::Appended(appended) = what {
                appended.items.retain(|item| done.get(&(item.queue, item.number)) != Some(&true));
            }
        }
        done.retain(|_, durable| !*durable);
    }

    /// Forgets records that rotted.
    pub(crate) fn rot(&mut self, lost: &BTreeSet<u64>, checkpoint: u64) {
        self.events.retain_mut(|(sequence, what)| {
            if !lost.contains(sequence) {
                return true;
            }
            match what {
                // What it did besides is in the checkpoint.
                Happened::Appended(appended) if *sequence <= checkpoint => {
                    appended.items.clear();
                    true
                }
                _ => *sequence <= checkpoint,
            }
        });
    }

    /// What should wait in a queue, in order, and whether it may also be gone because it was done.
    pub(crate) fn waiting(&self, queue: usize) -> Vec<(u64, u64, Item, bool)> {
        let mut waiting = Vec::new();
        for (sequence, what) in &self.events {
            let Happened::Appended(appended) = what else { continue };
            for item in appended.items.iter().filter(|item| item.queue == queue) {
                match self.done.get(&(queue, item.number)) {
                    Some(true) => {}
                    done => waiting.push((*sequence, appended.received_ms, item.clone(), done.is_some())),
                }
            }
        }
        waiting
    }

    /// On which link under which serial an item was sent, and whether it was taken over.
    pub(crate) fn sent(&self, wanted: Place) -> Option<(usize, u64, bool)> {
        let mut sent = None;
        for (_, what) in &self.events {
            match what {
                Happened::Sent { place, link, serial } if *place == wanted => sent = Some((*link, *serial, false)),
                Happened::TakenOver { place, link, serial } if *place == wanted => {
                    if let Some(sent) = sent.as_mut().filter(|sent| (sent.0, sent.1) == (*link, *serial)) {
                        sent.2 = true;
                    }
                }
                _ => {}
            }
        }
        sent
    }

    pub(crate) fn small(&self) -> Small {
        let mut small = Small::default();
        for (_, what) in &self.events {
            match what {
                Happened::Appended(appended) => {
                    for (source, packet_id) in &appended.taken {
                        small.taken[*source].insert(*packet_id);
                    }
                    small.parked.extend(appended.parked.iter().cloned());
                    appended.unparked.iter().for_each(|number| drop(small.parked.remove(number)));
                    for (plugin, key, value) in &appended.state {
                        match value {
                            Some(value) => drop(small.state[*plugin].insert(key.clone(), value.clone())),
                            None => drop(small.state[*plugin].remove(key)),
                        }
                    }
                }
                Happened::Released { source, packet_id } => drop(small.taken[*source].remove(packet_id)),
                Happened::Forgotten { source } => small.taken[*source].clear(),
                Happened::Sent { .. } | Happened::TakenOver { .. } => {}
            }
        }
        small
    }
}

/// The same, as the spool has it.
pub(crate) fn small_of(spool: &mut Spool) -> Small {
    let taken = SOURCES.map(|source| {
        let source = spool.name(NameKind::Source, source);
        spool.taken(source).into_iter().collect()
    });
    let state = PLUGINS.map(|plugin| spool.plugin_state(plugin).cloned().unwrap_or_default());
    Small { taken, parked: spool.parked().clone(), state }
}

pub(crate) fn is_sent_as(spool: &Spool, found: Option<SentItem>, wanted: Option<(usize, u64, bool)>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(found), Some((link, serial, taken_over))) => {
            spool.text(found.link) == LINKS[link] && found.serial == serial && found.taken_over == taken_over
        }
        _ => false,
    }
}

pub(crate) fn message(number: u64, pad: usize, rich: bool) -> Message {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + pad, number as u8);
    let topic = Topic::new(format!("line/{}", number % 5)).expect("a test on good ground");
    let mut message = Message::new(topic, payload, QoS::from_u8((number % 3) as u8).expect("a test on good ground"));
    if rich {
        message.retain = true;
        message.properties = Some(Box::new(Properties {
            content_type: Some(ByteString::from_static("text/plain")),
            response_topic: Some(Topic::new("answers").expect("a test on good ground")),
            correlation_data: Some(Bytes::from(vec![number as u8; 3])),
            message_expiry_seconds: Some((number as u32).wrapping_mul(1000)),
            payload_is_utf8: number.is_multiple_of(2),
            user: vec![(ByteString::from_static("a"), ByteString::from(number.to_string())); 2],
            // The files in golden/1 are from before there were keys, and have messages of these numbers.
            key: (number > 9 && number.is_multiple_of(3)).then(|| ByteString::from(format!("key {number}"))),
        }));
    }
    message
}

pub(crate) fn number_of(message: &Message) -> u64 {
    u64::from_le_bytes(message.payload[..8].try_into().expect("a test on good ground"))
}
