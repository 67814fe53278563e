//! A value of JSON as Sparkplug has it, by its datatype.
//!
//! The numbers of the fields are those of the schema (specification 3.0, section 6.4.1).

use crate::config::{IntegerField, Integers, Negative};
use crate::datatype::Datatype;
use crate::wire::Message;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

/// Templates and property sets nest no deeper.
const MAX_DEPTH: usize = 8;

/// Where values begin among the fields of a metric, a property or parameter, and a cell.
const OF_METRIC: u32 = 10;
const OF_PROPERTY: u32 = 3;
const OF_CELL: u32 = 1;

/// How a metric is named, and what it is.
pub(crate) struct Title<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) alias: Option<u64>,
    pub(crate) timestamp: Option<u64>,
    pub(crate) datatype: Datatype,
}

/// A metric. `json` has its `value` and what else belongs to it.
pub(crate) fn metric(
    title: &Title,
    json: &Map<String, Value>,
    integers: Integers,
    depth: usize,
) -> Result<Message, String> {
    let mut metric = Message::new();
    if let Some(name) = title.name {
        metric.text(1, name);
    }
    if let Some(alias) = title.alias {
        metric.u64(2, alias);
    }
    if let Some(timestamp) = title.timestamp {
        metric.u64(3, timestamp);
    }
    metric.u64(4, u64::from(title.datatype.0));
    for (number, name) in [(5, "is_historical"), (6, "is_transient")] {
        if is_true(json, name)? {
            metric.bool(number, true);
        }
    }
    let value = json.get("value");
    let value = match json.get("not_finite") {
        Some(name) if value.is_none_or(Value::is_null) => Some(name),
        _ => value,
    };
    // A metric without a value, and one whose value is null, are two things.
    let is_null = value.is_some_and(Value::is_null) || is_true(json, "is_null")?;
    if is_null {
        metric.bool(7, true);
    }
    if let Some(metadata) = json.get("metadata") {
        metric.message(8, self::metadata(metadata)?);
    }
    if let Some(properties) = json.get("properties") {
        metric.message(9, property_set(properties, depth)?);
    }
    if let Some(value) = value.filter(|_| !is_null) {
        write_value(&mut metric, OF_METRIC, title.datatype, value, integers, depth)?;
    }
    Ok(metric)
}

fn is_true(json: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match json.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(format!("`{name}` is {}, and neither true nor false", shown(other))),
    }
}

/// What was found, in few letters.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn wrong<T>(datatype: Datatype, value: &Value) -> Result<T, String> {
    Err(format!("{} is no {datatype}", shown(value)))
}

fn write_value(
    to: &mut Message,
    first: u32,
    datatype: Datatype,
    value: &Value,
    integers: Integers,
    depth: usize,
) -> Result<(), String> {
    match datatype {
        of if of.is_integer() => write_integer(to, first, of, value, integers)?,
        Datatype::FLOAT => to.f32(first + 2, float(value)?),
        Datatype::DOUBLE => to.f64(first + 3, double(datatype, value)?),
        Datatype::BOOLEAN => match value {
            Value::Bool(flag) => to.bool(first + 4, *flag),
            _ => return wrong(datatype, value),
        },
        of if of.is_text() => to.text(first + 5, text(datatype, value)?),
        // Below here is what only a metric may be.
        _ if first != OF_METRIC => return Err(format!("{datatype} stands in a metric alone")),
        Datatype::BYTES | Datatype::FILE => {
            let bytes = BASE64_STANDARD.decode(text(datatype, value)?);
            to.bytes(16, &bytes.map_err(|error| format!("{datatype} that is no base64: {error}"))?);
        }
        Datatype::DATASET => to.message(17, data_set(value, integers)?),
        Datatype::TEMPLATE => to.message(18, template(value, integers, depth)?),
        Datatype::STRING_ARRAY | Datatype::BOOLEAN_ARRAY => to.bytes(16, &array(datatype, value)?),
        of if of.element().is_some() => to.bytes(16, &array(datatype, value)?),
        other => return Err(format!("a value of datatype {other} cannot be written")),
    }
    Ok(())
}

fn text(datatype: Datatype, value: &Value) -> Result<&str, String> {
    value.as_str().map_or_else(|| wrong(datatype, value), Ok)
}

fn double(datatype: Datatype, value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => number.as_f64().map_or_else(|| wrong(datatype, value), Ok),
        Value::String(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => wrong(datatype, value),
        },
        _ => wrong(datatype, value),
    }
}

fn float(value: &Value) -> Result<f32, String> {
    let wide = double(Datatype::FLOAT, value)?;
    let narrow = wide as f32;
    if wide.is_finite() && narrow.is_infinite() { wrong(Datatype::FLOAT, value) } else { Ok(narrow) }
}

