//! `remembers` puts its version and the number of its topic's messages so far behind each payload, and remembers it in another way by each of its versions: as
//! `first/TOPIC`, `second/TOPIC` or `third/TOPIC`. The second reads what the first has left, and the third what either has; the
//! second reads what the third has left, too. So a test can see whether anything was forgotten, and who could read it.

use serde::Deserialize;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, state};

const VERSION: &str = if cfg!(feature = "third") {
    "third"
} else if cfg!(feature = "second") {
    "second"
} else {
    "first"
};

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// It refuses to read what another version has left.
    #[cfg_attr(not(any(feature = "second", feature = "third")), expect(dead_code, reason = "the first reads its own"))]
    #[serde(default)]
    refuses: bool,
    /// It traps when it has read half of that.
    #[cfg_attr(not(any(feature = "second", feature = "third")), expect(dead_code, reason = "the first reads its own"))]
    #[serde(default)]
    traps: bool,
    /// It traps on every message.
    #[serde(default)]
    fails: bool,
}

/// The plugin.
pub struct Remembers {
    config: Config,
}

impl Plugin for Remembers {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        Ok(Self { config })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        assert!(!self.config.fails, "as it was told to");
        let key = [VERSION, "/", &message.topic].concat();
        let count = count(&key) + 1;
        state::set(&key, count.to_string().as_bytes());
        let payload = [&message.payload, format!(" {VERSION} {count}").as_bytes()].concat();
        Ok(Output::onward().payload(payload).into())
    }
}

fn count(key: &str) -> u64 {
    let text = state::get(key).unwrap_or_default();
    String::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(any(feature = "second", feature = "third"))]
impl tidegate_sdk::Migrates for Remembers {
    const STATE_VERSION: &'static str = VERSION;

    fn migrate(left_by: Option<&str>, config: Config) -> Result<(), String> {
        let left_by = left_by.unwrap_or("first");
        if config.refuses {
            return Err(format!("it does not read what `{left_by}` has left"));
        }
        let keys = state::keys(&[left_by, "/"].concat());
        for (nth, key) in keys.iter().enumerate() {
            assert!(!(config.traps && nth >= keys.len() / 2), "as it was told to");
            let topic = key.strip_prefix(left_by).unwrap_or_default();
            state::set(&[VERSION, topic].concat(), &state::get(key).unwrap_or_default());
            state::delete(key);
        }
        Ok(())
    }
}

#[cfg(not(any(feature = "second", feature = "third")))]
tidegate_sdk::plugin!(Remembers);

#[cfg(any(feature = "second", feature = "third"))]
tidegate_sdk::plugin!(Remembers, migrates);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    #[test]
    fn each_topic_is_counted() {
        let mut plugin: Remembers = testing::plugin("{}");
        let mut said = |topic: &str| {
            let output = testing::only(plugin.handle("home", Message::new(topic, "x")).unwrap());
            String::from_utf8(output.payload.unwrap()).unwrap()
        };
        let told = [said("a"), said("a"), said("b")];
        assert_eq!(told, [1, 2, 1].map(|count| format!("x {VERSION} {count}")));
    }
}
