//! What comes from the box's own broker, and what that is to be told.

use super::DataPath;
use crate::data_path::{Kind, wall_ms};
use crate::source_ack::SourceAck;
use crate::stored::RetainFlag;
use std::collections::VecDeque;
use std::time::Instant;
use tidegate_broker::{LocalAck, LocalReceived, LocalRelease};
use tidegate_router::{Arrival, BrokerId, Ticket};

/// What the box's own broker is to be told, and what it has to say.
#[derive(Default)]
pub(crate) struct OwnOwed {
    /// Of messages that another process had.
    pub(crate) known: Vec<LocalAck>,
    /// Packet ids that are free again, and when that is durable.
    pub(crate) releases: VecDeque<(u64, LocalRelease)>,
    /// What was published and is not certain to outlive the process, with what must be durable for that, and whether it was
    /// taken.
    pub(crate) published: VecDeque<(u64, Vec<(Ticket, bool)>)>,
}

impl DataPath {
    /// What was published to the box's own broker is done as far as it is durable there.
    pub(crate) fn published_locally(&mut self, to: BrokerId, durable: u64, now: Instant) {
        let moment = self.moment(now);
        let published = &mut self.ends[to.at()].owed.published;
        let done = published.iter().take_while(|(recorded, _)| *recorded <= durable).count();
        if done > 0 {
            self.router.completed(to, published.drain(..done).flat_map(|(_, published)| published), moment);
            self.tell();
        }
    }

    /// A batch from the box's own broker.
    pub(crate) fn received_locally(&mut self, from: BrokerId, messages: &mut Vec<LocalReceived>, now: Instant) {
        let (moment, wall_ms) = (self.moment(now), wall_ms());
        let arrival = |LocalReceived { message, ack, stored, .. }, client| Arrival {
            audience: RetainFlag::of_local(stored),
            message,
            ack: ack.map(|ack| SourceAck::Embedded(ack, client)),
            redelivered: false,
            subscription_id: None,
            topic_id: None,
        };
        if messages.iter().all(|received| received.client.is_none()) {
            let arrivals = messages.drain(..).map(|received| arrival(received, None));
            self.router.received(from, arrivals, moment, wall_ms);
            return self.flush(now);
        }
        let Self { router, ends, .. } = self;
        let known = &mut ends[from.at()].owed.known;
        let mut arrivals = Vec::with_capacity(messages.len());
        for received in messages.drain(..) {
            let client = received.client.as_deref().map(|client| router.client_source(from, client));
            match received.ack.zip(client) {
                // Another process had it, and had no time to say so.
                Some((ack, client)) if router.is_taken(client, ack.packet_id()) => known.push(ack),
                _ => arrivals.push(arrival(received, client)),
            }
        }
        self.router.received(from, arrivals.into_iter(), moment, wall_ms);
        if !self.ends[from.at()].owed.known.is_empty() {
            self.router.touch(from);
        }
        self.flush(now);
    }

    /// Clients of the box's own broker that come, publish and go while the queues are full would fill the memory with what nobody
    /// waits for any more.
    pub(crate) fn forget_what_is_owed_to_nobody(&mut self) {
        let Self { router, ends, .. } = self;
        for (at, end) in ends.iter().enumerate() {
            let Kind::Embedded { local, .. } = &end.kind else { continue };
            let is_owed = |ack| match ack {
                SourceAck::Embedded(ack, _) => local.is_owed(ack),
                _ => true,
            };
            let at = BrokerId::new(at);
            let messages = router.forget_what_is_owed_to_nobody(at, is_owed);
            if messages > 0 {
                let broker = &*router.broker(at).name;
                let words = "a queue is full, and those who published these are gone, untold: dropped and counted";
                tracing::warn!(broker, messages, "{words}");
            }
        }
    }

    /// Packet ids of clients of the box's own broker are free again: it is told when that is recorded.
    pub(crate) fn released_locally(&mut self, from: BrokerId, releases: &mut Vec<LocalRelease>) {
        for release in releases.drain(..) {
            let sequence = if release.packet_id == LocalRelease::ALL {
                self.router.client_forgotten(from, &release.client)
            } else {
                let client = self.router.client_source(from, &release.client);
                self.router.released_by_client(client, release.packet_id)
            };
            self.ends[from.at()].owed.releases.push_back((sequence, release));
        }
        self.router.touch(from);
        self.tell();
    }
}
