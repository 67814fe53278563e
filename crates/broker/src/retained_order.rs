//! The order of topics in which all that is below one follows it directly, and what a filter asks of it.
//!
//! A topic stands at a place: its name with U+0000 for `/`. No topic has that character (MQTT-1.5.4-2), and it comes before all
//! others, so that `a`, `a/b`, `a!` follow each other in the plain order of strings.

/// In a place, what separates levels.
const SEPARATOR: char = '\0';

/// Behind a place: all that is below it comes before, all other places come after.
const BEHIND: char = '\u{1}';

/// Where a topic stands.
pub(crate) fn place_of(topic: &str) -> Box<str> {
    topic.replace('/', "\0").into()
}

/// What a filter says of a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Match,
    /// What matches may be below it: the next one is to be looked at.
    Below,
    /// Nothing before this place matches.
    Ahead(Box<str>),
    /// Neither this nor anything behind it matches.
    Nothing,
}

/// A filter, for places.
pub(crate) struct Wanted<'a> {
    levels: Vec<&'a str>,
    /// How many of them come before the first wildcard.
    fixed: usize,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(pattern: &'a str) -> Self {
        let levels: Vec<&str> = pattern.split('/').collect();
        let fixed = levels.iter().take_while(|level| !matches!(**level, "#" | "+")).count();
        Self { levels, fixed }
    }

    /// Nothing before this place matches.
    pub(crate) fn first(&self) -> Box<str> {
        self.levels[..self.fixed].join("\0").into()
    }

    /// What it says of a place that is not before [`first`](Self::first).
    pub(crate) fn find(&self, place: &str) -> Found {
        let mut levels = place.split(SEPARATOR);
        // Up to the end of the level before.
        let mut end = 0;
        for (depth, wanted) in self.levels.iter().enumerate() {
            if *wanted == "#" && depth > 0 {
                // Also the parent itself.
                return Found::Match;
            }
            let Some(level) = levels.next() else { return Found::Below };
            let begin = if depth == 0 { 0 } else { end + 1 };
            match *wanted {
                // A wildcard at the first level never reaches `$` topics (MQTT-4.7.2-1).
                "#" | "+" if depth == 0 && level.starts_with('$') => return behind(level),
                "#" => return Found::Match,
                "+" => {}
                name if name == level => {}
                name if level < name => return Found::Ahead(format!("{}{name}", &place[..begin]).into()),
                _ if depth <= self.fixed => return Found::Nothing,
                _ => return behind(&place[..end]),
            }
            end = begin + level.len();
        }
        match levels.next() {
            None => Found::Match,
            Some(_) if self.fixed == self.levels.len() => Found::Nothing,
            Some(_) => behind(&place[..end]),
        }
    }
}

fn behind(place: &str) -> Found {
    Found::Ahead(format!("{place}{BEHIND}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_topic_follows_it_directly() {
        let mut places: Vec<_> = ["a!", "a", "a/b", "a//", "b", "a/", "a b", "a/b/c"].map(place_of).into();
        places.sort_unstable();
        let topics: Vec<String> = places.iter().map(|place| place.replace('\0', "/")).collect();
        assert_eq!(topics, ["a", "a/", "a//", "a/b", "a/b/c", "a b", "a!", "b"]);
    }

    #[test]
    fn a_filter_says_where_to_go_on() {
        let say = |filter: &str, topic: &str| Wanted::new(filter).find(&place_of(topic));
        assert_eq!(say("a/+/c", "a/b"), Found::Below);
        assert_eq!(say("a/+/c", "a/b/c"), Found::Match);
        assert_eq!(say("a/+/c", "a/b/a"), Found::Ahead("a\0b\0c".into()));
        assert_eq!(say("a/+/c", "a/b/d"), Found::Ahead("a\0b\u{1}".into()));
        assert_eq!(say("a/+/c", "a/b/c/d"), Found::Ahead("a\0b\0c\u{1}".into()));
        assert_eq!(say("a/+/c", "b/b"), Found::Nothing);
        assert_eq!(say("a/b", "a/b/c"), Found::Nothing);
        assert_eq!(say("a/b", "a/c"), Found::Nothing);
        assert_eq!(say("#", "$SYS/x"), Found::Ahead("$SYS\u{1}".into()));
        assert_eq!(say("a/#", "a"), Found::Match);
        assert_eq!(say("+", "/"), Found::Ahead("\u{1}".into()));
        assert_eq!(&*Wanted::new("a/b/+/c").first(), "a\0b");
        assert_eq!(&*Wanted::new("#").first(), "");
    }
}
