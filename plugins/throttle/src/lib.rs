//! `throttle` lets at most one message of each key through in an interval, and sends the last one it held back when the
//! interval ends.
//!
//! The first message of a key passes at once and opens an interval. Those within it are held back, each taking the place
//! of the one before. When the interval is over the timer sends the one that is left, which opens the next interval;
//! with none left the key is forgotten. A message that comes after the end but before the timer passes at once: it is
//! newer than the one held back, which is then of no use.
//!
//! Invariants: of a key, messages leave in the order they came in, at least an interval apart. What is kept is bounded in
//! number and in bytes. Time is the gateway's: a clock set back ends an interval early, and never makes one longer.
//!
//! Start reading at [`Throttle::handle`], then [`Timed::tick`].

use serde::Deserialize;
use std::collections::HashMap;
use tidegate_sdk::{Decision, Failure, Message, MessageKey, Output, Plugin, Problems, Timed, config::Interval, log};

/// Topics and payloads held back may take this much; the default limit of a plugin's memory is 16 MiB.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// One call of the timer sends no more than this: the default limit `output_bytes` of a plugin is 1 MiB.
const MAX_TICK_BYTES: usize = 768 << 10;

/// The most that `max_keys` may say: the same limit of memory.
const MAX_KEYS: usize = 50_000;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// At most one message of a key in this time.
    every: Interval,
    /// What the key is: `"topic"`, `{ level = 1 }` or `{ field = "id" }`.
    #[serde(default)]
    by: MessageKey,
    /// Send the last message held back when the interval ends.
    #[serde(default = "yes")]
    keep_last: bool,
    /// So many keys are known at a time; messages of others pass.
    #[serde(default = "default_max_keys")]
    max_keys: usize,
    /// So many messages are sent by one call of the timer: the limit `outputs` of the plugin.
    #[serde(default = "default_max_outputs")]
    max_outputs: usize,
}

fn yes() -> bool {
    true
}

fn default_max_keys() -> usize {
    10_000
}

fn default_max_outputs() -> usize {
    64
}

/// The plugin.
pub struct Throttle {
    config: Config,
    keys: HashMap<String, Window>,
    kept_bytes: usize,
    purged_ms: u64,
    full: bool,
}

/// An interval of a key.
struct Window {
    start_ms: u64,
    /// What passed and opened it: delivered again, it passes again.
    opened_by: u64,
    kept: Option<Message>,
}

impl Plugin for Throttle {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        if config.every.ms == 0 {
            problems.add("every", "must be longer than nothing");
        }
        if !(1..=MAX_KEYS).contains(&config.max_keys) {
            problems.add("max_keys", format!("must be from 1 to {MAX_KEYS}"));
        }
        if config.max_outputs == 0 {
            problems.add("max_outputs", "must be at least 1");
        }
        problems.or(|| Self { config, keys: HashMap::new(), kept_bytes: 0, purged_ms: 0, full: false })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let now_ms = message.received_ms;
        let Some(key) = self.config.by.key(&message) else {
            return Ok(Decision::pass());
        };
        if let Some(window) = self.keys.get_mut(key.as_ref()) {
            if message.redelivered && window.opened_by == message.id {
                return Ok(Decision::pass());
            }
            if window.is_over(now_ms, self.config.every.ms) {
                self.kept_bytes -= window.keep(None);
                window.start_ms = now_ms;
                window.opened_by = message.id;
                return Ok(Decision::pass());
            }
            if !self.config.keep_last {
                return Ok(Decision::drop("throttled"));
            }
            drop(key);
            return Ok(Decision::drop(hold_back(window, message, &mut self.kept_bytes)));
        }
        let key = key.into_owned();
        if self.has_room(now_ms) {
            self.keys.insert(key, Window { start_ms: now_ms, opened_by: message.id, kept: None });
        }
        Ok(Decision::pass())
    }
}

impl Timed for Throttle {
    fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        self.forget_idle(now_ms);
        let every_ms = self.config.every.ms;
        let mut due: Vec<(u64, &String)> = self
            .keys
            .iter()
            .filter(|(_, window)| window.kept.is_some() && window.is_over(now_ms, every_ms))
            .map(|(key, window)| (window.start_ms, key))
            .collect();
        due.sort_unstable(); // The longest waiting first, should there be more than one call may send.
        let due: Vec<String> = due.into_iter().take(self.config.max_outputs).map(|(_, key)| key.clone()).collect();
        let mut outputs = Vec::with_capacity(due.len());
        let kept_bytes = self.kept_bytes;
        for key in due {
            outputs.extend(self.release(&key, now_ms, MAX_TICK_BYTES - (kept_bytes - self.kept_bytes)));
        }
        outputs
    }
}

impl Throttle {
    /// The message held back for this key, as an output, if it is no larger than this; it opens the key's next interval.
    fn release(&mut self, key: &str, now_ms: u64, max_bytes: usize) -> Option<Output> {
        let window = self.keys.get_mut(key)?;
        let message = window.kept.take_if(|message| size_of(message) <= max_bytes)?;
        window.start_ms = now_ms;
        window.opened_by = message.id;
        self.kept_bytes -= size_of(&message);
        let Message { topic, payload, qos, retain, properties, .. } = message;
        Some(Output::onward().topic(topic).payload(payload).qos(qos).retain(retain).properties(properties))
    }

    /// Whether another key may be kept. Room is looked for at most once an interval, so that a flood of keys costs little.
    fn has_room(&mut self, now_ms: u64) -> bool {
        if self.keys.len() < self.config.max_keys {
            return true;
        }
        if now_ms.abs_diff(self.purged_ms) >= self.config.every.ms {
            self.forget_idle(now_ms);
        }
        let full = self.keys.len() >= self.config.max_keys;
        if full && !self.full {
            log::warn!("{} keys are throttled, no more fit: messages of others pass", self.keys.len());
        }
        self.full = full;
        !full
    }

    fn forget_idle(&mut self, now_ms: u64) {
        let every_ms = self.config.every.ms;
        self.keys.retain(|_, window| window.kept.is_some() || !window.is_over(now_ms, every_ms));
        self.purged_ms = now_ms;
    }
}

impl Window {
    fn is_over(&self, now_ms: u64, every_ms: u64) -> bool {
        now_ms.abs_diff(self.start_ms) >= every_ms || now_ms < self.start_ms
    }

    /// Keeps this message, if any, in place of the last; says how many bytes that one took.
    fn keep(&mut self, message: Option<Message>) -> usize {
        std::mem::replace(&mut self.kept, message).as_ref().map_or(0, size_of)
    }
}

/// Keeps the message if there is room, and says under which reason it is dropped now.
fn hold_back(window: &mut Window, message: Message, kept_bytes: &mut usize) -> &'static str {
    *kept_bytes -= window.keep(None);
    if size_of(&message) > MAX_TICK_BYTES || *kept_bytes + size_of(&message) > MAX_KEPT_BYTES {
        return "throttled, no room to keep it";
    }
    *kept_bytes += size_of(&message);
    window.keep(Some(message));
    "throttled"
}

/// What a message takes, roughly.
fn size_of(message: &Message) -> usize {
    let properties = &message.properties;
    let texts: usize = properties.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    let data = properties.correlation_data.as_ref().map_or(0, Vec::len);
    std::mem::size_of::<Message>() + message.topic.len() + message.payload.len() + texts + data
}

tidegate_sdk::plugin!(Throttle, timer);

#[cfg(test)]
mod tests;
