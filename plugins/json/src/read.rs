//! From a payload to a tree, if it is JSON and the tree has room.

use crate::apply::Stop;
use jaq_json::{Val, read::parse_single};
use tidegate_sdk::json::{self, TreeRoom};

/// A tree may take a quarter of what a plugin may have by default. What steps and expressions make of it, and the new payload, have
/// the rest. A value grows in doubles; a number of more digits is none of any device, and takes time that grows with their square.
const ROOM: TreeRoom = TreeRoom { max_bytes: 4 << 20, object_bytes: 320, value_bytes: 96, max_digits: 1000 };

/// The tree of a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Val, Stop> {
    json::find_each(payload, &[], &mut []).map_err(|error| Stop::NotJson(error.told(payload)))?;
    ROOM.check(payload).map_err(Stop::Misfit)?;
    // What is left is half a surrogate pair.
    parse_single(payload).map_err(|error| Stop::NotJson(format!("not JSON that can be kept: {error}")))
}
