//! What sources do in a story.

use crate::ledger::{Attempt, Fate, Ledger, Out, Stamp};
use crate::play::Play;
use crate::setup::TOPICS;
use crate::source::{Sent, Stage, Token};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tidegate_message::{Message, Properties, QoS, Topic, TopicId};
use tidegate_router::{Arrival, Audience};

/// So many messages of a source wait at most.
const SENT_MAX: usize = 10;

/// What a message that expires is good for, in seconds.
const EXPIRY_S: u32 = 2;

/// As sessions know topics again.
static TOPIC_IDS: LazyLock<[TopicId; TOPICS.len()]> = LazyLock::new(|| TOPICS.map(|_| TopicId::fresh()));

impl Play {
    fn is_link(&self, name: &str) -> bool {
        self.setup.brokers().any(|(known, is_link)| known == name && is_link)
    }

    pub(crate) fn send(&mut self, source: &str, topic: &'static str, qos: u8, expires: bool) {
        let Some(id) = self.ids.get(source).copied() else { return };
        if self.router.gate(id) > self.router.spool().durable() {
            // One that has forgotten our session sends nothing before it gets our subscriptions, which the gate keeps back.
            return;
        }
        let qos = QoS::from_u8(qos).expect("a QoS");
        let memory = self.sources.entry(source.to_owned()).or_default();
        let Some(packet_id) = memory.packet_id() else { return };
        if memory.sent.len() >= SENT_MAX {
            return;
        }
        let number = self.ledger.number();
        let sent = Sent { number, attempt: 0, topic, qos, packet_id, expires, stage: Stage::Waits };
        self.put(source, sent, false);
    }

    /// A source sends a message, perhaps again.
    fn put(&mut self, source: &str, mut sent: Sent, redelivered: bool) {
        sent.attempt = self.ledger.number();
        let attempt = sent.attempt;
        let topic = Topic::new(sent.topic).expect("a topic");
        let is_owed = sent.qos > QoS::AtMostOnce;
        let fates: BTreeMap<String, Fate> = self
            .views
            .iter()
            .filter(|(_, (view, is_live))| *is_live && view.source == source && view.takes(&topic))
            .map(|(name, (view, _))| {
                let stamp = Stamp::new(attempt, 0, 0);
                let wanted = Ledger::wanted(&self.setup, (view, true), &view.targets, is_owed, sent.qos);
                (name.clone(), Fate::Outs(vec![Out { stamp, wanted }]))
            })
            .collect();
        let Sent { number, qos, expires, .. } = sent;
        let source_name = source.to_owned();
        let (acked, void, replayed) = (false, false, false);
        let filed = Attempt { number, source: source_name, is_owed, qos, expires, acked, void, replayed, fates };
        self.ledger.attempts.insert(attempt, filed);
        let mut message = Message::new(topic, Stamp::new(attempt, 0, 0).payload(), qos);
        if expires {
            let message_expiry_seconds = Some(EXPIRY_S);
            message.properties = Some(Box::new(Properties { message_expiry_seconds, ..Properties::default() }));
        }
        let packet_id = (qos == QoS::ExactlyOnce && self.is_link(source)).then_some(sent.packet_id);
        let ack = is_owed.then_some(Token { attempt, packet_id });
        if is_owed {
            self.sources.entry(source.to_owned()).or_default().sent.push_back(sent);
        }
        let now = self.now();
        // Of half of the topics.
        let known = TOPICS.iter().position(|known| *known == message.topic.as_str()).filter(|at| at % 2 == 0);
        let topic_id = known.map(|at| TOPIC_IDS[at]);
        let arrival = Arrival { message, ack, redelivered, subscription_id: None, audience: Audience::All, topic_id };
        self.router.received(self.ids[source], [arrival].into_iter(), now, now.us / 1000);
    }

    /// A source that is back sends everything again that it has not seen acknowledged; `taken` are packet identifiers of
    /// messages that the log has.
    pub(crate) fn send_again(&mut self, source: &str, taken: &[u16]) {
        let Some(memory) = self.sources.get_mut(source) else { return };
        for mut sent in std::mem::take(&mut memory.sent) {
            if sent.stage == Stage::Waits && sent.qos == QoS::ExactlyOnce && taken.contains(&sent.packet_id) {
                sent.stage = Stage::Received;
                let attempt = self.ledger.attempts.get_mut(&sent.attempt).expect("a message that was sent");
                // What the log has of one that was sent anew may be of the attempt before.
                attempt.acked = !self.ledger.sent_anew.contains(&sent.number);
                attempt.void |= self.stale.contains(&(source.to_owned(), sent.packet_id));
            }
            match sent.stage {
                Stage::Waits => self.put(source, sent, true),
                Stage::Received | Stage::Releasing(_) => {
                    sent.stage = Stage::Received;
                    self.sources.entry(source.to_owned()).or_default().sent.push_back(sent);
                }
            }
        }
    }

    /// Sources see what they are acknowledged. Returns how many that were.
    pub(crate) fn take_acks(&mut self) -> usize {
        let mut count = 0;
        let dropped = self.dropped_now();
        for (name, id) in &self.ids {
            let tokens: Vec<Token> = self.router.take_acks(*id).collect();
            count += tokens.len();
            for token in tokens {
                let is_void = self.ledger.attempts[&token.attempt].void;
                if !is_void {
                    self.ledger.acknowledge(token.attempt, dropped);
                }
                if let Some(source) = self.sources.get_mut(name) {
                    source.acknowledged(token.attempt);
                }
            }
        }
        count
    }

    /// How many messages were dropped in this life, and not because a plugin said so.
    fn dropped_now(&self) -> u64 {
        let routes = self.router.routes();
        let dropped = routes.flat_map(|(_, route)| &route.account.dropped);
        dropped.filter(|(reason, _)| &***reason != "unwanted").map(|(_, count)| count).sum()
    }

    /// A source has seen PUBRECs, and sends PUBREL. Returns how many.
    pub(crate) fn release(&mut self, source: &str) -> usize {
        let (Some(id), Some(memory)) = (self.ids.get(source).copied(), self.sources.get_mut(source)) else { return 0 };
        let mut count = 0;
        for sent in memory.sent.iter_mut().filter(|sent| sent.stage == Stage::Received) {
            self.router.released(id, &[sent.packet_id]);
            sent.stage = Stage::Releasing(self.router.gate(id));
            count += 1;
        }
        memory.durable(self.router.spool().durable());
        count
    }

    /// A source forgets our session: what it had not seen acknowledged it does not send again.
    pub(crate) fn forget(&mut self, source: &str) {
        let (Some(id), true) = (self.ids.get(source).copied(), self.is_link(source)) else { return };
        self.router.forgotten(id);
        self.void_source(source);
    }

    /// Nobody waits for the messages of a source any more.
    pub(crate) fn void_source(&mut self, source: &str) {
        let Some(memory) = self.sources.remove(source) else { return };
        for sent in memory.sent {
            let attempt = self.ledger.attempts.get_mut(&sent.attempt).expect("a message that was sent");
            attempt.void |= !attempt.acked;
        }
    }
}
