//! PUBLISH packets that cannot be taken: read past, answered at their QoS, and told to the owner.
//!
//! A peer that is hung up on for such a packet sends it again with its session, for ever, and nothing behind it comes.
//! So only a stream that cannot be cut into packets any more ends a connection. What comes in is a packet above our
//! maximum, whose body is dropped as it arrives, or one with a topic or properties that cannot be; what goes out is the
//! acknowledgement that its sender waits for, and a [`Skipped`].

use crate::Batch;
use crate::flow::Connection;
use crate::incoming::{Arrival, Arriving};
use crate::publish::Broken;
use crate::reason::ReasonCode;
use crate::wire::{PUBLISH, ProtocolError, frame_bounds};
use bytes::{Buf, BytesMut};
use tidegate_message::{ByteString, QoS};

/// How far above our maximum a packet is still taken, in bytes: mosquitto before 2.0.23 does not count the fixed header,
/// which is 5 bytes at most, against the maximum that it was told.
pub(crate) const SLACK_BYTES: usize = 8;

/// A message from the peer that was not taken. It is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What is wrong with it.
    pub error: ProtocolError,
    /// As it was sent, if it can be read. It may hold anything: escape it for people.
    pub topic: Option<ByteString>,
    /// As it was sent.
    pub qos: QoS,
    /// `None` at QoS 0, and where it cannot be read.
    pub packet_id: Option<u16>,
    /// Of the packet, in bytes.
    pub size_bytes: usize,
}

impl Skipped {
    /// A stable word for the counters: `too_large`, `bad_topic` or `bad_packet`.
    pub const fn reason(&self) -> &'static str {
        match self.error {
            ProtocolError::TooLarge { .. } => "too_large",
            ProtocolError::Topic(_) => "bad_topic",
            _ => "bad_packet",
        }
    }
}

/// How much of the topic of a packet that is read past is kept, for people, in bytes.
const TOPIC_KEPT_BYTES: usize = 1024;

/// A packet whose body is dropped as it arrives; only what answers it is kept.
#[derive(Debug)]
pub(crate) struct Skipping {
    first: u8,
    size_bytes: usize,
    left_bytes: usize,
    part: Part,
    topic: Vec<u8>,
    packet_id: u16,
}

/// Which part of the packet comes next, and how many bytes of it (MQTT 5.0 section 3.3.2).
#[derive(Debug, Clone, Copy)]
enum Part {
    TopicLength { read: u8, length: u16 },
    Topic { left: usize },
    PacketId { read: u8 },
    Rest,
}

impl Skipping {
    fn qos(&self) -> QoS {
        QoS::from_u8((self.first >> 1) & 3).unwrap_or(QoS::AtMostOnce)
    }

    /// Takes what belongs to the packet off the front of `rx`.
    fn read(&mut self, rx: &mut BytesMut) {
        while self.left_bytes > 0 && !rx.is_empty() {
            let count = match &mut self.part {
                Part::TopicLength { read, length } => {
                    (*read, *length) = (*read + 1, *length << 8 | u16::from(rx[0]));
                    if *read == 2 {
                        self.part = Part::Topic { left: usize::from(*length) };
                    }
                    1
                }
                Part::Topic { left: 0 } => {
                    let has_id = (self.first >> 1) & 3 != 0;
                    self.part = if has_id { Part::PacketId { read: 0 } } else { Part::Rest };
                    0
                }
                Part::Topic { left } => {
                    let count = (*left).min(rx.len()).min(self.left_bytes);
                    *left -= count;
                    let room = TOPIC_KEPT_BYTES - self.topic.len();
                    self.topic.extend_from_slice(&rx[..count.min(room)]);
                    count
                }
                Part::PacketId { read } => {
                    (*read, self.packet_id) = (*read + 1, self.packet_id << 8 | u16::from(rx[0]));
                    if *read == 2 {
                        self.part = Part::Rest;
                    }
                    1
                }
                Part::Rest => self.left_bytes.min(rx.len()),
            };
            rx.advance(count);
            self.left_bytes -= count;
        }
    }

    fn finish(self, max: usize) -> Broken {
        let is_whole = matches!(self.part, Part::Rest);
        Broken {
            error: ProtocolError::TooLarge { size: self.size_bytes, max },
            dup: self.first & 8 != 0,
            qos: self.qos(),
            packet_id: if is_whole { self.packet_id } else { 0 },
            topic: String::from_utf8(self.topic).ok().map(ByteString::from),
        }
    }
}

impl Connection {
    /// Reads past the packet at the front of `rx`, which is above our maximum, from here on. False if it is no PUBLISH, or
    /// its sender was told the maximum and must be hung up on.
    pub(crate) fn begin_skip(&mut self, rx: &mut BytesMut) -> bool {
        if !self.skips_large || rx.first().is_none_or(|first| first >> 4 != PUBLISH) {
            return false;
        }
        let Some((header, size_bytes)) = header(rx) else { return false };
        let (first, left_bytes) = (rx[0], size_bytes - header);
        rx.advance(header);
        let part = Part::TopicLength { read: 0, length: 0 };
        let skipping = Skipping { first, size_bytes, left_bytes, part, topic: Vec::new(), packet_id: 0 };
        self.skipping = Some(Box::new(skipping));
        true
    }

    /// Drops what belongs to the packet that is being read past. True when nothing of it is left to come.
    pub(crate) fn read_past(&mut self, rx: &mut BytesMut, batch: &mut Batch) -> Result<bool, ProtocolError> {
        let Some(skipping) = &mut self.skipping else { return Ok(true) };
        skipping.read(rx);
        if skipping.left_bytes > 0 {
            return Ok(false);
        }
        if let Some(skipping) = self.skipping.take() {
            let size_bytes = skipping.size_bytes;
            let broken = skipping.finish(self.max_packet_size);
            self.skip(broken, size_bytes, batch)?;
        }
        Ok(true)
    }

    /// Answers a message that cannot be taken, once, and tells of it.
    pub(crate) fn skip(&mut self, broken: Broken, size_bytes: usize, batch: &mut Batch) -> Result<(), ProtocolError> {
        let Broken { error, dup, qos, packet_id, topic } = broken;
        if qos != QoS::AtMostOnce && packet_id != 0 {
            let (v5, max) = (self.v5(), self.receive_maximum);
            match self.flow.incoming.accept(Arriving { packet_id, qos, dup, content: 0 }, max, &mut self.tx, v5)? {
                Arrival::Known => return Ok(()),
                Arrival::New(token) => {
                    // A server may say why; a client has nobody to tell it to.
                    let reason = if self.is_server { error.reason_of_message() } else { ReasonCode::SUCCESS };
                    self.ack(token, reason);
                }
            }
        }
        let packet_id = Some(packet_id).filter(|id| *id != 0);
        batch.skipped.push(Skipped { error, topic, qos, packet_id, size_bytes });
        Ok(())
    }
}

/// How long the fixed header of the first packet is, and the packet.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let length_bytes = bytes.get(1..5).unwrap_or(&bytes[1..]).iter().position(|byte| byte & 0x80 == 0)? + 1;
    let mut remaining = 0;
    for (at, byte) in bytes[1..=length_bytes].iter().enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * at);
    }
    debug_assert!(frame_bounds(bytes, usize::MAX).is_ok());
    Some((1 + length_bytes, 1 + length_bytes + remaining))
}
