//! How messages stand in a batch: as elements of a JSON array or as lines, bare or each in an envelope with its topic.
//!
//! Pure: bytes in, bytes out.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::ops::Range;
use tidegate_sdk::{
    Message, Qos,
    json::{self, NotJson, Path, write_string},
    template::is_topic,
};

/// How a gzip stream begins (RFC 1952 section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b, 8];

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub(crate) struct Format {
    /// One a line; else elements of a JSON array.
    pub(crate) lines: bool,
    /// `{"topic": ..., "json": ...}` in place of the payload alone.
    pub(crate) envelope: bool,
}

/// As a number in the state.
impl From<Format> for u8 {
    fn from(Format { lines, envelope }: Format) -> Self {
        Self::from(lines) | Self::from(envelope) << 1
    }
}

impl From<u8> for Format {
    fn from(number: u8) -> Self {
        Self { lines: number & 1 != 0, envelope: number & 2 != 0 }
    }
}

/// Why a message cannot be joined or split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Problem {
    NoKey,
    NotJson(NotJson),
    LineBreak,
    TooLarge,
    NotGzip,
    NotArray,
    TooMany,
    /// The envelope of this place, from 0, is none.
    NoEnvelope(usize),
}

impl Problem {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoKey => "no key",
            Self::NotJson(_) => "not JSON",
            Self::LineBreak => "a line break in a line",
            Self::TooLarge => "too large",
            Self::NotGzip => "not gzip",
            Self::NotArray => "not an array",
            Self::TooMany => "too many pieces",
            Self::NoEnvelope(_) => "no envelope",
        }
    }

    /// With its place, for who looks at the message; a reason to count by has none.
    pub(crate) fn told(self, payload: &[u8], max_bytes: usize, max_outputs: usize) -> String {
        match self {
            Self::NotJson(at) => at.told(payload),
            Self::TooLarge => format!("too large: above {max_bytes} bytes (`max_bytes`)"),
            Self::TooMany => format!("too many pieces: above {max_outputs} (`max_outputs`)"),
            Self::NoEnvelope(at) => format!(
                "no envelope: piece {at} (from 0) is no {{\"topic\": ...}} with one of \"json\", \"text\" and \"base64\""
            ),
            other => other.reason().to_owned(),
        }
    }
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self { lines: false, .. } => "application/json",
            Self { lines: true, envelope: true } => "application/x-ndjson",
            Self { lines: true, envelope: false } => "text/plain",
        }
    }

    /// A message as it stands in a batch.
    pub(crate) fn element(self, message: &Message) -> Result<Vec<u8>, Problem> {
        let payload = &message.payload;
        if self.envelope {
            return Ok(Self::in_envelope(message));
        }
        if !self.lines {
            json::find_each(payload, &[], &mut []).map_err(Problem::NotJson)?;
            return Ok(payload.clone());
        }
        let line = payload.strip_suffix(b"\n").map_or(&payload[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
        match line.iter().any(is_line_break) {
            false => Ok(line.to_vec()),
            // Outside strings, where they cannot be, line breaks of JSON are as good as spaces.
            true if is_json(line) => Ok(without_line_breaks(line)),
            true => Err(Problem::LineBreak),
        }
    }

    fn in_envelope(message: &Message) -> Vec<u8> {
        let Message { topic, payload, qos, retain, received_ms, .. } = message;
        let mut text = Vec::with_capacity(payload.len() + topic.len() + 96);
        text.extend_from_slice(b"{\"topic\":");
        write_string(topic, &mut text);
        let qos = *qos as u8;
        text.extend_from_slice(format!(",\"qos\":{qos},\"retain\":{retain},\"received_ms\":{received_ms}").as_bytes());
        match message.text() {
            Some(_) if is_compact(payload) && is_json(payload) => {
                text.extend_from_slice(b",\"json\":");
                text.extend_from_slice(payload);
            }
            Some(payload) => {
                text.extend_from_slice(b",\"text\":");
                write_string(payload, &mut text);
            }
            None => {
                text.extend_from_slice(b",\"base64\":\"");
                text.extend_from_slice(BASE64.encode(payload).as_bytes());
                text.push(b'"');
            }
        }
        text.push(b'}');
        text
    }

    /// What so many elements of so many bytes take as one payload.
    pub(crate) const fn joined_bytes(count: usize, bytes: usize) -> usize {
        bytes + count + 1
    }

    /// One payload of elements.
    pub(crate) fn joined<'e>(self, elements: impl ExactSizeIterator<Item = &'e [u8]>, bytes: usize) -> Vec<u8> {
        let mut joined = Vec::with_capacity(Self::joined_bytes(elements.len(), bytes));
        if !self.lines {
            joined.push(b'[');
        }
        for (at, element) in elements.enumerate() {
            if at > 0 && !self.lines {
                joined.push(b',');
            }
            joined.extend_from_slice(element);
            if self.lines {
                joined.push(b'\n');
            }
        }
        if !self.lines {
            joined.push(b']');
        }
        joined
    }

    /// Where the elements of a payload are, at most so many.
    pub(crate) fn elements(self, payload: &[u8], max: usize) -> Result<Vec<Range<usize>>, Problem> {
        let mut places = Vec::new();
        let mut count = 0_usize;
        let mut note = |place| {
            count += 1;
            if count <= max {
                places.push(place);
            }
        };
        if self.lines {
            let mut start = 0;
            while start < payload.len() {
                let end =
                    payload[start..].iter().position(|byte| *byte == b'\n').map_or(payload.len(), |at| start + at);
                let line = &payload[start..end];
                note(start..end - usize::from(line.ends_with(b"\r")));
                start = end + 1;
            }
        } else if !json::elements(payload, note).map_err(Problem::NotJson)? {
            return Err(Problem::NotArray);
        }
        if count > max { Err(Problem::TooMany) } else { Ok(places) }
    }
}

