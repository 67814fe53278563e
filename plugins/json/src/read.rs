//! From a payload to a tree, if it is JSON and the tree has room.

use crate::apply::Stop;
use jaq_json::{Val, read::parse_single};
use tidegate_sdk::json;

/// A tree may take this much, by estimate: a quarter of what a plugin may have by default. What steps and expressions make of it,
/// and the new payload, have the rest.
const MAX_TREE_BYTES: usize = 4 << 20;

/// What a value takes in the worst case, with what grows in doubles: an object with its first members, and any other.
const OBJECT_BYTES: usize = 320;
const VALUE_BYTES: usize = 96;

/// A number with more digits is none of any device, and takes time that grows with their square.
const MAX_DIGITS: usize = 1000;

/// Shorter payloads break none of these bounds.
const SMALL: usize = MAX_DIGITS;

/// The tree of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Val, Stop> {
    json::find_each(payload, &[], &mut []).map_err(|error| Stop::NotJson(error.told(payload)))?;
    if payload.len() > SMALL {
        has_room(payload).map_err(Stop::Misfit)?;
    }
    // What is left is half a surrogate pair.
    parse_single(payload).map_err(|error| Stop::NotJson(format!("not JSON that can be kept: {error}")))
}

/// Counts what a tree would be made of. The payload is JSON.
fn has_room(payload: &[u8]) -> Result<(), String> {
    let (mut objects, mut values, mut digits) = (0, 1, 0);
    let mut bytes = payload.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => {
                        bytes.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'{' => objects += 1,
            b'[' | b',' | b':' => values += 1,
            _ => {}
        }
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > MAX_DIGITS {
            return Err(format!("a number of more than {MAX_DIGITS} digits"));
        }
    }
    if payload.len() + objects * OBJECT_BYTES + values * VALUE_BYTES > MAX_TREE_BYTES {
        let length = payload.len();
        return Err(format!("a payload of {length} bytes with {values} values in {objects} objects is too large"));
    }
    Ok(())
}
