//! The little of MQTT that the test client speaks, written against the specification and not against our product.
//!
//! Sections are those of MQTT 3.1.1; MQTT 5 adds a length of properties, which are written empty and skipped.

use crate::client::{ClientOptions, Version};
use std::io;

pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const UNSUBACK: u8 = 11;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// MQTT 5, 3.1.2.11.2 and 3.1.2.11.3.
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const RECEIVE_MAXIMUM: u8 = 0x21;

/// A complete packet in a buffer: its first byte, and what follows the length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
}

impl Frame<'_> {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }
}

/// The first packet of `buffer` and its size; none until it is complete (section 2.2).
pub(crate) fn frame(buffer: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    let mut length = 0;
    for index in 0..4 {
        let Some(&byte) = buffer.get(1 + index) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let begin = 2 + index;
            let end = begin + length;
            return Ok(buffer.get(begin..end).map(|body| (Frame { first: buffer[0], body }, end)));
        }
    }
    Err(malformed("a remaining length of more than four bytes"))
}

/// Reads one field after another; a packet that is too short is an error, not a panic.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| malformed("a packet is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> io::Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> io::Result<u16> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn text(&mut self) -> io::Result<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.bytes(length.into())?).map_err(|_| malformed("a text is not UTF-8"))
    }

    pub(crate) fn u32(&mut self) -> io::Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Bytes with their length before them.
    pub(crate) fn binary(&mut self) -> io::Result<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// A number of one to four bytes.
    pub(crate) fn variable(&mut self) -> io::Result<usize> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed("a number of more than four bytes"))
    }

    pub(crate) fn skip_properties(&mut self) -> io::Result<()> {
        let length = self.variable()?;
        self.bytes(length).map(drop)
    }
}

/// CONNECT (3.1).
pub(crate) fn connect(out: &mut Vec<u8>, options: &ClientOptions) {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.push(match options.version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    let mut flags = u8::from(options.clean) << 1;
    if let Some(will) = &options.will {
        flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
    }
    if options.login.is_some() {
        flags |= 0xc0;
    }
    body.push(flags);
    body.extend(options.keep_alive_s.to_be_bytes());
    if options.version == Version::V5 {
        let mut properties = Vec::new();
        properties.push(SESSION_EXPIRY_INTERVAL);
        properties.extend(options.session_expiry_s.to_be_bytes());
        if let Some(maximum) = options.receive_maximum {
            properties.push(RECEIVE_MAXIMUM);
            properties.extend(maximum.to_be_bytes());
        }
        body.push(properties.len() as u8);
        body.extend(properties);
    }
    text(&mut body, &options.client_id);
    if let Some(will) = &options.will {
        if options.version == Version::V5 {
            body.push(0);
        }
        text(&mut body, &will.topic);
        bytes(&mut body, &will.payload);
    }
    if let Some((user, password)) = &options.login {
        text(&mut body, user);
        text(&mut body, password);
    }
    packet(out, 0x10, &body);
}

/// PUBLISH (3.3); `id` is 0 at QoS 0.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, publish: &Publish<'_>) {
    let &Publish { topic, payload, qos, retain, dup, id } = publish;
    let properties = usize::from(version == Version::V5);
    let length = 2 + topic.len() + if qos > 0 { 2 } else { 0 } + properties + payload.len();
    out.push(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain));
    remaining_length(out, length);
    text(out, topic);
    if qos > 0 {
        out.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        out.push(0);
    }
    out.extend_from_slice(payload);
}

/// What a PUBLISH holds.
#[derive(Debug)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
}

