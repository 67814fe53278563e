//! A set of topics: what a filter lets in, and what a remap makes of that.

use crate::model::Remap;
use tidegate_message::{Topic, TopicError, TopicFilter};

/// The topics that have these levels.
///
/// Unlike a filter it may have levels of which only the beginning is known, because a remap's prefix may end in the
/// middle of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Level>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// This one.
    Name(String),
    /// Any that begins so.
    Begins(String),
    /// `+`.
    Any,
    /// `#`: no more levels, or any. Only the last.
    Rest,
}

impl Pattern {
    /// The topics that a filter matches.
    pub fn of(filter: &TopicFilter) -> Self {
        let level = |text| match text {
            "+" => Level::Any,
            "#" => Level::Rest,
            name => Level::Name(name.to_owned()),
        };
        Self(filter.pattern().split('/').map(level).collect())
    }

    /// The topics that begin with `start`, and the one that is `start` without the slash at its end.
    pub(crate) fn beginning_with(start: &str) -> Self {
        let mut parts: Vec<&str> = start.split('/').collect();
        let last = parts.pop().filter(|last| !last.is_empty());
        let mut levels: Vec<_> = parts.into_iter().map(|part| Level::Name(part.to_owned())).collect();
        levels.extend(last.map(|last| Level::Begins(last.to_owned())));
        levels.push(Level::Rest);
        Self(levels)
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.0
    }

    /// The topics in both; `None` when there are none.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let mut met = Vec::with_capacity(self.0.len().max(other.0.len()));
        for at in 0.. {
            match (self.0.get(at), other.0.get(at)) {
                (None, None) => break,
                (Some(Level::Rest), _) => {
                    met.extend(other.0[at.min(other.0.len())..].iter().cloned());
                    break;
                }
                (_, Some(Level::Rest)) => {
                    met.extend(self.0[at.min(self.0.len())..].iter().cloned());
                    break;
                }
                (Some(ours), Some(theirs)) => met.push(ours.meet(theirs)?),
                (Some(_), None) | (None, Some(_)) => return None,
            }
        }
        let met = Self(met);
        // Wildcards at the first level never reach `$` topics (MQTT 5.0 section 4.7.2).
        let reserved = |pattern: &Self| match pattern.0.first() {
            Some(Level::Name(name) | Level::Begins(name)) => name.starts_with('$'),
            _ => false,
        };
        if reserved(&met) && !(reserved(self) && reserved(other)) {
            return None;
        }
        Some(met)
    }

    /// Whether all topics of `other` are in this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.meet(other).as_ref() == Some(other)
    }

    /// What a remap makes of these topics; `None` when it does not take all of them.
    pub(crate) fn remapped(&self, remap: &Remap) -> Option<Self> {
        let mut prefix = remap.prefix.split('/').map(str::to_owned).collect::<Vec<_>>();
        let Some(mut rest) = self.without(&remap.strip)? else {
            // `dev` of which `dev/` was taken: the prefix stands alone, without its slash.
            if prefix.len() > 1 && prefix.last().is_some_and(String::is_empty) {
                prefix.pop();
            }
            return Some(Self(prefix.into_iter().map(Level::Name).collect()));
        };
        let last = prefix.pop().unwrap_or_default(); // `split` gives at least one
        let mut levels = prefix.into_iter().map(Level::Name).collect::<Vec<_>>();
        if last.is_empty() {
            levels.append(&mut rest);
            return Some(Self(levels));
        }
        let mut rest = rest.into_iter().peekable();
        match rest.peek() {
            None => levels.push(Level::Name(last)),
            Some(Level::Name(name)) => levels.push(Level::Name(last + name)),
            Some(Level::Begins(start)) => levels.push(Level::Begins(last + start)),
            Some(Level::Any) => levels.push(Level::Begins(last)),
            Some(Level::Rest) => levels.extend([Level::Begins(last), Level::Rest]),
        }
        levels.extend(rest.skip(1));
        Some(Self(levels))
    }

    /// The levels that are left when `strip` is taken off the front; the inner `None` when nothing is, not even an empty
    /// level. The outer `None` when some topic does not begin with it.
    fn without(&self, strip: &str) -> Option<Option<Vec<Level>>> {
        let mut parts = strip.split('/').collect::<Vec<_>>();
        let last = parts.pop().unwrap_or_default(); // `split` gives at least one
        for (at, part) in parts.iter().enumerate() {
            match self.0.get(at) {
                Some(Level::Name(name)) if name == part => {}
                _ => return None,
            }
        }
        let rest = &self.0[parts.len()..];
        let first = match rest.first() {
            None => return last.is_empty().then_some(None),
            Some(Level::Name(name)) => Level::Name(name.strip_prefix(last)?.to_owned()),
            Some(Level::Begins(start)) => match start.strip_prefix(last)? {
                "" => Level::Any,
                start => Level::Begins(start.to_owned()),
            },
            Some(wildcard) if last.is_empty() => wildcard.clone(),
            Some(_) => return None,
        };
        Some(Some(std::iter::once(first).chain(rest[1..].iter().cloned()).collect()))
    }

    /// The only topic in it, or why that cannot be one; `None` when there are more.
    pub(crate) fn as_topic(&self) -> Option<Result<Topic, TopicError>> {
        let name = |level: &Level| match level {
            Level::Name(name) => Some(name.clone()),
            _ => None,
        };
        let names = self.0.iter().map(name).collect::<Option<Vec<_>>>()?;
        Some(Topic::new(names.join("/")))
    }
}

