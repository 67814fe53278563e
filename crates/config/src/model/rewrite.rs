//! Renaming topics by a pattern, as fast as copying them.

use super::template::{Part, Template};
use crate::bounds::MAX_CAPTURES;
use bytes::BytesMut;
use std::ops::Range;

/// Makes topics of one form into another: `dev/{room}/{kind}` into `site/cottage/{kind}/{room}`.
///
/// Both forms are compiled once, so that a topic costs one pass over it and the copy of what it becomes, and no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    from: Template,
    to: Template,
    takes: Vec<Step>,
    makes: Vec<Piece>,
}

/// What comes next of a topic that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This text, which may be several levels with their slashes.
    Text(Box<str>),
    /// One level, the next capture.
    Level,
    /// All that is left, the last capture: nothing, or levels with a slash in front of each.
    Rest,
    /// All that is left, where that is the whole topic.
    Whole,
}

/// What comes next of a topic that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This text.
    Text(Box<str>),
    /// The capture of this number.
    Copy(usize),
    /// The same, without the slash that it begins with.
    CopyBare(usize),
}

/// Why two templates do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// `to` has a capture that is not in `from`.
    #[error("`{{{0}}}` of `to` is not in `from`")]
    Unknown(String),
    /// `{a}` in one and `{a...}` in the other.
    #[error("`{0}` is one level in one of `from` and `to`, and all that are left in the other")]
    Kind(String),
}

impl Rewrite {
    /// Puts two templates together. `to` may leave captures out.
    ///
    /// # Errors
    /// `to` has something that `from` does not say.
    pub fn new(from: Template, to: Template) -> Result<Self, RewriteError> {
        let captures: Vec<&Part> = from.captures().collect();
        let mut makes = Pieces::default();
        for (at, part) in to.parts().iter().enumerate() {
            if at > 0 && !matches!(part, Part::Rest(_)) {
                makes.text("/");
            }
            let Some(name) = part.capture() else {
                let Part::Name(text) = part else { continue };
                makes.text(text);
                continue;
            };
            let number = captures.iter().position(|capture| capture.capture() == Some(name));
            let number = number.ok_or_else(|| RewriteError::Unknown(part.shown()))?;
            // Where `from` is nothing but the rest, that is captured without a slash in front.
            let is_whole = from.parts().len() == 1;
            match (part, captures[number]) {
                (Part::Level(_), Part::Level(_)) => makes.0.push(Piece::Copy(number)),
                (Part::Rest(_), Part::Rest(_)) if at == 0 && !is_whole => makes.0.push(Piece::CopyBare(number)),
                (Part::Rest(_), Part::Rest(_)) => {
                    if at > 0 && is_whole {
                        makes.text("/");
                    }
                    makes.0.push(Piece::Copy(number));
                }
                _ => return Err(RewriteError::Kind(name.to_owned())),
            }
        }
        let makes = makes.0;
        let takes = steps(from.parts());
        Ok(Self { from, to, takes, makes })
    }

    /// What topics look like before.
    pub fn from(&self) -> &Template {
        &self.from
    }

    /// What they look like behind it.
    pub fn to(&self) -> &Template {
        &self.to
    }

    /// What takes each topic back to where it came from; `None` when some become the same, since `to` leaves out a capture.
    pub fn inverse(&self) -> Option<Self> {
        Self::new(self.to.clone(), self.from.clone()).ok()
    }

    /// Writes what becomes of a topic to the end of `out`; whether the topic is one of those that this is for.
    #[inline]
    pub(super) fn write(&self, topic: &str, out: &mut BytesMut) -> bool {
        let mut captures: [Range<u16>; MAX_CAPTURES] = Default::default();
        if self.captured(topic.as_bytes(), &mut captures).is_none() {
            return false;
        }
        let topic = topic.as_bytes();
        let captured = |number: usize| &topic[usize::from(captures[number].start)..usize::from(captures[number].end)];
        let len = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Copy(number) | Piece::CopyBare(number) => captured(*number).len(),
        };
        out.reserve(self.makes.iter().map(len).sum());
        for piece in &self.makes {
            out.extend_from_slice(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Copy(number) => captured(*number),
                Piece::CopyBare(number) => captured(*number).get(1..).unwrap_or_default(),
            });
        }
        true
    }

    /// Where in a topic the captures are, in bytes. A topic has no more than 65,535.
    #[inline]
    fn captured(&self, topic: &[u8], captures: &mut [Range<u16>; MAX_CAPTURES]) -> Option<()> {
        let (mut at, mut captures) = (0, captures.iter_mut());
        for step in &self.takes {
            let rest = topic.get(at..)?;
            let len = match step {
                Step::Text(text) => {
                    rest.starts_with(text.as_bytes()).then_some(())?;
                    at += text.len();
                    continue;
                }
                Step::Level => rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len()),
                Step::Rest => rest.first().is_none_or(|byte| *byte == b'/').then_some(rest.len())?,
                Step::Whole => rest.len(),
            };
            *captures.next()? = at as u16..(at + len) as u16;
            at += len;
        }
        (at == topic.len()).then_some(())
    }
}

