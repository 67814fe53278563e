//! From a payload to a tree, if it is JSON and the tree has room.

use crate::errors::Failing;
use serde_json::Value;
use tidegate_sdk::json;

/// A tree and an error for each of its values may take this much, by estimate; the default limit of a plugin's memory is 16 MiB.
const MAX_TREE_BYTES: usize = 10 << 20;

/// What a value takes in the worst case: an object with room for its first members, and any other. An error is the most of it.
const OBJECT_BYTES: usize = 448;
const VALUE_BYTES: usize = 320;

/// Shorter payloads have room.
const SMALL: usize = 8 << 10;

/// The tree of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Value, Failing> {
    json::find_each(payload, &[], &mut []).map_err(|error| Failing::one("not JSON", error.told(payload)))?;
    if payload.len() > SMALL {
        has_room(payload).map_err(|why| Failing::one("too large", why))?;
    }
    // What is left is half a surrogate pair, or a number that no `f64` holds.
    serde_json::from_slice(payload)
        .map_err(|error| Failing::one("not JSON", format!("not JSON that can be checked: {error}")))
}

/// Counts what a tree would be made of. The payload is JSON.
fn has_room(payload: &[u8]) -> Result<(), String> {
    let (mut objects, mut values) = (0, 1);
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
    }
    if payload.len() + objects * OBJECT_BYTES + values * VALUE_BYTES > MAX_TREE_BYTES {
        let length = payload.len();
        return Err(format!("a payload of {length} bytes with {values} values in {objects} objects is too large"));
    }
    Ok(())
}
