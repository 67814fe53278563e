//! `drop-unchanged` drops a message that says the same as the last one of its key that passed.
//!
//! What is compared is the whole payload or one field of it, exactly or, for numbers, within a tolerance. The comparison
//! is with what last *passed*, so that a slow drift is noticed once it adds up. `max_age` lets one through now and then,
//! for those who must know that the device still lives.
//!
//! Invariants: a message that cannot be compared passes. So does one that is delivered again: what was remembered of its
//! first delivery must not cost it. What is remembered is bounded: when there is no room for
//! another key, all are forgotten, and the next message of each passes.
//!
//! Start reading at [`DropUnchanged::handle`].

use serde::Deserialize;
use std::{borrow::Cow, collections::HashMap};
use tidegate_sdk::{
    Decision, Failure, Message, MessageKey, Plugin, Problems, config::Interval, decimal::Decimal, json, log,
};

/// Keys and values remembered may take this much; the default limit of a plugin's memory is 16 MiB.
const MAX_BYTES: usize = 4 << 20;

/// The most that `max_keys` may say: the same limit of memory.
const MAX_KEYS: usize = 50_000;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Messages are compared with those of the same key: `"topic"`, `{ level = 1 }` or `{ field = "id" }`.
    #[serde(default)]
    by: MessageKey,
    /// Compare this field alone, not the whole payload.
    field: Option<json::Path>,
    /// Numbers that differ by no more than this are the same.
    tolerance: Option<f64>,
    /// Let one through after this time, changed or not.
    max_age: Option<Interval>,
    /// So many keys are remembered.
    #[serde(default = "default_max_keys")]
    max_keys: usize,
}

fn default_max_keys() -> usize {
    10_000
}

/// The plugin.
pub struct DropUnchanged {
    config: Config,
    last: HashMap<String, Last>,
    bytes: usize,
    /// Of the configuration; nothing without one.
    tolerance: Decimal,
}

/// What last passed.
struct Last {
    value: Value<'static>,
    passed_ms: u64,
}

/// What is compared.
enum Value<'m> {
    Number(Decimal),
    Bytes(Cow<'m, [u8]>),
}

impl Plugin for DropUnchanged {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        if config.tolerance.is_some_and(|tolerance| !(tolerance >= 0.0 && tolerance.is_finite())) {
            problems.add("tolerance", "must be a number from 0");
        }
        if !(1..=MAX_KEYS).contains(&config.max_keys) {
            problems.add("max_keys", format!("must be from 1 to {MAX_KEYS}"));
        }
        let tolerance = config.tolerance.and_then(Decimal::of_f64).unwrap_or(Decimal::ZERO);
        problems.or(|| Self { config, last: HashMap::new(), bytes: 0, tolerance })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let now_ms = message.received_ms;
        let (Some(key), Some(value)) = (self.config.by.key(&message), self.value(&message.payload)) else {
            return Ok(Decision::pass());
        };
        if key.len() + value.size() > MAX_BYTES {
            self.forget(&key);
            return Ok(Decision::pass());
        }
        if let Some(last) = self.last.get_mut(key.as_ref()) {
            let old = self.config.max_age.is_some_and(|age| now_ms.abs_diff(last.passed_ms) >= age.ms);
            if !old && !message.redelivered && value.is_same(&last.value, self.tolerance) {
                return Ok(Decision::drop("unchanged"));
            }
            self.bytes = self.bytes - last.value.size() + value.size();
            *last = Last { value: value.into_owned(), passed_ms: now_ms };
            self.make_room(0, 0);
        } else {
            self.make_room(1, key.len() + value.size());
            self.bytes += key.len() + value.size();
            self.last.insert(key.into_owned(), Last { value: value.into_owned(), passed_ms: now_ms });
        }
        Ok(Decision::pass())
    }
}

