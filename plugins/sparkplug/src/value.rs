//! What a value means by its datatype, as JSON.
//!
//! Encoders differ in where they write a whole number and in how they cut a negative one, so it is read by one rule: take
//! whichever of `int_value` and `long_value` is there, cut it to the width of the datatype, then look at the sign.

use crate::datatype::Datatype;
use crate::json::{Json, NotFinite, name_of};
use crate::payload::{Metric, Raw, scalar};
use crate::wire::{Malformed, Span};

/// Templates and property sets nest no deeper.
const MAX_DEPTH: usize = 8;

/// A data set has no more columns.
const MAX_COLUMNS: usize = 1000;

/// Why a value is no JSON.
#[derive(Debug)]
pub(crate) enum Wrong {
    Malformed(Malformed),
    /// It is not of its datatype: this metric cannot be read, the others can.
    Unreadable(String),
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

fn unreadable<T>(datatype: Datatype, raw: &Raw) -> Result<T, Wrong> {
    Err(Wrong::Unreadable(format!("{datatype} with {}", field_name(raw))))
}

fn field_name(raw: &Raw) -> &'static str {
    match raw {
        Raw::Int(_) => "an int_value",
        Raw::Long(_) => "a long_value",
        Raw::Float(_) => "a float_value",
        Raw::Double(_) => "a double_value",
        Raw::Boolean(_) => "a boolean_value",
        Raw::Text(_) => "a string_value",
        Raw::Bytes(_) => "a bytes_value",
        Raw::DataSet(_) => "a dataset_value",
        Raw::Template(_) => "a template_value",
        Raw::PropertySet(_) => "a propertyset_value",
        Raw::PropertySets(_) => "a propertysets_value",
    }
}

/// The members of a metric that say what it is worth: `datatype`, `value` and what goes with it; `error` in place of a value
/// that is not of its datatype.
pub(crate) fn write_metric(
    json: &mut Json,
    metric: &Metric,
    datatype: Option<Datatype>,
    depth: usize,
) -> Result<(), Malformed> {
    if let Some(datatype) = datatype {
        match datatype.name() {
            Some(name) => json.member("datatype").text(name),
            None => json.member("datatype").u64(u64::from(datatype.0)),
        }
    }
    let readable = |json: &mut Json, error: &str, write: &dyn Fn(&mut Json) -> Result<(), Wrong>| {
        let before = json.len();
        match write(json) {
            Ok(()) => Ok(()),
            Err(Wrong::Malformed(malformed)) => Err(malformed),
            Err(Wrong::Unreadable(why)) => {
                json.cut(before);
                json.member(error).text(&why);
                Ok(())
            }
        }
    };
    match metric.value {
        _ if metric.is_null => {
            json.member("value").null();
            json.member("is_null").bool(true);
        }
        None => {}
        Some(raw) => {
            let datatype = datatype.unwrap_or(Datatype::UNKNOWN);
            readable(json, "error", &|json| write_value(json.member("value"), datatype, &raw, depth))?;
            write_not_finite(json, &raw);
        }
    }
    for (name, flag) in [("is_historical", metric.is_historical), ("is_transient", metric.is_transient)] {
        if flag {
            json.member(name).bool(true);
        }
    }
    if let Some(metadata) = metric.metadata {
        write_metadata(json.member("metadata"), metadata)?;
    }
    if let Some(properties) = metric.properties {
        readable(json, "properties_error", &|json| write_properties(json.member("properties"), properties, depth))?;
    }
    Ok(())
}

/// What a `null` stands for, where it is no null that was sent.
fn write_not_finite(json: &mut Json, raw: &Raw) {
    let number = match *raw {
        Raw::Float(number) => f64::from(number),
        Raw::Double(number) => number,
        _ => 0.0,
    };
    if !number.is_finite() && json.style.not_finite == NotFinite::Null {
        json.member("not_finite").text(name_of(number));
    }
}

