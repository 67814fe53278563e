//! Giving what goes onward another topic.

use bytes::BytesMut;
use tidegate_message::text::{PORTABLE_LEVELS_MAX, has_too_many_levels};
use tidegate_message::{ByteString, Topic, TopicError};

/// Takes `strip` off the front of a topic and puts `prefix` there.
///
/// A filter `dev/#` also matches the topic `dev`, so a `strip` of `dev/` fits that topic too and leaves nothing of it;
/// then `prefix` loses the slash at its end. So a remap turns `dev/#` into `site/#`, both ends of the `#` included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remap {
    /// What every topic of the route begins with; may be empty.
    pub strip: String,
    /// What goes in its place; may be empty.
    pub prefix: String,
    /// Whether the MQTT 5 response topic is changed in the same way where it fits.
    pub response_topic: bool,
}

/// Why a topic cannot be remapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemapError {
    /// Happens only for topics that a plugin made: `check` sees to the others.
    #[error("the topic does not begin with `{0}`, which `remap` is to strip")]
    DoesNotBegin(String),
    /// Nothing is left, or too much.
    #[error("`remap` gives a topic that cannot be: {0}")]
    Invalid(#[from] TopicError),
    /// `prefix` brings more levels than other brokers take.
    #[error("`remap` gives a topic of more than {PORTABLE_LEVELS_MAX} levels, which other brokers hang up on")]
    TooDeep,
}

impl Remap {
    /// The topic that goes onward.
    ///
    /// # Errors
    /// The topic does not begin with `strip`, or what is made of it is no topic that other brokers take.
    pub fn apply(&self, topic: &Topic) -> Result<Topic, RemapError> {
        self.apply_in(topic, &mut BytesMut::new())
    }

    /// As [`apply`](Self::apply), made at the end of `arena`: topics share one allocation until it is used up.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    #[inline]
    pub fn apply_in(&self, topic: &Topic, arena: &mut BytesMut) -> Result<Topic, RemapError> {
        let mut prefix = self.prefix.as_str();
        let rest = match topic.as_str().strip_prefix(self.strip.as_str()) {
            Some(rest) => rest,
            // `dev/#` matches `dev` too.
            None if self.strip.strip_suffix('/') == Some(topic.as_str()) => {
                prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                ""
            }
            None => return Err(RemapError::DoesNotBegin(self.strip.clone())),
        };
        arena.reserve(prefix.len() + rest.len());
        arena.extend_from_slice(prefix.as_bytes());
        arena.extend_from_slice(rest.as_bytes());
        let text = ByteString::try_from(arena.split().freeze()).unwrap_or_default();
        // A topic that came like this is not the remap's doing.
        if has_too_many_levels(&text) && !has_too_many_levels(topic.as_str()) {
            return Err(RemapError::TooDeep);
        }
        Ok(Topic::new(text)?)
    }

    /// The response topic that goes onward with a message; `None`: it stays as it is, because nothing is asked for, or
    /// because it names a place that this remap has no name for.
    ///
    /// It is changed as the topic is, not the other way round. It names a place at the source, and whoever answers does so
    /// at the target, where that place has the name that this remap gives it: of `site1/resp/42` a route that strips
    /// `site1/` makes `resp/42`. The answer comes back by a route that takes `resp/#` there and puts `site1/` before it.
    pub fn response(&self, response_topic: &Topic) -> Option<Topic> {
        self.response_in(response_topic, &mut BytesMut::new())
    }

    /// As [`response`](Self::response), made at the end of `arena`.
    #[inline]
    pub fn response_in(&self, response_topic: &Topic, arena: &mut BytesMut) -> Option<Topic> {
        self.response_topic.then(|| self.apply_in(response_topic, arena).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_comes_off_and_prefix_goes_on() {
        let apply = |strip: &str, prefix: &str, topic: &str| {
            let remap = Remap { strip: strip.into(), prefix: prefix.into(), response_topic: false };
            remap.apply(&Topic::new(topic).unwrap()).map(|topic| topic.to_string())
        };
        assert_eq!(apply("dev/", "site/a/", "dev/1/temp").unwrap(), "site/a/1/temp");
        assert_eq!(apply("", "site/", "dev").unwrap(), "site/dev");
        assert_eq!(apply("dev/", "", "dev/x").unwrap(), "x");
        assert_eq!(apply("dev/", "site/", "dev").unwrap(), "site", "`dev/#` matches `dev`");
        assert_eq!(apply("dev/", "", "dev"), Err(RemapError::Invalid(TopicError::Empty)));
        assert_eq!(apply("dev/", "", "dev/"), Err(RemapError::Invalid(TopicError::Empty)));
        let deep = "dev/".repeat(PORTABLE_LEVELS_MAX - 1);
        assert!(apply("dev/", "site/", &deep).is_ok());
        assert_eq!(apply("dev/", "site/a/", &deep), Err(RemapError::TooDeep));
        assert!(apply("dev/", "site/a/", &format!("{deep}/")).is_ok(), "it came like this");
        assert_eq!(apply("dev/", "site/", "other"), Err(RemapError::DoesNotBegin("dev/".into())));
    }

    #[test]
    fn the_answer_to_a_request_finds_its_way_back() {
        let topic = |text: &str| Topic::new(text.to_owned()).unwrap();
        let remap =
            |strip: &str, prefix: &str| Remap { strip: strip.into(), prefix: prefix.into(), response_topic: true };
        let (there, back) = (remap("site1/", ""), remap("", "site1/"));
        let asked = there.response(&topic("site1/resp/42")).unwrap();
        assert_eq!(asked, topic("resp/42"));
        assert_eq!(back.apply(&asked), Ok(topic("site1/resp/42")));
        assert_eq!(back.response(&topic("resp/42")), Some(topic("site1/resp/42")), "a request the other way");
        assert_eq!(there.response(&topic("elsewhere/42")), None, "it stays as it is");
        assert_eq!(there.response(&topic("site1/")), None, "nothing would be left of it");
        assert_eq!(Remap { response_topic: false, ..there }.response(&topic("site1/resp/42")), None);
    }
}
