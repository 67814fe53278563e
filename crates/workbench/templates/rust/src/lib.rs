//! Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.

use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, json, json::Path};

/// The `config` table of the plugin.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    field: Path,
    above: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { field: Path::parse("temp").expect("a path"), above: 50.0 }
    }
}

struct Rule(Config);

impl Plugin for Rule {
    type Config = Config;

    /// What is wrong with the configuration beyond its types is a problem, with a path: `Problems::one("above", "why")`.
    fn configure(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }

    /// From a message to a decision: `Decision::pass()`, `::drop(why)`, `::forward([outputs])`, or a `Failure::reject(why)` or `::retry(why)`.
    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let Some(field) = json::find(&message.payload, &self.0.field).ok().flatten() else { return Ok(Decision::drop("no such field")) };
        let Some(fahrenheit) = field.number(&message.payload) else { return Ok(Decision::drop("no such field")) };
        let celsius = ((fahrenheit - 32.0) * 50.0 / 9.0 + 0.5).floor() / 10.0;
        let converted = Output::onward().payload(field.replaced(&message.payload, &celsius.to_string()));
        if celsius <= self.0.above {
            return Ok(converted.into());
        }
        let alarm = Output::target("alarms").topic(format!("alarm/{}", message.topic)).payload(celsius.to_string());
        Ok(Decision::forward([converted, alarm.user_property("above", self.0.above.to_string())]))
    }
}

tidegate_sdk::plugin!(Rule);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    #[test]
    fn what_is_cold_goes_onward_alone() {
        let mut rule: Rule = testing::plugin("{}");
        let Ok(Decision::Forward(outputs)) = rule.handle("home", Message::new("dev/1", r#"{"temp": 70}"#)) else {
            panic!("not forwarded")
        };
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].payload.as_deref(), Some(&br#"{"temp": 21.1}"#[..]));
    }
}
