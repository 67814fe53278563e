//! What both sides of a connection do alike: messages and acknowledgements, both ways.

use crate::incoming::{AckToken, Arrival, Arriving, IncomingFlow, Received};
use crate::known_topics::KnownTopics;
use crate::outgoing::{AliasesOut, Answer, Completion, Mark, OutgoingFlow, PeerLimits, PublishError, Published, Wire};
use crate::publish::{self, Broken};
use crate::reason::ReasonCode;
use crate::restore::Unfinished;
use crate::skip::Skipping;
use crate::wire::{Frame, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, ProtocolError, take_ack};
use crate::{Batch, Version};
use bytes::BytesMut;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic};

/// The part of a session that outlives a connection: messages in flight both ways (MQTT 5.0 section 4.1).
#[derive(Debug, Clone, Default)]
pub struct Flow {
    pub(crate) incoming: IncomingFlow,
    pub(crate) outgoing: OutgoingFlow,
}

impl Flow {
    /// A server's, as it recorded it: its unfinished messages, and the packet ids of QoS 2 messages from the client that it has taken over and the client
    /// has not released. Returns the keys of messages that a later one with their packet id shows to be finished.
    pub fn restored(sent: Vec<Unfinished>, received: Vec<u16>) -> (Self, Vec<u64>) {
        let mut flow = Self::default();
        if !received.is_empty() {
            flow.incoming.restore(received);
        }
        let finished = flow.outgoing.restore(sent);
        (flow, finished)
    }

    /// The connection under it is gone.
    pub(crate) fn disconnected(&mut self) {
        self.incoming.disconnected();
    }

    /// Every message of ours that the peer has not taken over, as `(key, message)` in the order of sending. The session keeps nothing but the packet ids
    /// that the peer must still be told to forget.
    pub fn take_unfinished(&mut self) -> Vec<(u64, Message)> {
        self.outgoing.take_unfinished()
    }

    /// Acknowledges a received message while the peer is away: it is told when it comes back and asks.
    pub fn ack(&mut self, token: AckToken, reason: ReasonCode) {
        // Nothing is written: without a connection nothing waits in order of receipt.
        self.incoming.ack(token, reason, &mut BytesMut::new(), true);
    }

    /// How many messages of ours wait for the peer.
    pub fn in_flight(&self) -> usize {
        self.outgoing.in_flight()
    }
}

/// How many topic aliases we give out at most, whatever the peer would take.
const ALIASES_OUT_MAX: u16 = 256;

/// One connection's worth of state beside the [`Flow`].
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) version: Version,
    /// A server refuses what only servers may send.
    pub(crate) is_server: bool,
    pub(crate) tx: BytesMut,
    pub(crate) flow: Flow,
    pub(crate) peer: PeerLimits,
    aliases_out: AliasesOut,
    /// What each message bears on its way out.
    pub(crate) mark: Option<Box<Mark>>,
    /// Of a client: what its broker has sent of late. A server has too many peers for that.
    topics: Option<Box<KnownTopics>>,
    /// As far as the peer has made use of them.
    aliases_in: Vec<Option<Topic>>,
    aliases_in_max: u16,
    /// Our own limits, as we told the peer.
    pub(crate) receive_maximum: usize,
    pub(crate) max_packet_size: usize,
    pub(crate) last_received: Instant,
    pub(crate) last_sent: Instant,
    /// A PUBLISH above our maximum is read past; otherwise it ends the connection.
    pub(crate) skips_large: bool,
    /// The packet that is being read past.
    pub(crate) skipping: Option<Box<Skipping>>,
}

impl Connection {
    pub(crate) fn new(flow: Flow, now: Instant) -> Self {
        Self {
            version: Version::V5,
            is_server: false,
            tx: BytesMut::new(),
            flow,
            peer: PeerLimits::default(),
            aliases_out: AliasesOut::default(),
            mark: None,
            topics: None,
            aliases_in: Vec::new(),
            aliases_in_max: 0,
            receive_maximum: usize::from(u16::MAX),
            max_packet_size: usize::MAX,
            last_received: now,
            last_sent: now,
            skips_large: false,
            skipping: None,
        }
    }

