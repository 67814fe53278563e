//! What a broker reads and writes: packets of MQTT 3.1, 3.1.1 and 5, in full, from the broker's side.

use super::properties::{Properties, Property, SUBSCRIPTION_ID};
use crate::packet::{self, Fields, Frame};
use std::io;

/// The flag for a bridge, of mosquitto and those who follow it, in the level of CONNECT.
pub(super) const BRIDGE_BIT: u8 = 0x80;

pub(super) const MQTT_5: u8 = 5;

/// A message, as it is or will be on the wire. The topic need not be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// As in PUBLISH.
    pub topic: Vec<u8>,
    /// As in PUBLISH.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// As in PUBLISH.
    pub retain: bool,
    /// Of MQTT 5.
    pub properties: Properties,
}

impl Message {
    /// At QoS 0, not retained. The topic may be anything, also what no topic can be.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (topic.as_ref().to_vec(), payload.as_ref().to_vec());
        Self { topic, payload, qos: 0, retain: false, properties: Properties::default() }
    }

    /// At this QoS.
    pub fn at(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// With the retain flag.
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With one more property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.0.push(property);
        self
    }

    /// The topic as text, replaced where it is none.
    pub fn topic_text(&self) -> String {
        String::from_utf8_lossy(&self.topic).into_owned()
    }

    /// The whole PUBLISH, for a client that is made of bytes; `level` is 3, 4 or 5.
    pub fn packet(&self, level: u8, id: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, level, id, false);
        bytes
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, level: u8, id: u16, dup: bool) {
        let mut body = Vec::new();
        packet::bytes(&mut body, &self.topic);
        if self.qos > 0 {
            body.extend(id.to_be_bytes());
        }
        self.properties.write(&mut body, level);
        body.extend_from_slice(&self.payload);
        packet::packet(out, 0x30 | u8::from(dup) << 3 | self.qos << 1 | u8::from(self.retain), &body);
    }
}

/// A CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// 3, 4 or 5, with the bridge bit, 0x80, of mosquitto.
    pub level: u8,
    /// Clean session, or clean start.
    pub clean: bool,
    /// In seconds.
    pub keep_alive_s: u16,
    /// As sent.
    pub client_id: String,
    /// As sent.
    pub username: Option<String>,
    /// As sent.
    pub password: Option<Vec<u8>>,
    /// Topic and so on, with the properties of the will.
    pub will: Option<Message>,
    /// Of MQTT 5.
    pub properties: Properties,
}

/// A filter in a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Asked for, or granted.
    pub qos: u8,
    /// MQTT 5, 3.8.3.1.
    pub no_local: bool,
    /// The retain flag of live messages is kept.
    pub retain_as_published: bool,
    /// 0: send what is retained; 1: only for a new subscription; 2: do not.
    pub retain_handling: u8,
    /// Subscription identifier.
    pub id: Option<u32>,
}

/// What a client has said, or what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// By the client only.
    Connect(Box<Hello>),
    /// Session present, and the code.
    Connack(bool, u8),
    /// The message, its id and the DUP flag.
    Publish(Message, u16, bool),
    /// Id and code.
    Puback(u16, u8),
    /// Id and code.
    Pubrec(u16, u8),
    /// Id and code.
    Pubrel(u16, u8),
    /// Id and code.
    Pubcomp(u16, u8),
    /// Id, and each filter.
    Subscribe(u16, Vec<(String, Subscription)>),
    /// Id, and each code.
    Suback(u16, Vec<u8>),
    /// Id, and each filter.
    Unsubscribe(u16, Vec<String>),
    /// Id.
    Unsuback(u16),
    /// By the client only.
    Pingreq,
    /// With its code; 0 on 3.x.
    Disconnect(u8),
    /// The connection has ended, by whom the log says.
    End,
}