impl DropUnchanged {
    /// What to compare of a payload; none if it has no such field.
    fn value<'m>(&self, payload: &'m [u8]) -> Option<Value<'m>> {
        let (text, number) = match &self.config.field {
            Some(path) => {
                let field = json::find(payload, path).ok()??;
                let text = &payload[field.value];
                (text, self.number(text))
            }
            None if self.config.tolerance.is_some() => (payload, self.number(payload.trim_ascii())),
            None => (payload, None),
        };
        Some(number.map_or(Value::Bytes(Cow::Borrowed(text)), Value::Number))
    }

    /// The number that a text says. Of more digits than are held, it is compared as a text, unless there is a tolerance, to
    /// which the last of them are nothing.
    fn number(&self, text: &[u8]) -> Option<Decimal> {
        let text = std::str::from_utf8(text).ok()?;
        match self.config.tolerance {
            // A payload of its own may have a sign or a point that JSON has not.
            Some(_) => Decimal::parse_cut(text).or_else(|| Decimal::of_f64(text.parse().ok()?)),
            None => Decimal::parse(text),
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some(last) = self.last.remove(key) {
            self.bytes -= key.len() + last.value.size();
        }
    }

    fn make_room(&mut self, keys: usize, bytes: usize) {
        if self.last.len() + keys > self.config.max_keys || self.bytes + bytes > MAX_BYTES {
            log::warn!("{} keys in {} bytes are all that fit: forgetting them", self.last.len(), self.bytes);
            self.last.clear();
            self.bytes = 0;
        }
    }
}

impl Value<'_> {
    fn is_same(&self, last: &Value, tolerance: Decimal) -> bool {
        match (self, last) {
            (Self::Number(now), Value::Number(last)) => {
                now == last
                    || match now.distance(*last) {
                        Some(distance) => distance <= tolerance,
                        // So far apart in size that an `f64` tells as much.
                        None => (now.to_f64() - last.to_f64()).abs() <= tolerance.to_f64(),
                    }
            }
            (Self::Bytes(now), Value::Bytes(last)) => is_same_text(now, last),
            _ => false,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Number(number) => Value::Number(number),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        }
    }
}

/// Eight bytes at a time: WebAssembly's `==` of slices goes byte by byte, and took half of this plugin's time.
fn is_same_text(a: &[u8], b: &[u8]) -> bool {
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    let mut eights = a_eights.iter().zip(b_eights);
    a.len() == b.len() && eights.all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b)) && a_rest == b_rest
}

