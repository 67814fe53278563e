//! QoS 2 over a crash: what is recorded before a link may write, and where a start goes on.

use crate::core::{Core, Kind};
use crate::durable::parked_weight;
use crate::lane::{SPOOLED, Tag};
use std::time::Instant;
use tidegate_link::LinkHandle;
use tidegate_message::QoS;
use tidegate_mqtt::{Restored, RestoredMessage};

impl Core {
    /// A QoS 2 message was put into a link's buffer.
    pub(crate) fn sent_once(&mut self, broker: u16, key: u64, serial: u64) {
        let tag = Tag::from_key(key);
        let slot = &mut self.brokers[usize::from(broker)];
        if tag.is_spooled()
            && let Some(link) = slot.link_id
        {
            slot.gate = slot.gate.max(self.spool.sent(tag.route, tag.origin, link, serial));
        }
    }

    /// A target has taken QoS 2 messages over.
    pub(crate) fn taken_over(&mut self, broker: u16, keys: &[u64]) {
        for tag in keys.iter().map(|key| Tag::from_key(*key)).filter(|tag| tag.is_spooled()) {
            let sequence = self.spool.taken_over(tag.route, tag.origin);
            let slot = &mut self.brokers[usize::from(broker)];
            slot.gate = slot.gate.max(sequence);
        }
    }

    /// A source has seen our PUBRECs.
    pub(crate) fn released_ids(&mut self, broker: u16, packet_ids: &[u16]) {
        let slot = &mut self.brokers[usize::from(broker)];
        let Some(source) = slot.source_id else { return };
        for id in packet_ids {
            slot.gate = slot.gate.max(self.spool.released(source, *id));
        }
    }

    /// A source has forgotten our session.
    pub(crate) fn forgotten(&mut self, broker: u16) {
        let slot = &mut self.brokers[usize::from(broker)];
        if let Some(source) = slot.source_id {
            slot.gate = slot.gate.max(self.spool.forgotten(source));
        }
    }

    /// What must be durable before a link may write.
    pub(crate) fn gate(&mut self, broker: u16) -> u64 {
        let gate = self.brokers[usize::from(broker)].gate;
        if gate > self.spool.durable() {
            self.spool.flush();
        }
        gate
    }

    /// At the start, before any link connects: what was being sent at QoS 2 goes on where it was.
    pub(crate) fn recover(&mut self, now: Instant) {
        self.adopt_queues();
        for slot in self.spool.waiting() {
            if slot.items > 0 && !self.targets.contains_key(slot.key.target.as_str()) {
                tracing::warn!(
                    target_name = slot.key.target,
                    messages = slot.items,
                    "wait for a target that is not configured"
                );
            }
        }
        self.parked_bytes = self.spool.parked().values().map(parked_weight).sum();
        let mut sent: Vec<Vec<RestoredMessage>> = self.brokers.iter().map(|_| Vec::new()).collect();
        for ready in self.spool.recover_sent() {
            let broker = ready.sent.and_then(|sent| {
                let found = self.brokers.iter().position(|slot| slot.link_id == Some(sent.link));
                found.map(|at| (at, sent))
            });
            let Some((at, state)) = broker else {
                self.ready(ready, now);
                continue;
            };
            self.count_recovered(ready.route);
            let key = Tag { origin: ready.ordinal, route: ready.queue, set: SPOOLED }.key();
            let mut message = Some(ready.message).filter(|_| !state.taken_over);
            if let Some(message) = &mut message {
                message.qos = QoS::ExactlyOnce;
            }
            sent[at].push(RestoredMessage { serial: state.serial, key, message });
        }
        for (at, sent) in sent.into_iter().enumerate() {
            let slot = &self.brokers[at];
            let (Kind::Link(handle), Some(source)) = (&slot.kind, slot.source_id) else { continue };
            let handle: LinkHandle = handle.clone();
            let received = self.spool.taken(source);
            for key in handle.restore(Restored { sent, received }) {
                self.completed_one(Tag::from_key(key), now);
            }
        }
        self.spool_news(now);
    }
}
