//! What a link knows of its broker that must outlive the process, as one small JSON document.
//!
//! It is handed to the owner by [`Port::remember`](crate::Port::remember) before anything relies on it, and comes back by
//! [`LinkHandle::restore_memory`](crate::LinkHandle::restore_memory). What cannot be read is forgotten: it costs a few
//! attempts, or a subscription that nobody asked for, never a message.

use crate::hello::Hello;
use crate::subscriptions::Known;
use crate::suspect::Suspect;
use serde::{Deserialize, Serialize};
use tidegate_message::text::is_portable;
use tidegate_message::{Message, QoS, TopicFilter};
use tidegate_mqtt::BrokerLimits;

/// Of how many sessions of a broker (client ids, addresses) the subscriptions are remembered.
const SESSIONS_MAX: usize = 8;

/// What is remembered of one broker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// What holds for the broker at this address.
    address: String,
    hello: Option<Hello>,
    limits: Learned,
    pub(crate) suspect: Option<Suspect>,
    /// The last one used first.
    sessions: Vec<Session>,
}

/// What a broker was found not to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Learned {
    max_qos: Option<u8>,
    /// It hung up on a message of so many bytes, topic and payload, and said that the size was why.
    too_large: Option<u32>,
    /// It hung up on one that was far larger than any that it took: in this process that is taken for the reason.
    #[serde(skip)]
    probably_too_large: Option<u32>,
    pub(crate) no_retain: bool,
    /// It hung up on a text with a control character or a non-character.
    pub(crate) no_control_characters: bool,
}

/// Messages that a broker is known to hang up on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Avoid {
    /// From so many bytes on, topic and payload.
    from_bytes: Option<usize>,
    control_characters: bool,
}

impl Avoid {
    /// Why a message is not to be tried; `None` if it is.
    #[inline]
    pub(crate) fn reason(&self, message: &Message) -> Option<&'static str> {
        if self.from_bytes.is_some_and(|from| message.topic.len() + message.payload.len() >= from) {
            return Some("the broker has hung up on a message of that size before");
        }
        let odd = self.control_characters && has_control_characters(message);
        odd.then_some("the broker has hung up on control characters before")
    }
}

/// Whether a text of a message has a character that a receiver may hang up on (MQTT 5.0 section 1.5.4).
pub(crate) fn has_control_characters(message: &Message) -> bool {
    let odd = |text: &str| !is_portable(text);
    let properties = message.properties.as_deref();
    odd(message.topic.as_str())
        || properties.is_some_and(|found| {
            found.content_type.as_deref().is_some_and(odd)
                || found.response_topic.as_ref().is_some_and(|topic| odd(topic.as_str()))
                || found.user.iter().any(|(name, value)| odd(name) || odd(value))
        })
}

impl Learned {
    /// Together with what is configured.
    pub(crate) fn limits(&self, max_qos: QoS) -> BrokerLimits {
        let learned = self.max_qos.and_then(QoS::from_u8).unwrap_or(QoS::ExactlyOnce);
        BrokerLimits { max_qos: learned.min(max_qos), max_packet_size: None, retain: !self.no_retain }
    }

    /// What is not to be tried any more.
    pub(crate) fn avoid(&self) -> Avoid {
        let from_bytes = [self.too_large, self.probably_too_large].into_iter().flatten().min();
        Avoid { from_bytes: from_bytes.map(|bytes| bytes as usize), control_characters: self.no_control_characters }
    }

    pub(crate) fn hung_up_on_size(&mut self, bytes: usize, said_so: bool) {
        let known = if said_so { &mut self.too_large } else { &mut self.probably_too_large };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        *known = Some(known.map_or(bytes, |known| known.min(bytes)));
    }

    /// True if that is news.
    pub(crate) fn lower_qos(&mut self, qos: QoS) -> bool {
        let is_lower = self.max_qos.is_none_or(|known| known > qos as u8);
        if is_lower {
            self.max_qos = Some(qos as u8);
        }
        is_lower
    }
}

