//! Texts that go on the wire.

use crate::bounds;
use crate::reader::{At, Reader};
use crate::values;

/// Not empty, not too long, without the null character.
pub(crate) fn checked(reader: &Reader<'_>, key: &str, text: &At<&str>) -> Option<String> {
    if text.value.is_empty() || text.value.len() > bounds::MAX_TEXT_BYTES || text.value.contains('\0') {
        let most = bounds::MAX_TEXT_BYTES;
        let hint = format!("write 1 to {most} bytes without the null character, or leave out the key");
        reader.error(&text.at, format!("`{key}` cannot be {}", values::shown(text.value)), hint);
        return None;
    }
    Some(text.value.to_owned())
}

/// Reports characters that a broker may hang up on.
pub(crate) fn check_portable(reader: &Reader<'_>, key: &str, text: &At<&str>) {
    let Some(wrong) = text.value.chars().find(|character| !is_portable(*character)) else { return };
    let what = format!("`{key}` has the character U+{:04X}, which brokers may hang up on", u32::from(wrong));
    let hint = "leave it out, or set `control_characters = \"allow\"` in `[gateway]` if all your brokers take it";
    reader.error(&text.at, what, hint);
}

/// Whether a receiver has to take a text with this character: no control character, no non-character (MQTT 5.0 section
/// 1.5.4, MQTT 3.1.1 section 1.5.3).
fn is_portable(character: char) -> bool {
    let code = u32::from(character);
    let non_character = (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE;
    !character.is_control() && !non_character
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_may_hang_up_on_is_not_portable() {
        for bad in ['\0', '\u{1}', '\t', '\r', '\u{7f}', '\u{85}', '\u{fdd0}', '\u{fffe}', '\u{1fffe}', '\u{10ffff}'] {
            assert!(!is_portable(bad), "{bad:?}");
        }
        for fine in ['a', ' ', '/', 'é', '\u{a0}', '\u{feff}', '\u{fdf0}', '\u{fffd}', '\u{1f600}'] {
            assert!(is_portable(fine), "{fine:?}");
        }
    }
}
