//! Topics made of a template: text, levels of another topic, and values by name.
//!
//! `{0}` is the first level of the topic that came, `{1..}` the second and all after it, `{topic}` the whole of it; a plugin adds
//! names of its own, such as `{key}`. What comes out is checked to be a topic that the gateway takes, for an output of a timer with
//! a wrong topic would take all others of its call with it.

/// The longest topic that MQTT can carry, in bytes.
const MAX_TOPIC_BYTES: usize = 65_535;

/// The most levels that the gateway takes.
const MAX_LEVELS: usize = 200;

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Level(usize),
    LevelsFrom(usize),
    /// The value at this place of those that the plugin gives.
    Value(usize),
}

impl Template {
    /// Reads a template; `names` are those of the values that [`Template::topic`] will be given, in that order.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(template: &str, names: &[&str]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
            push_text(&mut parts, text);
            parts.push(Part::named(name, names).ok_or_else(|| unknown(name, names))?);
            rest = after;
        }
        push_text(&mut parts, rest);
        let wild = |part: &Part| matches!(part, Part::Text(text) if text.contains('}') || !text.chars().all(is_plain));
        match parts {
            _ if template.is_empty() => Err("is empty; write a topic such as \"site/{topic}\"".to_owned()),
            _ if parts.iter().any(wild) => Err("a topic holds no `+`, `#`, `}` or control character".to_owned()),
            parts => Ok(Self(parts)),
        }
    }

    /// Whether the value of this name, at this place in the list, is in it.
    #[must_use]
    pub fn uses(&self, value: usize) -> bool {
        self.0.contains(&Part::Value(value))
    }

    /// The topic for a message that came with this one; none if that has too few levels, or if it would be no topic: empty, too
    /// long or too deep, or with a wildcard or a control character in a value.
    #[must_use]
    pub fn topic(&self, came: &str, values: &[&str]) -> Option<String> {
        let mut topic = String::with_capacity(2 * came.len());
        for part in &self.0 {
            topic.push_str(match *part {
                Part::Text(ref text) => text,
                Part::Level(index) => came.split('/').nth(index)?,
                Part::LevelsFrom(0) => came,
                Part::LevelsFrom(index) => came.splitn(index + 1, '/').nth(index)?,
                Part::Value(place) => values.get(place)?,
            });
        }
        is_topic(&topic).then_some(topic)
    }
}

impl Part {
    fn named(name: &str, names: &[&str]) -> Option<Self> {
        if let Some(place) = names.iter().position(|known| *known == name) {
            return Some(Self::Value(place));
        }
        match name.strip_suffix("..") {
            _ if name == "topic" => Some(Self::LevelsFrom(0)),
            Some(index) => index.parse().ok().map(Self::LevelsFrom),
            None => name.parse().ok().map(Self::Level),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

fn unknown(name: &str, names: &[&str]) -> String {
    let known: Vec<String> = names.iter().map(|name| format!(", `{{{name}}}`")).collect();
    format!("`{{{name}}}` is unknown; write `{{0}}`, `{{1..}}`, `{{topic}}`{}", known.concat())
}

/// Whether a gateway takes this as the topic of an output, if it is granted.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    let levels = text.bytes().filter(|byte| *byte == b'/').count() + 1;
    (1..=MAX_TOPIC_BYTES).contains(&text.len()) && levels <= MAX_LEVELS && text.chars().all(is_plain)
}

/// No wildcard, and nothing that many brokers hang up on: control characters and noncharacters.
fn is_plain(c: char) -> bool {
    let is_noncharacter = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    !matches!(c, '+' | '#') && !c.is_control() && !is_noncharacter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(template: &str, came: &str) -> Option<String> {
        Template::parse(template, &["key", "rule"]).unwrap().topic(came, &["k/1", "high"])
    }

    #[test]
    fn a_template_takes_levels_and_values() {
        assert_eq!(topic("alarm/{topic}", "dev/1").as_deref(), Some("alarm/dev/1"));
        assert_eq!(topic("{rule}/{1}/{0..}/{key}", "dev/1").as_deref(), Some("high/1/dev/1/k/1"));
        assert_eq!(topic("x/{1..}", "a/b/c").as_deref(), Some("x/b/c"));
        assert_eq!(topic("x/{2}", "a/b"), None, "too few levels");
        assert!(Template::parse("a/{rule}", &["key", "rule"]).unwrap().uses(1));
        assert!(!Template::parse("a/{rule}", &["key", "rule"]).unwrap().uses(0));
    }

    #[test]
    fn what_would_be_no_topic_is_none() {
        let by_key = Template::parse("{key}", &["key"]).unwrap();
        let long = "x".repeat(MAX_TOPIC_BYTES + 1);
        let deep = "/".repeat(MAX_LEVELS);
        for wrong in ["", "a/+", "#", "a\0b", "a\nb", "a\u{9f}", "a\u{ffff}", "\u{1fffe}", "\u{fdd0}", &long, &deep] {
            assert_eq!(by_key.topic("a", &[wrong]), None, "{}", wrong.escape_debug().take(20).collect::<String>());
        }
        assert_eq!(by_key.topic("a", &["ü b/$"]).as_deref(), Some("ü b/$"));
    }

    #[test]
    fn a_wrong_template_is_refused_in_words() {
        for (template, part) in [
            ("", "is empty"),
            ("a/{1", "no `}`"),
            ("a/{x}", "`{x}` is unknown; write `{0}`, `{1..}`, `{topic}`, `{key}`"),
            ("a/{}", "`{}` is unknown"),
            ("a/{-1}", "unknown"),
            ("a/+", "holds no `+`"),
            ("a}", "holds no"),
            ("a\n", "control character"),
        ] {
            let problem = Template::parse(template, &["key"]).unwrap_err();
            assert!(problem.contains(part), "{template}: {problem}");
        }
    }
}
