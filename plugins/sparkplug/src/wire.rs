//! Protobuf, field by field: each field with the place where it stands, so that what is malformed can be told.
//!
//! Nothing is copied, and nothing is held for what has not been looked at: two bytes of a payload can be a whole metric.

use micropb::{DecodeError, PbDecoder, PbEncoder, Tag, WIRE_TYPE_I32, WIRE_TYPE_I64, WIRE_TYPE_LEN, WIRE_TYPE_VARINT};

/// No protobuf, or not of this schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// In the payload.
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "malformed protobuf: {} at byte {}", self.what, self.at)
    }
}

/// Bytes of a payload, and where they begin in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Span<'a> {
    /// All of a payload.
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// As a message.
    pub(crate) fn fields(self) -> Fields<'a> {
        Fields { decoder: PbDecoder::new(self.bytes), start: self.at }
    }
}

/// The fields of a message, in the order they were written.
pub(crate) struct Fields<'a> {
    decoder: PbDecoder<&'a [u8]>,
    start: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    at: usize,
    wire: Wire<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Span<'a>),
}

impl<'a> Fields<'a> {
    /// The next one; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.decoder.as_reader().is_empty() {
            return Ok(None);
        }
        let at = self.start + self.decoder.bytes_read();
        self.field(at).map(Some).map_err(|error| Malformed { at, what: told(&error) })
    }

    fn field(&mut self, at: usize) -> Result<Field<'a>, DecodeError<std::convert::Infallible>> {
        let decoder = &mut self.decoder;
        let tag = decoder.decode_tag()?;
        if tag.field_num() == 0 {
            return Err(DecodeError::ZeroField);
        }
        let wire = match tag.wire_type() {
            WIRE_TYPE_VARINT => Wire::Varint(decoder.decode_varint64()?),
            WIRE_TYPE_I64 => Wire::Fixed64(decoder.decode_fixed64()?),
            WIRE_TYPE_I32 => Wire::Fixed32(decoder.decode_fixed32()?),
            WIRE_TYPE_LEN => {
                let length = usize::try_from(decoder.decode_varint64()?).map_err(|_| DecodeError::UnexpectedEof)?;
                let bytes = decoder.as_reader().get(..length).ok_or(DecodeError::UnexpectedEof)?;
                let span = Span { bytes, at: self.start + decoder.bytes_read() };
                decoder.skip_bytes(length)?;
                Wire::Bytes(span)
            }
            other => return decoder.skip_wire_value(other).and(Err(DecodeError::UnknownWireType)),
        };
        Ok(Field { number: tag.field_num(), at, wire })
    }
}

fn told<E>(error: &DecodeError<E>) -> &'static str {
    match error {
        DecodeError::VarIntLimit => "a varint of more than 10 bytes",
        DecodeError::UnexpectedEof => "a field that the payload is too short for",
        DecodeError::Deprecation => "a group, which Sparkplug has not",
        DecodeError::ZeroField => "a field of number 0",
        _ => "a field of no known wire type",
    }
}

impl<'a> Field<'a> {
    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    pub(crate) fn u64(&self) -> Result<u64, Malformed> {
        match self.wire {
            Wire::Varint(number) => Ok(number),
            _ => Err(self.wrong("something else where a whole number is due")),
        }
    }

    /// Of a longer one the lower 32 bits, as every reader of protobuf takes them.
    pub(crate) fn u32(&self) -> Result<u32, Malformed> {
        self.u64().map(|number| number as u32)
    }

    pub(crate) fn bool(&self) -> Result<bool, Malformed> {
        self.u64().map(|number| number != 0)
    }

    pub(crate) fn f32(&self) -> Result<f32, Malformed> {
        match self.wire {
            Wire::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.wrong("something else where a float is due")),
        }
    }

    pub(crate) fn f64(&self) -> Result<f64, Malformed> {
        match self.wire {
            Wire::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong("something else where a double is due")),
        }
    }

    pub(crate) fn span(&self) -> Result<Span<'a>, Malformed> {
        match self.wire {
            Wire::Bytes(span) => Ok(span),
            _ => Err(self.wrong("something else where a text, bytes or a message is due")),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        let span = self.span()?;
        std::str::from_utf8(span.bytes)
            .map_err(|error| Malformed { at: span.at + error.valid_up_to(), what: "a text that is no UTF-8" })
    }

    /// A repeated number, alone or packed.
    pub(crate) fn each_u32(&self, mut take: impl FnMut(u32)) -> Result<(), Malformed> {
        let Wire::Bytes(span) = self.wire else {
            take(self.u32()?);
            return Ok(());
        };
        let mut decoder = PbDecoder::new(span.bytes);
        while !decoder.as_reader().is_empty() {
            let at = span.at + decoder.bytes_read();
            take(decoder.decode_varint64().map_err(|error| Malformed { at, what: told(&error) })? as u32);
        }
        Ok(())
    }
}

/// A message that is written; into memory, which never fails.
pub(crate) struct Message(PbEncoder<Vec<u8>>);

impl Message {
    pub(crate) fn new() -> Self {
        Self(PbEncoder::new(Vec::new()))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }

    fn field(&mut self, number: u32, wire_type: u8, value: impl FnOnce(&mut PbEncoder<Vec<u8>>) -> Result<(), Never>) {
        let Ok(()) = self.0.encode_tag(Tag::from_parts(number, wire_type));
        let Ok(()) = value(&mut self.0);
    }

    pub(crate) fn u64(&mut self, number: u32, value: u64) {
        self.field(number, WIRE_TYPE_VARINT, |to| to.encode_varint64(value));
    }

    pub(crate) fn bool(&mut self, number: u32, value: bool) {
        self.u64(number, u64::from(value));
    }

    pub(crate) fn f32(&mut self, number: u32, value: f32) {
        self.field(number, WIRE_TYPE_I32, |to| to.encode_float(value));
    }

    pub(crate) fn f64(&mut self, number: u32, value: f64) {
        self.field(number, WIRE_TYPE_I64, |to| to.encode_double(value));
    }

    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.field(number, WIRE_TYPE_LEN, |to| to.encode_bytes(value));
    }

    pub(crate) fn text(&mut self, number: u32, value: &str) {
        self.bytes(number, value.as_bytes());
    }

    pub(crate) fn message(&mut self, number: u32, value: Self) {
        self.bytes(number, &value.into_bytes());
    }
}

type Never = std::convert::Infallible;
