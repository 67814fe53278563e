//! Giving what goes onward another topic.

use tidegate_message::{Topic, TopicError};

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
}

impl Remap {
    /// The topic that goes onward.
    pub fn apply(&self, topic: &Topic) -> Result<Topic, RemapError> {
        if let Some(rest) = topic.as_str().strip_prefix(self.strip.as_str()) {
            let mut text = String::with_capacity(self.prefix.len() + rest.len());
            text.push_str(&self.prefix);
            text.push_str(rest);
            return Ok(Topic::new(text)?);
        }
        if self.strip.strip_suffix('/') == Some(topic.as_str()) {
            return Ok(Topic::new(self.prefix.strip_suffix('/').unwrap_or(&self.prefix))?);
        }
        Err(RemapError::DoesNotBegin(self.strip.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_comes_off_and_prefix_goes_on() {
        let apply = |strip: &str, prefix: &str, topic: &str| {
            let remap = Remap { strip: strip.into(), prefix: prefix.into() };
            remap.apply(&Topic::new(topic).unwrap()).map(|topic| topic.to_string())
        };
        assert_eq!(apply("dev/", "site/a/", "dev/1/temp").unwrap(), "site/a/1/temp");
        assert_eq!(apply("", "site/", "dev").unwrap(), "site/dev");
        assert_eq!(apply("dev/", "", "dev/x").unwrap(), "x");
        assert_eq!(apply("dev/", "site/", "dev").unwrap(), "site", "`dev/#` matches `dev`");
        assert_eq!(apply("dev/", "", "dev"), Err(RemapError::Invalid(TopicError::Empty)));
        assert_eq!(apply("dev/", "", "dev/"), Err(RemapError::Invalid(TopicError::Empty)));
        assert_eq!(apply("dev/", "site/", "other"), Err(RemapError::DoesNotBegin("dev/".into())));
    }
}
