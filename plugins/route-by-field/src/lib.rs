//! `route-by-field` chooses where a message goes by its topic, a level of it, or a field of its JSON payload.
//!
//! The payload is read, never changed. Start reading at [`Plugin::handle`] below.

use serde::{Deserialize, Deserializer, de};
use std::collections::HashMap;
use tidegate_sdk::{Decision, Failure, Message, MessageKey, Output, Plugin, Problems};

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the table is about: `{ field = "kind" }`, `{ level = 1 }` or `"topic"`.
    by: MessageKey,
    /// From a value to where messages with it go.
    table: HashMap<String, Way>,
    /// Where a message goes whose value is not in the table.
    #[serde(default)]
    default: Way,
    /// Where a message goes that has no such level or field, or is no JSON; as `default` if it is not set.
    missing: Option<Way>,
}

/// Written as the name of a target, `"onward"`, `"drop"`, or a list of names of targets and `"onward"`.
#[derive(Clone, Debug, Default, PartialEq)]
enum Way {
    #[default]
    Onward,
    Drop,
    To(Vec<Output>),
}

impl<'de> Deserialize<'de> for Way {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Way;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("the name of a target, \"onward\", \"drop\", or a list of targets")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Way, E> {
                match name {
                    "" => Err(E::custom("a target has a name")),
                    "onward" => Ok(Way::Onward),
                    "drop" => Ok(Way::Drop),
                    name => Ok(Way::To(vec![Output::target(name)])),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Way, A::Error> {
                let mut outputs = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    match one_of_several(&name) {
                        Some(output) => outputs.push(output),
                        None => {
                            return Err(de::Error::custom(format_args!("`{name}` cannot be one of several targets")));
                        }
                    }
                }
                if outputs.is_empty() {
                    return Err(de::Error::custom("an empty list goes nowhere: write \"drop\""));
                }
                Ok(Way::To(outputs))
            }
        }

        from.deserialize_any(Visitor)
    }
}

fn one_of_several(name: &str) -> Option<Output> {
    match name {
        "" | "drop" => None,
        "onward" => Some(Output::onward()),
        name => Some(Output::target(name)),
    }
}

/// The plugin.
pub struct RouteByField {
    by: MessageKey,
    table: HashMap<String, Way>,
    default: Way,
    missing: Way,
}

impl Plugin for RouteByField {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { by, table, default, missing } = config;
        if table.is_empty() {
            return Err(Problems::one("table", "is empty: write `{ alarm = \"alarms\" }`"));
        }
        let missing = missing.unwrap_or_else(|| default.clone());
        Ok(Self { by, table, default, missing })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let (way, reason) = match self.by.key(&message) {
            Some(key) => (self.table.get(key.as_ref()).unwrap_or(&self.default), "routed to drop"),
            None => (&self.missing, "nothing to route by"),
        };
        Ok(match way {
            Way::Onward => Decision::pass(),
            Way::Drop => Decision::drop(reason),
            Way::To(outputs) => Decision::forward(outputs.clone()),
        })
    }
}

tidegate_sdk::plugin!(RouteByField);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::{Destination, testing};

    const BY_KIND: &str = r#"{
        "by": {"field": "kind"},
        "table": {"alarm": ["alarms", "onward"], "metric": "metrics", "debug": "drop", "1": "first", "x": "onward"},
        "default": "rest",
        "missing": "drop"
    }"#;

    fn ways(config: &str, topic: &str, payload: &str) -> Vec<String> {
        let mut plugin: RouteByField = testing::plugin(config);
        match plugin.handle("home", Message::new(topic, payload)).unwrap() {
            Decision::Pass => vec!["pass".to_owned()],
            Decision::Drop(reason) => vec![format!("drop: {reason}")],
            Decision::Forward(outputs) => outputs
                .into_iter()
                .map(|output| match output.to {
                    Destination::Onward => "onward".to_owned(),
                    Destination::Target(name) => name,
                })
                .collect(),
        }
    }

    #[test]
    fn a_field_chooses() {
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":"alarm"}"#), ["alarms", "onward"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":"metric"}"#), ["metrics"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":"debug"}"#), ["drop: routed to drop"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":1}"#), ["first"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":"x"}"#), ["pass"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"kind":"other"}"#), ["rest"]);
        assert_eq!(ways(BY_KIND, "a", r#"{"x":1}"#), ["drop: nothing to route by"]);
        assert_eq!(ways(BY_KIND, "a", "no JSON"), ["drop: nothing to route by"]);
    }

    #[test]
    fn a_level_chooses() {
        let config = r#"{"by": {"level": 1}, "table": {"kitchen": "k"}}"#;
        assert_eq!(ways(config, "home/kitchen/temp", ""), ["k"]);
        assert_eq!(ways(config, "home/hall/temp", ""), ["pass"]);
        assert_eq!(ways(config, "home", ""), ["pass"]);
    }

    #[test]
    fn a_wrong_configuration_is_refused_at_its_place() {
        for (config, at) in [
            (r#"{"by": "topic", "table": {}}"#, "table"),
            (r#"{"by": "topics", "table": {"a": "b"}}"#, "by"),
            (r#"{"by": "topic", "table": {"a": []}}"#, "table.a"),
            (r#"{"by": "topic", "table": {"a": ["x", "drop"]}}"#, "table.a"),
            (r#"{"by": "topic", "table": {"a": 1}}"#, "table.a"),
            (r#"{"by": "topic", "table": {"a": "b"}, "default": ""}"#, "default"),
            (r#"{"table": {"a": "b"}}"#, ""),
        ] {
            assert_eq!(testing::refused::<RouteByField>(config)[0].at, at, "{config}");
        }
    }
}
