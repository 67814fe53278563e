//! A payload of Sparkplug B as its sender wrote it: which fields are there, and nothing of what they mean.
//!
//! The numbers of the fields are those of the schema (specification 3.0, section 6.4.1).

use crate::wire::{Field, Malformed, Span};

/// A name of more bytes is no name.
pub(crate) const MAX_NAME_BYTES: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Payload<'a> {
    pub(crate) timestamp: Option<u64>,
    pub(crate) seq: Option<u64>,
    pub(crate) uuid: Option<&'a str>,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) metrics: Vec<Metric<'a>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metric<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) alias: Option<u64>,
    pub(crate) timestamp: Option<u64>,
    pub(crate) datatype: Option<u32>,
    pub(crate) is_historical: bool,
    pub(crate) is_transient: bool,
    pub(crate) is_null: bool,
    pub(crate) metadata: Option<Span<'a>>,
    pub(crate) properties: Option<Span<'a>>,
    pub(crate) value: Option<Raw<'a>>,
}

/// A value by the field that it was written to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(Span<'a>),
    DataSet(Span<'a>),
    Template(Span<'a>),
    PropertySet(Span<'a>),
    PropertySets(Span<'a>),
}

/// Why a payload cannot be taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Malformed(Malformed),
    TooMany { max: usize },
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::TooMany { max } => write!(f, "more than {max} metrics: see `max_metrics`"),
        }
    }
}

impl<'a> Payload<'a> {
    pub(crate) fn parse(bytes: &'a [u8], max_metrics: usize) -> Result<Self, Refused> {
        let mut payload = Self::default();
        let mut fields = Span::whole(bytes).fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => payload.timestamp = Some(field.u64()?),
                2 if payload.metrics.len() == max_metrics => return Err(Refused::TooMany { max: max_metrics }),
                2 => payload.metrics.push(Metric::parse(field.span()?)?),
                3 => payload.seq = Some(field.u64()?),
                4 => payload.uuid = Some(field.text()?),
                5 => payload.body = Some(field.span()?.bytes),
                _ => {}
            }
        }
        Ok(payload)
    }
}

impl<'a> Metric<'a> {
    pub(crate) fn parse(span: Span<'a>) -> Result<Self, Malformed> {
        let mut metric = Self::default();
        let mut fields = span.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => metric.name = Some(name(&field)?),
                2 => metric.alias = Some(field.u64()?),
                3 => metric.timestamp = Some(field.u64()?),
                4 => metric.datatype = Some(field.u32()?),
                5 => metric.is_historical = field.bool()?,
                6 => metric.is_transient = field.bool()?,
                7 => metric.is_null = field.bool()?,
                8 => metric.metadata = Some(field.span()?),
                9 => metric.properties = Some(field.span()?),
                16 => metric.value = Some(Raw::Bytes(field.span()?)),
                17 => metric.value = Some(Raw::DataSet(field.span()?)),
                18 => metric.value = Some(Raw::Template(field.span()?)),
                _ => metric.value = scalar(&field, 10)?.or(metric.value),
            }
        }
        Ok(metric)
    }
}

fn name<'a>(field: &Field<'a>) -> Result<&'a str, Malformed> {
    let name = field.text()?;
    match name.len() {
        0..=MAX_NAME_BYTES => Ok(name),
        _ => Err(Malformed { at: field.span()?.at, what: "a name of more than 4096 bytes" }),
    }
}

/// The values that metrics, properties, parameters and cells have alike, in fields that begin at `first`.
pub(crate) fn scalar<'a>(field: &Field<'a>, first: u32) -> Result<Option<Raw<'a>>, Malformed> {
    Ok(Some(match field.number.checked_sub(first) {
        Some(0) => Raw::Int(field.u32()?),
        Some(1) => Raw::Long(field.u64()?),
        Some(2) => Raw::Float(field.f32()?),
        Some(3) => Raw::Double(field.f64()?),
        Some(4) => Raw::Boolean(field.bool()?),
        Some(5) => Raw::Text(field.text()?),
        _ => return Ok(None),
    }))
}