fn write_value(json: &mut Json, datatype: Datatype, raw: &Raw, depth: usize) -> Result<(), Wrong> {
    let integer = match *raw {
        Raw::Int(number) => Some(u64::from(number)),
        Raw::Long(number) => Some(number),
        _ => None,
    };
    match (datatype, raw) {
        (of, _) if of.is_integer() && integer.is_some() => write_integer(json, of, integer.unwrap_or_default()),
        (Datatype::BOOLEAN, Raw::Int(_) | Raw::Long(_)) => json.bool(integer != Some(0)),
        (Datatype::BOOLEAN, Raw::Boolean(value)) => json.bool(*value),
        (Datatype::FLOAT, Raw::Float(number)) => json.f32(*number),
        (Datatype::FLOAT, Raw::Double(number)) => json.f32(*number as f32),
        (Datatype::DOUBLE, Raw::Double(number)) => json.f64(*number),
        (Datatype::DOUBLE, Raw::Float(number)) => json.f32(*number),
        (of, Raw::Text(text)) if of.is_text() => json.text(text),
        (Datatype::BYTES | Datatype::FILE, Raw::Bytes(span)) => json.base64(span.bytes),
        (Datatype::DATASET, Raw::DataSet(span)) => write_data_set(json, *span)?,
        (Datatype::TEMPLATE, Raw::Template(span)) => write_template(json, *span, depth)?,
        (Datatype::PROPERTY_SET, Raw::PropertySet(span)) => write_properties(json, *span, depth)?,
        (Datatype::PROPERTY_SETS, Raw::PropertySets(span)) => write_property_sets(json, *span, depth)?,
        (Datatype::STRING_ARRAY, Raw::Bytes(span)) => write_texts(json, span.bytes)?,
        (Datatype::BOOLEAN_ARRAY, Raw::Bytes(span)) => write_booleans(json, span.bytes)?,
        (of, Raw::Bytes(span)) if of.element().is_some() => write_numbers(json, of, span.bytes)?,
        (of, _) if of == Datatype::UNKNOWN || of.name().is_none() => write_as_it_is(json, raw, depth)?,
        _ => return unreadable(datatype, raw),
    }
    Ok(())
}

/// By the field it was written to. A whole number has no sign then.
fn write_as_it_is(json: &mut Json, raw: &Raw, depth: usize) -> Result<(), Wrong> {
    match *raw {
        Raw::Int(number) => json.u64(u64::from(number)),
        Raw::Long(number) => json.u64(number),
        Raw::Float(number) => json.f32(number),
        Raw::Double(number) => json.f64(number),
        Raw::Boolean(value) => json.bool(value),
        Raw::Text(text) => json.text(text),
        Raw::Bytes(span) => json.base64(span.bytes),
        Raw::DataSet(span) => write_data_set(json, span)?,
        Raw::Template(span) => write_template(json, span, depth)?,
        Raw::PropertySet(span) => write_properties(json, span, depth)?,
        Raw::PropertySets(span) => write_property_sets(json, span, depth)?,
    }
    Ok(())
}

fn write_integer(json: &mut Json, datatype: Datatype, number: u64) {
    match datatype {
        Datatype::INT8 => json.i64(i64::from(number as i8)),
        Datatype::INT16 => json.i64(i64::from(number as i16)),
        Datatype::INT32 => json.i64(i64::from(number as i32)),
        Datatype::INT64 | Datatype::DATETIME => json.i64(number.cast_signed()),
        Datatype::UINT8 => json.u64(u64::from(number as u8)),
        Datatype::UINT16 => json.u64(u64::from(number as u16)),
        Datatype::UINT32 => json.u64(u64::from(number as u32)),
        _ => json.u64(number),
    }
}

