//! A set of topics: what a filter lets in, and what a remap makes of that.

use crate::model::{Part, Renaming, Route, Template};
use std::collections::BTreeMap;
use tidegate_message::{FilterError, Topic, TopicError, TopicFilter};

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

    /// How many levels it has, `#` as one of them.
    pub(crate) fn depth(&self) -> usize {
        self.0.len()
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

    /// What a route makes of those of these topics that its remap takes; `None` as [`renamed`](Self::renamed) says.
    pub(crate) fn sent_by(&self, route: &Route) -> Option<Self> {
        match &route.remap {
            Some(remap) => self.renamed(&remap.renaming),
            None => Some(self.clone()),
        }
    }

    /// What a renaming makes of those of these topics that it takes; `None` when that is nothing, or if one that strips does
    /// not take all of them.
    pub(crate) fn renamed(&self, renaming: &Renaming) -> Option<Self> {
        match renaming {
            Renaming::Front { strip, prefix } => self.with_other_front(strip, prefix),
            Renaming::Levels(rewrite) => {
                let (_, captured) = self.narrowed(rewrite.from())?;
                let mut levels = Vec::with_capacity(self.0.len());
                for part in rewrite.to().parts() {
                    match part {
                        Part::Name(name) => levels.push(Level::Name(name.clone())),
                        capture => levels.extend(captured.get(capture.capture()?)?.iter().cloned()),
                    }
                }
                if levels.is_empty() {
                    levels.push(Level::Name(String::new())); // which is no topic
                }
                Some(Self(levels))
            }
        }
    }

    /// Those of these topics that fit a template; `None` when none do. What a topic's first level begins with does not matter:
    /// that wildcards do not reach `$` topics is for those who subscribe.
    pub(crate) fn fitting(&self, template: &Template) -> Option<Self> {
        self.narrowed(template).map(|(fitting, _)| fitting)
    }

    /// The same, with what each capture stands for.
    fn narrowed<'t>(&self, template: &'t Template) -> Option<(Self, BTreeMap<&'t str, Vec<Level>>)> {
        let (mut fitting, mut captured) = (Vec::with_capacity(self.0.len()), BTreeMap::new());
        let mut rest = &self.0[..];
        for part in template.parts() {
            if let Part::Rest(name) = part {
                fitting.extend_from_slice(rest);
                captured.insert(name.as_str(), rest.to_vec());
                return Some((Self(fitting), captured));
            }
            // A `#` gives as many levels as are asked for.
            let level = match rest.split_first()? {
                (Level::Rest, _) => &Level::Any,
                (level, behind) => {
                    rest = behind;
                    level
                }
            };
            let level = match part {
                Part::Name(name) => level.meet(&Level::Name(name.clone()))?,
                Part::Level(name) | Part::Rest(name) => {
                    captured.insert(name.as_str(), vec![level.clone()]);
                    level.clone()
                }
            };
            fitting.push(level);
        }
        matches!(rest, [] | [Level::Rest]).then_some((Self(fitting), captured))
    }

    /// With `strip` taken off and `prefix` put there; `None` when some topic does not begin with `strip`.
    fn with_other_front(&self, strip: &str, prefix: &str) -> Option<Self> {
        let mut prefix = prefix.split('/').map(str::to_owned).collect::<Vec<_>>();
        let Some(mut rest) = self.without(strip)? else {
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

    /// The filter that lets in these topics; the outer `None` when none does, since only the beginning of a level is known.
    pub(crate) fn as_filter(&self) -> Option<Result<TopicFilter, FilterError>> {
        let level = |level: &Level| match level {
            Level::Name(name) => Some(name.clone()),
            Level::Any => Some("+".to_owned()),
            Level::Rest => Some("#".to_owned()),
            Level::Begins(_) => None,
        };
        let levels = self.0.iter().map(level).collect::<Option<Vec<_>>>()?;
        Some(TopicFilter::new(levels.join("/")))
    }

    /// The levels and bytes that its shortest topic has.
    pub(crate) fn least(&self) -> (usize, usize) {
        let levels = self.0.iter().filter(|level| **level != Level::Rest).count();
        (levels, self.texts().map(str::len).sum::<usize>() + levels.saturating_sub(1))
    }

    /// What is known of its levels.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|level| match level {
            Level::Name(text) | Level::Begins(text) => Some(text.as_str()),
            Level::Any | Level::Rest => None,
        })
    }

    /// Some of its topics, one of each kind: a word of its own for each level that is not known, and none, one and two levels
    /// for `#`.
    pub(crate) fn samples(&self) -> Vec<Topic> {
        let level = |(at, level): (usize, &Level)| match level {
            Level::Name(name) => name.clone(),
            Level::Begins(start) => format!("{start}x{}", at + 1),
            Level::Any | Level::Rest => format!("x{}", at + 1),
        };
        let known: Vec<String> = self.0.iter().enumerate().map(level).collect();
        let (known, rests) = match self.0.last() {
            Some(Level::Rest) => (&known[..known.len() - 1], vec![vec![], vec!["y1"], vec!["y1", "y2"]]),
            _ => (&known[..], vec![vec![]]),
        };
        let sample = |rest: Vec<&str>| {
            let levels = known.iter().map(String::as_str).chain(rest).collect::<Vec<_>>();
            Topic::new(levels.join("/")).ok()
        };
        rests.into_iter().filter_map(sample).collect()
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
    use crate::model::{Remap, RemapError, Rewrite};
    use proptest::prelude::*;

    fn pattern(filter: &str) -> Pattern {
        Pattern::of(&TopicFilter::new(filter.to_owned()).unwrap())
    }

    fn front(strip: &str, prefix: &str) -> Renaming {
        Renaming::Front { strip: strip.into(), prefix: prefix.into() }
    }

    fn levels(from: &str, to: &str) -> Option<Renaming> {
        let rewrite = Rewrite::new(Template::new(from).ok()?, Template::new(to).ok()?);
        Some(Renaming::Levels(rewrite.ok()?))
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
            assert_eq!(pattern(filter).renamed(&front(strip, prefix)), expected, "{filter} - {strip} + {prefix}");
        }
    }

    #[test]
    fn a_prefix_that_runs_into_a_wildcard_is_remembered() {
        let glued = pattern("dev/+/t").renamed(&front("dev/", "x")).unwrap();
        assert!(glued.meet(&pattern("xy/t")).is_some());
        assert!(glued.meet(&pattern("y/t")).is_none());
        let back = glued.renamed(&front("x", "")).unwrap();
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
            let renaming = front(&strip, &prefix);
            if filter.matches(&topic) && let Some(moved) = patterns.0.renamed(&renaming) {
                match Remap::from(renaming).apply(&topic) {
                    Ok(to) if !to.is_reserved() => prop_assert!(moved.covers(&exactly(&to)), "{moved:?} {to}"),
                    Ok(_) => {}
                    Err(error) => prop_assert!(matches!(error, RemapError::Invalid(_)), "{error}"),
                }
            }
        }

        /// The same of a renaming by levels: what fits is taken, and no more, and what becomes of it is foretold.
        #[test]
        fn patterns_say_what_levels_become(
            filter in "([ab]|\\+)(/([ab]|\\+)){0,2}(/#)?|#",
            topic in "[ab](/[ab]){0,3}",
            from in "([ab]|\\{x\\})(/([ab]|\\{y\\})){0,2}(/\\{rest\\.\\.\\.\\})?",
            to in "([ab]|\\{x\\})(/([ab]|\\{y\\})){0,2}(/\\{rest\\.\\.\\.\\})?",
        ) {
            let Some(renaming) = levels(&from, &to) else { return Ok(()) };
            let (filter, topic) = (TopicFilter::new(filter).unwrap(), Topic::new(topic).unwrap());
            prop_assume!(filter.matches(&topic));
            let pattern = Pattern::of(&filter);
            let exactly = |topic: &Topic| Pattern::of(&TopicFilter::new(topic.to_string()).unwrap());
            let fitting = pattern.fitting(&Template::new(&from).unwrap());
            match Remap::from(renaming.clone()).apply(&topic) {
                Ok(made) => {
                    prop_assert!(fitting.unwrap().covers(&exactly(&topic)));
                    let renamed = pattern.renamed(&renaming).unwrap();
                    prop_assert!(renamed.covers(&exactly(&made)), "{renamed:?} {made}");
                    prop_assert!(renamed.as_filter().unwrap().unwrap().matches(&made));
                }
                Err(_) => prop_assert!(fitting.is_none_or(|fitting| !fitting.covers(&exactly(&topic)))),
            }
            let samples = pattern.samples();
            prop_assert!(!samples.is_empty() && samples.iter().all(|sample| filter.matches(sample)), "{samples:?}");
        }
    }
}
