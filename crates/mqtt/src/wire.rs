//! Frames, integers, strings and properties as they lie on the wire (MQTT 5.0 sections 1.5 and 2).

use crate::Version;
use crate::reason::ReasonCode;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidegate_message::{ByteString, TopicError};

/// The longest remaining length four bytes can say (MQTT 5.0 section 1.5.5).
pub(crate) const MAX_REMAINING_LENGTH: usize = 268_435_455;

pub(crate) const CONNECT: u8 = 1;
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const UNSUBACK: u8 = 11;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;
pub(crate) const AUTH: u8 = 15;

/// What a peer did wrong, or what ended the connection from our side. The connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes that are no packet.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// A topic that cannot be.
    #[error("malformed packet: {0}")]
    Topic(#[from] TopicError),
    /// A packet that has no business at this point.
    #[error("protocol error: {0}")]
    Unexpected(&'static str),
    /// Larger than we said we take.
    #[error("packet of {size} bytes, above the maximum of {max}")]
    TooLarge {
        /// Of the packet, in bytes.
        size: usize,
        /// What we take, in bytes.
        max: usize,
    },
    /// More unacknowledged messages than our receive maximum.
    #[error("more than {0} unacknowledged messages, our receive maximum")]
    ReceiveMaximum(usize),
    /// A topic alias of 0, above our maximum, or never introduced.
    #[error("topic alias {0} is unknown or above our maximum")]
    TopicAlias(u16),
    /// Enhanced authentication (MQTT 5.0 section 4.12) is not spoken here.
    #[error("enhanced authentication is not supported: use user name and password, or a client certificate")]
    EnhancedAuth,
    /// Silence for longer than the keep-alive allows.
    #[error("no answer within the keep-alive of {0} s")]
    KeepAlive(u16),
    /// A packet that is not answered, though far more than half of all packet ids were used since and answered: no ids are left
    /// (MQTT 5.0 section 4.6 wants answers in order).
    #[error("no answer to packet id {0}, but to thousands that were sent after it: no packet ids are left")]
    Unanswered(u16),
    /// A protocol name or level we do not speak.
    #[error("unsupported protocol version (level {0})")]
    Version(u8),
}

impl ProtocolError {
    /// What to tell the peer in DISCONNECT.
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::Malformed(_) | Self::Topic(_) => ReasonCode::MALFORMED_PACKET,
            Self::Unexpected(_) | Self::Unanswered(_) => ReasonCode::PROTOCOL_ERROR,
            Self::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
            Self::ReceiveMaximum(_) => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::TopicAlias(_) => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::EnhancedAuth => ReasonCode::BAD_AUTHENTICATION_METHOD,
            Self::KeepAlive(_) => ReasonCode::KEEP_ALIVE_TIMEOUT,
            Self::Version(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        }
    }

    /// What to say of one message in PUBACK or PUBREC, where the connection goes on.
    pub(crate) const fn reason_of_message(&self) -> ReasonCode {
        match self {
            Self::Topic(_) | Self::TopicAlias(_) => ReasonCode::TOPIC_NAME_INVALID,
            _ => ReasonCode::IMPLEMENTATION_SPECIFIC,
        }
    }
}

impl From<rumqttc::mqttbytes::Error> for ProtocolError {
    fn from(_: rumqttc::mqttbytes::Error) -> Self {
        Self::Malformed("control packet")
    }
}

impl From<rumqttc::v5::mqttbytes::Error> for ProtocolError {
    fn from(_: rumqttc::v5::mqttbytes::Error) -> Self {
        Self::Malformed("control packet")
    }
}

/// One packet: its first byte and what follows the remaining length.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) const fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Checks the reserved flags of any packet but PUBLISH. MQTT 3.1 sets DUP where 3.1.1 reserves it.
    pub(crate) const fn has_flags(&self, flags: u8, version: Version) -> bool {
        let mask = if matches!(version, Version::V31) { 0x07 } else { 0x0F };
        self.first & mask == flags
    }
}

