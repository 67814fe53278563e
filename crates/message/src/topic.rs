//! Topic names: what a message may be published to.

use bytestring::ByteString;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest topic or filter in bytes: its length is two bytes on the wire (MQTT 5.0 section 1.5.4).
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// A topic name: not empty, at most [`MAX_TOPIC_BYTES`], without wildcards or the null character
/// (MQTT 5.0 section 4.7.3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(ByteString);

/// A number for a topic: equal numbers are equal topics, for as long as the process lives. The other way round it does not
/// hold, for a topic may have several, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(NonZeroU64);

impl TopicId {
    /// One that no topic had before.
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // It would take centuries to come round.
        Self(NonZeroU64::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// For a table of so many places.
    #[inline]
    pub const fn place(self, places: usize) -> usize {
        self.0.get() as usize % places
    }
}

/// Why a text cannot be a topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Zero bytes long.
    #[error("a topic cannot be empty")]
    Empty,
    /// Longer than the wire can say.
    #[error("a topic is at most {MAX_TOPIC_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// `+` or `#` in a name; only filters have those.
    #[error("a topic to publish to cannot contain `{0}`; wildcards belong in filters")]
    Wildcard(char),
    /// U+0000 is forbidden (MQTT-1.5.4-2).
    #[error("a topic cannot contain the null character")]
    Null,
    /// Not UTF-8 (MQTT-1.5.4-1).
    #[error("a topic must be UTF-8")]
    NotUtf8,
}

impl Topic {
    /// Checks a text and makes it a topic, without copying it.
    ///
    /// # Errors
    /// What the specification forbids in a topic name: see [`TopicError`].
    pub fn new(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        Self::try_new(text.into()).map_err(|(error, _)| error)
    }

    /// As [`new`](Self::new), for who wants the text back if it cannot be a topic.
    ///
    /// # Errors
    /// What is wrong, and the text as it was given.
    #[inline]
    pub fn try_new(text: ByteString) -> Result<Self, (TopicError, ByteString)> {
        // One pass without a branch a byte: this runs for every message.
        let bad = text.as_bytes().iter().fold(false, |bad, byte| bad | matches!(byte, 0 | b'+' | b'#'));
        if bad || text.is_empty() || text.len() > MAX_TOPIC_BYTES {
            if let Err(error) = check_length_and_null(&text) {
                return Err((error, text));
            }
            if let Some(wildcard) = text.as_bytes().iter().find(|byte| matches!(byte, b'+' | b'#')) {
                return Err((TopicError::Wildcard(char::from(*wildcard)), text));
            }
        }
        Ok(Self(text))
    }

    /// The topic as text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for topics the server keeps for itself, which wildcards at the first level do not match
    /// (MQTT 5.0 section 4.7.2).
    pub fn is_reserved(&self) -> bool {
        self.0.as_bytes()[0] == b'$'
    }

    /// A copy that shares no memory with the buffer this one was read from.
    pub fn detached(&self) -> Self {
        Self(ByteString::from(&*self.0))
    }
}

/// What holds for names and filters alike.
pub(crate) fn check_length_and_null(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    if text.as_bytes().contains(&0) {
        return Err(TopicError::Null);
    }
    Ok(())
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<&str> for Topic {
    type Error = TopicError;
    fn try_from(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_refuses_what_the_specification_refuses() {
        assert_eq!(Topic::new(""), Err(TopicError::Empty));
        assert_eq!(Topic::new("a/+/b"), Err(TopicError::Wildcard('+')));
        assert_eq!(Topic::new("a/#"), Err(TopicError::Wildcard('#')));
        assert_eq!(Topic::new("a\0b"), Err(TopicError::Null));
        assert_eq!(Topic::new("x".repeat(65_536)), Err(TopicError::TooLong(65_536)));
        for fine in ["/", "a", "/a", "a//b", "$SYS/x", " ", "ä/ö", &"x".repeat(65_535)] {
            assert_eq!(Topic::new(fine).map(|t| t.as_str().to_owned()).as_deref(), Ok(fine));
        }
    }
}