    pub(crate) fn v5(&self) -> bool {
        self.version == Version::V5
    }

    /// Starts over for a new connection of this version.
    pub(crate) fn reset(&mut self, version: Version, now: Instant) {
        self.flow.disconnected();
        self.version = version;
        self.tx.clear();
        self.peer = PeerLimits::default();
        self.aliases_out = AliasesOut::default();
        self.aliases_in.clear();
        self.skipping = None;
        (self.last_received, self.last_sent) = (now, now);
    }

    /// Both sides have said what they take: from here on messages flow.
    pub(crate) fn established(
        &mut self,
        peer: PeerLimits,
        aliases_in: u16,
        session_present: bool,
        completed: &mut Vec<Completion>,
    ) -> usize {
        self.aliases_out = AliasesOut::new(peer.topic_alias_max.min(ALIASES_OUT_MAX));
        (self.aliases_in, self.aliases_in_max) = (Vec::new(), aliases_in);
        self.peer = peer;
        if !session_present {
            self.flow.incoming.forget();
        }
        self.flow.incoming.peer_may_have_forgotten = !self.is_server && self.version == Version::V31;
        let republished = self.flow.outgoing.reconnected(session_present, completed);
        self.resend(completed);
        republished
    }

    pub(crate) fn resend(&mut self, completed: &mut Vec<Completion>) {
        if self.flow.outgoing.has_unsent() {
            let Self { version, peer, aliases_out, mark, tx, flow, .. } = self;
            let mut wire =
                Wire { version: *version, limits: peer, aliases: aliases_out, mark: mark.as_deref(), out: tx };
            flow.outgoing.resend(&mut wire, completed);
        }
    }

    /// Without a key its owner hears no more of it.
    pub(crate) fn publish(
        &mut self,
        key: Option<u64>,
        message: Message,
        ids: &[u32],
    ) -> Result<Published, PublishError> {
        let Self { version, peer, aliases_out, mark, tx, flow, .. } = self;
        let mut wire = Wire { version: *version, limits: peer, aliases: aliases_out, mark: mark.as_deref(), out: tx };
        flow.outgoing.publish(&mut wire, key, message, ids)
    }

    pub(crate) fn ack(&mut self, token: AckToken, reason: ReasonCode) {
        let v5 = self.v5();
        self.flow.incoming.ack(token, reason, &mut self.tx, v5);
    }

    /// Deals with a PUBLISH or an acknowledgement; gives any other frame back.
    pub(crate) fn on_frame(&mut self, frame: Frame, batch: &mut Batch) -> Result<Option<Frame>, ProtocolError> {
        let v5 = self.v5();
        match frame.kind() {
            PUBLISH => self.on_publish(frame, batch)?,
            // The common one: an id and nothing more.
            PUBACK if frame.body.len() == 2 && frame.first == PUBACK << 4 => {
                let id = u16::from_be_bytes([frame.body[0], frame.body[1]]);
                if id == 0 {
                    return Err(ProtocolError::Malformed("packet id 0"));
                }
                self.flow.outgoing.on_plain_puback(id, batch);
                self.resend(&mut batch.completed);
            }
            PUBACK => {
                let (id, reason, words) = take_ack(frame, self.version)?;
                self.flow.outgoing.on_puback(id, Answer { reason, words, is_server: self.is_server }, batch);
                self.resend(&mut batch.completed);
            }
            PUBREC => {
                let (id, reason, words) = take_ack(frame, self.version)?;
                let answer = Answer { reason, words, is_server: self.is_server };
                self.flow.outgoing.on_pubrec(id, answer, &mut self.tx, v5, batch);
                self.resend(&mut batch.completed);
            }
            PUBREL => {
                let (id, ..) = take_ack(frame, self.version)?;
                if self.flow.incoming.on_pubrel(id, &mut self.tx, v5) {
                    batch.released.push(id);
                }
            }
            PUBCOMP => {
                let (id, ..) = take_ack(frame, self.version)?;
                self.flow.outgoing.on_pubcomp(id, &mut batch.completed);
                self.resend(&mut batch.completed);
            }
            _ => return Ok(Some(frame)),
        }
        Ok(None)
    }

