//! Texts that go on the wire.

use crate::bounds;
use crate::tree::{At, Context};
use crate::values;
use tidegate_message::text::unportable;

/// Not empty, not too long, without the null character.
pub(crate) fn checked(context: &Context<'_>, key: &str, text: &At<&str>) -> Option<String> {
    if text.value.is_empty() || text.value.len() > bounds::MAX_TEXT_BYTES || text.value.contains('\0') {
        let most = bounds::MAX_TEXT_BYTES;
        let hint = format!("write 1 to {most} bytes without the null character, or leave out the key");
        context.error(&text.at, format!("`{key}` cannot be {}", values::shown(text.value)), hint);
        return None;
    }
    Some(text.value.to_owned())
}

/// Reports characters that a broker may hang up on.
pub(crate) fn check_portable(context: &Context<'_>, key: &str, text: &At<&str>) {
    let Some(wrong) = unportable(text.value) else { return };
    let what = format!("`{key}` has the character U+{:04X}, which brokers may hang up on", u32::from(wrong));
    let hint = "leave it out, or set `control_characters = \"allow\"` in `[gateway]` if all your brokers take it";
    context.error(&text.at, what, hint);
}
