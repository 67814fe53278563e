//! Finds fields of a JSON payload by their paths, without building a tree: a payload is walked once, byte by byte, and
//! what is found are ranges of it, to be read or replaced in place.
//!
//! The walk covers the whole payload, so that what is not JSON (RFC 8259) is noticed wherever it is wrong. Of a key that
//! occurs twice in an object the last one counts, as for most parsers; those before it are passed over. Numbers may be of
//! any size. Nesting is bounded by [`MAX_DEPTH`], and so is the walk's stack.
//!
//! A native tree (`serde_json::Value`) of 200 bytes, read and written, costs as much as everything else the gateway does
//! with a message; this costs a tenth.

mod elements;
mod path;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod walk;

pub use elements::elements;
pub use path::Path;
pub use text::write_string;
pub use tree::TreeRoom;

use crate::decimal::Decimal;
use std::{borrow::Cow, ops::Range};
use text::unescape;
use walk::Walk;

/// Deeper nesting is refused: no honest payload has it.
pub const MAX_DEPTH: usize = 128;

/// So many paths can be looked for in one walk.
pub const MAX_PATHS: usize = 64;

/// A field in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key with the quotes; empty for an element of an array.
    pub key: Range<usize>,
    /// Its value, with the quotes if it is a string.
    pub value: Range<usize>,
}

impl Field {
    /// The number, if the value is one that fits an `f64`.
    #[must_use]
    pub fn number(&self, payload: &[u8]) -> Option<f64> {
        self.number_text(payload)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The number as it is written, if it has no more digits than a [`Decimal`] holds and fits an `f64`.
    #[must_use]
    pub fn decimal(&self, payload: &[u8]) -> Option<Decimal> {
        Decimal::parse(self.number_text(payload)?).filter(|number| number.fits_f64())
    }

    /// The text of the value, if it is a number of whatever size.
    #[must_use]
    pub fn number_text<'a>(&self, payload: &'a [u8]) -> Option<&'a str> {
        let value = &payload[self.value.clone()];
        std::str::from_utf8(value).ok().filter(|text| text.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
    }

    /// The text of a string without quotes and escapes; anything else as it is written.
    #[must_use]
    pub fn text<'a>(&self, payload: &'a [u8]) -> Cow<'a, str> {
        let value = &payload[self.value.clone()];
        match value {
            [b'"', text @ .., b'"'] => unescape(text),
            other => String::from_utf8_lossy(other),
        }
    }

    /// A copy of the payload in which the value is this text.
    #[must_use]
    pub fn replaced(&self, payload: &[u8], value: &str) -> Vec<u8> {
        [&payload[..self.value.start], value.as_bytes(), &payload[self.value.end..]].concat()
    }
}

/// The payload is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// Where it stops being it.
    pub at: usize,
}

impl NotJson {
    /// In words, with what stands there, for who sends it.
    #[must_use]
    pub fn told(self, payload: &[u8]) -> String {
        let Self { at } = self;
        let rest = payload.get(at..).unwrap_or_default();
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').take(20).count();
        let what = match rest {
            [] if payload.is_empty() => return "not JSON: an empty payload".to_owned(),
            [] => return format!("not JSON: it ends at byte {at}, too soon"),
            [0xef, 0xbb, 0xbf, ..] => "a byte order mark".to_owned(),
            [0, ..] => "a NUL".to_owned(),
            [b'\'', ..] => "a single quote".to_owned(),
            [b'}' | b']', ..] => format!("`{}`, perhaps after a comma too many", char::from(rest[0])),
            [b'[' | b'{', ..] => format!("`{}`, perhaps deeper than {MAX_DEPTH} levels", char::from(rest[0])),
            _ if letters > 0 => format!("`{}`", String::from_utf8_lossy(&rest[..letters])),
            [byte, ..] if byte.is_ascii_graphic() => format!("`{}`", char::from(*byte)),
            [byte, ..] => format!("the byte {byte:#04x}"),
        };
        format!("not JSON: {what} at byte {at}")
    }
}

impl std::fmt::Display for NotJson {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "not JSON at byte {}", self.at)
    }
}

impl std::error::Error for NotJson {}

/// The field at this path.
///
/// # Errors
/// If the payload is not JSON.
pub fn find(payload: &[u8], path: &Path) -> Result<Option<Field>, NotJson> {
    let mut found = [const { None }];
    find_each(payload, std::slice::from_ref(path), &mut found)?;
    let [field] = found;
    Ok(field)
}

/// The fields at these paths, each in its place in `found`.
///
/// # Errors
/// If the payload is not JSON.
///
/// # Panics
/// If there are more than [`MAX_PATHS`] paths, or not as many places.
pub fn find_each(payload: &[u8], paths: &[Path], found: &mut [Option<Field>]) -> Result<(), NotJson> {
    assert!(paths.len() <= MAX_PATHS && paths.len() == found.len(), "a place for each of at most {MAX_PATHS} paths");
    found.fill(None);
    let all = if paths.len() == MAX_PATHS { u64::MAX } else { (1 << paths.len()) - 1 };
    let mut walk = Walk::new(payload, paths, found);
    walk.value(all, 0)?;
    walk.finish()
}