/// A message out of its envelope.
pub(crate) struct Piece {
    pub(crate) topic: String,
    pub(crate) qos: Option<Qos>,
    pub(crate) retain: Option<bool>,
    pub(crate) payload: Vec<u8>,
}

/// The fields of an envelope.
pub(crate) struct Envelope(Vec<Path>);

impl Envelope {
    pub(crate) fn new() -> Self {
        let names = ["topic", "qos", "retain", "json", "text", "base64"];
        Self(names.iter().filter_map(|name| Path::parse(name)).collect())
    }

    pub(crate) fn open(&self, text: &[u8]) -> Option<Piece> {
        let mut found = vec![None; self.0.len()];
        json::find_each(text, &self.0, &mut found).ok()?;
        let [topic, qos, retain, json, string, base64] = <[_; 6]>::try_from(found).ok()?;
        let written = |field: &json::Field| &text[field.value.clone()];
        let string_of = |field: json::Field| written(&field).starts_with(b"\"").then(|| field.text(text).into_owned());
        let payload = match (json, string, base64) {
            (Some(json), None, None) => written(&json).to_vec(),
            (None, Some(string), None) => string_of(string)?.into_bytes(),
            (None, None, Some(base64)) => BASE64.decode(string_of(base64)?).ok()?,
            _ => return None,
        };
        let qos = match qos.as_ref().map(written) {
            None => None,
            Some(b"0") => Some(Qos::AtMostOnce),
            Some(b"1") => Some(Qos::AtLeastOnce),
            Some(b"2") => Some(Qos::ExactlyOnce),
            Some(_) => return None,
        };
        let retain = match retain.as_ref().map(written) {
            None => None,
            Some(b"true") => Some(true),
            Some(b"false") => Some(false),
            Some(_) => return None,
        };
        let topic = string_of(topic?).filter(|topic| is_topic(topic))?;
        Some(Piece { topic, qos, retain, payload })
    }
}

pub(crate) fn gzip(payload: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(payload.len() / 2), Compression::fast());
    encoder.write_all(payload).and_then(|()| encoder.finish()).expect("a Vec takes all bytes")
}

pub(crate) fn is_gzip(payload: &[u8]) -> bool {
    payload.starts_with(GZIP)
}

/// What is inflated, no more than so many bytes of it: a few bytes may say that they are gigabytes.
pub(crate) fn gunzip(payload: &[u8], max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let mut inflated = Vec::new();
    let mut decoder = MultiGzDecoder::new(payload).take(max_bytes as u64 + 1);
    decoder.read_to_end(&mut inflated).map_err(|_| Problem::NotGzip)?;
    if inflated.len() > max_bytes { Err(Problem::TooLarge) } else { Ok(inflated) }
}

fn is_json(payload: &[u8]) -> bool {
    json::find_each(payload, &[], &mut []).is_ok()
}

/// Whether it would come out of an envelope as it is: without spaces around it, and without line breaks.
fn is_compact(json: &[u8]) -> bool {
    json.trim_ascii().len() == json.len() && !json.iter().any(is_line_break)
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn without_line_breaks(json: &[u8]) -> Vec<u8> {
    json.iter().map(|byte| if is_line_break(byte) { b' ' } else { *byte }).collect()
}