impl<'a> Publish<'a> {
    pub(crate) fn read(frame: Frame<'a>, version: Version) -> io::Result<Self> {
        let mut fields = Fields(frame.body);
        let topic = fields.text()?;
        let qos = frame.first >> 1 & 3;
        let id = if qos > 0 { fields.u16()? } else { 0 };
        if version == Version::V5 {
            fields.skip_properties()?;
        }
        Ok(Self { topic, payload: fields.0, qos, retain: frame.first & 1 == 1, dup: frame.first & 8 == 8, id })
    }
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7): success, without properties, is the same in every version.
pub(crate) fn acknowledge(out: &mut Vec<u8>, kind: u8, id: u16) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    out.extend([kind << 4 | flags, 2]);
    out.extend(id.to_be_bytes());
}

/// SUBSCRIBE (3.8).
pub(crate) fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filters: &[(&str, u8)]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for &(filter, qos) in filters {
        text(&mut body, filter);
        body.push(qos);
    }
    packet(out, 0x82, &body);
}

/// UNSUBSCRIBE (3.10).
pub(crate) fn unsubscribe(out: &mut Vec<u8>, version: Version, id: u16, filters: &[&str]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        text(&mut body, filter);
    }
    packet(out, 0xa2, &body);
}

/// PINGREQ (3.12).
pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend([0xc0, 0]);
}

/// DISCONNECT (3.14).
pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend([0xe0, 0]);
}

/// The Receive Maximum among the properties of a CONNACK (MQTT 5, 3.2.2.3).
pub(crate) fn receive_maximum(fields: &mut Fields<'_>) -> io::Result<Option<u16>> {
    let length = fields.u8()?;
    if length & 0x80 != 0 {
        // More than 127 bytes of properties: two bytes of length, of which the value does not matter here.
        fields.u8()?;
    }
    while let Ok(property) = fields.u8() {
        match property {
            RECEIVE_MAXIMUM => return fields.u16().map(Some),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => fields.bytes(1).map(drop)?,
            0x13 | 0x22 => fields.bytes(2).map(drop)?,
            0x11 | 0x27 => fields.bytes(4).map(drop)?,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => skip_text(fields)?,
            0x26 => {
                skip_text(fields)?;
                skip_text(fields)?;
            }
            unknown => return Err(malformed(&format!("property {unknown:#04x} in a CONNACK"))),
        }
    }
    Ok(None)
}

fn skip_text(fields: &mut Fields<'_>) -> io::Result<()> {
    let length = fields.u16()?;
    fields.bytes(length.into()).map(drop)
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    remaining_length(out, body.len());
    out.extend_from_slice(body);
}

pub(crate) fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a text of MQTT is at most 65,535 bytes");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_only_when_complete() {
        let mut wire = Vec::new();
        let sent = Publish { topic: "a/b", payload: &[7; 300], qos: 1, retain: true, dup: false, id: 9 };
        publish(&mut wire, Version::V5, &sent);
        for end in 0..wire.len() {
            assert!(frame(&wire[..end]).unwrap().is_none(), "{end} bytes");
        }
        wire.push(0xff);
        let (found, size) = frame(&wire).unwrap().unwrap();
        assert_eq!((found.kind(), size), (PUBLISH, wire.len() - 1));
        let read = Publish::read(found, Version::V5).unwrap();
        assert_eq!((read.topic, read.payload, read.qos, read.id), ("a/b", &[7u8; 300][..], 1, 9));
        assert!(read.retain && !read.dup);
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        let short = Frame { first: 0x32, body: &[0, 9, b'a'] };
        assert!(Publish::read(short, Version::V311).is_err());
    }

    #[test]
    fn packets_are_those_of_the_specification() {
        let mut wire = Vec::new();
        connect(&mut wire, &ClientOptions::new(Version::V311, "x").keep_alive_s(60));
        assert_eq!(wire, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x");
        wire.clear();
        subscribe(&mut wire, Version::V5, 10, &[("a/b", 1)]);
        assert_eq!(wire, b"\x82\x09\x00\x0a\x00\x00\x03a/b\x01");
        wire.clear();
        acknowledge(&mut wire, PUBREL, 0x1234);
        assert_eq!(wire, b"\x62\x02\x12\x34");
    }
}
