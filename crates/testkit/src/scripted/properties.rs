//! The properties of MQTT 5, as far as a broker has to do with them.

use super::wire::MQTT_5;
use crate::packet::{self, Fields};
use std::io;

// MQTT 5, 2.2.2.2.
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const SUBSCRIPTION_ID: u8 = 0x0b;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
const ASSIGNED_CLIENT_ID: u8 = 0x12;
const SERVER_KEEP_ALIVE: u8 = 0x13;
const WILL_DELAY: u8 = 0x18;
const SERVER_REFERENCE: u8 = 0x1c;
const REASON_STRING: u8 = 0x1f;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;
const WILDCARDS_AVAILABLE: u8 = 0x28;
const IDS_AVAILABLE: u8 = 0x29;
const SHARED_AVAILABLE: u8 = 0x2a;

/// A property of MQTT 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub(super) id: u8,
    pub(super) value: Value,
}

/// What a property holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u32),
    Bytes(Vec<u8>),
    Pair(Vec<u8>, Vec<u8>),
}

/// How a property is written (MQTT 5, table 2-4).
#[derive(Debug, Clone, Copy)]
enum Form {
    Byte,
    Two,
    Four,
    Variable,
    Bytes,
    Pair,
}

impl Form {
    fn of(id: u8) -> io::Result<Self> {
        Ok(match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Self::Byte,
            0x13 | 0x21 | 0x22 | 0x23 => Self::Two,
            0x02 | 0x11 | 0x18 | 0x27 => Self::Four,
            0x0b => Self::Variable,
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => Self::Bytes,
            0x26 => Self::Pair,
            _ => return Err(packet::malformed(&format!("there is no property {id:#04x}"))),
        })
    }
}

impl Property {
    fn number(id: u8, value: u32) -> Self {
        Self { id, value: Value::Number(value) }
    }

    fn text(id: u8, text: &str) -> Self {
        Self { id, value: Value::Bytes(text.as_bytes().to_vec()) }
    }

    /// For how many seconds the broker keeps the session.
    pub fn session_expiry_s(seconds: u32) -> Self {
        Self::number(SESSION_EXPIRY, seconds)
    }

    pub(super) fn assigned_client_id(id: &str) -> Self {
        Self::text(ASSIGNED_CLIENT_ID, id)
    }

    /// The keep-alive that the broker wants.
    pub fn server_keep_alive_s(seconds: u16) -> Self {
        Self::number(SERVER_KEEP_ALIVE, seconds.into())
    }

    /// How many the broker takes unacknowledged.
    pub fn receive_maximum(messages: u16) -> Self {
        Self::number(RECEIVE_MAXIMUM, messages.into())
    }

    /// 0 or 1.
    pub fn maximum_qos(qos: u8) -> Self {
        Self::number(MAXIMUM_QOS, qos.into())
    }

    /// The largest packet, in bytes.
    pub fn maximum_packet_size(bytes: u32) -> Self {
        Self::number(MAXIMUM_PACKET_SIZE, bytes)
    }

    /// How many topic aliases the broker takes.
    pub fn topic_alias_maximum(aliases: u16) -> Self {
        Self::number(TOPIC_ALIAS_MAXIMUM, aliases.into())
    }

    /// Nothing is retained.
    pub fn no_retain() -> Self {
        Self::number(RETAIN_AVAILABLE, 0)
    }

    /// No wildcards in filters.
    pub fn no_wildcards() -> Self {
        Self::number(WILDCARDS_AVAILABLE, 0)
    }

    /// No subscription identifiers.
    pub fn no_ids() -> Self {
        Self::number(IDS_AVAILABLE, 0)
    }

    /// No shared subscriptions.
    pub fn no_shared() -> Self {
        Self::number(SHARED_AVAILABLE, 0)
    }

    /// Words for a person.
    pub fn reason_string(words: &str) -> Self {
        Self::text(REASON_STRING, words)
    }

    /// Another server to use.
    pub fn server_reference(server: &str) -> Self {
        Self::text(SERVER_REFERENCE, server)
    }

    /// Where an answer is to go.
    pub fn response_topic(topic: &str) -> Self {
        Self::text(RESPONSE_TOPIC, topic)
    }

    /// What the payload is.
    pub fn content_type(content: &str) -> Self {
        Self::text(CONTENT_TYPE, content)
    }

    /// One that the standard does not have.
    pub fn unknown() -> Self {
        Self::number(0x7f, 0)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.id, CONTENT_TYPE | RESPONSE_TOPIC)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.id);
        match (&self.value, Form::of(self.id)) {
            (Value::Number(number), Ok(Form::Byte)) => out.push(*number as u8),
            (Value::Number(number), Ok(Form::Two)) => out.extend((*number as u16).to_be_bytes()),
            (Value::Number(number), Ok(Form::Variable)) => packet::remaining_length(out, *number as usize),
            (Value::Number(number), _) => out.extend(number.to_be_bytes()),
            (Value::Bytes(bytes), _) => packet::bytes(out, bytes),
            (Value::Pair(name, value), _) => {
                packet::bytes(out, name);
                packet::bytes(out, value);
            }
        }
    }
}

/// The properties of a packet, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(pub(super) Vec<Property>);

impl Properties {
    /// The number that a property holds: by its id, section 2.2.2.2.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.0.iter().find(|property| property.id == id).and_then(|property| match property.value {
            Value::Number(number) => Some(number),
            Value::Bytes(_) | Value::Pair(..) => None,
        })
    }

    /// The text that a property holds.
    pub fn text(&self, id: u8) -> Option<String> {
        self.0.iter().find(|property| property.id == id).and_then(|property| match &property.value {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Number(_) | Value::Pair(..) => None,
        })
    }

    /// Where an answer is to go.
    pub fn response_topic(&self) -> Option<String> {
        self.text(RESPONSE_TOPIC)
    }

    /// In seconds, of a will.
    pub fn will_delay_s(&self) -> Option<u32> {
        self.number(WILL_DELAY)
    }

    pub(super) fn read(fields: &mut Fields<'_>, level: u8) -> io::Result<Self> {
        let mut all = Self::default();
        if level != MQTT_5 {
            return Ok(all);
        }
        let length = fields.variable()?;
        let mut fields = Fields(fields.bytes(length)?);
        while !fields.0.is_empty() {
            let id = fields.u8()?;
            let value = match Form::of(id)? {
                Form::Byte => Value::Number(fields.u8()?.into()),
                Form::Two => Value::Number(fields.u16()?.into()),
                Form::Four => Value::Number(fields.u32()?),
                Form::Variable => Value::Number(fields.variable()? as u32),
                Form::Bytes => Value::Bytes(fields.binary()?.to_vec()),
                Form::Pair => Value::Pair(fields.binary()?.to_vec(), fields.binary()?.to_vec()),
            };
            all.0.push(Property { id, value });
        }
        Ok(all)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, level: u8) {
        if level == MQTT_5 {
            let mut body = Vec::new();
            self.0.iter().for_each(|property| property.write(&mut body));
            packet::remaining_length(out, body.len());
            out.extend(body);
        }
    }
}
