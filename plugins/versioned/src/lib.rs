//! `versioned` marks every message with the version it was built as, so that a test can see which one decided it.
//!
//! The version is `TIDEGATE_PLUGIN_VERSION` at build time (`dev` without it): two builds differ in their digest too.

use serde::Deserialize;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems};

const VERSION: &str = match option_env!("TIDEGATE_PLUGIN_VERSION") {
    Some(version) => version,
    None => "dev",
};

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the mark goes.
    #[serde(default)]
    mark: Mark,
    /// Stands after the version in the mark: a test's own.
    #[serde(default)]
    tag: String,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    /// `<payload> v1<tag>`.
    #[default]
    Payload,
    /// `v1<tag>/<topic>`.
    Topic,
    /// The user property `version` is `v1<tag>`.
    Property,
}

/// The plugin.
pub struct Versioned {
    mark: Mark,
    version: String,
}

impl Plugin for Versioned {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        Ok(Self { mark: config.mark, version: [VERSION, &config.tag].concat() })
    }

    fn handle(&mut self, _source: &str, mut message: Message) -> Result<Decision, Failure> {
        let output = match self.mark {
            Mark::Payload => {
                message.payload.push(b' ');
                message.payload.extend_from_slice(self.version.as_bytes());
                Output::onward().payload(message.payload)
            }
            Mark::Topic => Output::onward().topic([self.version.as_str(), "/", &message.topic].concat()),
            Mark::Property => Output::onward().user_property("version", self.version.clone()),
        };
        Ok(output.into())
    }
}

tidegate_sdk::plugin!(Versioned);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    #[test]
    fn the_version_stands_where_it_is_wanted() {
        let mark = |config: &str| {
            let mut plugin: Versioned = testing::plugin(config);
            testing::only(plugin.handle("home", Message::new("a", "1")).unwrap())
        };
        assert_eq!(mark("{}").payload.as_deref(), Some(format!("1 {VERSION}").as_bytes()));
        assert_eq!(mark(r#"{"mark": "topic", "tag": "-x"}"#).topic, Some(format!("{VERSION}-x/a")));
        let output = mark(r#"{"mark": "property"}"#);
        assert_eq!(output.user, [("version".to_owned(), VERSION.to_owned())]);
    }
}
