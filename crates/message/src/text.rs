//! Which texts every broker takes: UTF-8 may hold characters that a receiver is allowed to hang up on.
//!
//! MQTT 5.0 section 1.5.4 forbids U+0000 and surrogates, and says of control characters and non-characters that they
//! SHOULD NOT be sent and that a receiver MAY treat a packet with one as malformed (MQTT 3.1.1 section 1.5.3: may close
//! the connection). mosquitto does so since 1.5 (`mosquitto_validate_utf8`), for topics and for all texts of MQTT 5;
//! others take them. What one broker takes and the next one hangs up on is a message that is sent again for ever.

use std::fmt;

/// Whether this text is free of characters that a receiver may hang up on.
///
/// Those are the control characters U+0000..U+001F and U+007F..U+009F, and the non-characters U+FDD0..U+FDEF and the
/// last two of each plane, U+FFFE and U+FFFF to U+10FFFF (MQTT 5.0 section 1.5.4).
#[inline]
pub fn is_portable(text: &str) -> bool {
    is_printable_ascii(text.as_bytes()) || text.chars().all(is_portable_char)
}

/// The first character that a receiver may hang up on; `None` for a text that is [portable](is_portable).
#[inline]
pub fn unportable(text: &str) -> Option<char> {
    match is_printable_ascii(text.as_bytes()) {
        true => None,
        false => text.chars().find(|character| !is_portable_char(*character)),
    }
}

/// One pass without a branch a byte: this runs for every message.
#[inline]
fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, byte| good & matches!(byte, b' '..=b'~'))
}

fn is_portable_char(character: char) -> bool {
    /// U+FFFE and U+FFFF, and their like in the other planes, end in these bits.
    const LAST_TWO_OF_PLANE: u32 = 0xFFFE;
    let is_noncharacter =
        matches!(character, '\u{FDD0}'..='\u{FDEF}') || u32::from(character) & LAST_TWO_OF_PLANE == LAST_TWO_OF_PLANE;
    !character.is_control() && !is_noncharacter
}

/// The most levels a topic has that every broker of those we know takes.
///
/// mosquitto 2.0 hangs up on a PUBLISH whose topic has more than 200 slashes (`TOPIC_HIERARCHY_LIMIT`).
pub const PORTABLE_LEVELS_MAX: usize = 200;

/// Whether a topic or a filter has more than [`PORTABLE_LEVELS_MAX`] levels.
#[inline]
pub fn has_too_many_levels(text: &str) -> bool {
    // Short ones need no counting: this runs for every message.
    text.len() >= PORTABLE_LEVELS_MAX && text.bytes().filter(|byte| *byte == b'/').count() >= PORTABLE_LEVELS_MAX
}

/// A text from elsewhere for a line of log: control characters escaped, and cut at a length.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl Escaped<'_> {
    /// How many characters are shown; a topic may have 65,535 bytes.
    pub const SHOWN_CHARS: usize = 120;
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = match self.0.char_indices().nth(Self::SHOWN_CHARS) {
            Some((at, _)) => self.0.split_at(at),
            None => (self.0, ""),
        };
        write!(f, "{}", shown.escape_debug())?;
        if rest.is_empty() { Ok(()) } else { write!(f, "... ({} bytes)", self.0.len()) }
    }
}

/// A character by its number, as `U+000D`.
#[derive(Debug, Clone, Copy)]
pub struct CodePoint(pub char);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ranges as the specification writes them, against the code, for every character there is.
    #[test]
    fn control_characters_and_non_characters_and_nothing_else_are_not_portable() {
        for character in '\0'..=char::MAX {
            let number = u32::from(character);
            let expected = !matches!(number, 0..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF)
                && !(0..=0x10).any(|plane| number == plane << 16 | 0xFFFE || number == plane << 16 | 0xFFFF);
            let text = format!("ä/{character}/b");
            assert_eq!(is_portable(&text), expected, "U+{number:04X}");
            assert_eq!(unportable(&text), (!expected).then_some(character), "U+{number:04X}");
            if character.is_ascii() {
                let text = format!("{character}");
                assert_eq!((is_portable(&text), unportable(&text).is_none()), (expected, expected), "U+{number:04X}");
            }
        }
        assert!(is_portable(""));
        assert!(is_portable("\u{FEFF}a"), "a byte order mark is a character (MQTT-1.5.4-3)");
    }

    #[test]
    fn levels_are_counted_as_the_specification_counts_them() {
        assert!(!has_too_many_levels(&vec!["a"; PORTABLE_LEVELS_MAX].join("/")));
        assert!(has_too_many_levels(&vec!["a"; PORTABLE_LEVELS_MAX + 1].join("/")));
        assert!(!has_too_many_levels(&"/".repeat(PORTABLE_LEVELS_MAX - 1)), "empty levels are levels");
        assert!(has_too_many_levels(&"/".repeat(PORTABLE_LEVELS_MAX)));
        assert!(!has_too_many_levels(&"a".repeat(65_535)));
    }

    #[test]
    fn the_first_of_several_is_named() {
        assert_eq!(unportable("a\rb\u{7f}"), Some('\r'));
        assert_eq!(CodePoint('\r').to_string(), "U+000D");
        assert_eq!(CodePoint('\u{1FFFE}').to_string(), "U+1FFFE");
    }

    #[test]
    fn what_is_shown_of_a_text_is_one_short_line() {
        assert_eq!(Escaped("a\r\n\u{85}b").to_string(), "a\\r\\n\\u{85}b");
        let long = Escaped(&"ä".repeat(30_000)).to_string();
        assert_eq!(long, format!("{}... (60000 bytes)", "ä".repeat(Escaped::SHOWN_CHARS)));
    }
}