/// Little-endian, one after the other.
fn write_numbers(json: &mut Json, array: Datatype, bytes: &[u8]) -> Result<(), Wrong> {
    let datatype = array.element().unwrap_or(Datatype::UNKNOWN);
    let width = datatype.bytes().unwrap_or(1);
    if !bytes.len().is_multiple_of(width) {
        return Err(Wrong::Unreadable(format!("{array} of {} bytes, {width} each", bytes.len())));
    }
    json.open(b'[');
    for element in bytes.chunks_exact(width) {
        if json.is_full() {
            break;
        }
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(element);
        let number = u64::from_le_bytes(wide);
        match datatype {
            Datatype::FLOAT => json.f32(f32::from_bits(number as u32)),
            Datatype::DOUBLE => json.f64(f64::from_bits(number)),
            _ => write_integer(json, datatype, number),
        }
    }
    json.close(b']');
    Ok(())
}

/// How many, in four bytes, then eight in a byte, the first in the highest bit.
fn write_booleans(json: &mut Json, bytes: &[u8]) -> Result<(), Wrong> {
    let sound = bytes.split_first_chunk::<4>().and_then(|(count, bits)| {
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        (bits.len() == count.div_ceil(8)).then_some((count, bits))
    });
    let Some((count, bits)) = sound else {
        return Err(Wrong::Unreadable(format!(
            "BooleanArray whose {} bytes are not as many as it counts",
            bytes.len()
        )));
    };
    json.open(b'[');
    for index in 0..count {
        if json.is_full() {
            break;
        }
        json.bool(bits[index / 8] & (0x80 >> (index % 8)) != 0);
    }
    json.close(b']');
    Ok(())
}

/// Each ends with a NUL.
fn write_texts(json: &mut Json, bytes: &[u8]) -> Result<(), Wrong> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_empty() || text.ends_with('\0'));
    let Some(text) = text else {
        return Err(Wrong::Unreadable("StringArray that is no UTF-8, or has no NUL at its end".to_owned()));
    };
    json.open(b'[');
    for element in text.split_terminator('\0') {
        if json.is_full() {
            break;
        }
        json.text(element);
    }
    json.close(b']');
    Ok(())
}

fn write_data_set(json: &mut Json, set: Span) -> Result<(), Wrong> {
    let (mut columns, mut types) = (Vec::new(), Vec::new());
    let mut fields = set.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            2 if columns.len() < MAX_COLUMNS => columns.push(field.text()?),
            2 => return Err(Wrong::Unreadable(format!("DataSet of more than {MAX_COLUMNS} columns"))),
            3 => field.each_u32(|datatype| {
                if types.len() < MAX_COLUMNS {
                    types.push(Datatype(datatype));
                }
            })?,
            _ => {}
        }
    }
    json.open(b'{');
    json.member("columns").open(b'[');
    columns.iter().for_each(|column| json.text(column));
    json.close(b']');
    json.member("types").open(b'[');
    types.iter().for_each(|datatype| json.text(datatype.name().unwrap_or("Unknown")));
    json.close(b']');
    json.member("rows").open(b'[');
    let mut fields = set.fields();
    while let Some(field) = fields.next()? {
        if field.number == 4 && !json.is_full() {
            write_row(json, field.span()?, &types)?;
        }
    }
    json.close(b']');
    json.close(b'}');
    Ok(())
}

fn write_row(json: &mut Json, row: Span, types: &[Datatype]) -> Result<(), Wrong> {
    json.open(b'[');
    let mut column = 0;
    let mut cells = row.fields();
    while let Some(cell) = cells.next()? {
        if cell.number != 1 || json.is_full() {
            continue;
        }
        let mut value = None;
        let mut fields = cell.span()?.fields();
        while let Some(field) = fields.next()? {
            value = scalar(&field, 1)?.or(value);
        }
        match value {
            Some(raw) => write_value(json, types.get(column).copied().unwrap_or(Datatype::UNKNOWN), &raw, 0)?,
            None => json.null(),
        }
        column += 1;
    }
    json.close(b']');
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Wrong> {
    match depth {
        0..MAX_DEPTH => Ok(depth + 1),
        _ => Err(Wrong::Unreadable(format!("nesting of more than {MAX_DEPTH} levels"))),
    }
}

fn write_template(json: &mut Json, template: Span, depth: usize) -> Result<(), Wrong> {
    let depth = deeper(depth)?;
    json.open(b'{');
    let mut fields = template.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => json.member("version").text(field.text()?),
            4 => json.member("template_ref").text(field.text()?),
            5 => json.member("is_definition").bool(field.bool()?),
            _ => {}
        }
    }
    for (number, name) in [(3, "parameters"), (2, "metrics")] {
        json.member(name).open(b'[');
        let mut fields = template.fields();
        while let Some(field) = fields.next()? {
            if field.number != number || json.is_full() {
                continue;
            }
            json.open(b'{');
            let metric = if number == 2 { Metric::parse(field.span()?)? } else { parameter(field.span()?)? };
            if let Some(name) = metric.name {
                json.member("name").text(name);
            }
            if let Some(timestamp) = metric.timestamp {
                json.member("timestamp").u64(timestamp);
            }
            write_metric(json, &metric, metric.datatype.map(Datatype), depth)?;
            json.close(b'}');
        }
        json.close(b']');
    }
    json.close(b'}');
    Ok(())
}

