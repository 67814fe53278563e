//! The trace that a message belongs to, as it says itself: W3C Trace Context, in the user property `traceparent` of MQTT 5
//! (W3C Trace Context, Level 1, section 3.2; Trace Context: MQTT protocol, section 3).

use std::fmt::{self, Display, Formatter};
use std::hash::BuildHasher;
use tidegate_message::{ByteString, Message};

/// The name of the user property.
const TRACEPARENT: &str = "traceparent";

/// The flag that says that somebody collects this trace.
const SAMPLED: u8 = 1;

/// Where a message is in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Which trace.
    pub trace_id: u128,
    /// The span before, if the message came with one.
    pub parent_id: Option<u64>,
    /// Ours.
    pub span_id: u64,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) is_sampled: bool,
}

impl Said {
    /// What this message says of its trace; `None` if nothing, or nothing that can be read.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let user = &message.properties.as_ref()?.user;
        let (_, text) = user.iter().find(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT))?;
        Self::read(text)
    }

    /// `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`; of a later version what this one has.
    fn read(text: &str) -> Option<Self> {
        let hex = |text: &str| {
            let fine = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            fine.then(|| u128::from_str_radix(text, 16).ok()).flatten()
        };
        let mut parts = text.split('-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits).and_then(hex);
        let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let has_more = parts.next().is_some();
        let fine = version != 0xff && trace_id != 0 && span_id != 0 && !(version == 0 && has_more);
        let is_sampled = flags as u8 & SAMPLED != 0;
        fine.then_some(Self { trace_id, span_id: span_id as u64, is_sampled })
    }
}

impl TraceContext {
    /// Goes on with what a message says, or begins a trace.
    pub(super) fn after(said: Option<Said>, random: &impl BuildHasher, number: u64) -> Self {
        // Zero is no id.
        let draw = |which: u8| random.hash_one((number, which)).max(1);
        let begun = || u128::from(draw(0)) << 64 | u128::from(draw(1));
        Self {
            trace_id: said.map_or_else(begun, |said| said.trace_id),
            parent_id: said.map(|said| said.span_id),
            span_id: draw(2),
        }
    }

    /// Has a message say that it comes from here.
    pub(super) fn put(&self, message: &mut Message) {
        let text = ByteString::from(self.to_string());
        let user = &mut message.properties.get_or_insert_default().user;
        match user.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT)) {
            Some((_, said)) => *said = text,
            None => user.push((ByteString::from_static(TRACEPARENT), text)),
        }
    }
}

impl Display for TraceContext {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{SAMPLED:02x}", self.trace_id, self.span_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_say_is_read_as_the_recommendation_has_it() {
        let said = Said::read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!((said.span_id, said.is_sampled), (0xb7ad_6b71_6920_3331, true));
        let context = TraceContext::after(Some(said), &ahash::RandomState::new(), 7);
        assert_eq!((context.trace_id, context.parent_id), (said.trace_id, Some(said.span_id)));
        let again = Said::read(&context.to_string()).unwrap();
        assert_eq!((again.trace_id, again.span_id, again.is_sampled), (said.trace_id, context.span_id, true));
        for (text, is_sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(false)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", Some(true)),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", Some(true)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None),
            ("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("", None),
        ] {
            assert_eq!(Said::read(text).map(|said| said.is_sampled), is_sampled, "{text}");
        }
    }
}