/// The whole number, if it fits the datatype. Texts are taken of 64 bits, which not every reader of JSON has.
fn integer(datatype: Datatype, value: &Value) -> Result<i128, String> {
    let bytes = datatype.bytes().unwrap_or(8);
    let number = match value {
        Value::Number(number) => {
            let whole = number.as_i128();
            whole.or_else(|| number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i128))
        }
        Value::String(digits) if bytes == 8 => digits.parse().ok(),
        _ => None,
    };
    let bits = 8 * bytes as u32;
    let range = match datatype.is_signed() {
        true => -(1 << (bits - 1))..1_i128 << (bits - 1),
        false => 0..1_i128 << bits,
    };
    match number {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{} is no {datatype}, which is from {} to {}", shown(value), range.start, range.end - 1)),
    }
}

fn write_integer(
    to: &mut Message,
    first: u32,
    datatype: Datatype,
    value: &Value,
    integers: Integers,
) -> Result<(), String> {
    let number = integer(datatype, value)?;
    let bytes = datatype.bytes().unwrap_or(8);
    match datatype {
        _ if bytes == 8 => to.u64(first + 1, number as u64),
        Datatype::UINT32 if integers.uint32 == IntegerField::Long => to.u64(first + 1, number as u64),
        _ => {
            let extended = number as u32;
            let own_width = extended & (u32::MAX >> (32 - 8 * bytes as u32));
            let written = if integers.negative == Negative::Extended { extended } else { own_width };
            to.u64(first, u64::from(written));
        }
    }
    Ok(())
}

fn list(what: impl std::fmt::Display, value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(format!("{what} is an array, not {}", shown(other))),
    }
}

fn object<'a>(what: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(format!("{what} is an object, not {}", shown(other))),
    }
}

fn array(datatype: Datatype, value: &Value) -> Result<Vec<u8>, String> {
    let elements = list(datatype, value)?;
    let mut bytes = Vec::new();
    if datatype == Datatype::STRING_ARRAY {
        for element in elements {
            let text = text(Datatype::STRING, element)?;
            if text.contains('\0') {
                return Err("a text with a NUL cannot stand in a StringArray".to_owned());
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        return Ok(bytes);
    }
    if datatype == Datatype::BOOLEAN_ARRAY {
        bytes.extend_from_slice(&(elements.len() as u32).to_le_bytes());
        bytes.resize(4 + elements.len().div_ceil(8), 0);
        for (index, element) in elements.iter().enumerate() {
            let flag = element.as_bool().map_or_else(|| wrong(Datatype::BOOLEAN, element), Ok)?;
            bytes[4 + index / 8] |= u8::from(flag) << (7 - index % 8);
        }
        return Ok(bytes);
    }
    let of = datatype.element().unwrap_or(Datatype::UNKNOWN);
    for element in elements {
        match of {
            Datatype::FLOAT => bytes.extend_from_slice(&float(element)?.to_le_bytes()),
            Datatype::DOUBLE => bytes.extend_from_slice(&double(of, element)?.to_le_bytes()),
            _ => bytes.extend_from_slice(&integer(of, element)?.to_le_bytes()[..of.bytes().unwrap_or(8)]),
        }
    }
    Ok(bytes)
}

fn data_set(value: &Value, integers: Integers) -> Result<Message, String> {
    let json = object("a DataSet", value)?;
    let part = |name| list(format_args!("`{name}` of a DataSet"), json.get(name).unwrap_or(&Value::Null));
    let (columns, types, rows) = (part("columns")?, part("types")?, part("rows")?);
    if columns.len() != types.len() {
        return Err(format!("a DataSet of {} columns and {} types", columns.len(), types.len()));
    }
    let types = types.iter().map(datatype).collect::<Result<Vec<_>, _>>()?;
    let mut set = Message::new();
    set.u64(1, columns.len() as u64);
    for column in columns {
        set.text(2, text(Datatype::STRING, column)?);
    }
    types.iter().for_each(|datatype| set.u64(3, u64::from(datatype.0)));
    for row in rows {
        let cells = list("a row of a DataSet", row)?;
        if cells.len() != columns.len() {
            return Err(format!("a row of {} cells in a DataSet of {} columns", cells.len(), columns.len()));
        }
        let mut written = Message::new();
        for (cell, datatype) in cells.iter().zip(&types) {
            let mut value = Message::new();
            if !cell.is_null() {
                write_value(&mut value, OF_CELL, *datatype, cell, integers, 0)?;
            }
            written.message(1, value);
        }
        set.message(4, written);
    }
    Ok(set)
}

/// A datatype by its name, or its number.
pub(crate) fn datatype(value: &Value) -> Result<Datatype, String> {
    let found = match value {
        Value::String(name) => Datatype::named(name),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()).map(Datatype),
    };
    found
        .filter(|datatype| datatype.name().is_some())
        .ok_or_else(|| format!("{} is no datatype of Sparkplug", shown(value)))
}

fn deeper(depth: usize) -> Result<usize, String> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(format!("nesting of more than {MAX_DEPTH} levels")) }
}

