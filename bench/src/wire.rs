//! The bytes of MQTT, as few as null brokers and the least bridge need.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const PINGREQ: u8 = 12;

/// What null brokers and the least bridge read at a time.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// The bridge bit of the protocol level, as mosquitto sets it.
const BRIDGE_BIT: u8 = 0x80;

/// The property of MQTT 5 that limits our window (3.1.2.11.3).
const RECEIVE_MAXIMUM: u8 = 0x21;

/// The first packet of `bytes`: where its body begins and where it ends; none until it is complete.
#[inline]
pub(crate) fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for index in 0..4 {
        let byte = *bytes.get(1 + index)?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let begin = 2 + index;
            return (bytes.len() >= begin + length).then_some((begin, begin + length));
        }
    }
    // A length of five bytes does not exist; it is never complete, and the buffer runs full.
    None
}

/// The length of a packet's body, as MQTT writes it.
#[inline]
pub(crate) fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// A CONNECT of MQTT 3.1.1 without keep-alive.
pub(crate) fn put_connect(out: &mut Vec<u8>, id: &str, is_clean: bool) {
    out.push(CONNECT << 4);
    put_length(out, 12 + id.len());
    // Name and level, whether the session is clean, no keep-alive.
    out.extend(b"\0\x04MQTT\x04");
    out.extend([if is_clean { 2 } else { 0 }, 0, 0]);
    put_text(out, id);
}

/// A SUBSCRIBE of MQTT 3.1.1 to one filter.
pub(crate) fn put_subscribe(out: &mut Vec<u8>, id: [u8; 2], filter: &str, qos: u8) {
    out.push(SUBSCRIBE << 4 | 2);
    put_length(out, 2 + 2 + filter.len() + 1);
    out.extend(id);
    put_text(out, filter);
    out.push(qos);
}

/// A PUBLISH of MQTT 3.1.1, with a packet id above QoS 0, and so many bytes of payload.
pub(crate) fn put_publish(out: &mut Vec<u8>, topic: &str, qos: u8, retain: bool, id: Option<[u8; 2]>, payload: usize) {
    out.push(PUBLISH << 4 | qos << 1 | u8::from(retain));
    put_length(out, 2 + topic.len() + if id.is_some() { 2 } else { 0 } + payload);
    put_text(out, topic);
    out.extend(id.into_iter().flatten());
    out.resize(out.len() + payload, b'x');
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// A text and what follows it.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    bytes.get(2..)?.split_at_checked(length)
}

/// What follows the properties.
#[inline]
pub(crate) fn after_properties(bytes: &[u8]) -> Option<&[u8]> {
    let (length, begin) = properties(bytes)?;
    bytes.get(begin + length..)
}

fn properties(bytes: &[u8]) -> Option<(usize, usize)> {
    // The same length as a packet's, without the byte before it.
    let mut length = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, index + 1));
        }
    }
    None
}

/// Bytes of a socket, and the complete packets among them.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    filled: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES], filled: 0 }
    }

    /// One read, then `handle` for each complete packet: its first byte and its body. False at the end.
    pub(crate) fn turn(&mut self, stream: &mut impl Read, mut handle: impl FnMut(u8, &[u8])) -> Result<bool> {
        if self.filled == self.buffer.len() {
            bail!("a packet of more than {READ_BYTES} bytes");
        }
        let read = match stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        self.filled += read;
        let mut begin = 0;
        while let Some((body, end)) = frame(&self.buffer[begin..self.filled]) {
            handle(self.buffer[begin], &self.buffer[begin + body..begin + end]);
            begin += end;
        }
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        Ok(true)
    }
}

/// What a CONNECT tells a null broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) v5: bool,
    pub(crate) receive_maximum: Option<u16>,
}

