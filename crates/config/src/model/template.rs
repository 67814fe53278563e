//! Topics with captures: the two ends of a [`Rewrite`](super::Rewrite).

use crate::bounds::MAX_CAPTURES;
use tidegate_message::{Topic, TopicError};

/// A topic of which some levels have a name in place of a text: `dev/{room}/{kind}`, `dev/{rest...}`.
///
/// `{name}` is one level, as `+` in a filter; `{name...}` is all levels that are left, none included, as `#`, and only the
/// last. So a template lets in what a filter does, and what it makes can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// One level of a template, but for the last, which may be many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// This text.
    Name(String),
    /// Any text; the name of the capture.
    Level(String),
    /// All levels that are left; the name of the capture.
    Rest(String),
}

/// Why a text cannot be a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// What is wrong with a topic is wrong here too.
    #[error("{0}")]
    Topic(#[from] TopicError),
    /// `+` or `#`.
    #[error("`{0}` is for filters; here `{{name}}` stands for a level, and `{{rest...}}` for all that are left")]
    Wildcard(char),
    /// `sensor-{id}`, `{a}{b}`, `{a`.
    #[error("the level `{0}` is not one capture; `{{` and `}}` stand around a whole level")]
    Brace(String),
    /// `{}`, `{a b}`, `{...}`.
    #[error("`{{{0}}}` has no name that a capture may have: letters, digits, `_` and `-`")]
    Name(String),
    /// `{a}/{a}`.
    #[error("`{{{0}}}` stands in it twice, and each capture needs a name of its own")]
    Twice(String),
    /// `{rest...}/x`.
    #[error("`{{{0}...}}` is all levels that are left, so nothing can follow it")]
    RestNotLast(String),
    /// More than a message is looked at for.
    #[error("it has more than {MAX_CAPTURES} captures")]
    TooMany,
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, with what would be right.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        match Topic::new(text.to_owned()) {
            Err(TopicError::Wildcard(wildcard)) => return Err(TemplateError::Wildcard(wildcard)),
            checked => checked?,
        };
        let levels: Vec<&str> = text.split('/').collect();
        let mut parts: Vec<Part> = Vec::with_capacity(levels.len());
        for (at, level) in levels.iter().enumerate() {
            let part = Part::new(level)?;
            if let Some(name) = part.capture() {
                if parts.iter().any(|other| other.capture() == Some(name)) {
                    return Err(TemplateError::Twice(name.to_owned()));
                }
                if matches!(part, Part::Rest(_)) && at + 1 < levels.len() {
                    return Err(TemplateError::RestNotLast(name.to_owned()));
                }
            }
            parts.push(part);
        }
        if parts.iter().filter(|part| part.capture().is_some()).count() > MAX_CAPTURES {
            return Err(TemplateError::TooMany);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its captures in their order.
    pub(crate) fn captures(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.capture().is_some())
    }

    /// The filter that lets in what it does.
    pub(crate) fn filter(&self) -> String {
        let level = |part: &Part| match part {
            Part::Name(name) => name.clone(),
            Part::Level(_) => "+".to_owned(),
            Part::Rest(_) => "#".to_owned(),
        };
        self.parts.iter().map(level).collect::<Vec<_>>().join("/")
    }
}

impl Part {
    fn new(level: &str) -> Result<Self, TemplateError> {
        if !level.contains(['{', '}']) {
            return Ok(Self::Name(level.to_owned()));
        }
        let inner = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let inner = inner.filter(|inner| !inner.contains(['{', '}']));
        let inner = inner.ok_or_else(|| TemplateError::Brace(level.to_owned()))?;
        let (name, is_rest) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(TemplateError::Name(inner.to_owned()));
        }
        Ok(if is_rest { Self::Rest(name.to_owned()) } else { Self::Level(name.to_owned()) })
    }

    /// Of a capture what stands between its braces.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Name(name) | Self::Level(name) => name.clone(),
            Self::Rest(name) => format!("{name}..."),
        }
    }

    /// Its name, if it is a capture.
    pub(crate) fn capture(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Level(name) | Self::Rest(name) => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_refuses_what_would_mean_two_things_or_nothing() {
        let name = |text: &str| text.to_owned();
        for (text, error) in [
            ("", TemplateError::Topic(TopicError::Empty)),
            ("a/\0", TemplateError::Topic(TopicError::Null)),
            ("dev/+/temp", TemplateError::Wildcard('+')),
            ("dev/#", TemplateError::Wildcard('#')),
            ("dev/sensor-{id}", TemplateError::Brace(name("sensor-{id}"))),
            ("dev/{a}{b}", TemplateError::Brace(name("{a}{b}"))),
            ("dev/{a", TemplateError::Brace(name("{a"))),
            ("dev/a}", TemplateError::Brace(name("a}"))),
            ("dev/{{a}}", TemplateError::Brace(name("{{a}}"))),
            ("dev/{}", TemplateError::Name(name(""))),
            ("dev/{...}", TemplateError::Name(name("..."))),
            ("dev/{a b}", TemplateError::Name(name("a b"))),
            ("{a}/x/{a}", TemplateError::Twice(name("a"))),
            ("{a}/x/{a...}", TemplateError::Twice(name("a"))),
            ("{rest...}/x", TemplateError::RestNotLast(name("rest"))),
        ] {
            assert_eq!(Template::new(text).unwrap_err(), error, "{text}");
        }
        let many = |count: usize| (0..count).map(|n| format!("{{x{n}}}")).collect::<Vec<_>>().join("/");
        assert_eq!(Template::new(&many(MAX_CAPTURES + 1)), Err(TemplateError::TooMany));
        assert!(Template::new(&many(MAX_CAPTURES)).is_ok());
    }

    #[test]
    fn a_template_lets_in_what_a_filter_does() {
        for (text, filter) in [
            ("dev/{room}/{kind}", "dev/+/+"),
            ("{rest...}", "#"),
            ("/{a}//x", "/+//x"),
            ("dev/{raum-1}/{übrige...}", "dev/+/#"),
        ] {
            assert_eq!(Template::new(text).unwrap().filter(), filter);
        }
    }
}