/// Where the first frame in `bytes` ends: `(header bytes, frame bytes)`; `None` when more bytes are needed.
pub(crate) fn frame_bounds(bytes: &[u8], max_bytes: usize) -> Result<Option<(usize, usize)>, ProtocolError> {
    let mut remaining = 0usize;
    for at in 1..=4 {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        remaining |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let size = 1 + at + remaining;
            if size > max_bytes {
                return Err(ProtocolError::TooLarge { size, max: max_bytes });
            }
            return Ok((bytes.len() >= size).then_some((1 + at, size)));
        }
    }
    Err(ProtocolError::Malformed("remaining length"))
}

/// All complete frames at the front of a read buffer, cut off in one piece so that each frame is a slice of it.
pub(crate) struct Frames {
    block: Bytes,
    /// What stopped the cut: reported after the frames before it.
    error: Option<ProtocolError>,
}

impl Frames {
    /// Cuts at most `limit` frames.
    pub(crate) fn cut(rx: &mut BytesMut, max_bytes: usize, limit: usize) -> Self {
        let (mut end, mut error) = (0, None);
        for _ in 0..limit {
            match frame_bounds(&rx[end..], max_bytes) {
                Ok(Some((_, size))) => end += size,
                Ok(None) => break,
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
        let block = if end == 0 { Bytes::new() } else { rx.split_to(end).freeze() };
        Self { block, error }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if self.block.is_empty() {
            return self.error.take().map_or(Ok(None), Err);
        }
        match frame_bounds(&self.block, usize::MAX)? {
            Some((header, size)) => {
                let mut whole = self.block.split_to(size);
                let first = whole[0];
                whole.advance(header);
                Ok(Some(Frame { first, body: whole }))
            }
            None => Err(ProtocolError::Malformed("frame")), // never: `cut` saw it whole
        }
    }
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Writes bytes with their two-byte length; callers have checked that they fit. What does not is cut, so that one bad
/// text never shifts the packets behind it.
pub(crate) fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    out.put_u16(bytes.len() as u16);
    out.extend_from_slice(bytes);
}

pub(crate) fn take_u8(body: &mut Bytes) -> Result<u8, ProtocolError> {
    body.try_get_u8().map_err(|_| ProtocolError::Malformed("ends early"))
}

pub(crate) fn take_u16(body: &mut Bytes) -> Result<u16, ProtocolError> {
    body.try_get_u16().map_err(|_| ProtocolError::Malformed("ends early"))
}

pub(crate) fn take_u32(body: &mut Bytes) -> Result<u32, ProtocolError> {
    body.try_get_u32().map_err(|_| ProtocolError::Malformed("ends early"))
}

pub(crate) fn take_packet_id(body: &mut Bytes) -> Result<u16, ProtocolError> {
    match take_u16(body)? {
        0 => Err(ProtocolError::Malformed("packet id 0")),
        id => Ok(id),
    }
}

/// The bytes that a length of two bytes stands before, if they are all there.
#[inline]
pub(crate) fn first_binary(body: &[u8]) -> Option<&[u8]> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

pub(crate) fn take_binary(body: &mut Bytes) -> Result<Bytes, ProtocolError> {
    let len = usize::from(take_u16(body)?);
    if len > body.len() {
        return Err(ProtocolError::Malformed("a length runs past the packet"));
    }
    Ok(body.split_to(len))
}

pub(crate) fn take_string(body: &mut Bytes) -> Result<ByteString, ProtocolError> {
    let text = ByteString::try_from(take_binary(body)?).map_err(|_| ProtocolError::Malformed("a text is not UTF-8"))?;
    if text.as_bytes().contains(&0) {
        return Err(ProtocolError::Malformed("a text holds the null character"));
    }
    Ok(text)
}

fn take_varint(body: &mut Bytes) -> Result<usize, ProtocolError> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take_u8(body)?;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtocolError::Malformed("variable byte integer"))
}

/// One MQTT 5 property as it comes off the wire (MQTT 5.0 section 2.2.2.2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Two(u16),
    Four(u32),
    Varint(usize),
    Text(ByteString),
    Binary(Bytes),
    Pair(ByteString, ByteString),
}

