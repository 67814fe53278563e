//! Giving what goes onward another topic.

use super::rewrite::Rewrite;
use bytes::BytesMut;
use std::sync::Arc;
use tidegate_message::text::{PORTABLE_LEVELS_MAX, has_too_many_levels};
use tidegate_message::{ByteString, Topic, TopicError, TopicFilter};

/// How a route renames its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remap {
    /// What becomes of a topic.
    pub renaming: Renaming,
    /// Whether the MQTT 5 response topic gets the name that it has at the target too.
    pub response_topic: bool,
    /// How answers come back from the targets; empty without `response_topic`.
    pub(crate) ways_back: Arc<[WayBack]>,
}

/// What becomes of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renaming {
    /// Takes `strip` off the front and puts `prefix` there.
    ///
    /// A filter `dev/#` also matches the topic `dev`, so a `strip` of `dev/` fits that topic too and leaves nothing of it;
    /// then `prefix` loses the slash at its end. So it turns `dev/#` into `site/#`, both ends of the `#` included.
    Front {
        /// What every topic of the route begins with; may be empty.
        strip: String,
        /// What goes in its place; may be empty.
        prefix: String,
    },
    /// Makes a topic of one form into another.
    Levels(Rewrite),
}

/// A way from a target back to the source, seen from the source: which topics there come back by it, and from which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// From a topic at the source to the one at the target that becomes it; `None`: the same.
    pub(crate) there: Option<Renaming>,
    /// What is taken from the target.
    pub(crate) takes: Vec<TopicFilter>,
}

/// Why a topic cannot be remapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemapError {
    /// Happens only for topics that a plugin made: `check` sees to the others.
    #[error("the topic does not begin with `{0}`, which `remap` is to strip")]
    DoesNotBegin(String),
    /// It is of another form.
    #[error("the topic is not of the form `{0}`, which `remap` is for")]
    DoesNotFit(String),
    /// Nothing is left, or too much.
    #[error("`remap` gives a topic that cannot be: {0}")]
    Invalid(#[from] TopicError),
    /// `prefix` or `to` brings more levels than other brokers take.
    #[error("`remap` gives a topic of more than {PORTABLE_LEVELS_MAX} levels, which other brokers hang up on")]
    TooDeep,
}

impl From<Renaming> for Remap {
    /// Leaves response topics alone.
    fn from(renaming: Renaming) -> Self {
        Self { renaming, response_topic: false, ways_back: Arc::default() }
    }
}

impl Remap {
    /// The same, with or without response topics.
    pub fn with_response_topic(self, response_topic: bool) -> Self {
        Self { response_topic, ..self }
    }

    /// The topic that goes onward.
    ///
    /// # Errors
    /// As [`Renaming::apply_in`].
    pub fn apply(&self, topic: &Topic) -> Result<Topic, RemapError> {
        self.renaming.apply_in(topic, &mut BytesMut::new())
    }

    /// As [`apply`](Self::apply), made at the end of `arena`: topics share one allocation until it is used up.
    ///
    /// # Errors
    /// As [`Renaming::apply_in`].
    #[inline]
    pub fn apply_in(&self, topic: &Topic, arena: &mut BytesMut) -> Result<Topic, RemapError> {
        self.renaming.apply_in(topic, arena)
    }

    /// The response topic that goes onward with a message; `None`: it stays as it is, because nothing is asked for, or
    /// because it names a place that has no name at the target.
    ///
    /// It names a place at the source, and whoever answers does so at the target. So it gets the name from which a route
    /// from the target makes it again: where `resp/#` is taken there and gets `site1/` in front, `site1/resp/42` becomes
    /// `resp/42`. Where no route does that, it is changed as the topic is.
    pub fn response(&self, response_topic: &Topic) -> Option<Topic> {
        self.response_in(response_topic, &mut BytesMut::new())
    }

