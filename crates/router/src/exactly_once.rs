//! QoS 2 over a crash: what is recorded before a link may write, and where a start goes on.

use crate::debt::Ack;
use crate::ids::{BrokerId, QueueId};
use crate::park::weight;
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, Router};
use tidegate_message::{Message, QoS};
use tidegate_spool::{ItemId, NameId, NameKind, StateWrite, Transaction};

/// Under this key a link's memory is in the state of its name in the log.
const MEMORY: &str = "link";

/// A QoS 2 message that was being sent to a target when an earlier process ended.
#[derive(Debug)]
pub struct Sent {
    /// Its number in the order of the link's QoS 2 messages.
    pub serial: u64,
    /// As in [`Router::pull`]: it comes back when the exchange is over.
    pub ticket: Ticket,
    /// To be sent again; `None` once the target has taken it over and only PUBREL is due.
    pub message: Option<Message>,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A QoS 2 message was put into a link's buffer, under this serial.
    pub fn sent(&mut self, to: BrokerId, ticket: Ticket, serial: u64) {
        let broker = &mut self.brokers[to.at()];
        if let Ticket::Spooled { queue, ordinal } = ticket
            && let Some(link) = broker.link_id
        {
            broker.gate = broker.gate.max(self.spool.sent(queue.spool(), ordinal, link, serial));
        }
    }

    /// A target has taken QoS 2 messages over (PUBREC).
    pub fn taken_over(&mut self, by: BrokerId, tickets: impl Iterator<Item = Ticket>) {
        for ticket in tickets {
            let Ticket::Spooled { queue, ordinal } = ticket else { continue };
            let sequence = self.spool.taken_over(queue.spool(), ordinal);
            let broker = &mut self.brokers[by.at()];
            broker.gate = broker.gate.max(sequence);
        }
    }

    /// A source has seen our PUBRECs (PUBREL).
    pub fn released(&mut self, by: BrokerId, packet_ids: &[u16]) {
        let broker = &mut self.brokers[by.at()];
        let Some(source) = broker.source_id else { return };
        for id in packet_ids {
            broker.gate = broker.gate.max(self.spool.released(source, *id));
        }
    }

    /// The name in the log of one client of a broker that has several: packet identifiers are those of its session.
    pub fn client_source(&mut self, of: BrokerId, client_id: &str) -> NameId {
        let text = format!("{}/{client_id}", self.brokers[of.at()].name);
        self.spool.name(NameKind::Source, &text)
    }

    /// Clients of a broker of whose messages some was taken over and not released.
    pub fn remembered_clients(&self, of: BrokerId) -> Vec<String> {
        let broker = &*self.brokers[of.at()].name;
        let of_client = |source: &str| Some(source.strip_prefix(broker)?.strip_prefix('/')?.to_owned());
        self.spool.sources_with_taken().filter_map(of_client).collect()
    }

    /// Whether a client's QoS 2 message was taken over and not released.
    pub fn is_taken(&self, source: NameId, packet_id: u16) -> bool {
        self.spool.is_taken(source, packet_id)
    }

    /// A client has seen our PUBREC (PUBREL). Returns the sequence that must be durable before PUBCOMP is sent.
    pub fn released_by_client(&mut self, source: NameId, packet_id: u16) -> u64 {
        let sequence = self.spool.released(source, packet_id);
        self.spool.flush();
        sequence
    }

    /// A client has begun a new session. Returns the sequence that must be durable before it is told.
    pub fn client_forgotten(&mut self, of: BrokerId, client_id: &str) -> u64 {
        let text = format!("{}/{client_id}", self.brokers[of.at()].name);
        let Some(source) = self.spool.known_name(NameKind::Source, &text) else { return 0 };
        let sequence = self.spool.forgotten(source);
        self.spool.flush();
        sequence
    }

