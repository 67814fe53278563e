//! Texts as they are written in JSON, and what they mean.

use std::borrow::Cow;

/// Whether a key, as written between its quotes, is the one wanted.
pub(super) fn is_key(written: &[u8], escaped: bool, wanted: &str) -> bool {
    if escaped { unescape(written) == wanted } else { written == wanted.as_bytes() }
}

/// The text of a string as written between its quotes. Half a surrogate pair, which no text can hold, becomes U+FFFD.
pub(super) fn unescape(written: &[u8]) -> Cow<'_, str> {
    let written = String::from_utf8_lossy(written);
    if !written.contains('\\') {
        return written;
    }
    let mut text = String::with_capacity(written.len());
    let mut rest = written.as_ref();
    let mut units = Vec::new(); // a run of \u escapes, which may hold surrogate pairs
    while let Some(next) = rest.chars().next() {
        if let Some(unit) = rest.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok()) {
            units.push(unit);
            rest = &rest[6..];
            continue;
        }
        text.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        let (c, len) = match (next, rest.as_bytes().get(1)) {
            ('\\', Some(b'b')) => ('\u{8}', 2),
            ('\\', Some(b'f')) => ('\u{c}', 2),
            ('\\', Some(b'n')) => ('\n', 2),
            ('\\', Some(b'r')) => ('\r', 2),
            ('\\', Some(b't')) => ('\t', 2),
            ('\\', Some(&same)) => (char::from(same), 2),
            (c, _) => (c, c.len_utf8()),
        };
        text.push(c);
        rest = &rest[len..];
    }
    text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Cow::Owned(text)
}

/// Writes a string with its quotes.
pub fn write_string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    for c in text.chars() {
        match c {
            '"' => to.extend_from_slice(b"\\\""),
            '\\' => to.extend_from_slice(b"\\\\"),
            '\n' => to.extend_from_slice(b"\\n"),
            '\r' => to.extend_from_slice(b"\\r"),
            '\t' => to.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' => to.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    to.push(b'"');
}
