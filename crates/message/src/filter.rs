//! Topic filters: what a subscription asks for.

use crate::topic::{Topic, TopicError, check_length_and_null};
use bytestring::ByteString;
use std::fmt;

/// The name of a group of subscribers that share one subscription.
pub type ShareName = ByteString;

/// A topic filter, with or without a `$share/<group>/` prefix (MQTT 5.0 sections 4.7 and 4.8.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter {
    whole: ByteString,
    /// Where the filter proper starts in `whole`: behind `$share/<group>/`, or 0.
    start: usize,
}

/// Why a text cannot be a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// What is wrong with a topic is wrong here too.
    #[error(transparent)]
    Text(#[from] TopicError),
    /// `#` is allowed only as the whole last level.
    #[error("`#` must stand alone in the last level of a filter")]
    Hash,
    /// `+` is allowed only as a whole level.
    #[error("`+` must stand alone in its level of a filter")]
    Plus,
    /// `$share` needs a group without wildcards and a filter: `$share/<group>/<filter>`.
    #[error("a shared subscription is written `$share/<group>/<filter>`, the group without `+`, `#` and `/`")]
    Share,
}

const SHARE_PREFIX: &str = "$share/";

impl TopicFilter {
    /// Checks a text and makes it a filter, without copying it.
    ///
    /// # Errors
    /// What the specification forbids in a filter (MQTT 5.0 sections 4.7.1 and 4.8.2): see [`FilterError`].
    pub fn new(text: impl Into<ByteString>) -> Result<Self, FilterError> {
        let whole = text.into();
        check_length_and_null(&whole)?;
        let start = match whole.strip_prefix(SHARE_PREFIX) {
            Some(rest) => match rest.split_once('/') {
                Some((group, filter)) if !group.is_empty() && !filter.is_empty() && !group.contains(['+', '#']) => {
                    whole.len() - filter.len()
                }
                _ => return Err(FilterError::Share),
            },
            None if &*whole == "$share" => return Err(FilterError::Share),
            None => 0,
        };
        let mut levels = whole[start..].split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(FilterError::Hash);
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::Plus);
            }
        }
        Ok(Self { whole, start })
    }

    /// The filter as written, `$share` prefix and all.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The filter without its `$share/<group>/` prefix.
    pub fn pattern(&self) -> &str {
        &self.whole[self.start..]
    }

    /// The group of a shared subscription.
    pub fn share(&self) -> Option<&str> {
        (self.start > 0).then(|| &self.whole[SHARE_PREFIX.len()..self.start - 1])
    }

    /// True when the filter has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.pattern().contains(['+', '#'])
    }

    /// Whether a message on this topic is for this filter.
    pub fn matches(&self, topic: &Topic) -> bool {
        let pattern = self.pattern();
        // A wildcard at the first level never reaches `$` topics (MQTT-4.7.2-1).
        if topic.is_reserved() && pattern.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.as_str().split('/');
        for level in pattern.split('/') {
            if level == "#" {
                return true; // also the parent itself: `a/#` matches `a`
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether some topic could match both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.pattern().split('/'), other.pattern().split('/'));
        let mut first = true;
        loop {
            let at_first = std::mem::take(&mut first);
            match (ours.next(), theirs.next()) {
                (Some(a), Some(b)) => {
                    let reserved =
                        |wild: &str, name: &str| at_first && matches!(wild, "+" | "#") && name.starts_with('$');
                    if reserved(a, b) || reserved(b, a) {
                        return false;
                    }
                    if a == "#" || b == "#" {
                        return true;
                    }
                    if a != "+" && b != "+" && a != b {
                        return false;
                    }
                }
                (None, None) => return true,
                (Some(last), None) | (None, Some(last)) => return last == "#",
            }
        }
    }

    /// Whether every topic that `other` matches is matched by this filter too: what [`TopicFilter::covers`] says, and that `+/#` takes what
    /// `#` does.
    pub fn takes_all_of(&self, other: &Self) -> bool {
        self.covers(other) || (self.pattern() == "+/#" && other.pattern() == "#")
    }

    /// Whether every topic that `other` matches is matched by this filter too. Of two different filters at most one covers the other, so that
    /// who leaves out what is covered keeps one of them: `#` covers `+/#`, not the other way round.
    pub fn covers(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.pattern().split('/'), other.pattern().split('/'));
        let mut first = true;
        loop {
            let at_first = std::mem::take(&mut first);
            match (ours.next(), theirs.next()) {
                (Some("#" | "+"), Some(b)) if at_first && b.starts_with('$') => return false,
                (Some("#"), _) => return true,
                (Some("+"), Some(b)) if b != "#" => {}
                (Some(a), Some(b)) if a == b => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = FilterError;
    fn try_from(text: &str) -> Result<Self, FilterError> {
        Self::new(text)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = FilterError;
    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of MQTT 5.0 section 4.7, and what users trip over.
    #[test]
    fn matching_follows_the_specification() {
        let golden = include_str!("../tests/matching.golden");
        let mut lines = 0;
        for line in golden.lines().filter(|line| !line.is_empty() && !line.starts_with("//")) {
            let [filter, topic, expected] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("three columns expected: {line}");
            };
            let matched = TopicFilter::new(filter).unwrap().matches(&Topic::new(topic).unwrap());
            assert_eq!(matched, expected == "yes", "{line}");
            lines += 1;
        }
        assert!(lines > 40, "the golden file was read");
    }

    #[test]
    fn a_filter_refuses_what_the_specification_refuses() {
        for (text, error) in [
            ("", FilterError::Text(TopicError::Empty)),
            ("a\0", FilterError::Text(TopicError::Null)),
            ("sport/tennis#", FilterError::Hash),
            ("sport/tennis/#/ranking", FilterError::Hash),
            ("##", FilterError::Hash),
            ("sport+", FilterError::Plus),
            ("a/+b/c", FilterError::Plus),
            ("$share", FilterError::Share),
            ("$share/", FilterError::Share),
            ("$share/g", FilterError::Share),
            ("$share/g/", FilterError::Share),
            ("$share//a", FilterError::Share),
            ("$share/g+/a", FilterError::Share),
        ] {
            assert_eq!(TopicFilter::new(text).unwrap_err(), error, "{text:?}");
        }
        let shared = TopicFilter::new("$share/workers/a/+/#").unwrap();
        assert_eq!((shared.share(), shared.pattern()), (Some("workers"), "a/+/#"));
        assert_eq!(TopicFilter::new("$shared/x").unwrap().share(), None);
    }

    #[test]
    fn overlap_and_cover() {
        let overlap = |a, b| TopicFilter::new(a).unwrap().overlaps(&TopicFilter::new(b).unwrap());
        assert!(overlap("a/+", "+/b"));
        assert!(overlap("a/#", "a"));
        assert!(overlap("#", "a/b/c"));
        assert!(!overlap("a/b", "a/c"));
        assert!(!overlap("a/+", "a/b/c"));
        assert!(!overlap("#", "$SYS/x"));
        assert!(!overlap("+/x", "$SYS/x"));
        let cover = |a, b| TopicFilter::new(a).unwrap().covers(&TopicFilter::new(b).unwrap());
        assert!(cover("a/#", "a/+/c"));
        assert!(cover("a/#", "a"));
        assert!(cover("+/b", "a/b"));
        assert!(cover("#", "+/#"));
        assert!(!cover("+/#", "#"));
        let filter = |text| TopicFilter::new(text).unwrap();
        assert!(filter("+/#").takes_all_of(&filter("#")) && filter("#").takes_all_of(&filter("+/#")));
        assert!(filter("a/#").takes_all_of(&filter("a/b")) && !filter("+/a/#").takes_all_of(&filter("#")));
        assert!(!cover("a/+", "a/#"));
        assert!(!cover("a/+/#", "a/#"));
        assert!(!cover("+/+/#", "#"));
        assert!(!cover("+", "#"));
        assert!(!cover("#", "$SYS/#"));
        assert!(!cover("a/b", "a/+"));
    }
}