fn steps(parts: &[Part]) -> Vec<Step> {
    let (mut steps, mut text) = (Vec::new(), String::new());
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && !matches!(part, Part::Rest(_)) {
            text.push('/');
        }
        let step = match part {
            Part::Name(name) => {
                text.push_str(name);
                continue;
            }
            Part::Level(_) => Step::Level,
            Part::Rest(_) if at == 0 => Step::Whole,
            Part::Rest(_) => Step::Rest,
        };
        if !text.is_empty() {
            steps.push(Step::Text(std::mem::take(&mut text).into()));
        }
        steps.push(step);
    }
    if !text.is_empty() {
        steps.push(Step::Text(text.into()));
    }
    steps
}

/// Pieces, texts beside each other put together.
#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
            _ if text.is_empty() => {}
            _ => self.0.push(Piece::Text(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn rewrite(from: &str, to: &str) -> Rewrite {
        Rewrite::new(Template::new(from).unwrap(), Template::new(to).unwrap()).unwrap()
    }

    fn rewritten(rewrite: &Rewrite, topic: &str) -> Option<String> {
        let mut out = BytesMut::new();
        let fits = rewrite.write(topic, &mut out);
        assert!(fits || out.is_empty(), "nothing is written of what does not fit");
        fits.then(|| String::from_utf8(out.to_vec()).unwrap())
    }

    /// The same, level by level.
    fn naive(rewrite: &Rewrite, topic: &str) -> Option<String> {
        let mut levels: Vec<&str> = topic.split('/').collect();
        let mut captured: HashMap<&str, Vec<&str>> = HashMap::new();
        for part in rewrite.from.parts() {
            match part {
                Part::Rest(name) => drop(captured.insert(name, std::mem::take(&mut levels))),
                _ if levels.is_empty() => return None,
                Part::Name(text) if levels[0] != text => return None,
                Part::Name(_) => drop(levels.remove(0)),
                Part::Level(name) => drop(captured.insert(name, vec![levels.remove(0)])),
            }
        }
        if !levels.is_empty() {
            return None;
        }
        let made = rewrite.to.parts().iter().flat_map(|part| match part {
            Part::Name(text) => vec![text.as_str()],
            Part::Level(name) | Part::Rest(name) => captured[name.as_str()].clone(),
        });
        Some(made.collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn levels_change_their_places() {
        for (from, to, topic, expected) in [
            ("dev/{room}/{kind}", "site/cottage/{kind}/{room}", "dev/attic/temp", Some("site/cottage/temp/attic")),
            ("dev/{room}/{kind}", "site/{kind}", "dev/attic/temp", Some("site/temp")),
            ("dev/{room}/{kind}", "site/{kind}/{room}", "dev/attic", None),
            ("dev/{room}/{kind}", "site/{kind}/{room}", "dev/attic/temp/now", None),
            ("dev/{room}/{kind}", "site/{kind}/{room}", "devs/attic/temp", None),
            ("dev/{room}/{kind}", "site/{kind}/{room}", "dev//", Some("site//")),
            ("dev/{room}/temp", "{room}", "dev/attic/temperature", None),
            ("dev/{room}/temp", "{room}", "dev/attic/temp", Some("attic")),
            ("dev/{rest...}", "site/{rest...}", "dev/a/b", Some("site/a/b")),
            ("dev/{rest...}", "site/{rest...}", "dev", Some("site")),
            ("dev/{rest...}", "site/{rest...}", "dev/", Some("site/")),
            ("dev/{rest...}", "site/{rest...}", "device", None),
            ("dev/{rest...}", "{rest...}", "dev/a/b", Some("a/b")),
            ("dev/{rest...}", "{rest...}", "dev", Some("")),
            ("{rest...}", "site/{rest...}", "dev/a", Some("site/dev/a")),
            ("{rest...}", "site/{rest...}", "/dev", Some("site//dev")),
            ("{a}/{b}/{rest...}", "{b}/{a}/{rest...}", "x/y", Some("y/x")),
            ("/{a}//b", "{a}/", "/x//b", Some("x/")),
            ("{a}", "ä/{a}", "ö", Some("ä/ö")),
        ] {
            let rewrite = rewrite(from, to);
            assert_eq!(rewritten(&rewrite, topic).as_deref(), expected, "{from} to {to}: {topic}");
            assert_eq!(naive(&rewrite, topic).as_deref(), expected, "{from} to {to}: {topic}");
        }
    }

    #[test]
    fn to_says_nothing_that_from_does_not() {
        let new = |from: &str, to: &str| Rewrite::new(Template::new(from).unwrap(), Template::new(to).unwrap());
        assert_eq!(new("a/{x}", "b/{y}").unwrap_err(), RewriteError::Unknown("y".into()));
        assert_eq!(new("a/{x}", "b/{y...}").unwrap_err(), RewriteError::Unknown("y...".into()));
        assert_eq!(new("a/{x}", "b/{x...}").unwrap_err(), RewriteError::Kind("x".into()));
        assert_eq!(new("a/{x...}", "b/{x}").unwrap_err(), RewriteError::Kind("x".into()));
    }

    #[test]
    fn topics_are_made_where_there_is_room_for_them() {
        let (rewrite, mut arena) = (rewrite("dev/{a}/{rest...}", "site/{a}/{rest...}"), BytesMut::with_capacity(64));
        let start = arena.as_ptr();
        for _ in 0..2 {
            assert!(rewrite.write("dev/attic/temp", &mut arena));
        }
        assert_eq!((&arena[..], arena.as_ptr()), (&b"site/attic/tempsite/attic/temp"[..], start));
    }

    /// Some of `a`, `b` and `c` in an order of their own, with texts between them, and perhaps what is left at the end.
    fn templates() -> impl Strategy<Value = (String, String)> {
        let text = || prop::collection::vec("[xy]?", 0..3);
        let names = Just(["{a}", "{b}", "{c}"].map(str::to_owned).to_vec());
        (names.clone().prop_shuffle(), names.prop_shuffle(), 0usize..4, any::<(bool, bool)>(), text(), text()).prop_map(
            |(from, to, count, (rest, drops), more_from, more_to)| {
                let used: Vec<String> = from.into_iter().take(count).collect();
                let kept = to.into_iter().filter(|name| used.contains(name)).skip(usize::from(drops));
                let join = |mut levels: Vec<String>, more: Vec<String>, rest: bool| {
                    for (at, text) in more.into_iter().enumerate() {
                        levels.insert((at * 2).min(levels.len()), text);
                    }
                    levels.extend(rest.then(|| "{rest...}".to_owned()));
                    levels.join("/")
                };
                (join(used.clone(), more_from, rest), join(kept.collect(), more_to, rest))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// What is compiled does what is written, and an inverse takes back what it made.
        #[test]
        fn what_is_compiled_does_what_is_written((from, to) in templates(), topic in "[xyä]?(/[xyä]?){0,5}") {
            prop_assume!(!topic.is_empty());
            let (Ok(from), Ok(to)) = (Template::new(&from), Template::new(&to)) else { return Ok(()) };
            let rewrite = Rewrite::new(from, to).unwrap();
            let made = rewritten(&rewrite, &topic);
            prop_assert_eq!(&made, &naive(&rewrite, &topic));
            if let (Some(made), Some(inverse)) = (made.filter(|made| !made.is_empty()), rewrite.inverse()) {
                // Of `dev/` an empty level is left, which alone is no topic and, in front of nothing, none to tell from it.
                let back = rewritten(&inverse, &made);
                prop_assert_eq!(back.as_ref(), Some(&topic), "by way of {}", made);
            }
        }
    }
}