tidegate_sdk::plugin!(DropUnchanged);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    /// Which of these messages (topic, payload, time) pass.
    fn passed(config: &str, messages: &[(&str, &str, u64)]) -> Vec<bool> {
        let mut plugin: DropUnchanged = testing::plugin(config);
        let mut passes = |&(topic, payload, now_ms): &(&str, &str, u64)| {
            plugin.handle("home", Message::new(topic, payload).at(now_ms)).unwrap() == Decision::Pass
        };
        messages.iter().map(&mut passes).collect()
    }

    #[test]
    fn the_same_payload_is_dropped_for_its_topic() {
        let messages = [("a", "1", 0), ("a", "1", 1), ("b", "1", 2), ("a", "2", 3), ("a", "1", 4), ("a", "1.0", 5)];
        assert_eq!(passed("{}", &messages), [true, false, true, true, true, true]);
    }

    #[test]
    fn a_field_is_compared_alone() {
        let messages = [
            ("a", r#"{"t":1,"n":1}"#, 0),
            ("a", r#"{"t":1.0,"n":2}"#, 1),
            ("a", r#"{"t":"1"}"#, 2),
            ("a", r#"{"n":3}"#, 3),
            ("a", "no JSON", 4),
            ("a", r#"{"t":"1"}"#, 5),
        ];
        assert_eq!(passed(r#"{"field": "t"}"#, &messages), [true, false, true, true, true, false]);
    }

    #[test]
    fn a_drift_passes_once_it_adds_up() {
        let messages = [("a", "20.0", 0), ("a", "20.4", 1), ("a", "20.6", 2), ("a", "20.2", 3), ("a", "20.0", 4)];
        assert_eq!(passed(r#"{"tolerance": 0.5}"#, &messages), [true, false, true, false, true]);
    }

    #[test]
    fn one_passes_after_the_maximum_age() {
        let messages = [("a", "1", 0), ("a", "1", 59_999), ("a", "1", 60_000), ("a", "1", 60_001)];
        assert_eq!(passed(r#"{"max_age": "1m"}"#, &messages), [true, false, true, false]);
    }

    #[test]
    fn texts_are_the_same_or_not_at_any_length() {
        for len in 0..40 {
            let text: Vec<u8> = (0..len).collect();
            assert!(is_same_text(&text, &text.clone()));
            assert!(!is_same_text(&text, &[text.as_slice(), &[0]].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(!is_same_text(&text, &other), "{at} of {len}");
            }
        }
    }

    #[test]
    fn a_message_delivered_again_passes_again() {
        let mut plugin: DropUnchanged = testing::plugin("{}");
        let mut again = Message::new("a", "1");
        again.redelivered = true;
        assert_eq!(plugin.handle("home", Message::new("a", "1")), Ok(Decision::Pass));
        assert_eq!(plugin.handle("home", again), Ok(Decision::Pass));
        assert!(matches!(plugin.handle("home", Message::new("a", "1")), Ok(Decision::Drop(_))));
    }

    #[test]
    fn what_is_too_large_to_remember_passes_and_is_not_overlooked() {
        let mut plugin: DropUnchanged = testing::plugin("{}");
        let large = || Message::new("a", vec![0; MAX_BYTES]);
        for message in [Message::new("a", "1"), large(), large(), Message::new("a", "1")] {
            assert_eq!(plugin.handle("home", message), Ok(Decision::Pass));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let messages = [("a", "1", 0), ("b", "1", 0), ("a", "1", 0), ("c", "1", 0), ("a", "1", 0)];
        assert_eq!(passed(r#"{"max_keys": 2}"#, &messages), [true, true, false, true, true]);

        let mut plugin: DropUnchanged = testing::plugin("{}");
        for i in 0..100_u8 {
            let _ = plugin.handle("home", Message::new(format!("{}", i % 7), vec![i; 1 << 20]));
            assert!(plugin.bytes <= MAX_BYTES, "{}", plugin.bytes);
            let held: usize = plugin.last.iter().map(|(key, last)| key.len() + last.value.size()).sum();
            assert_eq!(held, plugin.bytes);
        }
    }

    #[test]
    fn a_wrong_configuration_is_refused_at_its_place() {
        for (config, at) in [
            (r#"{"tolerance": -1}"#, "tolerance"),
            (r#"{"max_keys": 0}"#, "max_keys"),
            (r#"{"max_age": "soon"}"#, "max_age"),
            (r#"{"field": []}"#, "field"),
        ] {
            assert_eq!(testing::refused::<DropUnchanged>(config)[0].at, at, "{config}");
        }
    }

    #[test]
    fn a_tolerance_is_of_the_numbers_as_they_are_written() {
        for (tolerance, first, second) in
            [("0.2", "0.6", "0.8"), ("0.2", "1.9", "2.1"), ("0.1", "21.4", "21.5"), ("0.1", "1.0", "1.1")]
        {
            let config = format!(r#"{{"tolerance": {tolerance}}}"#);
            assert_eq!(passed(&config, &[("a", first, 0), ("a", second, 1)]), [true, false], "{first} {second}");
        }
        // All steps of one decimal.
        let texts: Vec<String> =
            (-400..1200).map(|tenths| format!("{}.{}", tenths / 10, (tenths % 10_i32).abs())).collect();
        let wrong = |tenths: usize| {
            let messages = [("a", &*texts[tenths], 0), ("a", &*texts[tenths + 1], 1)];
            passed(r#"{"tolerance": 0.1}"#, &messages)[1]
        };
        // From -0.1 to 0.0 and on there are two texts of zero.
        assert_eq!((410..1598).filter(|tenths| wrong(*tenths)).count(), 0);
    }

    /// A whole payload is no JSON: `printf` writes what an `f64` reads.
    #[test]
    fn a_payload_that_json_would_refuse_is_a_number_all_the_same() {
        for (first, second) in [("+21.5", "+21.6"), (".5", ".6"), (" 5.", "5.1\n"), ("1e-2000", "0.1")] {
            let messages = [("a", first, 0), ("a", second, 1)];
            assert_eq!(passed(r#"{"tolerance": 0.2}"#, &messages), [true, false], "{first} {second}");
        }
        assert_eq!(passed(r#"{"tolerance": 0.2}"#, &[("a", "nan", 0), ("a", "NaN", 1)]), [true, true]);
    }

    #[test]
    fn large_whole_numbers_that_differ_are_different() {
        for (first, second) in [
            ("9007199254740992", "9007199254740993"),
            ("1795857958898826279", "1795857958898826280"),
            ("12345678901234567890123", "12345678901234567890124"),
        ] {
            let [first, second] = [first, second].map(|number| format!(r#"{{"t": {number}}}"#));
            let messages = [("a", &*first, 0), ("a", &*second, 1), ("a", &*second, 2)];
            assert_eq!(passed(r#"{"field": "t"}"#, &messages), [true, true, false], "{first}");
        }
    }
}
