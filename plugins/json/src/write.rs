//! From a tree to a payload, if it is one that JSON can say.

use crate::path::kind;
use jaq_json::{Num, Val};
use std::io::Write;
use tidegate_sdk::{
    decimal::write_shortest,
    json::{MAX_DEPTH, write_string},
};

/// The tree as JSON without white space. What JSON cannot say is told.
pub(crate) fn written(value: &Val) -> Result<Vec<u8>, String> {
    let mut to = Vec::with_capacity(256);
    write(value, 0, &mut to)?;
    Ok(to)
}

/// As text: a text as it is, anything else as JSON.
pub(crate) fn text(value: &Val) -> Result<String, String> {
    match value {
        Val::TStr(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        other => written(other).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn write(value: &Val, depth: usize, to: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Val::Null => to.extend_from_slice(b"null"),
        Val::Bool(true) => to.extend_from_slice(b"true"),
        Val::Bool(false) => to.extend_from_slice(b"false"),
        Val::Num(Num::Float(number)) if !write_shortest(*number, to) => {
            return Err(format!("{number} is no number of JSON"));
        }
        Val::Num(Num::Float(_)) => {}
        Val::Num(Num::Dec(text)) => to.extend_from_slice(text.as_bytes()),
        Val::Num(whole) => write!(to, "{whole}").map_err(|error| error.to_string())?,
        Val::TStr(bytes) => write_text(bytes, to),
        Val::BStr(_) => return Err("bytes that are no text".to_owned()),
        Val::Arr(_) | Val::Obj(_) if depth == MAX_DEPTH => return Err(format!("deeper than {MAX_DEPTH} levels")),
        Val::Arr(array) => {
            to.push(b'[');
            for (i, element) in array.iter().enumerate() {
                if i > 0 {
                    to.push(b',');
                }
                write(element, depth + 1, to)?;
            }
            to.push(b']');
        }
        Val::Obj(object) => {
            to.push(b'{');
            for (i, (key, member)) in object.iter().enumerate() {
                if i > 0 {
                    to.push(b',');
                }
                let Val::TStr(key) = key else {
                    return Err(format!("a key that is {}", kind(key)));
                };
                write_text(key, to);
                to.push(b':');
                write(member, depth + 1, to)?;
            }
            to.push(b'}');
        }
    }
    Ok(())
}

/// Most texts have nothing to escape.
fn write_text(text: &[u8], to: &mut Vec<u8>) {
    if text.iter().all(|byte| (b' '..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\') {
        to.push(b'"');
        to.extend_from_slice(text);
        to.push(b'"');
    } else {
        write_string(&String::from_utf8_lossy(text), to);
    }
}