fn template(value: &Value, integers: Integers, depth: usize) -> Result<Message, String> {
    let depth = deeper(depth)?;
    let json = object("a Template", value)?;
    let mut template = Message::new();
    if let Some(version) = json.get("version") {
        template.text(1, text(Datatype::STRING, version)?);
    }
    for (number, name) in [(2, "metrics"), (3, "parameters")] {
        let Some(members) = json.get(name) else { continue };
        for member in list(format_args!("`{name}` of a Template"), members)? {
            let member = object("a member of a Template", member)?;
            let title = Title {
                name: member.get("name").map(|name| text(Datatype::STRING, name)).transpose()?,
                alias: None,
                timestamp: member.get("timestamp").and_then(Value::as_u64),
                datatype: datatype(member.get("datatype").unwrap_or(&Value::Null))?,
            };
            template.message(
                number,
                if number == 2 {
                    metric(&title, member, integers, depth)?
                } else {
                    parameter(&title, member.get("value"), integers)?
                },
            );
        }
    }
    if let Some(reference) = json.get("template_ref") {
        template.text(4, text(Datatype::STRING, reference)?);
    }
    if json.contains_key("is_definition") {
        template.bool(5, is_true(json, "is_definition")?);
    }
    Ok(template)
}

fn parameter(title: &Title, value: Option<&Value>, integers: Integers) -> Result<Message, String> {
    let mut parameter = Message::new();
    parameter.text(1, title.name.unwrap_or_default());
    parameter.u64(2, u64::from(title.datatype.0));
    if let Some(value) = value.filter(|value| !value.is_null()) {
        write_value(&mut parameter, OF_PROPERTY, title.datatype, value, integers, 0)?;
    }
    Ok(parameter)
}

/// Of a property JSON has the value alone: its datatype is the smallest of Int32, Int64, Double, Boolean and String.
fn property_set(value: &Value, depth: usize) -> Result<Message, String> {
    let depth = deeper(depth)?;
    let mut set = Message::new();
    let json = object("a set of properties", value)?;
    json.keys().for_each(|key| set.text(1, key));
    for value in json.values() {
        let mut property = Message::new();
        let mut of = |datatype: Datatype| property.u64(1, u64::from(datatype.0));
        match value {
            Value::Null => {
                of(Datatype::STRING);
                property.bool(2, true);
            }
            Value::Bool(flag) => {
                of(Datatype::BOOLEAN);
                property.bool(7, *flag);
            }
            Value::String(text) => {
                of(Datatype::STRING);
                property.text(8, text);
            }
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if i32::try_from(whole).is_ok() => {
                    of(Datatype::INT32);
                    property.u64(3, u64::from(whole as u32));
                }
                (Some(whole), _) => {
                    of(Datatype::INT64);
                    property.u64(4, whole.cast_unsigned());
                }
                (None, Some(float)) => {
                    of(Datatype::DOUBLE);
                    property.f64(6, float);
                }
                (None, None) => return Err(format!("{number} is no property")),
            },
            Value::Object(_) => {
                of(Datatype::PROPERTY_SET);
                property.message(9, property_set(value, depth)?);
            }
            Value::Array(sets) => {
                of(Datatype::PROPERTY_SETS);
                let mut list = Message::new();
                for inner in sets {
                    list.message(1, property_set(inner, depth)?);
                }
                property.message(10, list);
            }
        }
        set.message(2, property);
    }
    Ok(set)
}

fn metadata(value: &Value) -> Result<Message, String> {
    let mut metadata = Message::new();
    for (name, value) in object("`metadata`", value)? {
        let texts = [("content_type", 2), ("file_name", 5), ("file_type", 6), ("md5", 7), ("description", 8)];
        let numbers = [("size", 3), ("seq", 4)];
        let field = |of: &[(&str, u32)]| of.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        match (field(&texts), field(&numbers), value) {
            (Some(number), _, Value::String(text)) => metadata.text(number, text),
            (_, Some(number), Value::Number(size)) if size.is_u64() => metadata.u64(number, size.as_u64().unwrap_or(0)),
            (None, None, Value::Bool(flag)) if name == "is_multi_part" => metadata.bool(1, *flag),
            _ => return Err(format!("`{name}` of metadata is {}, or unknown", shown(value))),
        }
    }
    Ok(metadata)
}
