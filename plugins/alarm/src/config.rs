//! From the `config` table to checked rules.

use crate::rule::{Rule, When};
use serde::Deserialize;
use tidegate_sdk::{
    Destination, MessageKey, Problems, Qos, config::Interval, decimal::Decimal, json::Path, ledger::MaxState,
    missing::OnMissing, template::Template,
};

/// Each message may have two events of each rule, and there are 64 outputs.
const MAX_RULES: usize = 16;

/// The most that `max_keys` may say: the default limit of a plugin's memory is 16 MiB.
const MAX_KEYS: usize = 20_000;

/// The name of the rule that `stale_after` makes.
const STALE: &str = "stale";

/// What a template may name beside the topic.
pub(crate) const NAMES: [&str; 2] = ["key", "rule"];

/// The place of `{rule}` in them.
const RULE: usize = 1;

/// The plugin's `config` table: one rule, or several under `rules`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub(crate) field: Option<Path>,
    #[serde(default)]
    pub(crate) by: MessageKey,
    name: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    after: Option<Interval>,
    clear_after: Option<Interval>,
    #[serde(default)]
    rules: Vec<RuleConfig>,
    stale_after: Option<Interval>,
    #[serde(default = "onward")]
    to: String,
    #[serde(default = "default_topic")]
    topic: String,
    #[serde(default = "one")]
    qos: u8,
    #[serde(default)]
    pub(crate) retain: bool,
    #[serde(default = "yes")]
    pub(crate) pass: bool,
    #[serde(default)]
    pub(crate) on_missing: OnMissing,
    #[serde(default = "default_max_keys")]
    pub(crate) max_keys: usize,
    #[serde(default = "default_max_outputs")]
    pub(crate) max_outputs: usize,
    #[serde(default)]
    pub(crate) max_state: MaxState,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    name: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    after: Option<Interval>,
    clear_after: Option<Interval>,
}

fn onward() -> String {
    "onward".to_owned()
}

fn default_topic() -> String {
    "alarm/{topic}".to_owned()
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn default_max_keys() -> usize {
    5_000
}

fn default_max_outputs() -> usize {
    64
}

/// What is made of the parts that need checking.
pub(crate) struct Checked {
    pub(crate) rules: Vec<(String, Rule)>,
    pub(crate) to: Destination,
    pub(crate) topic: Template,
    pub(crate) qos: Qos,
}

impl Config {
    pub(crate) fn check(&mut self) -> Result<Checked, Problems> {
        let mut problems = Problems::none();
        let rules = self.check_rules(&mut problems);
        let topic = Template::parse(&self.topic, &NAMES).map_err(|problem| problems.add("topic", problem)).ok();
        if self.retain && rules.len() > 1 && topic.as_ref().is_some_and(|topic| !topic.uses(RULE)) {
            problems.add("topic", "retained events of several rules would replace each other: write `{rule}` into it");
        }
        if self.to.is_empty() {
            problems.add("to", "must be \"onward\" or the name of a target");
        }
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].get(usize::from(self.qos)).copied();
        if qos.is_none() {
            problems.add("qos", "must be 0, 1 or 2");
        }
        if !(1..=MAX_KEYS).contains(&self.max_keys) {
            problems.add("max_keys", format!("must be from 1 to {MAX_KEYS}"));
        }
        if self.max_outputs == 0 {
            problems.add("max_outputs", "must be at least 1");
        }
        let to = match std::mem::take(&mut self.to) {
            to if to == "onward" => Destination::Onward,
            name => Destination::Target(name),
        };
        match (topic, qos) {
            (Some(topic), Some(qos)) => problems.or(|| Checked { rules, to, topic, qos }),
            _ => Err(problems),
        }
    }

    fn check_rules(&mut self, problems: &mut Problems) -> Vec<(String, Rule)> {
        let single = RuleConfig {
            name: self.name.take(),
            above: self.above,
            below: self.below,
            clear: self.clear,
            after: self.after,
            clear_after: self.clear_after,
        };
        let is_single = !single.is_empty();
        let mut configs = std::mem::take(&mut self.rules);
        match (is_single, configs.is_empty()) {
            (true, false) => {
                problems.add("rules", "either `above` or `below`, or `rules`: move the first into the list")
            }
            (false, true) if self.stale_after.is_none() => {
                problems.add("", "nothing to watch: write `above = 50`, `below = 3`, `rules = [...]` or `stale_after`");
            }
            _ => {}
        }
        if configs.len() > MAX_RULES {
            problems.add("rules", format!("at most {MAX_RULES} rules"));
            return Vec::new();
        }
        if is_single {
            configs = vec![single];
        }
        let mut rules: Vec<(String, Rule)> = Vec::with_capacity(configs.len() + 1);
        for (i, config) in configs.into_iter().enumerate() {
            let place = |key: &str| if is_single { key.to_owned() } else { format!("rules[{i}].{key}") };
            let Some((name, rule)) = config.check(place, problems) else { continue };
            if rules.iter().any(|(other, _)| *other == name) {
                problems.add(place("name"), format!("another rule is `{name}` too: give each a `name` of its own"));
            }
            rules.push((name, rule));
        }
        if let Some(after) = self.stale_after {
            if after.ms == 0 {
                problems.add("stale_after", "must be longer than nothing");
            }
            rules.push((STALE.to_owned(), Rule { when: When::Silent, after_ms: after.ms, clear_after_ms: 0 }));
        }
        rules
    }
}

impl RuleConfig {
    fn is_empty(&self) -> bool {
        let Self { name, above, below, clear, after, clear_after } = self;
        name.is_none() && after.or(*clear_after).is_none() && above.or(*below).or(*clear).is_none()
    }

    fn check(self, place: impl Fn(&str) -> String, problems: &mut Problems) -> Option<(String, Rule)> {
        let (key, default_name, threshold) = match (self.above, self.below) {
            (Some(above), None) => ("above", "high", above),
            (None, Some(below)) => ("below", "low", below),
            (Some(_), Some(_)) => {
                problems.add(place("below"), "a rule has `above` or `below`: make two `rules` of it");
                return None;
            }
            (None, None) => {
                problems.add(place("above"), "at which value? Write `above = 50` or `below = 3`");
                return None;
            }
        };
        let clear = self.clear.unwrap_or(threshold);
        let is_beyond = if key == "above" { clear > threshold } else { clear < threshold };
        if is_beyond {
            problems.add(place("clear"), format!("is {key} the threshold: such an alarm is cleared as soon as raised"));
        }
        let name = self.name.unwrap_or_else(|| default_name.to_owned());
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=64).contains(&name.len()) || !name.chars().all(is_word) || name == STALE {
            problems.add(place("name"), "must be 1 to 64 letters, digits, `-` and `_`, and not `stale`");
        }
        let mut decimal = |key: &str, number| {
            let decimal = Decimal::of_f64(number);
            if decimal.is_none() {
                problems.add(place(key), "must be a finite number");
            }
            decimal
        };
        let (threshold, clear) = (decimal(key, threshold)?, decimal("clear", clear)?);
        let when = match key {
            "above" => When::Above { threshold, clear },
            _ => When::Below { threshold, clear },
        };
        let ms = |interval: Option<Interval>| interval.map_or(0, |interval| interval.ms);
        Some((name, Rule { when, after_ms: ms(self.after), clear_after_ms: ms(self.clear_after) }))
    }
}