    /// As [`response`](Self::response), made at the end of `arena`.
    #[inline]
    pub fn response_in(&self, response_topic: &Topic, arena: &mut BytesMut) -> Option<Topic> {
        if !self.response_topic {
            return None;
        }
        let comes_back = self.ways_back.iter().find_map(|way| way.there(response_topic, arena));
        comes_back.or_else(|| self.apply_in(response_topic, arena).ok())
    }
}

impl WayBack {
    /// The topic at the target that comes back as this one.
    fn there(&self, topic: &Topic, arena: &mut BytesMut) -> Option<Topic> {
        let there = match &self.there {
            // Most do not fit, so nothing is said of it.
            Some(renaming) if renaming.write(topic, arena) => finish(topic, arena).ok()?,
            Some(_) => return None,
            None => topic.clone(),
        };
        self.takes.iter().any(|filter| filter.matches(&there)).then_some(there)
    }
}

impl Renaming {
    /// Whether every topic stays as it is.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Front { strip, prefix } if strip.is_empty() && prefix.is_empty())
    }

    /// What takes each topic back to where it came from; `None` when several become one.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::Front { strip, prefix } => Some(Self::Front { strip: prefix.clone(), prefix: strip.clone() }),
            Self::Levels(rewrite) => rewrite.inverse().map(Self::Levels),
        }
    }

    /// What becomes of a topic, made at the end of `arena`.
    ///
    /// # Errors
    /// The topic does not begin with `strip`, or does not fit `from`; or what is made of it is no topic that other brokers
    /// take.
    #[inline]
    pub fn apply_in(&self, topic: &Topic, arena: &mut BytesMut) -> Result<Topic, RemapError> {
        if !self.write(topic, arena) {
            return Err(match self {
                Self::Front { strip, .. } => RemapError::DoesNotBegin(strip.clone()),
                Self::Levels(rewrite) => RemapError::DoesNotFit(rewrite.from().as_str().to_owned()),
            });
        }
        finish(topic, arena)
    }

    /// Writes what becomes of a topic to the end of `out`; whether the topic is one of those that this is for.
    #[inline]
    fn write(&self, topic: &Topic, out: &mut BytesMut) -> bool {
        match self {
            Self::Front { strip, prefix } => front(strip, prefix, topic, out),
            Self::Levels(rewrite) => rewrite.write(topic.as_str(), out),
        }
    }
}

/// Makes a topic of what was written of another one.
#[inline]
fn finish(topic: &Topic, arena: &mut BytesMut) -> Result<Topic, RemapError> {
    let text = ByteString::try_from(arena.split().freeze()).unwrap_or_default();
    // A topic that came like this is not the remap's doing.
    if has_too_many_levels(&text) && !has_too_many_levels(topic.as_str()) {
        return Err(RemapError::TooDeep);
    }
    Ok(Topic::new(text)?)
}

