//! The rules: what a side may write, and what its owner may be told.

use super::{CLIENT, Model, limit, number};
use crate::frames::Frame;
use tidegate_message::QoS;
use tidegate_mqtt::{Completion, ReasonCode, Version};

impl Model {
    pub(super) fn written(&mut self, side: usize, frame: Frame) {
        let terms = self.terms().clone();
        let (connection, epoch, refused) = (self.connection, self.epoch, self.refused);
        let v5 = self.version == Version::V5;
        let (ours, theirs) = match (side, &mut self.directions) {
            (CLIENT, [ours, theirs]) | (_, [theirs, ours]) => (ours, theirs),
        };
        match frame {
            Frame::Publish { id, qos, dup, topic, alias, payload, size } => {
                let n = number(&payload, side);
                let sent = &mut ours.sent[n];
                assert!(size <= limit(terms.max_packet_size[1 - side]), "larger than the peer takes");
                if let Some(alias) = alias {
                    assert!((1..=terms.topic_alias_max[1 - side]).contains(&alias), "alias {alias}");
                    if !topic.is_empty() {
                        ours.aliases.insert(alias, topic.clone());
                    }
                }
                let topic = if topic.is_empty() { &ours.aliases[&alias.expect("an alias")] } else { &topic };
                assert_eq!(topic, sent.message.topic.as_str());
                let last = &mut ours.last_written[usize::from(qos > 0)];
                assert!(last.is_none_or(|last| last < n), "written out of order");
                *last = Some(n);
                if qos == 0 {
                    assert!(!dup && id == 0);
                    assert_eq!(sent.published_on, connection, "QoS 0 is never sent again");
                    return;
                }
                assert!(sent.completed.is_none(), "finished and sent again");
                match sent.seen {
                    Some((on, in_epoch)) if in_epoch == epoch => {
                        assert!(on < connection, "sent twice on one connection");
                        assert!(dup, "sent again without DUP");
                    }
                    _ if sent.published_on == connection => assert!(!dup, "the first time with DUP"),
                    Some(_) => assert!(!dup || self.version == Version::V31, "DUP to a session that never had it"),
                    None => {} // in a write buffer that was never written, perhaps
                }
                sent.seen = Some((connection, epoch));
                assert_eq!(*ours.ids.entry(id).or_insert(n), n, "a packet id for two messages");
                assert!(ours.window.insert(id));
                // A client keeps its own maximum where the broker cannot say one.
                let maximum = match (v5, side) {
                    (true, _) => terms.receive_maximum[1 - side],
                    (false, CLIENT) => terms.receive_maximum[CLIENT],
                    (false, _) => u16::MAX,
                };
                assert!(ours.window.len() <= usize::from(maximum), "above the receive maximum");
            }
            Frame::PubRel { id, reason } => {
                let fine = ours.taken_over.contains(&id) || reason == 0x92 || ours.finished.contains(&id);
                assert!(fine || !v5, "PUBREL without PUBREC");
            }
            Frame::PubAck { reason, .. } => {
                let n = theirs.to_puback.pop_front().expect("a PUBACK for nothing");
                let answer = theirs.sent[n].answer.expect("PUBACK before the owner said so");
                assert!(reason == answer.0 || theirs.sent[n].delivered.len() > 1, "{reason} for {answer:?}");
            }
            Frame::PubRec { id, .. } => {
                let n = theirs.ids[&id];
                assert!(theirs.sent[n].answer.is_some(), "PUBREC before the owner said so");
                if let Some(at) = theirs.to_pubrec.iter().position(|due| *due == id) {
                    assert!(at == 0 || refused, "PUBREC out of order");
                    theirs.to_pubrec.remove(at);
                }
            }
            Frame::PubComp { .. } => {
                theirs.pubcomps += 1;
                assert!(theirs.pubcomps <= theirs.pubrels, "PUBCOMP for nothing");
            }
            Frame::Disconnect { reason } => panic!("DISCONNECT 0x{reason:02X}"),
            Frame::Other(_) => {}
        }
    }

