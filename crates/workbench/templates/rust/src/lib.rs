//! Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.

use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, json, json::Path};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    field: Option<Path>,
    above: Option<f64>,
}

struct Rule(Path, f64);

impl Plugin for Rule {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let field = config.field.or_else(|| Path::parse("temp")).ok_or_else(|| Problems::one("field", "no path"))?;
        Ok(Self(field, config.above.unwrap_or(50.0)))
    }

    /// From a message to a decision: `Decision::pass()`, `drop(why)`, `forward([...])`; or a `Failure`, `reject(why)`, `retry(why)`.
    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let (Self(path, above), payload) = (self, &message.payload);
        let found = json::find(payload, path).ok().flatten();
        let Some((field, value)) = found.and_then(|field| field.number(payload).map(|number| (field, number))) else {
            return Ok(Decision::drop("no such field"));
        };
        let celsius = ((value - 32.0) * 50.0 / 9.0 + 0.5).floor() / 10.0;
        let converted = Output::onward().payload(field.replaced(payload, &celsius.to_string()));
        if celsius <= *above {
            return Ok(converted.into());
        }
        let alarm = Output::target("alarms").topic(format!("alarm/{}", message.topic)).payload(celsius.to_string());
        Ok(Decision::forward([converted, alarm.user_property("above", above.to_string())]))
    }
}

tidegate_sdk::plugin!(Rule);
