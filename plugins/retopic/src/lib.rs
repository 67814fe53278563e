//! `retopic` rewrites the topic, by taking a beginning off and putting another on, or by a template of its levels.
//!
//! The payload is never touched. Start reading at [`Plugin::handle`] below.

use serde::Deserialize;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems};

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Taken off the beginning of the topic.
    strip: Option<String>,
    /// Put before what is left.
    prefix: Option<String>,
    /// The new topic: text, `{0}` for the first level, `{2..}` for the third and all after it, `{source}` for the broker
    /// it came from.
    template: Option<String>,
    /// What becomes of a topic that does not begin with `strip`, or has too few levels for `template`.
    #[serde(default)]
    otherwise: Otherwise,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Otherwise {
    #[default]
    Pass,
    Drop,
    Reject,
}

/// The plugin.
pub struct Retopic {
    rule: Rule,
    otherwise: Otherwise,
}

enum Rule {
    Replace { strip: String, prefix: String },
    Template(Vec<Part>),
}

enum Part {
    Text(String),
    Level(usize),
    LevelsFrom(usize),
    Source,
}

impl Plugin for Retopic {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { strip, prefix, template, otherwise } = config;
        let rule = match template {
            Some(_) if strip.is_some() || prefix.is_some() => {
                return Err(Problems::one("template", "stands alone: take away `strip` and `prefix`, or `template`"));
            }
            Some(template) => Rule::Template(parse(&template).map_err(|problem| Problems::one("template", problem))?),
            None if strip.is_none() && prefix.is_none() => {
                return Err(Problems::one("", "nothing to do: set `strip`, `prefix` or `template`"));
            }
            None => Rule::Replace { strip: strip.unwrap_or_default(), prefix: prefix.unwrap_or_default() },
        };
        Ok(Self { rule, otherwise })
    }

    fn handle(&mut self, source: &str, message: Message) -> Result<Decision, Failure> {
        match (self.rewrite(source, &message.topic), self.otherwise) {
            (Some(topic), _) => Ok(Output::onward().topic(topic).into()),
            (None, Otherwise::Pass) => Ok(Decision::pass()),
            (None, Otherwise::Drop) => Ok(Decision::drop("topic does not fit")),
            (None, Otherwise::Reject) => Err(Failure::reject("the topic does not fit the rule")),
        }
    }
}

impl Retopic {
    /// The new topic; none if the old one does not fit, or nothing would be left of it.
    fn rewrite(&self, source: &str, topic: &str) -> Option<String> {
        let new = match &self.rule {
            Rule::Replace { strip, prefix } => [prefix, topic.strip_prefix(strip.as_str())?].concat(),
            Rule::Template(parts) => {
                let mut new = String::with_capacity(2 * topic.len());
                for part in parts {
                    match *part {
                        Part::Text(ref text) => new.push_str(text),
                        Part::Level(index) => new.push_str(topic.split('/').nth(index)?),
                        Part::LevelsFrom(0) => new.push_str(topic),
                        Part::LevelsFrom(index) => new.push_str(topic.splitn(index + 1, '/').nth(index)?),
                        Part::Source => new.push_str(source),
                    }
                }
                new
            }
        };
        (!new.is_empty()).then_some(new)
    }
}

fn parse(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(match (name, name.strip_suffix("..")) {
            ("source", _) => Part::Source,
            (_, Some(index)) => Part::LevelsFrom(parse_level(index, name)?),
            (_, None) => Part::Level(parse_level(name, name)?),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    let wild = |part: &Part| matches!(part, Part::Text(text) if text.contains(['+', '#', '\0', '}']));
    match parts {
        _ if template.is_empty() => Err("is empty; write a topic such as \"site/{1..}\"".to_owned()),
        _ if parts.iter().any(wild) => Err("a topic holds no `+`, `#` or `}`".to_owned()),
        parts => Ok(parts),
    }
}

fn parse_level(index: &str, name: &str) -> Result<usize, String> {
    index.parse().map_err(|_| format!("`{{{name}}}` is unknown; write `{{0}}`, `{{1..}}` or `{{source}}`"))
}

tidegate_sdk::plugin!(Retopic);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    fn topic_after(config: &str, topic: &str) -> Option<String> {
        let mut plugin: Retopic = testing::plugin(config);
        match plugin.handle("home", Message::new(topic, "21")) {
            Ok(Decision::Pass) => Some(topic.to_owned()),
            Ok(Decision::Drop(_)) | Err(_) => None,
            Ok(forward) => testing::only(forward).topic,
        }
    }

    #[test]
    fn a_beginning_is_replaced_by_another() {
        let config = r#"{"strip": "dev/", "prefix": "site/cottage/"}"#;
        assert_eq!(topic_after(config, "dev/1/temp").as_deref(), Some("site/cottage/1/temp"));
        assert_eq!(topic_after(config, "other/1").as_deref(), Some("other/1"));
        assert_eq!(topic_after(r#"{"prefix": "x/"}"#, "a").as_deref(), Some("x/a"));
        assert_eq!(topic_after(r#"{"strip": "a/b", "otherwise": "drop"}"#, "a/b"), None, "nothing is left");
    }

    #[test]
    fn a_template_takes_levels() {
        let config = r#"{"template": "{source}/{2}/{0..}", "otherwise": "reject"}"#;
        assert_eq!(topic_after(config, "dev/1/temp").as_deref(), Some("home/temp/dev/1/temp"));
        assert_eq!(topic_after(config, "dev/1"), None);
        assert_eq!(topic_after(r#"{"template": "x/{1..}"}"#, "a/b/c").as_deref(), Some("x/b/c"));
    }

    #[test]
    fn the_payload_is_not_copied() {
        let mut plugin: Retopic = testing::plugin(r#"{"prefix": "x/"}"#);
        let output = testing::only(plugin.handle("home", Message::new("a", "21")).unwrap());
        assert!(output.payload.is_none() && output.properties.is_none());
    }

    #[test]
    fn a_wrong_configuration_is_refused_in_words() {
        for (config, at) in [
            ("{}", ""),
            (r#"{"template": "a/{x}"}"#, "template"),
            (r#"{"template": "a/{1"}"#, "template"),
            (r#"{"template": "a/+"}"#, "template"),
            (r#"{"template": "a", "strip": "b"}"#, "template"),
            (r#"{"otherwise": "explode"}"#, "otherwise"),
            (r#"{"stripp": "b"}"#, "stripp"),
        ] {
            assert_eq!(testing::refused::<Retopic>(config)[0].at, at, "{config}");
        }
    }
}