    /// Which item of the log a message is that was [pulled](Self::pull): the same in every process that has this log. `None`
    /// for one that is not in it.
    pub fn item(&self, ticket: Ticket) -> Option<ItemId> {
        let Ticket::Spooled { queue, ordinal } = ticket else { return None };
        self.spool.item_of(queue.spool(), ordinal)
    }

    /// A source has forgotten our session.
    pub fn forgotten(&mut self, by: BrokerId) {
        self.brokers[by.at()].echo.forget();
        for window in self.routes.iter_mut().filter_map(|route| route.window.as_mut()) {
            window.forget_sent(by);
        }
        let Self { brokers, debts, .. } = self;
        if let Some(source) = brokers[by.at()].source_id {
            // Also of a broker of this name that was removed: the session is the name's.
            debts.forget(|at| brokers[at.at()].source_id == Some(source));
            let broker = &mut brokers[by.at()];
            broker.gate = broker.gate.max(self.spool.forgotten(source));
        }
    }

    /// The sequence up to which the log must be durable before a link may write what is in its buffer.
    pub fn gate(&mut self, of: BrokerId) -> u64 {
        let gate = self.brokers[of.at()].gate;
        if gate > self.spool.durable() {
            self.spool.flush();
        }
        gate
    }

    /// Records what a link must know of its broker in another process, in place of what it knew before. If `first`, the
    /// link must not write on before the record is durable, and its gate rises; but not while the disk takes nothing,
    /// for then the link would send nothing at all. If the process ends before the disk is good again, a subscription
    /// that nobody wants stays behind at the broker, at most.
    pub fn remember_link(&mut self, of: BrokerId, memory: &[u8], first: bool) {
        let Some(plugin) = self.brokers[of.at()].link_id else { return };
        let write = StateWrite { plugin, key: MEMORY.to_owned(), value: Some(memory.to_vec()) };
        let sequence = self.spool.append(Transaction { state: vec![write], ..Transaction::default() });
        if first && self.disk == tidegate_spool::DiskStatus::Good {
            let broker = &mut self.brokers[of.at()];
            broker.gate = broker.gate.max(sequence);
        }
        self.spool.flush();
    }

    /// What an earlier process knew of the broker at the end of a link.
    pub fn memory_of(&self, broker: BrokerId) -> Option<&[u8]> {
        let keys = self.spool.state_of(NameKind::Link, &self.brokers[broker.at()].name)?;
        keys.get(MEMORY).map(Vec::as_slice)
    }

    /// At the start, before any link connects: what was being sent at QoS 2 goes on where it was. Returns it for each broker,
    /// with the packet identifiers that the broker, as a source, may still repeat.
    pub fn recover(&mut self, now: Moment) -> Vec<(BrokerId, Vec<Sent>, Vec<u16>)> {
        self.adopt_queues(now);
        self.parked_bytes = self.spool.parked().values().map(weight).sum();
        let mut all: Vec<Vec<Sent>> = self.brokers.iter().map(|_| Vec::new()).collect();
        for ready in self.spool.recover_sent() {
            let broker = ready.sent.and_then(|sent| {
                let found = self.brokers.iter().position(|broker| broker.link_id == Some(sent.link));
                found.map(|at| (at, sent))
            });
            let Some((at, state)) = broker else {
                self.ready(ready, now);
                continue;
            };
            self.count_recovered(ready.route);
            let ticket = Ticket::Spooled { queue: QueueId::new(ready.queue.into()), ordinal: ready.ordinal };
            let mut message = Some(ready.message).filter(|_| !state.taken_over);
            if let Some(message) = &mut message {
                message.qos = QoS::ExactlyOnce;
            }
            all[at].push(Sent { serial: state.serial, ticket, message });
        }
        let with_ids = all.into_iter().enumerate().filter_map(|(at, sent)| {
            let source = self.brokers[at].source_id?;
            Some((BrokerId::new(at), sent, self.spool.taken(source)))
        });
        with_ids.collect()
    }
}
