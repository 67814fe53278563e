//! A message as it came or goes out, and what was decided on it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_message::{ByteString, Message, QoS, Topic, TopicError};

/// What is kept of a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Payloads {
    /// All of it.
    #[default]
    Whole,
    /// Its SHA-256 and its length: whether two are the same can be told.
    Hashed,
    /// Its length.
    LeftOut,
}

/// A payload, or what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// All of it.
    Whole(Bytes),
    /// Its SHA-256, and its length in bytes.
    Hashed([u8; 32], u64),
    /// Its length in bytes.
    LeftOut(u64),
}

impl Payload {
    /// Of these bytes.
    pub fn of(payload: &Bytes, kept: Payloads) -> Self {
        match kept {
            Payloads::Whole => Self::Whole(payload.clone()),
            Payloads::Hashed => Self::Hashed(Sha256::digest(payload).into(), payload.len() as u64),
            Payloads::LeftOut => Self::LeftOut(payload.len() as u64),
        }
    }

    /// The bytes, if they are all there.
    pub const fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Hashed(..) | Self::LeftOut(_) => None,
        }
    }
}

/// The properties of a message in MQTT 5 (MQTT 5.0 section 3.3.2.3), in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Properties {
    /// What the payload is.
    pub content_type: Option<Box<str>>,
    /// Where an answer is to go.
    pub response_topic: Option<Box<str>>,
    /// What an answer is to bear.
    pub correlation_data: Option<Bytes>,
    /// In seconds, as it was when the message came or went.
    pub message_expiry_seconds: Option<u32>,
    /// The payload is said to be UTF-8.
    pub payload_is_utf8: bool,
    /// Names and values, in order.
    pub user: Vec<(Box<str>, Box<str>)>,
    /// By what a set of brokers chooses its member; never sent.
    pub key: Option<Box<str>>,
}

/// A message as it came, or as it goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its topic.
    pub topic: Box<str>,
    /// Its payload.
    pub payload: Payload,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Its RETAIN flag.
    pub retain: bool,
    /// Those of MQTT 5, if it has some.
    pub properties: Option<Box<Properties>>,
}

impl Content {
    /// Of a message.
    pub fn of(message: &Message, kept: Payloads) -> Self {
        let text = |text: &ByteString| Box::from(&**text);
        let properties = message.properties.as_deref().map(|own| {
            Box::new(Properties {
                content_type: own.content_type.as_ref().map(text),
                response_topic: own.response_topic.as_ref().map(|topic| topic.as_str().into()),
                correlation_data: own.correlation_data.clone(),
                message_expiry_seconds: own.message_expiry_seconds,
                payload_is_utf8: own.payload_is_utf8,
                user: own.user.iter().map(|(name, value)| (text(name), text(value))).collect(),
                key: own.key.as_ref().map(text),
            })
        });
        Self {
            topic: message.topic.as_str().into(),
            payload: Payload::of(&message.payload, kept),
            qos: message.qos as u8,
            retain: message.retain,
            properties,
        }
    }

    /// The message that it is of; with an empty payload where that was left out.
    ///
    /// # Errors
    /// It has no topic to publish to: no gateway has recorded this.
    pub fn message(&self) -> Result<Message, TopicError> {
        let topic = Topic::new(&*self.topic)?;
        let properties = match self.properties.as_deref() {
            None => None,
            Some(own) => Some(Box::new(tidegate_message::Properties {
                content_type: own.content_type.as_deref().map(ByteString::from),
                response_topic: own.response_topic.as_deref().map(Topic::new).transpose()?,
                correlation_data: own.correlation_data.clone(),
                message_expiry_seconds: own.message_expiry_seconds,
                payload_is_utf8: own.payload_is_utf8,
                user: own.user.iter().map(|(name, value)| ((&**name).into(), (&**value).into())).collect(),
                key: own.key.as_deref().map(ByteString::from),
            })),
        };
        let payload = self.payload.whole().cloned().unwrap_or_default();
        let qos = QoS::from_u8(self.qos).unwrap_or_default();
        Ok(Message { topic, payload, qos, retain: self.retain, properties })
    }
}

/// One message that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To these brokers and sets.
    pub to: Vec<Box<str>>,
    /// As it is there.
    pub content: Content,
}

/// How a message leaves its route, if not by being sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By being sent.
    #[default]
    Onward,
    /// It is dropped, for this reason; `true`: a plugin wants it, `false`: the gateway cannot send it.
    Dropped(Box<str>, bool),
    /// A plugin cannot decide it: its name, the kind of failure, the reason in words.
    Failed(Box<str>, Box<str>, Box<str>),
    /// Its route does not take it.
    NotTaken,
}

/// What was decided on one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What goes out, in order.
    pub sent: Vec<Sent>,
    /// What becomes of it if nothing does.
    pub end: End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was() {
        let topic = |name: &'static str| Topic::new(name).unwrap();
        let properties = tidegate_message::Properties {
            content_type: Some("text/plain".into()),
            response_topic: Some(topic("a/answers")),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            message_expiry_seconds: Some(7),
            payload_is_utf8: true,
            user: vec![("n".into(), "1".into()), ("n".into(), "2".into())],
            key: Some("k".into()),
        };
        let message = Message {
            topic: topic("a/b"),
            payload: Bytes::from_static(b"21.5"),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Some(Box::new(properties)),
        };
        assert_eq!(Content::of(&message, Payloads::Whole).message().unwrap(), message);
        let hashed = Content::of(&message, Payloads::Hashed);
        assert!(matches!(hashed.payload, Payload::Hashed(_, 4)));
        assert_eq!(hashed.message().unwrap(), Message { payload: Bytes::new(), ..message.clone() });
        assert_eq!(Content::of(&message, Payloads::LeftOut).payload, Payload::LeftOut(4));
    }
}
