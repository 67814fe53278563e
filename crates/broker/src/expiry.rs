//! When something ends: sessions, wills, and messages that are worth nothing any more (MQTT 5.0 section 3.3.2.3.3).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_message::Message;

/// Milliseconds since the epoch.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A time from now; `None` for never.
pub(crate) fn in_seconds(now: Instant, seconds: u32) -> Option<Instant> {
    if seconds == u32::MAX { None } else { now.checked_add(Duration::from_secs(u64::from(seconds))) }
}

/// When a message that arrives now is worth nothing any more.
pub(crate) fn message_expiry(message: &Message, now: Instant) -> Option<Instant> {
    in_seconds(now, message.properties.as_ref()?.message_expiry_seconds?)
}

/// Counts the time a message has waited off its expiry (MQTT 5.0 section 3.3.2.3.3); false when nothing is left.
pub(crate) fn set_remaining(message: &mut Message, expires: Option<Instant>, now: Instant) -> bool {
    let (Some(expires), Some(properties)) = (expires, &mut message.properties) else { return true };
    let left = expires.saturating_duration_since(now);
    // Rounded up: a message that may still be delivered does not say 0.
    properties.message_expiry_seconds = Some(left.as_millis().div_ceil(1000) as u32);
    !left.is_zero()
}