/// What a session at the broker may be subscribed to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Session {
    address: String,
    client_id: String,
    filters: Vec<String>,
    /// Of these, those that are not to be asked for again, each with its QoS.
    granted: Vec<(String, u8)>,
}

impl Memory {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Turns to the broker at this address: what was learned of another does not hold.
    pub(crate) fn turn_to(&mut self, address: &str) {
        if self.address != address {
            address.clone_into(&mut self.address);
            (self.hello, self.limits, self.suspect) = (None, Learned::default(), None);
        }
    }

    pub(crate) fn hello(&self) -> Option<Hello> {
        self.hello
    }

    /// True if that is news.
    pub(crate) fn set_hello(&mut self, hello: Hello) -> bool {
        self.hello.replace(hello) != Some(hello)
    }

    pub(crate) fn learned(&mut self) -> &mut Learned {
        &mut self.limits
    }

    pub(crate) fn known(&self, client_id: &str) -> Known {
        let session = self.sessions.iter().find(|s| s.client_id == client_id && s.address == self.address);
        let Some(session) = session else { return Known::default() };
        let filter = |text: &String| TopicFilter::new(text.clone()).ok();
        Known {
            filters: session.filters.iter().filter_map(filter).collect(),
            granted: session.granted.iter().filter_map(|(text, qos)| filter(text).zip(QoS::from_u8(*qos))).collect(),
        }
    }

    /// Those of the session that was used last.
    pub(crate) fn last_filters(&self) -> Vec<TopicFilter> {
        let filters = self.sessions.first().into_iter().flat_map(|session| &session.filters);
        filters.filter_map(|text| TopicFilter::new(text.clone()).ok()).collect()
    }

    pub(crate) fn set_known(&mut self, client_id: &str, known: &Known) {
        self.sessions.retain(|s| s.client_id != client_id || s.address != self.address);
        let session = Session {
            address: self.address.clone(),
            client_id: client_id.to_owned(),
            filters: known.filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
            granted: known.granted.iter().map(|(filter, qos)| (filter.as_str().to_owned(), *qos as u8)).collect(),
        };
        self.sessions.insert(0, session);
        self.sessions.truncate(SESSIONS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_mqtt::Version;

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_forgotten() {
        let mut memory = Memory::default();
        memory.turn_to("office:1883");
        assert!(memory.set_hello(Hello::new(Version::V311, true)));
        assert!(!memory.set_hello(Hello::new(Version::V311, true)), "no news");
        assert!(memory.learned().lower_qos(QoS::AtLeastOnce) && !memory.learned().lower_qos(QoS::ExactlyOnce));
        let filters = vec![TopicFilter::new("a/#").unwrap(), TopicFilter::new("$share/g/b").unwrap()];
        let known = Known { granted: vec![(filters[0].clone(), QoS::AtLeastOnce)], filters };
        memory.set_known("box", &known);
        let mut read = Memory::read(&memory.write());
        assert_eq!(read, memory);
        assert_eq!((read.known("box"), read.known("other")), (known.clone(), Known::default()));
        read.turn_to("backup:1883");
        assert_eq!((read.hello(), read.known("box")), (None, Known::default()), "another broker");
        assert_eq!(read.learned().limits(QoS::ExactlyOnce), BrokerLimits::default());
        read.turn_to("office:1883");
        assert_eq!(read.known("box"), known, "its session is still there");
        assert_eq!(Memory::read(b"\xFFno"), Memory::default());
    }

    #[test]
    fn sessions_are_bounded() {
        let mut memory = Memory::default();
        for n in 0..100 {
            memory.set_known(&n.to_string(), &Known::default());
        }
        assert_eq!(memory.sessions.len(), SESSIONS_MAX);
        assert_eq!(memory.sessions[0].client_id, "99");
    }
}
