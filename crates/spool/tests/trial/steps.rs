//! What the owner of a spool does to it, and to the model alike.

use super::{Live, Trial};
use crate::model::*;
use tidegate_spool::*;

impl Trial {
    pub(super) fn append(&mut self, to: u8, pad: u16, rich: bool, extra: u8) {
        let mut appended = Appended { received_ms: 1_000 + self.next_number, ..Appended::default() };
        let mut deliveries = smallvec::SmallVec::new();
        // Bits say which queues; with the highest, it goes through both routes, as two messages.
        for (part, route) in ROUTES.iter().enumerate().take(1 + usize::from(to >> 7)) {
            let number = self.next_number;
            self.next_number += 1;
            let message = message(number, usize::from(pad), rich);
            let queues: Vec<usize> = (0..QUEUES).filter(|queue| (to >> part) >> queue & 1 != 0).collect();
            if queues.is_empty() {
                continue;
            }
            let items = queues.iter();
            appended.items.extend(items.map(|queue| Item {
                queue: *queue,
                number,
                route: part,
                message: message.clone(),
            }));
            let queues = queues.iter().map(|queue| {
                let queue = self.spool.queue(&key(*queue));
                self.spool.queue_name(queue)
            });
            let queues = queues.collect();
            let route = self.spool.name(NameKind::Route, route);
            deliveries.push(Delivery { route, queues, message });
        }
        let mut transaction = Transaction { received_ms: appended.received_ms, deliveries, ..Transaction::default() };
        let number = self.next_number;
        if extra & 1 != 0 {
            let source = usize::from(extra >> 4) % SOURCES.len();
            let packet_id = number as u16;
            appended.taken.push((source, packet_id));
            transaction.taken.push((self.spool.name(NameKind::Source, SOURCES[source]), packet_id));
        }
        if extra & 2 != 0 {
            let parked = Parked {
                route: "all".to_owned(),
                plugin: PLUGINS[0].to_owned(),
                kind: "failed".to_owned(),
                reason: number.to_string(),
                received_ms: number,
                message: message(number, 5, true),
            };
            let at = self.spool.next_parked();
            assert!(!self.model.small().parked.contains_key(&at), "numbers of parked messages are not used again");
            appended.parked.push((at, parked.clone()));
            transaction.parked.push((at, parked));
        }
        if extra & 4 != 0
            && let Some(number) = self.spool.parked().keys().next().copied()
        {
            appended.unparked.push(number);
            transaction.unparked.push(number);
        }
        if extra & 8 != 0 {
            let at = usize::from(extra >> 5) % PLUGINS.len();
            let plugin = self.spool.name(NameKind::Plugin, PLUGINS[at]);
            let (key, value) = (format!("key{}", extra >> 6), (extra & 16 == 0).then(|| number.to_le_bytes().to_vec()));
            appended.state.push((at, key.clone(), value.clone()));
            transaction.state.push(StateWrite { plugin, key, value });
        }
        let items = appended.items.clone();
        let received_ms = appended.received_ms;
        let sequence = match single(&transaction).filter(|_| received_ms.is_multiple_of(2)) {
            Some((single, queue)) => {
                let queue = self.spool.queues().find(|at| self.spool.queue_name(*at) == queue);
                self.spool.append_single(single, queue.expect("it has a name"))
            }
            None => self.spool.append(transaction),
        };
        self.model.events.push((sequence, Happened::Appended(appended)));
        for item in items {
            self.expected[item.queue].push_back((sequence, received_ms, item, false));
        }
    }

    pub(super) fn done(&mut self, queue: usize, pick: usize) {
        if self.live[queue].is_empty() {
            return;
        }
        let at = pick % self.live[queue].len();
        let Live { ordinal, number } = self.live[queue].remove(at);
        let id = self.spool.queue(&key(queue));
        assert!(self.spool.waits(id, ordinal));
        self.spool.done(id, ordinal).expect("it was not done");
        assert_eq!(self.spool.done(id, ordinal), None, "nothing is done twice");
        self.model.done.insert((queue, number), false);
    }

    pub(super) fn sent(&mut self, queue: usize, pick: u8) {
        let live = &self.live[queue];
        if live.is_empty() {
            return;
        }
        let Live { ordinal, number } = live[usize::from(pick) % live.len()];
        if self.model.fuzzy.contains(&(queue, number)) {
            return;
        }
        let link = usize::from(pick >> 7);
        let serial = self.next_serial;
        self.next_serial += 1;
        let id = self.spool.queue(&key(queue));
        let name = self.spool.name(NameKind::Link, LINKS[link]);
        let sequence = self.spool.sent(id, ordinal, name, serial);
        self.model.events.push((sequence, Happened::Sent { place: (queue, number), link, serial }));
    }

    pub(super) fn taken_over(&mut self, queue: usize, pick: u8) {
        let sent = self.live[queue].iter().filter_map(|live| {
            let place = (queue, live.number);
            let sent = self.model.sent(place).filter(|_| !self.model.fuzzy.contains(&place))?;
            Some((live.ordinal, place, sent))
        });
        let sent: Vec<_> = sent.collect();
        if sent.is_empty() {
            return;
        }
        let (ordinal, place, (link, serial, _)) = sent[usize::from(pick) % sent.len()];
        let id = self.spool.queue(&key(queue));
        let sequence = self.spool.taken_over(id, ordinal);
        assert!(sequence > 0, "{place:?} was sent");
        self.model.events.push((sequence, Happened::TakenOver { place, link, serial }));
    }

    pub(super) fn released(&mut self, source: usize, pick: u8) {
        let name = self.spool.name(NameKind::Source, SOURCES[source]);
        let taken = &self.model.small().taken[source];
        let Some(packet_id) = taken.iter().nth(usize::from(pick) % taken.len().max(1)).copied() else {
            assert_eq!(self.spool.released(name, 1), 0);
            return;
        };
        let sequence = self.spool.released(name, packet_id);
        self.model.events.push((sequence, Happened::Released { source, packet_id }));
    }
}

/// One message for one queue, if that is all that a transaction has.
pub(crate) fn single(transaction: &Transaction) -> Option<(Single, NameId)> {
    let Transaction { received_ms, taken, deliveries, parked, unparked, state } = transaction;
    let [Delivery { route, queues, message }] = deliveries.as_slice() else { return None };
    let [queue] = queues.as_slice() else { return None };
    if taken.len() > 1 || !parked.is_empty() || !unparked.is_empty() || !state.is_empty() {
        return None;
    }
    let taken = taken.first().copied();
    Some((Single { received_ms: *received_ms, taken, route: *route, message: message.clone() }, *queue))
}
