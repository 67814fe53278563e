//! How much traffic a route has, and which of its messages are looked at when that is much.

use crate::moment::Moment;
use tidegate_message::Message;

/// A route with more messages in a second has a part of them looked at only.
const BUSY: u32 = 2000;

/// How many messages a route has of late.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    since_us: u64,
    count: u32,
    is_busy: bool,
}

impl Traffic {
    /// Whether it has much.
    #[inline]
    pub(crate) fn is_busy(&mut self, now: Moment) -> bool {
        if now.us.saturating_sub(self.since_us) >= 1_000_000 {
            *self = Self { since_us: now.us, count: 0, is_busy: self.count > BUSY };
        }
        self.count += 1;
        self.is_busy
    }
}

/// Whether a message is one of the sixteenth that is looked at for eight seconds: all that are the same are, or none.
#[inline]
pub(crate) fn is_in_sample(message: &Message, now: Moment) -> bool {
    let payload = &message.payload[..];
    let end = payload.last_chunk().map_or(0, |end| u64::from_le_bytes(*end));
    let sizes = (payload.len() as u64) << 16 | message.topic.as_str().len() as u64;
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    (end ^ sizes ^ (now.us >> 23).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 == 0
}