impl Packet {
    /// Reads what a client has sent; `level` is that of its CONNECT.
    pub(super) fn read(frame: Frame<'_>, level: u8) -> io::Result<Self> {
        let mut fields = Fields(frame.body);
        Ok(match frame.kind() {
            1 => Self::Connect(Box::new(Hello::read(&mut fields)?)),
            packet::PUBLISH => {
                let topic = fields.binary()?.to_vec();
                let qos = frame.first >> 1 & 3;
                let id = if qos > 0 { fields.u16()? } else { 0 };
                let properties = Properties::read(&mut fields, level)?;
                let (retain, dup) = (frame.first & 1 == 1, frame.first & 8 == 8);
                Self::Publish(Message { topic, payload: fields.0.to_vec(), qos, retain, properties }, id, dup)
            }
            kind @ packet::PUBACK..=packet::PUBCOMP => {
                let (id, code) = (fields.u16()?, fields.u8().unwrap_or(0));
                match kind {
                    packet::PUBACK => Self::Puback(id, code),
                    packet::PUBREC => Self::Pubrec(id, code),
                    packet::PUBREL => Self::Pubrel(id, code),
                    _ => Self::Pubcomp(id, code),
                }
            }
            8 => {
                let id = fields.u16()?;
                let properties = Properties::read(&mut fields, level)?;
                let mut filters = Vec::new();
                while !fields.0.is_empty() {
                    let (filter, options) = (fields.text()?.to_owned(), fields.u8()?);
                    filters.push((filter, Subscription::read(options, properties.number(SUBSCRIPTION_ID))));
                }
                Self::Subscribe(id, filters)
            }
            10 => {
                let id = fields.u16()?;
                Properties::read(&mut fields, level)?;
                let mut filters = Vec::new();
                while !fields.0.is_empty() {
                    filters.push(fields.text()?.to_owned());
                }
                Self::Unsubscribe(id, filters)
            }
            12 => Self::Pingreq,
            packet::DISCONNECT => Self::Disconnect(fields.u8().unwrap_or(0)),
            kind => return Err(packet::malformed(&format!("a client does not send packets of type {kind}"))),
        })
    }
}

impl Subscription {
    fn read(options: u8, id: Option<u32>) -> Self {
        let flag = |bit: u8| options & bit == bit;
        let (no_local, retain_as_published) = (flag(4), flag(8));
        Self { qos: options & 3, no_local, retain_as_published, retain_handling: options >> 4 & 3, id }
    }
}

impl Hello {
    fn read(fields: &mut Fields<'_>) -> io::Result<Self> {
        fields.text()?;
        let (level, flags, keep_alive_s) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let version = level & !BRIDGE_BIT;
        let properties = Properties::read(fields, version)?;
        let client_id = fields.text()?.to_owned();
        let mut will = None;
        if flags & 0x04 != 0 {
            let properties = Properties::read(fields, version)?;
            let (topic, payload) = (fields.binary()?.to_vec(), fields.binary()?.to_vec());
            will = Some(Message { topic, payload, qos: flags >> 3 & 3, retain: flags & 0x20 != 0, properties });
        }
        let username = if flags & 0x80 != 0 { Some(fields.text()?.to_owned()) } else { None };
        let password = if flags & 0x40 != 0 { Some(fields.binary()?.to_vec()) } else { None };
        let clean = flags & 2 != 0;
        Ok(Self { level, clean, keep_alive_s, client_id, username, password, will, properties })
    }
}

/// CONNACK (3.2).
pub(super) fn connack(out: &mut Vec<u8>, level: u8, present: bool, code: u8, properties: &Properties) {
    let mut body = vec![u8::from(present), code];
    properties.write(&mut body, level);
    packet::packet(out, 0x20, &body);
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP with a code; without one where it is 0 or has no place.
pub(super) fn answer(out: &mut Vec<u8>, kind: u8, level: u8, id: u16, code: u8, words: &str) {
    if level != MQTT_5 || code == 0 {
        return packet::acknowledge(out, kind, id);
    }
    let mut body = id.to_be_bytes().to_vec();
    body.push(code);
    let words = (!words.is_empty()).then(|| Property::reason_string(words));
    Properties(words.into_iter().collect()).write(&mut body, level);
    packet::packet(out, kind << 4 | if kind == packet::PUBREL { 2 } else { 0 }, &body);
}

/// SUBACK and UNSUBACK, which has no codes on 3.x.
pub(super) fn granted(out: &mut Vec<u8>, kind: u8, level: u8, id: u16, codes: &[u8]) {
    let mut body = id.to_be_bytes().to_vec();
    Properties::default().write(&mut body, level);
    body.extend(codes);
    packet::packet(out, kind << 4, &body);
}

/// DISCONNECT of MQTT 5 (3.14).
pub(super) fn disconnect(out: &mut Vec<u8>, code: u8, properties: Vec<Property>) {
    let mut body = vec![code];
    Properties(properties).write(&mut body, MQTT_5);
    packet::packet(out, packet::DISCONNECT << 4, &body);
}