    /// What a side is about to read.
    pub(super) fn heard(&mut self, side: usize, frame: Frame) {
        let (ours, theirs) = match (side, &mut self.directions) {
            (CLIENT, [ours, theirs]) | (_, [theirs, ours]) => (ours, theirs),
        };
        match frame {
            Frame::Publish { qos: 1, payload, .. } => theirs.to_puback.push_back(number(&payload, 1 - side)),
            Frame::Publish { qos: 2, id, .. } if !theirs.to_pubrec.contains(&id) => theirs.to_pubrec.push_back(id),
            Frame::PubAck { id, .. } => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            Frame::PubRec { id, reason } if reason < 0x80 => {
                ours.taken_over.insert(id);
            }
            Frame::PubRec { id, .. } if !ours.taken_over.contains(&id) => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            Frame::PubRel { .. } => theirs.pubrels += 1,
            Frame::PubComp { id, .. } => {
                ours.window.remove(&id);
                ours.finished.insert(id);
            }
            _ => {}
        }
    }

    pub(super) fn received(&mut self, side: usize, received: &tidegate_mqtt::Received) {
        let (epoch, version, refused) = (self.epoch, self.version, self.refused);
        let direction = &mut self.directions[1 - side];
        let message = &received.message;
        let n = number(&message.payload, 1 - side);
        let sent = &mut direction.sent[n];
        assert_eq!(*message, sent.message, "a message changed on its way");
        assert_eq!(received.ack.is_some(), message.qos != QoS::AtMostOnce);
        let here = sent.delivered.iter().filter(|at| **at == epoch).count();
        match message.qos {
            QoS::AtMostOnce => assert!(sent.delivered.is_empty(), "QoS 0 came twice"),
            QoS::AtLeastOnce if here > 0 => {
                assert!(received.dup, "QoS 1 came again without DUP");
                let lost_answer = sent.answer.is_some();
                assert!(lost_answer || sent.repeats > 0, "came again though its owner still held it");
            }
            QoS::AtLeastOnce => {}
            QoS::ExactlyOnce => {
                let again = refused && sent.answer.is_some_and(ReasonCode::is_error);
                assert!(here == 0 || again, "QoS 2 came twice");
            }
        }
        if sent.delivered.is_empty() {
            let last = &mut direction.last_delivered[usize::from(message.qos != QoS::AtMostOnce)];
            assert!(last.is_none_or(|last| last < n), "first deliveries out of order ({version})");
            *last = Some(n);
        } else {
            assert!(sent.completed.is_none_or(|reason| reason.is_error()) || sent.repeats > 0 || !sent.in_flight);
        }
        sent.delivered.push(epoch);
        if let Some(token) = received.ack {
            // A new token wants a new answer.
            if sent.repeats == 0 {
                sent.answer = None;
            }
            self.held[side].push((token, n));
        }
    }

    pub(super) fn completed(&mut self, side: usize, completions: &[Completion]) {
        let max = limit(self.terms().max_packet_size[1 - side]);
        let (epoch, known) = (self.epoch, self.epoch_known);
        let direction = &mut self.directions[side];
        for Completion { key, reason } in completions {
            let sent = &mut direction.sent[*key as usize];
            assert!(sent.in_flight, "completed and not in flight");
            assert_eq!(sent.completed.replace(*reason), None, "completed twice");
            let id = direction.ids.iter().find(|(_, n)| **n as u64 == *key).map(|(id, _)| *id);
            match *reason {
                ReasonCode::PACKET_TOO_LARGE => {
                    assert!(max < 2000 && sent.published_on != self.connection, "it fits");
                }
                reason if reason.is_error() => assert_eq!(reason, ReasonCode::QUOTA_EXCEEDED),
                _ => {
                    assert!(!sent.delivered.is_empty(), "completed and never delivered");
                    let answered = sent.answer.is_some() || sent.delivered.len() > 1 || self.refused;
                    assert!(answered, "completed before the owner acknowledged");
                    match id {
                        Some(id) => assert!(direction.finished.contains(&id), "completed before the peer finished"),
                        None => assert!(epoch > 0 && (known == epoch || side == CLIENT), "completed out of nothing"),
                    }
                }
            }
        }
    }
}
