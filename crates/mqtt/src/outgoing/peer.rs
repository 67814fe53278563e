//! What a packet to this peer depends on: the limits it has announced, the topic aliases it knows, the write buffer.

use super::PublishError;
use crate::Version;
use crate::publish::{self, Hop};
use ahash::RandomState;
use bytes::{Bytes, BytesMut};
use tidegate_message::{ByteString, Message, Properties, QoS, Topic};

/// What the peer said it takes.
#[derive(Debug, Clone)]
pub(crate) struct PeerLimits {
    pub(crate) receive_maximum: u16,
    /// How many of these may be of QoS 2. MQTT 3.x has no way to say so, and mosquitto 2.0 hangs up above 20.
    pub(crate) exactly_once_maximum: u16,
    pub(crate) max_packet_size: usize,
    pub(crate) max_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) topic_alias_max: u16,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            exactly_once_maximum: u16::MAX,
            max_packet_size: usize::MAX,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_max: 0,
        }
    }
}

/// Topic aliases we have given out on this connection: one topic a slot, the slot is the topic's hash.
#[derive(Debug, Default)]
pub(crate) struct AliasesOut(Option<Box<Slots>>);

#[derive(Debug)]
struct Slots {
    topics: Vec<Option<Topic>>,
    hasher: RandomState,
}

impl AliasesOut {
    pub(crate) fn new(count: u16) -> Self {
        let slots = || Box::new(Slots { topics: vec![None; usize::from(count)], hasher: RandomState::new() });
        Self((count > 0).then(slots))
    }

    /// The peer does not know it after all.
    fn forget(&mut self, alias: u16) {
        if let Some(slots) = &mut self.0 {
            slots.topics[usize::from(alias) - 1] = None;
        }
    }

    /// The alias to send, and whether the peer knows it for this topic already.
    fn of(&mut self, topic: &Topic) -> (Option<u16>, bool) {
        let Some(Slots { topics, hasher }) = self.0.as_deref_mut() else { return (None, false) };
        let at = (hasher.hash_one(topic.as_str()) % topics.len() as u64) as usize;
        let known = topics[at].as_ref() == Some(topic);
        if !known {
            topics[at] = Some(topic.detached());
        }
        (Some(at as u16 + 1), known)
    }
}

/// A user property that each message gets that has none of its name.
#[derive(Debug)]
pub(crate) struct Mark {
    name: ByteString,
    /// As it stands in a PUBLISH.
    property: Bytes,
}

impl Mark {
    pub(crate) fn new((name, value): &(ByteString, ByteString)) -> Self {
        let own = Properties { user: vec![(name.clone(), value.clone())], ..Properties::default() };
        let mut property = BytesMut::new();
        publish::put_message_properties(&mut property, &own);
        Self { name: name.clone(), property: property.freeze() }
    }

    /// What a message is to bear of it.
    fn of(&self, message: &Message) -> &[u8] {
        let bears = |own: &Properties| own.user.iter().any(|(name, _)| *name == self.name);
        if message.properties.as_deref().is_some_and(bears) { &[] } else { &self.property }
    }
}

/// Everything `publish` needs to know of the connection.
pub(crate) struct Wire<'a> {
    pub(crate) version: Version,
    pub(crate) limits: &'a PeerLimits,
    pub(crate) aliases: &'a mut AliasesOut,
    pub(crate) mark: Option<&'a Mark>,
    pub(crate) out: &'a mut BytesMut,
}

impl Wire<'_> {
    pub(super) fn encode(
        &mut self,
        message: &Message,
        packet_id: u16,
        dup: bool,
        ids: &[u32],
    ) -> Result<(), PublishError> {
        let (alias, topic_known) = self.aliases.of(&message.topic);
        let mark = self.mark.map_or(&[][..], |mark| mark.of(message));
        let mut hop = Hop { packet_id, dup, alias, topic_known, subscription_ids: ids, mark };
        let mut encode =
            |hop: &Hop<'_>| publish::encode(self.out, self.version, message, hop, self.limits.max_packet_size);
        let mut done = encode(&hop);
        if done.is_err() && !mark.is_empty() {
            hop.mark = &[];
            done = encode(&hop);
        }
        done.map_err(|size| {
            // The peer will not see the alias introduced here.
            if let (Some(alias), false) = (alias, topic_known) {
                self.aliases.forget(alias);
            }
            PublishError::TooLarge { size, max: self.limits.max_packet_size }
        })
    }
}