/// A parameter of a template is a metric with less in it.
fn parameter(span: Span) -> Result<Metric, Malformed> {
    let mut metric = Metric::default();
    let mut fields = span.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => metric.name = Some(field.text()?),
            2 => metric.datatype = Some(field.u32()?),
            _ => metric.value = scalar(&field, 3)?.or(metric.value),
        }
    }
    Ok(metric)
}

fn write_properties(json: &mut Json, set: Span, depth: usize) -> Result<(), Wrong> {
    let depth = deeper(depth)?;
    json.open(b'{');
    // The values stand in the order of the keys, wherever they stand.
    let (mut keys, mut values) = (set.fields(), set.fields());
    loop {
        let key = next_of(&mut keys, 1)?;
        let value = next_of(&mut values, 2)?;
        let (Some(key), Some(value)) = (key, value) else {
            if key.is_some() || value.is_some() {
                return Err(Wrong::Unreadable("PropertySet with more keys than values, or fewer".to_owned()));
            }
            break;
        };
        if !json.is_full() {
            write_property(json.member(key.text()?), value.span()?, depth)?;
        }
    }
    json.close(b'}');
    Ok(())
}

fn next_of<'a>(fields: &mut crate::wire::Fields<'a>, number: u32) -> Result<Option<crate::wire::Field<'a>>, Malformed> {
    while let Some(field) = fields.next()? {
        if field.number == number {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

fn write_property(json: &mut Json, property: Span, depth: usize) -> Result<(), Wrong> {
    let (mut datatype, mut is_null, mut value) = (Datatype::UNKNOWN, false, None);
    let mut fields = property.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => datatype = Datatype(field.u32()?),
            2 => is_null = field.bool()?,
            9 => value = Some(Raw::PropertySet(field.span()?)),
            10 => value = Some(Raw::PropertySets(field.span()?)),
            _ => value = scalar(&field, 3)?.or(value),
        }
    }
    match value {
        Some(raw) if !is_null => write_value(json, datatype, &raw, depth),
        _ => {
            json.null();
            Ok(())
        }
    }
}

fn write_property_sets(json: &mut Json, list: Span, depth: usize) -> Result<(), Wrong> {
    json.open(b'[');
    let mut fields = list.fields();
    while let Some(set) = next_of(&mut fields, 1)? {
        write_properties(json, set.span()?, depth)?;
    }
    json.close(b']');
    Ok(())
}

fn write_metadata(json: &mut Json, metadata: Span) -> Result<(), Malformed> {
    json.open(b'{');
    let mut fields = metadata.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => json.member("is_multi_part").bool(field.bool()?),
            2 => json.member("content_type").text(field.text()?),
            3 => json.member("size").u64(field.u64()?),
            4 => json.member("seq").u64(field.u64()?),
            5 => json.member("file_name").text(field.text()?),
            6 => json.member("file_type").text(field.text()?),
            7 => json.member("md5").text(field.text()?),
            8 => json.member("description").text(field.text()?),
            _ => {}
        }
    }
    json.close(b'}');
    Ok(())
}