    fn on_publish(&mut self, frame: Frame, batch: &mut Batch) -> Result<(), ProtocolError> {
        let size_bytes = frame.body.len();
        let topics = if self.is_server { None } else { Some(&mut **self.topics.get_or_insert_default()) };
        let mut found = match publish::decode(frame, self.version, topics) {
            Ok(found) => found,
            Err(broken) => return self.broken(*broken, size_bytes, batch),
        };
        if self.is_server && found.subscription_id.is_some() {
            return Err(ProtocolError::Unexpected("a subscription identifier from a client"));
        }
        let topic = match (found.topic.take(), found.alias) {
            (Some(topic), None) => Ok(topic),
            (topic, alias) => self.topic_of(topic, alias),
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => {
                let publish::Decoded { dup, qos, packet_id, .. } = found;
                return self.broken(Broken { error, dup, qos, packet_id, topic: None }, size_bytes, batch);
            }
        };
        let ack = if found.qos == QoS::AtMostOnce {
            None
        } else {
            let v5 = self.v5();
            let max = self.receive_maximum;
            let content = if found.qos == QoS::ExactlyOnce { content_of(&topic, &found.payload) } else { 0 };
            let publish::Decoded { packet_id, qos, dup, .. } = found;
            let arriving = Arriving { packet_id, qos, dup, content };
            let accept = self.flow.incoming.accept(arriving, max, &mut self.tx, v5)?;
            match accept {
                Arrival::New(token) => Some(token),
                Arrival::Known => return Ok(()),
            }
        };
        let message = Message {
            topic,
            payload: found.payload,
            qos: found.qos,
            retain: found.retain,
            properties: found.properties,
        };
        let publish::Decoded { dup, subscription_id, subscription_bits, topic_id, .. } = found;
        batch.received.push(Received { message, ack, dup, subscription_id, subscription_bits, topic_id });
        Ok(())
    }

    /// The topic of a PUBLISH, by its alias if need be.
    fn topic_of(&mut self, topic: Option<Topic>, alias: Option<u16>) -> Result<Topic, ProtocolError> {
        let Some(alias) = alias else {
            return topic.ok_or(ProtocolError::Unexpected("PUBLISH without a topic"));
        };
        if alias == 0 || alias > self.aliases_in_max {
            return Err(ProtocolError::TopicAlias(alias));
        }
        let at = usize::from(alias) - 1;
        let Some(topic) = topic else {
            return self.aliases_in.get(at).cloned().flatten().ok_or(ProtocolError::TopicAlias(alias));
        };
        if at >= self.aliases_in.len() {
            self.aliases_in.resize(at + 1, None);
        }
        Ok(self.aliases_in[at].insert(topic.detached()).clone())
    }

    /// A PUBLISH that cannot be taken: it costs itself only. A client of MQTT 5 that breaks the protocol is told so by
    /// DISCONNECT; one topic that cannot be is told by PUBACK.
    fn broken(&mut self, broken: Broken, body_bytes: usize, batch: &mut Batch) -> Result<(), ProtocolError> {
        let answerable = broken.qos != QoS::AtMostOnce && broken.packet_id != 0;
        if self.is_server && !(answerable && matches!(broken.error, ProtocolError::Topic(_))) {
            return Err(broken.error);
        }
        self.skip(broken, body_bytes, batch)
    }
}

/// So much of a payload tells it from another, in bytes.
const TELLING_BYTES: usize = 4096;

/// What tells a message from another one under the same id, within one process.
fn content_of(topic: &Topic, payload: &[u8]) -> u64 {
    let telling = &payload[..payload.len().min(TELLING_BYTES)];
    ahash::RandomState::with_seeds(1, 3, 5, 7).hash_one((topic.as_str(), payload.len(), telling))
}

/// One and a half times the keep-alive: how long a peer may be silent (MQTT 5.0 section 3.1.2.10).
pub(crate) fn silence_limit(keep_alive_s: u16) -> Duration {
    Duration::from_millis(u64::from(keep_alive_s) * 1500)
}
