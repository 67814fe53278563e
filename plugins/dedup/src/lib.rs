//! `dedup` drops a message that came before within a time: with the same topic and payload, or with the same id that its sender gave it.
//!
//! Of each message that passes, a digest is remembered, when it passed, and its `id`. One with the same digest is dropped until
//! `within` is over; it does not lengthen the time.
//!
//! Invariants: a message is dropped only when another that it is known by passed here before, within the time. A message that is
//! delivered again under its `id` passes again. What is remembered is bounded; when there is no room, the oldest is forgotten, and
//! could pass once more. What is durable takes effect together with the decision.
//!
//! Start reading at [`Dedup::handle`]; `identity.rs` is by what a message is known, `seen.rs` what is remembered.

mod identity;
mod seen;

use identity::{Identity, Missing};
use seen::Seen;
use serde::Deserialize;
use tidegate_sdk::{
    Decision, Failure, Message, Plugin, Problems,
    config::Interval,
    ledger::{Ledger, MaxState},
    log,
    missing::OnMissing,
};

/// The most that `max_messages` may say: the default limit of a plugin's memory is 16 MiB.
const MAX_MESSAGES: usize = 100_000;

const NO_IDENTITY: &str = "nothing to know it by";

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For so long after one passed, others like it are dropped.
    within: Interval,
    /// By what it is known.
    #[serde(default)]
    by: Identity,
    /// Messages of different topics are different.
    #[serde(default = "yes")]
    per_topic: bool,
    /// What becomes of a message without anything to know it by.
    #[serde(default)]
    on_missing: OnMissing,
    /// Remember across restarts.
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default = "default_max_messages")]
    max_messages: usize,
    #[serde(default)]
    max_state: MaxState,
}

fn yes() -> bool {
    true
}

fn default_max_messages() -> usize {
    10_000
}

/// The plugin.
pub struct Dedup {
    config: Config,
    seen: Seen,
    /// Messages that were forgotten too early.
    forgotten: u64,
}

impl Plugin for Dedup {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        if config.within.ms == 0 {
            problems.add("within", "must be longer than nothing");
        }
        if matches!(&config.by, Identity::UserProperty(name) if name.is_empty()) {
            problems.add("by.user_property", "must be the name of a user property");
        }
        if !(1..=MAX_MESSAGES).contains(&config.max_messages) {
            problems.add("max_messages", format!("must be from 1 to {MAX_MESSAGES}"));
        }
        problems.or(|| {
            let ledger = config.durable.then(|| Ledger::new(config.max_state));
            Self { seen: Seen::restored(config.max_messages, ledger), config, forgotten: 0 }
        })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let (now_ms, within_ms) = (message.received_ms, self.config.within.ms);
        let digest = match self.config.by.digest(&message, self.config.per_topic) {
            Ok(digest) => digest,
            Err(missing) => return self.missing(missing, &message),
        };
        self.seen.forget_over(now_ms, within_ms);
        if let Some(passed) = self.seen.get(&digest)
            && now_ms.abs_diff(passed.at_ms) < within_ms
        {
            // The one that passed, and perhaps did not arrive.
            let is_itself = message.redelivered && message.id == passed.id;
            return Ok(if is_itself { Decision::pass() } else { Decision::drop("duplicate") });
        }
        if let Some(age_ms) = self.seen.insert(digest, now_ms, message.id, within_ms) {
            self.tell_of_forgotten(age_ms);
        }
        Ok(Decision::pass())
    }
}

impl Dedup {
    fn missing(&self, missing: Missing, message: &Message) -> Result<Decision, Failure> {
        let on_missing = self.config.on_missing;
        match missing {
            Missing::NotJson(at) => on_missing.decide("not JSON", || at.told(&message.payload)),
            Missing::NoIdentity => on_missing.decide(NO_IDENTITY, || NO_IDENTITY),
        }
    }

    /// A line for each power of ten.
    fn tell_of_forgotten(&mut self, age_ms: u64) {
        self.forgotten += 1;
        if self.forgotten.ilog10() != (self.forgotten - 1).checked_ilog10().unwrap_or(u32::MAX) {
            let count = self.forgotten;
            log::warn!(
                "{count} were forgotten before their time for want of room, the last after {age_ms} ms: \
                 raise `max_messages` or `max_state`, or shorten `within`"
            );
        }
    }
}

tidegate_sdk::plugin!(Dedup);

#[cfg(test)]
mod tests;