pub(crate) mod property {
    pub(crate) const PAYLOAD_FORMAT: u8 = 1;
    pub(crate) const MESSAGE_EXPIRY: u8 = 2;
    pub(crate) const CONTENT_TYPE: u8 = 3;
    pub(crate) const RESPONSE_TOPIC: u8 = 8;
    pub(crate) const CORRELATION_DATA: u8 = 9;
    pub(crate) const SUBSCRIPTION_ID: u8 = 11;
    pub(crate) const SESSION_EXPIRY: u8 = 17;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 18;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 19;
    pub(crate) const AUTH_METHOD: u8 = 21;
    pub(crate) const AUTH_DATA: u8 = 22;
    pub(crate) const REQUEST_PROBLEM_INFO: u8 = 23;
    pub(crate) const WILL_DELAY: u8 = 24;
    pub(crate) const REQUEST_RESPONSE_INFO: u8 = 25;
    pub(crate) const RESPONSE_INFO: u8 = 26;
    pub(crate) const SERVER_REFERENCE: u8 = 28;
    pub(crate) const REASON_STRING: u8 = 31;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 33;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 34;
    pub(crate) const TOPIC_ALIAS: u8 = 35;
    pub(crate) const MAXIMUM_QOS: u8 = 36;
    pub(crate) const RETAIN_AVAILABLE: u8 = 37;
    pub(crate) const USER: u8 = 38;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 39;
    pub(crate) const WILDCARDS_AVAILABLE: u8 = 40;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 41;
    pub(crate) const SHARED_AVAILABLE: u8 = 42;
}

/// Cuts a property block off a packet and hands each property to `each`, which refuses those that do not belong.
/// A property that may occur once and occurs twice is refused here.
pub(crate) fn take_properties(
    body: &mut Bytes,
    mut each: impl FnMut(u8, Value) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let len = take_varint(body)?;
    if len > body.len() {
        return Err(ProtocolError::Malformed("properties run past the packet"));
    }
    let mut block = body.split_to(len);
    let mut seen = 0u64;
    while !block.is_empty() {
        let id = take_u8(&mut block)?;
        let value = match id {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Value::Byte(take_u8(&mut block)?),
            19 | 33 | 34 | 35 => Value::Two(take_u16(&mut block)?),
            2 | 17 | 24 | 39 => Value::Four(take_u32(&mut block)?),
            11 => Value::Varint(take_varint(&mut block)?),
            3 | 8 | 18 | 21 | 26 | 28 | 31 => Value::Text(take_string(&mut block)?),
            9 | 22 => Value::Binary(take_binary(&mut block)?),
            38 => Value::Pair(take_string(&mut block)?, take_string(&mut block)?),
            _ => return Err(ProtocolError::Malformed("unknown property")),
        };
        let repeatable = matches!(id, property::USER | property::SUBSCRIPTION_ID);
        if !repeatable && seen & (1 << id) != 0 {
            return Err(ProtocolError::Unexpected("a property occurs twice"));
        }
        seen |= 1 << id;
        each(id, value)?;
    }
    Ok(())
}

/// Writes an acknowledgement: four bytes unless there is a reason to tell (MQTT 5.0 section 3.4.2.1).
pub(crate) fn put_ack(out: &mut BytesMut, kind: u8, packet_id: u16, reason: ReasonCode, v5: bool) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    if v5 && reason != ReasonCode::SUCCESS {
        out.extend_from_slice(&[kind << 4 | flags, 3, high, low, reason.0]);
    } else {
        out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
    }
}

/// Reads an acknowledgement: packet id, reason, and the peer's own words, if any.
pub(crate) fn take_ack(frame: Frame, version: Version) -> Result<(u16, ReasonCode, Option<ByteString>), ProtocolError> {
    let flags = if frame.kind() == PUBREL { 2 } else { 0 };
    if !frame.has_flags(flags, version) {
        return Err(ProtocolError::Malformed("flags of an acknowledgement"));
    }
    let mut body = frame.body;
    let packet_id = take_packet_id(&mut body)?;
    let (mut reason, mut words) = (ReasonCode::SUCCESS, None);
    if version == Version::V5 && !body.is_empty() {
        reason = ReasonCode(take_u8(&mut body)?);
        if !body.is_empty() {
            take_properties(&mut body, |id, value| match (id, value) {
                (property::REASON_STRING, Value::Text(text)) => {
                    words = Some(text);
                    Ok(())
                }
                (property::USER, _) => Ok(()),
                _ => Err(ProtocolError::Unexpected("property of an acknowledgement")),
            })?;
        }
    }
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("bytes behind an acknowledgement"));
    }
    Ok((packet_id, reason, words))
}
