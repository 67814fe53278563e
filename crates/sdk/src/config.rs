//! From the `config` table, as JSON, to a checked value; every problem at its path.

use crate::{Diagnostic, Plugin};
use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// What is wrong with a configuration, each at its path such as `thresholds[2].max`.
#[derive(Debug, Default)]
pub struct Problems(Vec<Diagnostic>);

impl Problems {
    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A single one.
    pub fn one(at: impl Into<String>, message: impl Into<String>) -> Self {
        let mut problems = Self::none();
        problems.add(at, message);
        problems
    }

    /// One more. Say what is wrong and what to write instead.
    pub fn add(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.0.push(Diagnostic { at: at.into(), message: message.into() });
    }

    /// The value, if there is no problem: the last line of a `configure`.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value()) } else { Err(self) }
    }

    /// As the gateway takes them.
    #[must_use]
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Diagnostic { at, message }) in self.0.iter().enumerate() {
            let (before, between) = (if nth == 0 { "" } else { "; " }, if at.is_empty() { "" } else { ": " });
            write!(f, "{before}{at}{between}{message}")?;
        }
        Ok(())
    }
}

/// Reads the JSON and configures the plugin.
pub(crate) fn build<P: Plugin>(json: &str) -> Result<P, Problems> {
    P::configure(read::<P>(json)?)
}

/// Reads the JSON. A plugin without a `config` table sees an empty one.
pub(crate) fn read<P: Plugin>(json: &str) -> Result<P::Config, Problems> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let at = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        Problems::one(at, without_position(&error.inner().to_string()))
    })
}

/// The position in the JSON means nothing to somebody who wrote TOML.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// A span of time, written as the gateway's own are: `"500ms"`, `"30s"`, `"1h 30m"`, `"7d"`.
///
/// The grammar is that of the crate `humantime`, which the gateway reads its configuration with. What is no whole number
/// of milliseconds is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// How long, in milliseconds.
    pub ms: u64,
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_interval_ms(&text).map(|ms| Self { ms }).ok_or_else(|| {
            de::Error::custom(format_args!(
                "`{text}` is no time; write numbers with units ms, s, m, h or d, such as \"30s\" or \"1h 30m\""
            ))
        })
    }
}

fn parse_interval_ms(text: &str) -> Option<u64> {
    let time = humantime::parse_duration(text).ok()?;
    let is_whole = time.subsec_nanos().is_multiple_of(1_000_000);
    is_whole.then(|| u64::try_from(time.as_millis()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, Failure, Message};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Threshold {
        max: f64,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        thresholds: Vec<Threshold>,
    }

    struct Limits;

    impl Plugin for Limits {
        type Config = Config;

        fn configure(config: Config) -> Result<Self, Problems> {
            let mut problems = Problems::none();
            for (i, threshold) in config.thresholds.iter().enumerate() {
                if threshold.max < 0.0 {
                    problems.add(format!("thresholds[{i}].max"), "must not be negative");
                }
            }
            problems.or(|| Self)
        }

        fn handle(&mut self, _: &str, _: Message) -> Result<Decision, Failure> {
            Ok(Decision::pass())
        }
    }

    fn problems(json: &str) -> Vec<(String, String)> {
        match build::<Limits>(json) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.into_iter().map(|d| (d.at, d.message)).collect(),
        }
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let found = problems(r#"{"thresholds": [{"max": 1}, {"max": 2}, {"max": "hot"}]}"#);
        assert_eq!(found, [("thresholds[2].max".into(), "invalid type: string \"hot\", expected f64".into())]);
    }

    #[test]
    fn an_unknown_key_is_named_by_its_path() {
        let found = problems(r#"{"thresholds": [{"max": 1, "mix": 2}]}"#);
        assert_eq!(found[0].0, "thresholds[0].mix");
        assert!(found[0].1.contains("unknown field `mix`, expected `max`"), "{}", found[0].1);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let found = problems(r#"{"thresholds": [{"max": -1}, {"max": 2}, {"max": -3}]}"#);
        assert_eq!(found.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), ["thresholds[0].max", "thresholds[2].max"]);
    }

    #[test]
    fn no_config_is_an_empty_one() {
        assert!(problems("").is_empty());
        assert!(problems("{}").is_empty());
    }

    #[test]
    fn times_have_units_as_in_the_gateways_configuration() {
        for (text, ms) in [
            ("500ms", 500),
            ("7d", 7 * 86_400_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("2 min", 120_000),
            ("1000us", 1),
            ("1.5s", 1500),
            ("0s", 0),
        ] {
            assert_eq!(parse_interval_ms(text), Some(ms), "{text}");
        }
        for wrong in ["", "5", "s", "-5s", "1.5ms", "1500us", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_interval_ms(wrong), None, "{wrong}");
        }
    }
}
