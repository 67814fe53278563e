//! A packet reader of the tests' own, small and naive, so that what is tested is not judged by itself.

use tidegate_mqtt::Version;

/// The parts of a packet that the tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Publish { id: u16, qos: u8, dup: bool, topic: String, alias: Option<u16>, payload: Vec<u8>, size: usize },
    PubAck { id: u16, reason: u8 },
    PubRec { id: u16, reason: u8 },
    PubRel { id: u16, reason: u8 },
    PubComp { id: u16, reason: u8 },
    Disconnect { reason: u8 },
    Other(u8),
}

/// The length of the first packet, if it is there whole.
pub(crate) fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (remaining, header) = varint(bytes.get(1..)?)?;
    let size = 1 + header + remaining;
    (bytes.len() >= size).then_some(size)
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for at in 0..4 {
        let byte = *bytes.get(at)?;
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    panic!("a length of more than four bytes was written");
}

/// Cuts whole packets off the front of a stream.
pub(crate) fn split(stream: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(size) = frame_len(stream) {
        frames.push(stream.drain(..size).collect());
    }
    frames
}

/// Reads one whole packet, which must be well formed.
pub(crate) fn parse(bytes: &[u8], version: Version) -> Frame {
    let (_, header) = varint(&bytes[1..]).expect("whole");
    let body = &bytes[1 + header..];
    let u16_at = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let reason = || body.get(2).copied().unwrap_or(0);
    match bytes[0] >> 4 {
        3 => {
            let qos = (bytes[0] >> 1) & 3;
            let topic_len = usize::from(u16_at(0));
            let topic = String::from_utf8(body[2..2 + topic_len].to_vec()).expect("UTF-8");
            let mut at = 2 + topic_len;
            let id = if qos > 0 { u16_at(at) } else { 0 };
            at += if qos > 0 { 2 } else { 0 };
            let mut alias = None;
            if version == Version::V5 {
                let (len, bytes) = varint(&body[at..]).expect("whole");
                at += bytes;
                if len >= 3 && body[at] == 35 {
                    alias = Some(u16_at(at + 1));
                }
                at += len;
            }
            let dup = bytes[0] & 8 != 0;
            Frame::Publish { id, qos, dup, topic, alias, payload: body[at..].to_vec(), size: bytes.len() }
        }
        4 => Frame::PubAck { id: u16_at(0), reason: reason() },
        5 => Frame::PubRec { id: u16_at(0), reason: reason() },
        6 => Frame::PubRel { id: u16_at(0), reason: reason() },
        7 => Frame::PubComp { id: u16_at(0), reason: reason() },
        14 => Frame::Disconnect { reason: body.first().copied().unwrap_or(0) },
        kind => Frame::Other(kind),
    }
}
