//! `batch` makes one message of many, and many of one: a JSON array or lines, with gzip if that is wanted.
//!
//! Joining, each message becomes an element of the batch of its key, and is dropped: its source has its acknowledgement. The batch goes
//! out with the message that completes it, by number or by bytes, or by the timer when it has become old. Splitting undoes it: each
//! element becomes a message, with its own topic if it stands in an envelope.
//!
//! Invariants: what waits is durable, and takes effect together with the acknowledgement; a restart or a swap loses none and doubles
//! none. What one message caused to be sent is kept for a while, and sent again when that message is delivered again. Whatever has no
//! room goes out early, never away. What is inflated is bounded.
//!
//! Start reading at [`Batch::handle`]; `join.rs` and `split.rs` are the two modes, `format.rs` how messages stand in a batch,
//! `held.rs` what waits.

mod config;
mod format;
mod held;
mod join;
mod split;

use config::Checked;
use join::Joiner;
use split::Splitter;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, Timed};

pub use config::Config;

/// The plugin.
pub struct Batch(Mode);

enum Mode {
    Join(Joiner),
    Split(Splitter),
}

impl Plugin for Batch {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        Ok(Self(match config.check()? {
            Checked::Join(rules) => Mode::Join(Joiner::new(rules)),
            Checked::Split(_) if held::count() > 0 => {
                let count = held::count();
                let problem = format!("{count} messages wait to be joined: split by a plugin of another name");
                return Err(Problems::one("mode", problem));
            }
            Checked::Split(rules) => Mode::Split(Splitter::new(rules)),
        }))
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        match &mut self.0 {
            Mode::Join(joiner) => joiner.handle(message),
            Mode::Split(splitter) => splitter.handle(&message),
        }
    }
}

impl Timed for Batch {
    fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        match &mut self.0 {
            Mode::Join(joiner) => joiner.tick(now_ms),
            Mode::Split(_) => Vec::new(),
        }
    }
}

tidegate_sdk::plugin!(Batch, timer);

#[cfg(test)]
mod tests;
