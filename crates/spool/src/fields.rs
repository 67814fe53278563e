//! What records are made of: numbers, texts, messages. Numbers are LEB128 varints, texts and byte strings a varint length and
//! the bytes.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_message::{Message, Properties, QoS, Topic};

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a byte string, or a text.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

const RETAIN: u8 = 1 << 2;
const PROPERTIES: u8 = 1 << 3;

/// Appends a message, with everything that belongs to it.
pub fn put_message(out: &mut Vec<u8>, message: &Message) {
    let flags = message.qos as u8
        | if message.retain { RETAIN } else { 0 }
        | if message.properties.is_some() { PROPERTIES } else { 0 };
    out.push(flags);
    put_bytes(out, message.topic.as_str().as_bytes());
    put_bytes(out, &message.payload);
    if let Some(properties) = &message.properties {
        put_properties(out, properties);
    }
}

fn put_properties(out: &mut Vec<u8>, properties: &Properties) {
    let there = u8::from(properties.content_type.is_some())
        | u8::from(properties.response_topic.is_some()) << 1
        | u8::from(properties.correlation_data.is_some()) << 2
        | u8::from(properties.message_expiry_seconds.is_some()) << 3
        | u8::from(properties.payload_is_utf8) << 4
        | u8::from(properties.key.is_some()) << 5;
    out.push(there);
    if let Some(text) = &properties.content_type {
        put_bytes(out, text.as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        put_bytes(out, topic.as_str().as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        put_bytes(out, data);
    }
    if let Some(seconds) = properties.message_expiry_seconds {
        put_number(out, u64::from(seconds));
    }
    put_number(out, properties.user.len() as u64);
    for (name, value) in &properties.user {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
    if let Some(key) = &properties.key {
        put_bytes(out, key.as_bytes());
    }
}

/// A body being read. Byte strings are slices of it. `None`: it is not what it should be.
#[derive(Debug)]
pub struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Fields<'a> {
    /// From its beginning.
    pub const fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A byte.
    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A number of 32 bits.
    pub fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let length: usize = self.number()?.try_into().ok()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }

    /// A text.
    pub fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.bytes()?).ok()
    }

    /// A message.
    pub fn message(&mut self) -> Option<Message> {
        let flags = self.byte()?;
        let topic = Topic::new(self.text()?).ok()?;
        let mut message = Message::new(topic, self.bytes()?, QoS::from_u8(flags & 3)?);
        message.retain = flags & RETAIN != 0;
        if flags & PROPERTIES != 0 {
            message.properties = Some(Box::new(self.properties()?));
        }
        (flags & !(RETAIN | PROPERTIES | 3) == 0).then_some(message)
    }

    fn properties(&mut self) -> Option<Properties> {
        let there = self.byte()?;
        let has = |bit: u8| there & 1 << bit != 0;
        Some(Properties {
            content_type: if has(0) { Some(self.text()?) } else { None },
            response_topic: if has(1) { Some(Topic::new(self.text()?).ok()?) } else { None },
            correlation_data: if has(2) { Some(self.bytes()?) } else { None },
            message_expiry_seconds: if has(3) { Some(self.small()?) } else { None },
            payload_is_utf8: has(4),
            user: (0..self.number()?).map(|_| Some((self.text()?, self.text()?))).collect::<Option<_>>()?,
            key: if has(5) { Some(self.text()?) } else { None },
        })
    }
}