impl Connect {
    pub(crate) fn read(body: &[u8]) -> Result<Self> {
        let (_, rest) = text(body).context("a CONNECT without a protocol name")?;
        let level = rest.first().context("a CONNECT without a level")? & !BRIDGE_BIT;
        // Level, flags, keep-alive.
        let rest = rest.get(4..).context("a CONNECT that is too short")?;
        let v5 = level == 5;
        let receive_maximum = if v5 { receive_maximum(rest) } else { None };
        Ok(Self { v5, receive_maximum })
    }

    pub(crate) fn connack(self) -> &'static [u8] {
        if self.v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }
    }
}

fn receive_maximum(bytes: &[u8]) -> Option<u16> {
    let (length, begin) = properties(bytes)?;
    let mut rest = bytes.get(begin..begin + length)?;
    while let Some((&property, value)) = rest.split_first() {
        let size = match property {
            RECEIVE_MAXIMUM => return u16_at(value, 0),
            0x11 | 0x27 => 4,
            0x22 => 2,
            0x17 | 0x19 => 1,
            0x15 | 0x16 => 2 + usize::from(u16_at(value, 0)?),
            0x26 => {
                let (_, value) = text(value)?;
                rest = text(value)?.1;
                continue;
            }
            _ => return None,
        };
        rest = value.get(size..)?;
    }
    None
}

/// PUBACK for a PUBLISH of QoS 1.
pub(crate) fn puback(body: &[u8]) -> [u8; 4] {
    let id = text(body).and_then(|(_, rest)| u16_at(rest, 0)).unwrap_or(0);
    [PUBACK << 4, 2, (id >> 8) as u8, id as u8]
}

/// SUBACK that grants what was asked for, and the highest QoS of it.
pub(crate) fn suback(body: &[u8], v5: bool) -> Option<(Vec<u8>, u8)> {
    let mut granted = Vec::new();
    let mut rest = body.get(2..)?;
    if v5 {
        rest = after_properties(rest)?;
    }
    while !rest.is_empty() {
        let (_, after) = text(rest)?;
        let (&options, after) = after.split_first()?;
        granted.push(options & 3);
        rest = after;
    }
    let mut out = vec![0x90];
    put_length(&mut out, 2 + usize::from(v5) + granted.len());
    out.extend_from_slice(&body[..2]);
    if v5 {
        out.push(0);
    }
    out.extend_from_slice(&granted);
    Some((out, granted.into_iter().max()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_says_its_version_and_its_receive_maximum() {
        let v3 = b"\x00\x04MQTT\x84\x02\x00\x3c\x00\x01x";
        assert_eq!(Connect::read(v3).unwrap(), Connect { v5: false, receive_maximum: None });
        let v5 = b"\x00\x04MQTT\x05\x02\x00\x3c\x08\x11\0\0\0\x09\x21\x03\xe8\x00\x01x";
        assert_eq!(Connect::read(v5).unwrap(), Connect { v5: true, receive_maximum: Some(1000) });
    }

    #[test]
    fn a_subscription_is_granted_as_asked() {
        let (packet, qos) = suback(b"\x00\x07\x00\x03a/b\x01\x00\x01c\x00", false).unwrap();
        assert_eq!((packet.as_slice(), qos), (&[0x90, 4, 0, 7, 1, 0][..], 1));
        let (packet, qos) = suback(b"\x00\x07\x00\x00\x01a\x2d", true).unwrap();
        assert_eq!((packet.as_slice(), qos), (&[0x90, 4, 0, 7, 0, 1][..], 1));
    }

    #[test]
    fn packets_are_found_across_reads() {
        let mut wire = vec![0x30];
        put_length(&mut wire, 300);
        wire.extend([7; 300]);
        wire.extend([0xc0, 0]);
        let mut inbox = Inbox::new();
        let mut seen = Vec::new();
        for chunk in wire.chunks(100) {
            let mut chunk = chunk;
            assert!(inbox.turn(&mut chunk, |first, body| seen.push((first, body.len()))).unwrap());
        }
        assert_eq!(seen, [(0x30, 300), (0xc0, 0)]);
        assert!(!inbox.turn(&mut &[][..], |_, _| ()).unwrap());
    }
}
