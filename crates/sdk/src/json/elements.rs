//! The elements of a payload that is an array.

use super::{NotJson, walk::Walk};
use std::ops::Range;

/// Calls `each` with the place of every element, in order; false if the payload is JSON, but no array.
///
/// What has been called for counts only if the whole payload turns out to be JSON.
///
/// # Errors
/// If the payload is not JSON.
pub fn elements(payload: &[u8], mut each: impl FnMut(Range<usize>)) -> Result<bool, NotJson> {
    let mut walk = Walk::new(payload, &[], &mut []);
    let is_array = payload.get(walk.at) == Some(&b'[');
    if is_array {
        walk.open(0)?;
        let mut is_done = walk.take(b']');
        while !is_done {
            let start = walk.at;
            walk.value(0, 1)?;
            each(start..walk.at);
            is_done = !walk.more(b']')?;
        }
    } else {
        walk.value(0, 0)?;
    }
    walk.finish()?;
    Ok(is_array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(payload: &str) -> Result<Option<Vec<&str>>, usize> {
        let mut places = Vec::new();
        let is_array = elements(payload.as_bytes(), |place| places.push(place)).map_err(|wrong| wrong.at)?;
        Ok(is_array.then(|| places.into_iter().map(|place| &payload[place]).collect()))
    }

    #[test]
    fn elements_are_found_as_they_are_written() {
        assert_eq!(all("[]"), Ok(Some(vec![])));
        assert_eq!(all(" [ ] "), Ok(Some(vec![])));
        let texts = vec!["1", r#"{"a": [1, 2]}"#, r#""],""#, "[ ]", "-0.50", "null"];
        assert_eq!(all(&format!(" [ {} ]\n", texts.join(" , "))), Ok(Some(texts)));
        assert_eq!(all(r#"{"a": [1]}"#), Ok(None));
        assert_eq!(all("7"), Ok(None));
    }

    #[test]
    fn what_is_not_json_is_none_wherever_it_is_wrong() {
        for (payload, at) in
            [("", 0), ("[1,]", 3), ("[1 2]", 3), ("[1", 2), ("[1]]", 3), ("[1] x", 4), ("{]", 1), ("[,1]", 1)]
        {
            assert_eq!(all(payload), Err(at), "{payload}");
        }
        assert!(elements(b"[\"\xff\"]", |_| ()).is_err());
        let deep = "[".repeat(super::super::MAX_DEPTH + 1);
        assert_eq!(all(&deep), Err(super::super::MAX_DEPTH));
    }
}
