//! From a payload to a tree, if it is JSON and the tree has room.

use crate::errors::Failing;
use serde_json::Value;
use tidegate_sdk::json::{self, TreeRoom};

/// A tree and an error for each of its values; the default limit of a plugin's memory is 16 MiB. An error is the most of a value.
const ROOM: TreeRoom = TreeRoom { max_bytes: 10 << 20, object_bytes: 448, value_bytes: 320, max_digits: usize::MAX };

/// The tree of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Value, Failing> {
    json::find_each(payload, &[], &mut []).map_err(|error| Failing::one("not JSON", error.told(payload)))?;
    ROOM.check(payload).map_err(|why| Failing::one("too large", why))?;
    // What is left is half a surrogate pair, or a number that no `f64` holds.
    serde_json::from_slice(payload)
        .map_err(|error| Failing::one("not JSON", format!("not JSON that can be checked: {error}")))
}