impl Level {
    /// What both allow. `Rest` is met by the pattern.
    fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, level) | (level, Self::Any) => Some(level.clone()),
            (Self::Name(a), Self::Name(b)) => (a == b).then(|| self.clone()),
            (Self::Name(name), Self::Begins(start)) | (Self::Begins(start), Self::Name(name)) => {
                name.starts_with(start.as_str()).then(|| Self::Name(name.clone()))
            }
            (Self::Begins(a), Self::Begins(b)) if a.starts_with(b.as_str()) => Some(self.clone()),
            (Self::Begins(a), Self::Begins(b)) => b.starts_with(a.as_str()).then(|| other.clone()),
            (Self::Rest, level) | (level, Self::Rest) => Some(level.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(filter: &str) -> Pattern {
        Pattern::of(&TopicFilter::new(filter.to_owned()).unwrap())
    }

    fn remap(strip: &str, prefix: &str) -> Remap {
        Remap { strip: strip.into(), prefix: prefix.into(), response_topic: false }
    }

    #[test]
    fn a_remap_moves_a_filter_as_it_moves_topics() {
        for (filter, strip, prefix, expected) in [
            ("dev/+/temp", "dev/", "site/a/", Some("site/a/+/temp")),
            ("dev/#", "dev/", "site/", Some("site/#")),
            ("dev/#", "dev", "site", Some("site/#")),
            ("dev", "dev/", "site/", Some("site")),
            ("#", "", "site/", Some("site/#")),
            ("dev/x", "de", "", Some("v/x")),
            ("dev/+", "dev/", "", Some("+")),
            ("+/temp", "dev/", "", None),
            ("#", "dev/", "", None),
            ("dev", "dev/x", "", None),
            ("dev/+", "dev/x", "", None),
        ] {
            let expected = expected.map(pattern);
            assert_eq!(pattern(filter).remapped(&remap(strip, prefix)), expected, "{filter} - {strip} + {prefix}");
        }
    }

    #[test]
    fn a_prefix_that_runs_into_a_wildcard_is_remembered() {
        let glued = pattern("dev/+/t").remapped(&remap("dev/", "x")).unwrap();
        assert!(glued.meet(&pattern("xy/t")).is_some());
        assert!(glued.meet(&pattern("y/t")).is_none());
        let back = glued.remapped(&remap("x", "")).unwrap();
        assert_eq!(back, pattern("+/t"));
    }

    proptest! {
        /// A topic that a filter matches is, remapped, in the remapped pattern; and patterns meet where topics do.
        #[test]
        fn patterns_say_what_topics_do(
            filter in "(\\$?[ab]|\\+)(/([ab]|\\+)){0,2}(/#)?",
            other in "(\\$?[ab]|\\+)(/([ab]|\\+)){0,2}(/#)?",
            topic in "\\$?[ab](/[ab]){0,3}",
            strip in "([ab]{0,1})|([ab]/[ab]{0,1})",
            prefix in "([ab]{0,2}/?){0,2}",
        ) {
            let (filter, other) = (TopicFilter::new(filter).unwrap(), TopicFilter::new(other).unwrap());
            let topic = Topic::new(topic).unwrap();
            let exactly = |topic: &Topic| Pattern::of(&TopicFilter::new(topic.to_string()).unwrap());
            let patterns = (Pattern::of(&filter), Pattern::of(&other));
            prop_assert_eq!(patterns.0.covers(&exactly(&topic)), filter.matches(&topic));
            let met = patterns.0.meet(&patterns.1);
            prop_assert_eq!(met.is_some(), filter.overlaps(&other));
            if filter.matches(&topic) && other.matches(&topic) {
                prop_assert!(met.unwrap().covers(&exactly(&topic)));
            }
            let remap = remap(&strip, &prefix);
            if filter.matches(&topic) && let Some(moved) = patterns.0.remapped(&remap) {
                match remap.apply(&topic) {
                    Ok(to) if !to.is_reserved() => prop_assert!(moved.covers(&exactly(&to)), "{moved:?} {to}"),
                    Ok(_) => {}
                    Err(error) => prop_assert!(matches!(error, crate::model::RemapError::Invalid(_)), "{error}"),
                }
            }
        }
    }
}