#[inline]
fn front(strip: &str, mut prefix: &str, topic: &Topic, out: &mut BytesMut) -> bool {
    let rest = match topic.as_str().strip_prefix(strip) {
        Some(rest) => rest,
        // `dev/#` matches `dev` too.
        None if strip.strip_suffix('/') == Some(topic.as_str()) => {
            prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            ""
        }
        None => return false,
    };
    out.reserve(prefix.len() + rest.len());
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(rest.as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Template;

    fn topic(text: &str) -> Topic {
        Topic::new(text.to_owned()).unwrap()
    }

    fn front(strip: &str, prefix: &str) -> Renaming {
        Renaming::Front { strip: strip.into(), prefix: prefix.into() }
    }

    fn levels(from: &str, to: &str) -> Renaming {
        Renaming::Levels(Rewrite::new(Template::new(from).unwrap(), Template::new(to).unwrap()).unwrap())
    }

    fn with_response(renaming: Renaming, ways_back: &[(Option<Renaming>, &str)]) -> Remap {
        let way = |(there, takes): &(Option<Renaming>, &str)| WayBack {
            there: there.clone(),
            takes: vec![TopicFilter::new(takes.to_string()).unwrap()],
        };
        Remap { renaming, response_topic: true, ways_back: ways_back.iter().map(way).collect() }
    }

    #[test]
    fn strip_comes_off_and_prefix_goes_on() {
        let apply = |strip: &str, prefix: &str, text: &str| {
            Remap::from(front(strip, prefix)).apply(&topic(text)).map(|topic| topic.to_string())
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
    fn levels_are_put_elsewhere_where_they_fit() {
        let apply = |from: &str, to: &str, text: &str| {
            Remap::from(levels(from, to)).apply(&topic(text)).map(|topic| topic.to_string())
        };
        assert_eq!(apply("dev/{room}/{kind}", "site/{kind}/{room}", "dev/attic/temp").unwrap(), "site/temp/attic");
        let other = Err(RemapError::DoesNotFit("dev/{room}/{kind}".into()));
        assert_eq!(apply("dev/{room}/{kind}", "site/{kind}/{room}", "dev/attic"), other);
        assert_eq!(apply("dev/{rest...}", "{rest...}", "dev"), Err(RemapError::Invalid(TopicError::Empty)));
        let deep = "x/".repeat(PORTABLE_LEVELS_MAX - 2);
        assert!(apply("{rest...}", "site/{rest...}", &deep).is_ok());
        assert_eq!(apply("{rest...}", "site/a/{rest...}", &deep), Err(RemapError::TooDeep));
        let longest = "x".repeat(tidegate_message::MAX_TOPIC_BYTES);
        let long = RemapError::Invalid(TopicError::TooLong(longest.len() + 5));
        assert_eq!(apply("{a}", "site/{a}", &longest), Err(long));
    }

    #[test]
    fn the_answer_to_a_request_finds_its_way_back() {
        let (there, back) = (with_response(front("site1/", ""), &[]), with_response(front("", "site1/"), &[]));
        let asked = there.response(&topic("site1/resp/42")).unwrap();
        assert_eq!(asked, topic("resp/42"));
        assert_eq!(back.apply(&asked), Ok(topic("site1/resp/42")));
        assert_eq!(back.response(&topic("resp/42")), Some(topic("site1/resp/42")), "a request the other way");
        assert_eq!(there.response(&topic("elsewhere/42")), None, "it stays as it is");
        assert_eq!(there.response(&topic("site1/")), None, "nothing would be left of it");
        assert_eq!(Remap { response_topic: false, ..there }.response(&topic("site1/resp/42")), None);
    }

    #[test]
    fn the_way_that_an_answer_comes_back_by_names_the_response_topic() {
        let request = levels("dev/{room}/set", "site/{room}/set");
        let answers = levels("answers/{client}", "from/office/{client}");
        let remap = with_response(request, &[(answers.inverse(), "answers/+"), (None, "plain/#")]);
        assert_eq!(remap.response(&topic("from/office/42")), Some(topic("answers/42")));
        assert_eq!(remap.response(&topic("plain/42")), Some(topic("plain/42")), "it comes back as it went");
        assert_eq!(remap.response(&topic("dev/attic/set")), Some(topic("site/attic/set")), "by no route, as the topic");
        assert_eq!(remap.response(&topic("other/42")), None);
        let narrow = with_response(levels("a/{x}", "b/{x}"), &[(answers.inverse(), "answers/7")]);
        assert_eq!(narrow.response(&topic("from/office/42")), None, "nobody takes that at the target");
    }

    #[test]
    fn an_inverse_takes_topics_back() {
        for (renaming, text) in [
            (front("dev/", "site/"), "dev/x"),
            (front("dev/", "site/"), "dev"),
            (front("", "site/"), "x"),
            (front("dev/", ""), "dev/x/y"),
            (levels("dev/{a}/{b...}", "{b...}"), ""),
            (levels("dev/{a}/{b...}", "site/{a}/up/{b...}"), "dev/x"),
        ] {
            match renaming.inverse() {
                None => assert_eq!(text, "", "{renaming:?}"),
                Some(inverse) => {
                    let there = Remap::from(renaming).apply(&topic(text)).unwrap();
                    assert_eq!(Remap::from(inverse).apply(&there), Ok(topic(text)));
                }
            }
        }
    }
}
